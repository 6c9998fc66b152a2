"""How does every level of the image follow from finished level-0 blocks, each block made once, while the scan runs?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, cast

import cv2
import numpy as np
from numpy.typing import NDArray

Block: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]
Shown: TypeAlias = Block | Literal["stored"] | None
BlockId: TypeAlias = tuple[int, int]


class Stored(Protocol):
    """What was written already, of this run or of the one that it resumes."""

    def has(self, level: int, row: int, col: int) -> bool:
        """Is this block finally written?"""
        ...

    def block(self, level: int, row: int, col: int) -> Block:
        """(channels, side, side) of a written block, white beyond the canvas."""
        ...


@dataclass(frozen=True, slots=True)
class LevelBlock:
    """A finished block (channels, side, side) of a level, ready to be stored; good until the next one is added."""

    level: int
    row: int
    col: int
    pixels: Block


@dataclass(slots=True)
class _Parent:
    """A block under construction: children still to come, its pixels so far, children to be read back for it."""

    waiting: int
    pixels: Block | None = None
    drawn: set[BlockId] = field(default_factory=set)
    unread: set[BlockId] = field(default_factory=set)


class Pyramid:
    """A fold over level-0 blocks in any order; a parent is finished when its existing children are.

    Each level is the 2 × 2 mean of the one below, rounded half up. Memory is bounded by the width of the canvas: a
    parent that waits longer than a row of blocks is drawn again from its stored children.
    """

    def __init__(
        self,
        sizes: Sequence[tuple[int, int]],
        block_px: int,
        fill: float,
        stored: Stored,
        carried: int | None = None,
    ) -> None:
        """``sizes`` are (w, h) of every level in px, largest first; ``carried`` parents keep their pixels in memory."""
        self._sizes = tuple(sizes)
        self._block_px = block_px
        self._fill = fill
        self._stored = stored
        self._parents: dict[tuple[int, int, int], _Parent] = {}
        self._spare: list[Block] = []  # fresh memory costs as much as halving a block into it
        self._given: list[Block] = []
        self._carry = carried or self._blocks(0)[1] // 2 + 3

    def add(self, row: int, col: int, pixels: Shown) -> Iterator[LevelBlock]:
        """A finished level-0 block: its pixels, None where no tile shows, or "stored" where it was written before.

        Yields it where it has pixels, and every parent that it finishes and that is not stored yet.
        """
        self._spare += self._given
        self._given = []
        for level in range(len(self._sizes)):
            if isinstance(pixels, np.ndarray):
                yield LevelBlock(level, row, col, pixels)
            parent = self._take_in(level, row, col, pixels)
            if parent is None:
                return
            row, col = row // 2, col // 2
            pixels = self._finish(level + 1, row, col, parent)

    def _take_in(self, level: int, row: int, col: int, pixels: Shown) -> _Parent | None:
        """Count a child in; its parent where that is finished by it."""
        key = (level + 1, row // 2, col // 2)
        if not self._exists(*key):
            return None
        parent = self._parents.pop(key, None) or _Parent(self._children(*key))
        parent.waiting -= 1
        if isinstance(pixels, np.ndarray):
            self._draw(parent, row, col, pixels)
        elif pixels is not None:
            parent.unread.add((row, col))
        if not parent.waiting:
            return parent
        self._parents[key] = parent
        self._shed()
        return None

    def _finish(self, level: int, row: int, col: int, parent: _Parent) -> Shown:
        if self._stored.has(level, row, col):
            return "stored"
        for child in sorted(parent.unread):
            self._draw(parent, *child, self._stored.block(level - 1, *child))
        self._given += [] if parent.pixels is None else [parent.pixels]
        return parent.pixels

    def _draw(self, parent: _Parent, row: int, col: int, child: Block) -> None:
        """Half of the child's pixels into its quadrant."""
        half = self._block_px // 2
        if parent.pixels is None:
            parent.pixels = self._white(child)
        y, x = (row % 2) * half, (col % 2) * half
        halved = cv2.resize(_by_pixel(child), (half, half), interpolation=cv2.INTER_AREA)
        _by_pixel(parent.pixels)[y : y + half, x : x + half] = halved.reshape(half, half, -1)
        parent.drawn.add((row, col))

    def _white(self, like: Block) -> Block:
        """(channels, side, side), pixel by pixel in memory."""
        if self._spare:
            block = self._spare.pop()
            block.fill(self._fill)
            return block
        fresh = np.full((*like.shape[1:], like.shape[0]), self._fill, like.dtype)
        return cast(Block, fresh.transpose(2, 0, 1))

    def _shed(self) -> None:
        """Drop the pixels of the parents that waited longest; they are read back when their last child comes."""
        drawn = [parent for parent in self._parents.values() if parent.pixels is not None]
        for parent in drawn[: -self._carry]:
            parent.unread |= parent.drawn
            parent.drawn = set()
            self._spare += [] if parent.pixels is None else [parent.pixels]
            parent.pixels = None

    def _exists(self, level: int, row: int, col: int) -> bool:
        if level >= len(self._sizes):
            return False
        rows, cols = self._blocks(level)
        return row < rows and col < cols

    def _children(self, level: int, row: int, col: int) -> int:
        rows, cols = self._blocks(level - 1)
        return min(2, rows - 2 * row) * min(2, cols - 2 * col)

    def _blocks(self, level: int) -> tuple[int, int]:
        w, h = self._sizes[level]
        return -(-h // self._block_px), -(-w // self._block_px)


def _by_pixel(block: Block) -> Block:
    """(side, side, channels) of a block."""
    return block.transpose(1, 2, 0)
