"""What does an image say of itself? The metadata of OME-Zarr 0.5 and of Zarr 3, as dictionaries."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import Field

from scanner.model.base import Value
from scanner.model.events import Json
from scanner.model.profile import StorageCodec
from scanner.model.rounding import Stored

SHARD_PX = 2048
CHUNK_PX = 512
SMALLEST_PX = 512
BLOSC_LEVEL = 4
ZSTD_LEVEL = 1
FORMAT = 1  # of what stands under ``rackscan``; a program reads its own and older ones
COLOURS = (("Red", "FF0000"), ("Green", "00FF00"), ("Blue", "0000FF"))


def level_sizes(width_px: int, height_px: int) -> list[tuple[int, int]]:
    """(w, h) of every level down to 512 px: each half of the one before, an odd last line is dropped."""
    sizes = [(width_px, height_px)]
    while max(sizes[-1]) > SMALLEST_PX and min(sizes[-1]) > 1:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    return sizes


class ImageSpec(Value):
    """What is declared of an image before its first pixel.

    ``origin_um`` is the slide µm of the outer corner of its first pixel; ``channels`` 3 (red, green, blue) or 1;
    ``um_per_px`` None: nobody knows, and the image counts in pixels; ``layers`` the number of z planes, None for an
    image without a z axis, ``layer_um`` their distance, the middle one at 0. ``shard_px`` is the side of a block. A
    map of numbers (float32) is NaN where nothing is known; ``shown`` is the range that a viewer begins with;
    ``storage`` says how its blocks are kept.
    """

    name: str
    width_px: int = Field(gt=0)
    height_px: int = Field(gt=0)
    dtype: Literal["uint8", "uint16", "float32"]
    channels: Literal[1, 3]
    um_per_px: float | None = Field(default=None, gt=0)
    origin_um: tuple[float, float] = (0.0, 0.0)
    layers: int | None = Field(default=None, gt=0)
    layer_um: float = Field(default=1.0, gt=0)
    shard_px: int = Field(default=SHARD_PX, ge=16, exclude_if=lambda side: side == SHARD_PX)
    shown: tuple[float, float] | None = Field(default=None, exclude_if=lambda shown: shown is None)
    storage: Stored = Stored()

    @property
    def fill(self) -> int | float:
        """What a pixel is that no tile shows: white, 255 or 65535; of a map of numbers, NaN."""
        return math.nan if self.dtype == "float32" else int(np.iinfo(self.dtype).max)

    @property
    def middle(self) -> int:
        """The layer on the focus surface; 0 without layers."""
        return (self.layers or 1) // 2

    @property
    def axes(self) -> str:
        """The names of the axes in order."""
        return "cyx" if self.layers is None else "czyx"

    def shape(self, size: tuple[int, int]) -> list[int]:
        """The shape of a level of (w, h) px."""
        planes = [] if self.layers is None else [self.layers]
        return [self.channels, *planes, size[1], size[0]]


def chunk_px(spec: ImageSpec) -> int:
    """The side of what is encoded, and decoded, at once."""
    return min(CHUNK_PX, spec.shard_px)


def array_metadata(spec: ImageSpec, size: tuple[int, int]) -> dict[str, Any]:
    """A level's zarr.json: chunks of 512² in shards of 2048² with all channels."""
    planes, item = [] if spec.layers is None else [1], np.dtype(spec.dtype).itemsize
    endian = {"configuration": {"endian": "little"}} if item > 1 else {}
    return {
        "shape": spec.shape(size),
        "data_type": spec.dtype,
        "fill_value": "NaN" if spec.dtype == "float32" else spec.fill,
        "dimension_names": list(spec.axes),
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [spec.channels, *planes, spec.shard_px, spec.shard_px]},
        },
        "codecs": [
            {
                "name": "sharding_indexed",
                "configuration": {
                    "chunk_shape": [1, *planes, chunk_px(spec), chunk_px(spec)],
                    "codecs": [{"name": "bytes", **endian}, _compression(spec.storage.codec, item)],
                    "index_codecs": [
                        {"name": "bytes", "configuration": {"endian": "little"}},
                        {"name": "crc32c"},
                    ],
                },
            }
        ],
    }


def _compression(codec: StorageCodec, item: int) -> dict[str, Any]:
    if codec is StorageCodec.ZSTD:
        return {"name": "zstd", "configuration": {"level": ZSTD_LEVEL, "checksum": False}}
    blosc = {"cname": "lz4", "clevel": BLOSC_LEVEL, "shuffle": "bitshuffle", "typesize": item, "blocksize": 0}
    return {"name": "blosc", "configuration": blosc}


def group_metadata(
    spec: ImageSpec, sizes: list[tuple[int, int]], facts: Mapping[str, Json]
) -> dict[str, Any]:
    """The image's zarr.json (https://ngff.openmicroscopy.org/0.5)."""
    kinds = {"c": "channel", "z": "space", "y": "space", "x": "space"}
    unit = {} if spec.um_per_px is None else {"unit": "micrometer"}
    axes = [{"name": a, "type": kinds[a], **({} if a == "c" else unit)} for a in spec.axes]
    multiscale = {
        "name": spec.name,
        "type": "mean",
        "axes": axes,
        "datasets": [
            {"path": str(level), "coordinateTransformations": transforms(spec, level)}
            for level in range(len(sizes))
        ],
        "metadata": {"method": "cv2.resize, INTER_AREA: mean of 2 × 2, rounded half up", "version": "1"},
    }
    image, stored = spec.model_dump(mode="json", exclude={"storage"}), spec.storage
    kept = {"mode": stored.mode, **stored.model_dump(mode="json", exclude_none=True)}
    rackscan = {"version": FORMAT, **facts, "image": image, "storage": kept}
    ome = {"version": "0.5", "multiscales": [multiscale], "omero": _omero(spec)}
    return {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome, "rackscan": rackscan}}


def spec_of(rackscan: Mapping[str, Any]) -> ImageSpec:
    """What was declared, from what stands under ``rackscan``.

    Raises:
        KeyError, ValueError: where it is nothing of ours, or contradicts itself.
    """
    kept = {name: said for name, said in rackscan.get("storage", {}).items() if name != "mode"}
    return ImageSpec.model_validate({**rackscan["image"], "storage": kept})


def transforms(spec: ImageSpec, level: int) -> list[dict[str, Any]]:
    """Pixel to slide µm: a place is the middle of its pixel, so a coarser level is shifted by half a pixel more."""
    um = (spec.um_per_px or 1.0) * 2**level
    x, y = (origin + um / 2 for origin in spec.origin_um)
    planes = [] if spec.layers is None else [(spec.layer_um, -spec.layer_um * spec.middle)]
    scale = [1.0, *(p[0] for p in planes), um, um]
    translation = [0.0, *(p[1] for p in planes), y, x]
    return [{"type": "scale", "scale": scale}, {"type": "translation", "translation": translation}]


def _omero(spec: ImageSpec) -> dict[str, Any]:
    low, high = spec.shown or (0, spec.fill)
    window = {"min": low, "max": high, "start": low, "end": high}
    only = "Height" if spec.dtype == "float32" else "Gray"
    named = COLOURS if spec.channels == 3 else ((only, "FFFFFF"),)
    channels = [
        {"label": label, "color": colour, "active": True, "window": window} for label, colour in named
    ]
    model = "color" if spec.channels == 3 else "greyscale"
    rdefs = {"model": model} | ({} if spec.layers is None else {"defaultZ": spec.middle})
    return {"name": spec.name, "channels": channels, "rdefs": rdefs}
