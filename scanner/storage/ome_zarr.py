"""How is an image kept so that any viewer can open it at any moment of the scan? OME-Zarr 0.5, one atomic file a block.

Nothing that was written is ever rewritten, and the shape of an image never changes.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tensorstore as ts
from numpy.typing import NDArray

from scanner.errors import BadInput, DamagedRun, RackscanError
from scanner.model.events import Json
from scanner.storage.atomic import is_temporary, write_atomic
from scanner.storage.ngff import VERSION, ImageSpec, array_metadata, group_metadata, level_sizes

Block: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]
Key: TypeAlias = tuple[int, int, int, int]

IN_FLIGHT = 4  # blocks being encoded at once: 12 MB each for colour
DEADLINE_S = 120.0


class PyramidStore:
    """An image on disk. Blocks are written asynchronously, a few at once; an error shows at the next call."""

    def __init__(self, path: Path, spec: ImageSpec, arrays: "list[ts.TensorStore]") -> None:
        """Use ``create`` or ``open``."""
        self.path = path
        self.spec = spec
        self.sizes = level_sizes(spec.width_px, spec.height_px)
        self._arrays = arrays
        self._writing: dict[Key, ts.WriteFutures] = {}
        self._written: list[Key] = []

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
            BadInput: where a newer rackscan wrote it.
            DamagedRun: where it is none, or its metadata contradict themselves.
        """
        try:
            said = _read_json(path / "zarr.json")["attributes"]["rackscan"]
            refuse_newer(path, said.get("version", VERSION))
            spec = ImageSpec.model_validate(said["image"])
            sizes = level_sizes(spec.width_px, spec.height_px)
            arrays = [
                _array(path / str(level), array_metadata(spec, size)) for level, size in enumerate(sizes)
            ]
        except (OSError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
            raise DamagedRun(f"{path} is not an image of rackscan: {error}") from error
        return cls(path, spec, arrays)

    @property
    def facts(self) -> dict[str, Json]:
        """What stands under ``rackscan``, with ``complete``."""
        found = _read_json(self.path / "zarr.json")["attributes"]["rackscan"]
        return dict(found)

    def write(self, level: int, row: int, col: int, block: Block, z: int = 0) -> None:
        """Store a block (channels, side, side); what lies beyond the canvas is cut. It must not change any more.

        Raises:
            RackscanError: where this or an earlier block could not be written.
        """
        while len(self._writing) >= IN_FLIGHT:
            self._wait(next(iter(self._writing)))
        target = self._arrays[level][self._region(level, row, col, z)]
        h, w = target.shape[-2:]
        self._writing[level, z, row, col] = target.write(
            block[:, :h, :w], can_reference_source_data_indefinitely=True
        )

    def written(self) -> list[Key]:
        """(level, z, row, col) of the blocks that have reached the disk since the last call, in order of writing.

        Raises:
            RackscanError: where one could not be written.
        """
        for key in [key for key, future in self._writing.items() if future.done()]:
            self._wait(key)
        written, self._written = self._written, []
        return written

    def flush(self) -> None:
        """Wait until every block is on disk.

        Raises:
            RackscanError: where one could not be written.
        """
        while self._writing:
            self._wait(next(iter(self._writing)))

    def abandon(self) -> None:
        """Wait for what is being written, whatever comes of it: only then can the image's folder be removed."""
        while self._writing:
            with suppress(RackscanError):
                self._wait(next(iter(self._writing)))

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
        if (level, z, row, col) in self._writing:
            self._wait((level, z, row, col))
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

    def complete(self, facts: Mapping[str, Json]) -> None:
        """Everything is written: wait for it, then say ``complete: true`` with some facts, by one rename."""
        self.flush()
        group = _read_json(self.path / "zarr.json")
        group["attributes"]["rackscan"] |= {**facts, "complete": True}
        write_atomic(self.path / "zarr.json", json.dumps(group, indent=1))

    def sweep(self) -> int:
        """Remove what a killed writer left behind; the number of files. Not while another process writes."""
        left = [f for f in self.path.rglob("*") if f.name.endswith(".__lock") or is_temporary(f)]
        for file in left:
            file.unlink()
        return len(left)

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

    def _wait(self, key: Key) -> None:
        try:
            self._writing.pop(key).result(timeout=DEADLINE_S)
        except (ValueError, OSError, TimeoutError) as error:
            level, _, row, col = key
            where = f"{self.path}: block {row},{col} of level {level}"
            raise RackscanError(
                f"{where} could not be written: {error}. Make room and resume the run"
            ) from error
        self._written.append(key)


def refuse_newer(path: Path, version: object) -> None:
    """Whatever a newer rackscan wrote may mean something else: it is not opened at all.

    Raises:
        BadInput: ``version``, as the image says it, is not one that is known here.
    """
    if not isinstance(version, int) or version > VERSION:
        what = f"was written by a newer rackscan (image version {version}, this one knows {VERSION})"
        raise BadInput.one(what, "open it with that rackscan", file=str(path))


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
