"""How does every level of the image follow from finished level-0 blocks, each byte encoded once, while the scan runs?

What a block says of the levels above it goes there at once, in parts, each encoded as soon as its pixels are final.
Only what is smaller than the least that can be encoded waits as pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.storage.ngff import CHUNK_PX

Block: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]
Shown: TypeAlias = Block | Literal["stored"] | None
BlockId: TypeAlias = tuple[int, int, int]
"""Level, row, column."""


class Store(Protocol):
    """Where blocks go, and what was written already, of this run or of the one that it resumes."""

    def has(self, level: int, row: int, col: int) -> bool:
        """Is this block finally written?"""
        ...

    def read(self, level: int, y: int, x: int, h: int, w: int) -> Block:
        """(channels, h, w) of what is written, white beyond the canvas."""
        ...

    def write(self, level: int, row: int, col: int, block: Block) -> None:
        """A whole block."""
        ...

    def write_part(self, level: int, row: int, col: int, y: int, x: int, part: Block) -> None:
        """A part (channels, h, w) of a block, at (y, x) px of it."""
        ...

    def finish(self, level: int, row: int, col: int) -> None:
        """A block has all its parts; what none of them shows is white."""
        ...


@dataclass(slots=True)
class _Block:
    """A block of which some parts came: how many are still to come, and whether any of them showed anything."""

    waiting: int
    drawn: bool = False


@dataclass(slots=True)
class _Part:
    """A part of which some quadrants came: how many are still to come, and (side, side, channels) of those there."""

    waiting: int
    quadrants: dict[tuple[int, int], Block] = field(default_factory=dict)


class Pyramid:
    """A fold over level-0 blocks in any order; a block above is finished when those below it are.

    Each level is the 2 × 2 mean of the one below, rounded half up. A part is what one level-0 block shows of a level,
    but never less than a chunk: then it is put together from four parts of the level below.
    """

    def __init__(
        self,
        sizes: Sequence[tuple[int, int]],
        block_px: int,
        fill: float,
        store: Store,
        chunk_px: int = CHUNK_PX,
    ) -> None:
        """``sizes`` are (w, h) of every level in px, largest first; what is encoded alone is ``chunk_px`` wide."""
        self._sizes = tuple(sizes)
        self._block_px = block_px
        self._chunk_px = min(chunk_px, block_px)
        self._fill = fill
        self._store = store
        self._blocks: dict[BlockId, _Block] = {}
        self._parts: dict[BlockId, _Part] = {}
        self._sheets: dict[int, Block] = {}  # fresh memory costs as much as halving a block into it

    def add(self, row: int, col: int, pixels: Shown) -> list[BlockId]:
        """A finished level-0 block: its pixels, None where no tile shows, or "stored" where it was written before.

        Writes it where it has pixels, and whatever it finishes; returns the blocks that are written now.
        """
        written: list[BlockId] = []
        for level in range(len(self._sizes)):
            written += self._take_in(level, row, col, pixels)
            above = self._above(level, row, col, pixels)
            if above is None:
                break
            row, col, pixels = above
        return written

    def _take_in(self, level: int, row: int, col: int, pixels: Shown) -> list[BlockId]:
        """A part's pixels into its block; the block where that is finished by it."""
        count = self._block_px // self._side(level)
        block = level, row // count, col // count
        if isinstance(pixels, str) or self._store.has(*block):
            return []
        if count == 1:
            if pixels is not None:
                self._store.write(*block, pixels)
            return [] if pixels is None else [block]
        rows, cols = self._grid(level)
        expected = min(count, rows - count * block[1]) * min(count, cols - count * block[2])
        found = self._blocks.setdefault(block, _Block(expected))
        found.waiting -= 1
        if pixels is not None:
            side = self._side(level)
            self._store.write_part(*block, row % count * side, col % count * side, pixels)
            found.drawn = True
        if found.waiting:
            return []
        del self._blocks[block]
        if found.drawn:
            self._store.finish(*block)
        return [block] if found.drawn else []

    def _above(self, level: int, row: int, col: int, pixels: Shown) -> tuple[int, int, Shown] | None:
        """The part of the level above that a part finishes, with its pixels; None where it finishes none."""
        step = 2 * self._side(level + 1) // self._side(level)  # 1: the same part, halved; 2: four become one
        key = level + 1, row // step, col // step
        if not self._exists(*key):
            return None
        if isinstance(pixels, str) and not self._is_stored(*key):
            side = self._side(level)
            pixels = self._store.read(level, row * side, col * side, side, side)
        if step == 1:
            return row, col, self._halved(pixels) if isinstance(pixels, np.ndarray) else pixels
        rows, cols = self._grid(level)
        expected = min(2, rows - 2 * key[1]) * min(2, cols - 2 * key[2])
        part = self._parts.setdefault(key, _Part(expected))
        part.waiting -= 1
        if isinstance(pixels, np.ndarray):
            part.quadrants[row % 2, col % 2] = _halved(pixels, None)
        if part.waiting:
            return None
        del self._parts[key]
        return key[1], key[2], "stored" if self._is_stored(*key) else self._joined(part.quadrants)

    def _halved(self, pixels: Block) -> Block:
        """Good until the next of its size."""
        side = pixels.shape[1] // 2
        return _by_channel(_halved(pixels, self._sheet(side, len(pixels), pixels.dtype)))

    def _joined(self, quadrants: "dict[tuple[int, int], Block]") -> Block | None:
        """A part put together, None of nothing; good until the next of its size."""
        if not quadrants:
            return None
        (half, _, channels), dtype = (first := next(iter(quadrants.values()))).shape, first.dtype
        sheet = self._sheet(2 * half, channels, dtype)
        if len(quadrants) < 4:
            sheet.fill(self._fill)
        for (down, right), quadrant in quadrants.items():
            sheet[down * half : (down + 1) * half, right * half : (right + 1) * half] = quadrant
        return _by_channel(sheet)

    def _sheet(self, side: int, channels: int, dtype: "np.dtype[Any]") -> Block:
        """(side, side, channels) to put a part on."""
        if side not in self._sheets:
            self._sheets[side] = np.empty((side, side, channels), dtype)
        return self._sheets[side]

    def _is_stored(self, level: int, row: int, col: int) -> bool:
        """Is the block written that a part belongs to?"""
        count = self._block_px // self._side(level)
        return self._store.has(level, row // count, col // count)

    def _exists(self, level: int, row: int, col: int) -> bool:
        if level >= len(self._sizes):
            return False
        rows, cols = self._grid(level)
        return row < rows and col < cols

    def _side(self, level: int) -> int:
        """The side of a part, px."""
        return max(self._chunk_px, self._block_px >> level)

    def _grid(self, level: int) -> tuple[int, int]:
        """(rows, columns) of parts."""
        (w, h), side = self._sizes[level], self._side(level)
        return -(-h // side), -(-w // side)


def _halved(block: Block, into: Block | None) -> Block:
    """(side / 2, side / 2, channels) of a block (channels, side, side), in memory that is given or in fresh one."""
    channels, side = len(block), block.shape[1] // 2
    half = np.empty((side, side, channels), block.dtype) if into is None else into
    target = half if channels > 1 else half[..., 0]
    cv2.resize(block.transpose(1, 2, 0), (side, side), dst=target, interpolation=cv2.INTER_AREA)
    return cast(Block, half)


def _by_channel(pixels: Block) -> Block:
    """(channels, side, side) of pixels (side, side, channels)."""
    return pixels.transpose(2, 0, 1)
