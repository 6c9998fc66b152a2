"""Which pixels make each block of the mosaic, and when can none of them change any more?

It keeps no pixels: a block is drawn once, when all its cells are settled, from tiles fetched for it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.model.tile import Pixels
from scanner.pipeline.lattice import Box, Cell, Lattice, hull
from scanner.pipeline.placement import Placed

AROUND = ((0, -1), (0, 1), (-1, 0), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))

BlockId: TypeAlias = tuple[int, int]
Fetch: TypeAlias = Callable[[int], Pixels]
Cut: TypeAlias = Callable[[int, slice, slice], Pixels]
"""Some rows and columns of a tile: what lies on disk need not be read and corrected whole for a corner of it."""
Gain: TypeAlias = Callable[[int], "tuple[float, ...] | None"]
"""What each channel of a tile is multiplied with as it is drawn; None leaves the tile as it is."""
Strokes: TypeAlias = "list[tuple[Placed, list[Box]]]"
"""Which tile shows which boxes (mosaic px) of a block."""
Sheet: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]
"""(channels, side, side) of a block, pixel by pixel in memory, as cameras give them."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """The image as declared before the scan: size in px, 1 or 3 channels, uint8 or uint16."""

    width_px: int
    height_px: int
    channels: int
    dtype: np.dtype[np.uint8] | np.dtype[np.uint16]
    block_px: int = 2048

    @property
    def box(self) -> Box:
        """All of its pixels."""
        return Box(0, 0, self.width_px, self.height_px)

    @property
    def fill(self) -> int:
        """What a pixel is that no tile shows: white."""
        return int(np.iinfo(self.dtype).max)

    @property
    def blocks(self) -> tuple[int, int]:
        """(rows, columns) of blocks."""
        return -(-self.height_px // self.block_px), -(-self.width_px // self.block_px)

    def blocks_over(self, box: Box) -> Iterator[BlockId]:
        """Every block that holds a pixel of ``box``, row by row."""
        inside = box.cut(self.box)
        if inside.empty:
            return
        side = self.block_px
        for row in range(inside.y0 // side, (inside.y1 - 1) // side + 1):
            for col in range(inside.x0 // side, (inside.x1 - 1) // side + 1):
                yield row, col

    def block_box(self, block: BlockId) -> Box:
        """The pixels of a block that lie on the canvas."""
        y, x = block[0] * self.block_px, block[1] * self.block_px
        return Box(x, y, x + self.block_px, y + self.block_px).cut(self.box)


class Mosaic:
    """A fold over placed tiles. A cell of the lattice is pending until it is placed or void.

    A block is finished when no cell that could show in it is pending; what it shows does not depend on the order.
    """

    def __init__(self, canvas: Canvas, lattice: Lattice) -> None:
        self._canvas = canvas
        self._lattice = lattice
        self._settled: dict[Cell, Placed | None] = {}
        self._held: dict[Cell, Placed] = {}
        self._owners: dict[BlockId, dict[Cell, list[Box]]] = {}
        self._finished: set[BlockId] = set()
        self._kept: dict[int, list[BlockId]] = {}
        self._sheet: Pixels | None = None

    def place(self, placed: Placed, hold: bool = False) -> list[BlockId]:
        """A tile's final place; the blocks finished by it. ``hold``: its retake is still to come."""
        cell = (placed.row, placed.col)
        self._kept[placed.tile] = list(self._canvas.blocks_over(self._reach(placed)))
        if hold:
            self._held[cell] = placed
            return []
        self._held.pop(cell, None)
        self._settled[cell] = placed
        return self._check(self._blocks_near(cell))

    def void(self, cells: Iterable[Cell]) -> list[BlockId]:
        """Cells that will never show a tile of their own: outside the plans, skipped, failed."""
        near: set[BlockId] = set()
        for cell in cells:
            if cell not in self._settled:
                self._settled[cell] = None
                near.update(self._blocks_near(cell))
        return self._check(near)

    def settle(self) -> list[BlockId]:
        """No tile will follow: held tiles stay as they are, all other cells are void, every block is finished."""
        self._settled |= self._held
        self._held = {}
        rows, cols = self._canvas.blocks
        open_blocks = {(row, col) for row in range(rows) for col in range(cols)} - self._finished
        for block in open_blocks:
            for cell in self._cells(block):
                for near in [cell, *_around(cell)]:
                    self._settled.setdefault(near, None)
        return self._check(open_blocks)

    def draw(self, block: BlockId, pixels: Fetch) -> Sheet | None:
        """(channels, 2048, 2048) of a finished block, or None where no tile shows in it; the next is drawn over it.

        ``pixels`` gives a tile's upright, corrected pixels, (h, w) or (h, w, 3).
        """
        return self.paint(block, self.strokes(block), lambda tile, rows, cols: pixels(tile)[rows, cols])

    def strokes(self, block: BlockId) -> Strokes:
        """Which tiles show where in a finished block; it is asked for once, whatever is painted by it."""
        return list(self._strokes(block))

    def paint(self, block: BlockId, strokes: Strokes, cut: Cut, gain: Gain | None = None) -> Sheet | None:
        """As ``draw``, of what ``strokes`` said of this block and parts of tiles, each in its own light."""
        if not strokes:
            return None
        sheet, corner = self._clean_sheet(strokes), self._canvas.block_box(block)
        for placed, boxes in strokes:
            light = gain(placed.tile) if gain else None
            _paint(sheet, corner, partial(cut, placed.tile), placed, boxes, light)
        return sheet.transpose(2, 0, 1)

    def _clean_sheet(self, strokes: Strokes) -> Pixels:
        """The one sheet that every block is drawn on: fresh memory costs more than the drawing."""
        side = self._canvas.block_px
        if self._sheet is None:
            self._sheet = np.empty((side, side, self._canvas.channels), self._canvas.dtype)
        if sum(box.area for _, boxes in strokes for box in boxes) < side * side:
            self._sheet.fill(self._canvas.fill)
        return self._sheet

    def unneeded(self) -> list[int]:
        """Tiles that no unfinished block can show; each is told once."""
        gone = [tile for tile, blocks in self._kept.items() if self._finished.issuperset(blocks)]
        for tile in gone:
            del self._kept[tile]
        return gone

    def _reach(self, placed: Placed) -> Box:
        """The mosaic pixels that a tile shows whole."""
        h, w = self._lattice.tile_px
        x, y = placed.x_px, placed.y_px
        right, bottom = int(np.floor(x + w - 1)) + 1, int(np.floor(y + h - 1)) + 1
        return Box(int(np.ceil(x)), int(np.ceil(y)), right, bottom)

    def _blocks_near(self, cell: Cell) -> list[BlockId]:
        """Blocks that a cell or one of its neighbours can own pixels of."""
        h, w = self._lattice.tile_px
        corners = [self._lattice.nominal(*near) for near in [cell, *_around(cell)]]
        x, y = min(p.x for p in corners), min(p.y for p in corners)
        right, bottom = max(p.x for p in corners) + w, max(p.y for p in corners) + h
        return list(self._canvas.blocks_over(Box(int(x) - 1, int(y) - 1, int(right) + 1, int(bottom) + 1)))

    def _check(self, blocks: Iterable[BlockId]) -> list[BlockId]:
        ready = [b for b in sorted(set(blocks) - self._finished) if self._is_ready(b)]
        self._finished.update(ready)
        return ready

    def _is_ready(self, block: BlockId) -> bool:
        owners = self._cells(block)
        if any(cell not in self._settled for cell in owners):
            return False
        return all(
            near in self._settled
            for cell, boxes in owners.items()
            if self._shows_gaps(cell, boxes)
            for near in _around(cell)
        )

    def _shows_gaps(self, cell: Cell, boxes: list[Box]) -> bool:
        placed = self._settled[cell]
        return placed is None or bool(_split(boxes, self._reach(placed))[1])

    def _cells(self, block: BlockId) -> dict[Cell, list[Box]]:
        """The cells that own pixels of a block, and which."""
        if block not in self._owners:
            box = self._canvas.block_box(block)
            owned = {cell: self._lattice.owned(cell, box) for cell in self._lattice.cells_over(box)}
            self._owners[block] = {cell: boxes for cell, boxes in owned.items() if boxes}
        return self._owners[block]

    def _strokes(self, block: BlockId) -> Iterator[tuple[Placed, list[Box]]]:
        """Which tile shows which boxes of a block: the owner, else its nearest neighbour that reaches."""
        for cell, boxes in self._cells(block).items():
            left = boxes
            for source in [cell, *_around(cell)]:
                placed = self._settled.get(source)
                if placed is None or not left:
                    continue
                shown, left = _split(left, self._reach(placed))
                if shown:
                    yield placed, shown
        del self._owners[block]


_Part: TypeAlias = Callable[[slice, slice], Pixels]


def _around(cell: Cell) -> list[Cell]:
    return [(cell[0] + down, cell[1] + right) for down, right in AROUND]


def _split(boxes: list[Box], reach: Box) -> tuple[list[Box], list[Box]]:
    """The parts of some boxes inside and outside of ``reach``."""
    inside = [cut for box in boxes if not (cut := box.cut(reach)).empty]
    return inside, [rest for box in boxes for rest in box.without(reach)]


def _paint(
    sheet: Pixels, corner: Box, tile: _Part, placed: Placed, boxes: list[Box], gain: tuple[float, ...] | None
) -> None:
    """Draw a tile's boxes (mosaic px) on a block's sheet (2048, 2048, channels)."""
    whole = hull(boxes)
    patch = _sample(tile, whole.x0 - placed.x_px, whole.y0 - placed.y_px, whole, gain)
    for box in boxes:
        rows = slice(box.y0 - corner.y0, box.y1 - corner.y0)
        part = patch[box.y0 - whole.y0 : box.y1 - whole.y0, box.x0 - whole.x0 : box.x1 - whole.x0]
        sheet[rows, box.x0 - corner.x0 : box.x1 - corner.x0] = part


def _sample(tile: _Part, x: float, y: float, size: Box, gain: tuple[float, ...] | None = None) -> Pixels:
    """As many pixels as ``size`` of a tile from place (x, y) of it, which may lie between pixels: (h, w, channels).

    Cubic convolution (Keys, IEEE TASSP 1981, a = -1/2), separable: between pixels linear weights would blur.
    """
    h, w = size.y1 - size.y0, size.x1 - size.x0
    (x_at, x_part), (y_at, y_part) = ((int(np.floor(v)), float(v - np.floor(v))) for v in (x, y))
    top, left = max(0, y_at - 1), max(0, x_at - 1)
    near = tile(slice(top, y_at + h + 2), slice(left, x_at + w + 2))
    if gain is not None:
        near = _between_lit(near, x_part, y_part, gain)
    elif x_part or y_part:
        near = _between(near, x_part, y_part)
    patch = near[y_at - top : y_at - top + h, x_at - left : x_at - left + w]
    return patch if patch.ndim == 3 else patch[..., None]


def _between(pixels: Pixels, x_part: float, y_part: float) -> Pixels:
    kernels = _keys(x_part), _keys(y_part)
    moved = cv2.sepFilter2D(pixels, -1, *kernels, anchor=(1, 1), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8) if pixels.dtype == np.uint8 else np.asarray(moved, np.uint16)


def _between_lit(pixels: Pixels, x_part: float, y_part: float, gain: tuple[float, ...]) -> Pixels:
    """As ``_between``, in its own light: what lies between pixels stays unrounded until it is lit."""
    kernels = _keys(x_part), _keys(y_part)
    moved = cv2.sepFilter2D(pixels, cv2.CV_32F, *kernels, anchor=(1, 1), borderType=cv2.BORDER_REPLICATE)
    light = np.array([*gain, *(0.0,) * (4 - len(gain))])
    if pixels.dtype == np.uint8:
        return np.asarray(cv2.multiply(moved, light, dtype=cv2.CV_8U), np.uint8)
    return np.asarray(cv2.multiply(moved, light, dtype=cv2.CV_16U), np.uint16)


def _keys(part: float) -> NDArray[np.float32]:
    """Weights of the pixels at -1, 0, 1, 2 for a place ``part`` after pixel 0."""
    t = np.array([1 + part, part, 1 - part, 2 - part])
    near = 1.5 * t**3 - 2.5 * t**2 + 1
    far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return np.where(t <= 1, near, far).astype(np.float32)
