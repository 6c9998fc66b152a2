"""How is an image kept so that any viewer can open it at any moment of the scan? OME-Zarr 0.5, one atomic file a block.

Nothing that was written is ever rewritten, and the shape of an image never changes. A block that comes in parts waits
encoded, outside of memory and of the image, until it is whole.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tensorstore as ts
from numpy.typing import NDArray

from scanner.errors import BadInput, DamagedRun, RackscanError
from scanner.model.events import Json
from scanner.storage.atomic import disk_error, is_temporary, replacing, write_atomic, write_whole
from scanner.storage.ngff import (
    FORMAT,
    ImageSpec,
    array_metadata,
    chunk_px,
    group_metadata,
    level_sizes,
    spec_of,
)
from scanner.storage.scratch import Scratch
from scanner.storage.shards import Place, ShardEncoder

_Kept: TypeAlias = tuple[int, list[int]]
"""Where the chunks of a place wait, and how many bytes each has."""
Block: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]

DEADLINE_S = 120.0


class PyramidStore:
    """An image on disk. A block is whole on disk when ``write`` comes back, under its own name, by one rename."""

    def __init__(self, path: Path, spec: ImageSpec, arrays: "list[ts.TensorStore]") -> None:
        """Use ``create`` or ``open``."""
        self.path = path
        self.spec = spec
        self.sizes = level_sizes(spec.width_px, spec.height_px)
        self._arrays = arrays
        self._encoder: ShardEncoder | None = None
        self._scratch: Scratch | None = None
        self._parts: dict[Path, dict[Place, _Kept]] = {}

    @classmethod
    def create(cls, path: Path, spec: ImageSpec, facts: Mapping[str, Json] | None = None) -> "PyramidStore":
        """An empty image, valid at once; ``facts`` go beside ``complete: false`` under ``rackscan``.

        Raises:
            BadInput: where there is an image already.
            RackscanError: where the disk refuses.
        """
        if (path / "zarr.json").exists():
            raise BadInput.one("there is an image already", "choose another place", file=str(path))
        sizes = level_sizes(spec.width_px, spec.height_px)
        try:
            path.mkdir(parents=True, exist_ok=True)
            arrays = [
                _array(path / str(level), array_metadata(spec, size), create=True)
                for level, size in enumerate(sizes)
            ]
            group = group_metadata(spec, sizes, {**(facts or {}), "complete": False})
            write_atomic(path / "zarr.json", json.dumps(group, indent=1))
        except (OSError, ValueError) as error:
            raise RackscanError(f"{path}: the image cannot be created: {error}") from error
        return cls(path, spec, arrays)

    @classmethod
    def open(cls, path: Path) -> "PyramidStore":
        """An existing image of ours, to read or to go on writing.

        Raises:
            BadInput: a newer rackscan wrote it.
            DamagedRun: where it is none, or its metadata contradict themselves.
        """
        try:
            rackscan = _read_json(path / "zarr.json")["attributes"]["rackscan"]
            _refuse_newer(path, rackscan.get("version", 1))
            spec = spec_of(rackscan)
            sizes = level_sizes(spec.width_px, spec.height_px)
            arrays = [
                _array(path / str(level), array_metadata(spec, size)) for level, size in enumerate(sizes)
            ]
        except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise DamagedRun(f"{path} is not an image of rackscan: {error}") from error
        return cls(path, spec, arrays)

    @property
    def facts(self) -> dict[str, Json]:
        """What stands under ``rackscan``, with ``complete``."""
        found = _read_json(self.path / "zarr.json")["attributes"]["rackscan"]
        return dict(found)

    def write(self, level: int, row: int, col: int, block: Block, z: int = 0) -> None:
        """Store a block (channels, side, side); what lies beyond the canvas is cut. It is not kept.

        Raises:
            RackscanError: where the disk refuses; it names the file, and of the block nothing is there.
        """
        h, w = self._on_canvas(level, row, col)
        encoder, sizes, end = self._encoding(), dict[Place, list[int]](), 0
        for place, rows, cols in encoder.places(h, w):
            sizes[place] = encoder.encode(block[:, rows, cols][:, : h - rows.start, : w - cols.start], end)
            end += sum(sizes[place])
        self._finish(self.file(level, row, col, z), encoder.shard(sizes))

    def write_part(self, level: int, row: int, col: int, y: int, x: int, part: Block, z: int = 0) -> None:
        """A part (channels, h, w) of a block, whole chunks at (y, x) px of it; the block is there after ``finish``.

        Raises:
            RackscanError: where the disk refuses.
        """
        h, w = self._on_canvas(level, row, col)
        part = part[:, : max(0, h - y), : max(0, w - x)]
        file, encoder, side = self.file(level, row, col, z), self._encoding(), chunk_px(self.spec)
        kept = self._parts.setdefault(file, {})
        for place, rows, cols in encoder.places(*part.shape[1:]):
            sizes = encoder.encode(part[:, rows, cols], 0)
            where = self._put(file, encoder.buffer[: sum(sizes)])
            kept[place[0] + y // side, place[1] + x // side] = where, sizes

    def finish(self, level: int, row: int, col: int, z: int = 0) -> None:
        """Store a block of which some parts were written; the others are white.

        Raises:
            RackscanError: where the disk refuses.
        """
        file, encoder = self.file(level, row, col, z), self._encoding()
        kept, sizes, end = self._parts.pop(file), dict[Place, list[int]](), 0
        for place, _, _ in encoder.places(*self._on_canvas(level, row, col)):
            if place in kept:
                where, sizes[place] = kept[place]
                self._take(file, where, encoder.buffer[end : end + sum(sizes[place])])
            else:
                sizes[place] = encoder.encode(self._white(), end)
            end += sum(sizes[place])
        self._finish(file, encoder.shard(sizes))

    def has(self, level: int, row: int, col: int, z: int = 0) -> bool:
        """Is this block on disk? A block where no tile shows never is."""
        return self.file(level, row, col, z).exists()

    def exists(self, level: int, row: int, col: int) -> bool:
        """Does this block hold a pixel of the canvas?"""
        width, height = self.sizes[level]
        side = self.spec.shard_px
        return row * side < height and col * side < width

    def blocks(self, z: int = 0) -> Iterator[tuple[int, int, int]]:
        """(level, row, col) of every block of a layer on disk."""
        side = self.spec.shard_px
        for level, (width, height) in enumerate(self.sizes):
            for row in range(-(-height // side)):
                for col in range(-(-width // side)):
                    if self.has(level, row, col, z):
                        yield level, row, col

    def file(self, level: int, row: int, col: int, z: int = 0) -> Path:
        """Where a block lies, whether it is there or not."""
        planes = [] if self.spec.layers is None else [str(z)]
        return self.path.joinpath(str(level), "c", "0", *planes, str(row), str(col))

    def block(self, level: int, row: int, col: int, z: int = 0) -> Block:
        """(channels, side, side) of a block, white beyond the canvas."""
        side = self.spec.shard_px
        whole = np.full((self.spec.channels, side, side), self.spec.fill, self.spec.dtype)
        part = self._read(level, self._region(level, row, col, z))
        whole[:, : part.shape[1], : part.shape[2]] = part
        return whole

    def read(self, level: int, y: int, x: int, h: int, w: int, z: int = 0) -> Block:
        """(channels, h, w) from any place of a level, px; white beyond the canvas and where nothing is yet."""
        width, height = self.sizes[level]
        top, left = max(0, y), max(0, x)
        bottom, right = max(top, min(height, y + h)), max(left, min(width, x + w))
        whole = np.full((self.spec.channels, h, w), self.spec.fill, self.spec.dtype)
        if bottom > top and right > left:
            part = self._read(level, self._slices(slice(top, bottom), slice(left, right), z))
            whole[:, top - y : bottom - y, left - x : right - x] = part
        return whole

    def picture(
        self, level: int, y: int, x: int, h: int, w: int, layer: int | None = None
    ) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """The same as pixels (h, w, 3), or (h, w) of a gray image; of layers, the middle one or ``layer``."""
        block = self.read(level, y, x, h, w, self.spec.middle if layer is None else layer)
        shown = np.ascontiguousarray(block[0] if len(block) == 1 else np.moveaxis(block, 0, -1))
        return np.asarray(shown, np.uint8) if shown.dtype == np.uint8 else np.asarray(shown, np.uint16)

    def complete(self, facts: Mapping[str, Json]) -> None:
        """Everything is written: say ``complete: true`` with some facts, by one rename."""
        self._scratch = None
        group = _read_json(self.path / "zarr.json")
        group["attributes"]["rackscan"] |= {**facts, "complete": True}
        write_atomic(self.path / "zarr.json", json.dumps(group, indent=1))

    def sweep(self) -> int:
        """Remove what a killed writer left behind; how many things. Not while another process writes."""
        left = [f for f in self.path.rglob("*") if f.name.endswith(".__lock") or is_temporary(f)]
        for each in left:
            if each.is_dir():
                shutil.rmtree(each)
            else:
                each.unlink()
        return len(left)

    def _encoding(self) -> ShardEncoder:
        if self._encoder is None:
            self._encoder = ShardEncoder(self.spec)
        return self._encoder

    def _white(self) -> Block:
        """(channels, 1, 1): beyond what is given, a chunk is white."""
        return np.full((self.spec.channels, 1, 1), self.spec.fill, self.spec.dtype)

    def _put(self, file: Path, piece: memoryview) -> int:
        """A piece of what becomes ``file`` waits; where."""
        try:
            self._scratch = self._scratch or Scratch(self.path, self._encoding().most)
            return self._scratch.put(piece)
        except OSError as error:
            raise disk_error(error, file) from error

    def _take(self, file: Path, where: int, into: memoryview) -> None:
        assert self._scratch is not None
        try:
            self._scratch.take(where, into)
        except OSError as error:
            raise disk_error(error, file) from error

    def _finish(self, file: Path, shard: memoryview) -> None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(error, file) from error
        with replacing(file) as temporary:
            write_whole(temporary, shard)

    def _on_canvas(self, level: int, row: int, col: int) -> tuple[int, int]:
        """(h, w) of a block, px."""
        width, height = self.sizes[level]
        side = self.spec.shard_px
        return min(side, height - row * side), min(side, width - col * side)

    def _region(self, level: int, row: int, col: int, z: int) -> tuple[int | slice, ...]:
        width, height = self.sizes[level]
        side = self.spec.shard_px
        y, x = row * side, col * side
        return self._slices(slice(y, min(y + side, height)), slice(x, min(x + side, width)), z)

    def _slices(self, rows: slice, cols: slice, z: int) -> tuple[int | slice, ...]:
        planes = () if self.spec.layers is None else (z,)
        return (slice(None), *planes, rows, cols)

    def _read(self, level: int, region: tuple[int | slice, ...]) -> Block:
        try:
            found: Block = self._arrays[level][region].read().result(timeout=DEADLINE_S)
        except (ValueError, OSError, TimeoutError) as error:
            raise DamagedRun(f"{self.path}: level {level} cannot be read: {error}") from error
        return found


def _refuse_newer(path: Path, version: object) -> None:
    if not isinstance(version, int) or version > FORMAT:
        what = f"was written by a newer rackscan: its format is {version}, and this one reads up to {FORMAT}"
        raise BadInput.one(what, "open it with that version, or a later one", file=str(path))


def _array(path: Path, metadata: dict[str, Json], create: bool = False) -> "ts.TensorStore":
    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": str(path)},
        "metadata": metadata,
        "store_data_equal_to_fill_value": True,
        "recheck_cached_data": False,
        "recheck_cached_metadata": "open",
    }
    opened = ts.open(spec, open=not create, create=create, delete_existing=create)
    return opened.result(timeout=DEADLINE_S)


def _read_json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
