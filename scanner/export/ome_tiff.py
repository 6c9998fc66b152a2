"""How does an image of ours reach every other viewer? As a pyramidal OME-TIFF, copied level by level, tile by tile.

No plane is ever in memory, no level is computed again, and the file has its name only when it is whole.
"""

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from scanner.export.ome_xml import Said, ome_xml
from scanner.storage.atomic import AGAIN, replacing
from scanner.storage.ngff import ImageSpec
from scanner.storage.ome_zarr import PyramidStore

Tile = NDArray[Any]
Progress = Callable[[int, int], None]

TILE_PX = 512  # the store's own chunk: each is decoded once
RUN_TILES = 4  # read at once: one block of the store is 2048 px wide
AHEAD_BYTES = 2**24  # of tiles that wait to be encoded
WORKERS = min(4, os.cpu_count() or 1)  # threads of tifffile that encode
QUALITY = 90
SUBSAMPLING = (2, 1)  # of colour; Bio-Formats turns 4:4:4 into other colours: docs/decisions/0070
IFD_ENTRY_BYTES, COUNT_BYTES = 20, 8  # of a BigTIFF directory
REDUCED = 1  # NewSubfileType of a level


class Packing(StrEnum):
    """How tiles are compressed."""

    JPEG = "jpeg"
    DEFLATE = "deflate"


@dataclass(frozen=True, slots=True)
class Encoding:
    """How tiles are compressed, and the quality (1..100) where that loses something."""

    packing: Packing
    quality: int = QUALITY

    def options(self, spec: ImageSpec) -> dict[str, Any]:
        """As tifffile wants it: colour as YCbCr in JPEG, differences of neighbours in what is whole."""
        if self.packing is Packing.JPEG:
            chroma = {"subsampling": SUBSAMPLING} if spec.channels > 1 else {}
            return {"compression": "jpeg", "compressionargs": {"level": self.quality}, **chroma}
        return {"compression": "adobe_deflate", "predictor": spec.dtype != "float32"}


def _silent(done: int, total: int) -> None:
    """Nobody wants to know."""


def write_ome_tiff(
    store: PyramidStore, out: Path, encoding: Encoding, said: Said, progress: Progress = _silent
) -> None:
    """All levels and layers of an image as a BigTIFF, tiles of 512 px; ``out`` appears whole or not at all.

    A level is a SubIFD of its plane, as OME-TIFF 6 has it. Those of the first plane are chained behind the planes as
    well, as reduced images, where OpenSlide looks for them: the same directories, so that nothing is there twice.

    Args:
        store: what to copy; uint8, uint16 or float32, 1 or 3 channels, with or without layers.
        out: replaced where it exists.
        encoding: JPEG for 8 bits only.
        said: the rest of the metadata.
        progress: told how many of all tiles have been read.

    Raises:
        RackscanError: the disk refused.
        DamagedRun: the image cannot be read.
    """
    planes = store.spec.layers or 1
    told = _Told(progress, planes * sum(_tile_count(size) for size in store.sizes))
    description = ome_xml(store.spec, said)
    with replacing(out, AGAIN) as temporary:
        with tifffile.TiffWriter(temporary, bigtiff=True, byteorder="<", ome=False) as tiff:
            for z in range(planes):
                _write_plane(tiff, store, z, encoding, told, said.creator, description)
                description = b""
        _chain_levels(temporary, planes)


def _write_plane(
    tiff: tifffile.TiffWriter,
    store: PyramidStore,
    z: int,
    encoding: Encoding,
    told: "_Told",
    creator: str,
    description: bytes,
) -> None:
    spec = store.spec
    for level, (width, height) in enumerate(store.sizes):
        tiff.write(
            told.counted(tiles(store, level, z)),
            shape=(height, width, 3) if spec.channels > 1 else (height, width),
            dtype=spec.dtype,
            tile=(TILE_PX, TILE_PX),
            photometric="rgb" if spec.channels > 1 else "minisblack",
            subifds=len(store.sizes) - 1 if level == 0 else None,
            subfiletype=REDUCED if level else 0,
            description=description or None if level == 0 else None,
            software=creator,
            metadata=None,
            maxworkers=WORKERS,
            buffersize=AHEAD_BYTES,
            **_resolution(spec, level),
            **encoding.options(spec),
        )


def _resolution(spec: ImageSpec, level: int) -> dict[str, Any]:
    """Pixels per centimetre: what readers believe that look at no OME-XML."""
    if spec.um_per_px is None:
        return {"resolution": (1, 1), "resolutionunit": "NONE"}
    per_cm = 10_000 / (spec.um_per_px * 2**level)
    return {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}


def tiles(store: PyramidStore, level: int, z: int) -> Iterator[Tile]:
    """(512, 512) or (512, 512, 3) of a level, row by row; beyond the image its last pixels go on."""
    width, height = store.sizes[level]
    for y in range(0, height, TILE_PX):
        for x in range(0, width, RUN_TILES * TILE_PX):
            h, w = min(TILE_PX, height - y), min(RUN_TILES * TILE_PX, width - x)
            run: Tile = np.moveaxis(store.read(level, y, x, h, w, z), 0, -1)
            run = run if store.spec.channels > 1 else run[..., 0]
            beyond = [(0, TILE_PX - h), (0, -w % TILE_PX), (0, 0)][: run.ndim]
            run = np.pad(run, beyond, mode="edge")
            yield from (
                np.ascontiguousarray(run[:, at : at + TILE_PX]) for at in range(0, run.shape[1], TILE_PX)
            )


def _tile_count(size: tuple[int, int]) -> int:
    return -(-size[0] // TILE_PX) * -(-size[1] // TILE_PX)


class _Told:
    """Counts the tiles of all levels and layers."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def counted(self, found: Iterator[Tile]) -> Iterator[Tile]:
        """The same tiles."""
        for tile in found:
            self._done += 1
            self._progress(self._done, self._total)
            yield tile


def _chain_levels(file: Path, planes: int) -> None:
    """Let the chain of directories go on from the last plane to the levels of the first."""
    with tifffile.TiffFile(file) as tiff:
        last = tiff.pages[planes - 1].offset
        first = tiff.pages[0]
        levels = first.subifds if isinstance(first, tifffile.TiffPage) else None
    with file.open("r+b") as raw:
        for here, following in zip([last, *(levels or ())], levels or (), strict=False):
            raw.seek(here)
            (entries,) = struct.unpack("<Q", raw.read(COUNT_BYTES))
            raw.seek(here + COUNT_BYTES + IFD_ENTRY_BYTES * entries)
            raw.write(struct.pack("<Q", following))
