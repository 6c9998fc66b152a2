"""Small images of every kind that the store holds, written as the road writes them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from scanner.storage.ngff import ImageSpec
from scanner.storage.ome_zarr import PyramidStore
from tests.scanner.pipeline.conftest import cells_on_glass

WIDTH, HEIGHT, SHARD = 1211, 1103, 1024
Planes = NDArray[Any]
Store = Callable[..., PyramidStore]


def smear(dtype: str, channels: int, layers: int | None) -> Planes:
    """(channels, [layers,] h, w) of cells on glass, every channel and layer another."""
    cells = cells_on_glass(HEIGHT, WIDTH, 3)
    planes = [np.stack([cells * (1 - 0.2 * c) - 9 * z for z in range(layers or 1)]) for c in range(channels)]
    whole = np.stack(planes) * (200 if dtype == "uint16" else 1)
    kept = whole if layers is not None else whole[:, 0]
    return kept.astype(dtype) if dtype == "float32" else np.clip(kept, 0, np.iinfo(dtype).max).astype(dtype)


@pytest.fixture
def store() -> Store:
    return stored


def stored(  # one argument for each thing that an image can be
    path: Path,
    dtype: str = "uint8",
    channels: int = 3,
    layers: int | None = None,
    complete: bool = True,
    um_per_px: float | None = 0.5,
) -> PyramidStore:
    """An image of 1211 × 1103 px in blocks of 1024 px, with all its levels."""
    spec = ImageSpec.model_validate(
        {
            "name": path.name,
            "width_px": WIDTH,
            "height_px": HEIGHT,
            "dtype": dtype,
            "channels": channels,
            "layers": layers,
            "um_per_px": um_per_px,
            "shard_px": SHARD,
            "origin_um": (40_000.0, 10_000.0),
            "layer_um": 1.5,
        }
    )
    made = PyramidStore.create(path, spec)
    planes = smear(dtype, channels, layers)
    for z in range(layers or 1):
        plane = planes[:, z] if layers is not None else planes
        for level, (w, h) in enumerate(made.sizes):
            _write(made, level, z, plane)
            plane = np.stack(
                [
                    cv2.resize(
                        one[: h // 2 * 2, : w // 2 * 2],
                        (max(1, w // 2), max(1, h // 2)),
                        interpolation=cv2.INTER_AREA,
                    )
                    for one in plane
                ]
            )
    if complete:
        made.complete({})
    return made


def _write(made: PyramidStore, level: int, z: int, plane: Planes) -> None:
    for y in range(0, plane.shape[1], SHARD):
        for x in range(0, plane.shape[2], SHARD):
            block = np.full((plane.shape[0], SHARD, SHARD), made.spec.fill, plane.dtype)
            part = plane[:, y : y + SHARD, x : x + SHARD]
            block[:, : part.shape[1], : part.shape[2]] = part
            made.write(level, y // SHARD, x // SHARD, block, z)
