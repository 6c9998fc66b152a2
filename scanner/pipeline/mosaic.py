"""Which pixels make each block of the mosaic, and when can none of them change any more?

It keeps no pixels: a block is drawn once, when all its cells are settled, from tiles fetched for it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scanner.model.geometry import Point
from scanner.model.tile import FocusState, Pixels
from scanner.pipeline.feather import FADE_PX, Fade, Fits, blend, fades
from scanner.pipeline.lattice import Box, Cell, Lattice, hull
from scanner.pipeline.placement import Placed
from scanner.pipeline.sampling import Part, sample

SHEETS = 3  # one is painted, one waits, one is being stored
AROUND = ((0, -1), (0, 1), (-1, 0), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))

BlockId: TypeAlias = tuple[int, int]
Fetch: TypeAlias = Callable[[int], Pixels]
Cut: TypeAlias = Callable[[int, slice, slice], Pixels]
"""Some rows and columns of a tile: what lies on disk need not be read and corrected whole for a corner of it."""
Gain: TypeAlias = Callable[[int], "tuple[float, ...] | None"]
"""What each channel of a tile is multiplied with as it is drawn; None leaves the tile as it is."""
Sheet: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]
"""(channels, side, side) of a block, pixel by pixel in memory, as cameras give them."""


@dataclass(frozen=True, slots=True)
class Stroke:
    """A tile, the boxes (mosaic px) of a block that it shows, and where it fades into its neighbours' boxes."""

    placed: Placed
    boxes: list[Box]
    fades: list[Fade] = field(default_factory=list)


ShownAt: TypeAlias = Callable[[NDArray[np.float64]], NDArray[np.int64]]
"""(n,) the tile that each of (n, 2) x, y (mosaic px) shows; -1 where none does."""
Strokes: TypeAlias = list[Stroke]
"""What a block shows."""


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
    A cell shows its own pixels, but where a sharper neighbour reaches into them. Borders between tiles that ``fits``
    says of are faded, the others are hard.
    """

    def __init__(self, canvas: Canvas, lattice: Lattice, fits: Fits | None = None) -> None:
        self._canvas = canvas
        self._lattice = lattice
        self._fits = fits
        self._blur: dict[Cell, int] = {}
        self._settled: dict[Cell, Placed | None] = {}
        self._held: dict[Cell, Placed] = {}
        self._owners: dict[BlockId, dict[Cell, list[Box]]] = {}
        self._finished: set[BlockId] = set()
        self._kept: dict[int, list[BlockId]] = {}
        self._drawing: list[Pixels] = []

    def place(
        self, placed: Placed, hold: bool = False, focus: FocusState = FocusState.SHARP
    ) -> list[BlockId]:
        """A tile's final place; the blocks finished by it. ``hold``: its retake is still to come."""
        cell = (placed.row, placed.col)
        self._blur[cell] = focus.blur
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

    def shown_at(self, places_px: NDArray[np.float64]) -> NDArray[np.int64]:
        """See ``ShownAt``; a place near a border belongs to the side that it lies on."""
        pixel = np.floor(places_px)
        found = np.full(len(pixel), -1, np.int64)
        cells, which = np.unique(self._lattice.nearest(pixel + 0.5), axis=0, return_inverse=True)
        for number, (row, col) in enumerate(cells.tolist()):
            left = np.flatnonzero(which.reshape(-1) == number)
            for source in self._sources((row, col)):
                if (placed := self._settled.get(source)) is not None:
                    inside = self._reach(placed).holds(pixel[left])
                    found[left[inside]], left = placed.tile, left[~inside]
        return found

    def draw(self, block: BlockId, pixels: Fetch) -> Sheet | None:
        """(channels, 2048, 2048) of a finished block, None where no tile shows in it; the third after it overwrites it.

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
        fading: list[tuple[Fade, Pixels]] = []
        for stroke in strokes:
            tile = stroke.placed.tile
            fading += _paint(sheet, corner, partial(cut, tile), stroke, gain(tile) if gain else None)
        for fade, patch in fading:
            blend(_within(sheet, corner, fade.box), patch, fade)
        return sheet.transpose(2, 0, 1)

    def _clean_sheet(self, strokes: Strokes) -> Pixels:
        """The sheets that blocks are drawn on in turn: fresh memory costs more than the drawing."""
        side = self._canvas.block_px
        if len(self._drawing) < SHEETS:
            sheet = np.empty((side, side, self._canvas.channels), self._canvas.dtype)
        else:
            sheet = self._drawing.pop(0)
        self._drawing.append(sheet)
        if sum(box.area for stroke in strokes for box in stroke.boxes) < side * side:
            sheet.fill(self._canvas.fill)
        return sheet

    def unneeded(self) -> list[int]:
        """Tiles that no unfinished block can show; each is told once."""
        gone = [tile for tile, blocks in self._kept.items() if self._finished.issuperset(blocks)]
        for tile in gone:
            del self._kept[tile]
        return gone

    def _reach(self, placed: Placed) -> Box:
        return self._lattice.reach(Point(placed.x_px, placed.y_px))

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
            if self._needs_others(cell, boxes)
            for near in _around(cell)
        )

    def _needs_others(self, cell: Cell, boxes: list[Box]) -> bool:
        """Does it not reach all of its pixels, or could a neighbour show some of them sharper?"""
        placed = self._settled[cell]
        if placed is None or self._blur[cell]:
            return True
        return bool(_split(boxes, self._reach(placed))[1])

    def _cells(self, block: BlockId) -> dict[Cell, list[Box]]:
        """The cells that own pixels of a block, and which; with those from beyond it that fade into it."""
        if block not in self._owners:
            box = self._canvas.block_box(block)
            if self._fits is not None:
                box = box.grown(FADE_PX).cut(self._canvas.box)
            owned = {cell: self._lattice.owned(cell, box) for cell in self._lattice.cells_over(box)}
            self._owners[block] = {cell: boxes for cell, boxes in owned.items() if boxes}
        return self._owners[block]

    def _strokes(self, block: BlockId) -> Iterator[Stroke]:
        """What every cell of a block shows: the sharpest that reaches, of equals its own tile."""
        inside = self._canvas.block_box(block)
        own: dict[Cell, tuple[Placed, list[Box]]] = {}
        for cell, boxes in self._cells(block).items():
            for source, placed, shown in self._shown(cell, boxes):
                if source == cell:
                    own[cell] = placed, shown
                elif within := _inside(shown, inside):
                    yield Stroke(placed, within)
        fading = self._fading(own, inside)
        for cell, (placed, shown) in own.items():
            stroke = Stroke(placed, _inside(shown, inside), fading[cell])
            if stroke.boxes or stroke.fades:
                yield stroke
        del self._owners[block]

    def _shown(self, cell: Cell, boxes: list[Box]) -> Iterator[tuple[Cell, Placed, list[Box]]]:
        """Whose tile shows which of a cell's pixels."""
        left = boxes
        for source in self._sources(cell):
            placed = self._settled.get(source)
            if placed is None or not left:
                continue
            shown, left = _split(left, self._reach(placed))
            if shown:
                yield source, placed, shown

    def _sources(self, cell: Cell) -> list[Cell]:
        """Itself and its neighbours, the sharpest first, the nearest of those as sharp."""
        return sorted([cell, *_around(cell)], key=lambda near: self._blur.get(near, 0))

    def _fading(self, own: dict[Cell, tuple[Placed, list[Box]]], inside: Box) -> dict[Cell, list[Fade]]:
        """How the tiles of cells fade into neighbours that they fit, in one block."""
        fading: dict[Cell, list[Fade]] = {cell: [] for cell in own}
        for (row, col), (placed, mine) in own.items():
            for near in ((row, col + 1), (row + 1, col)):
                if self._fits is None or near not in own or not self._fits(placed, own[near][0]):
                    continue
                found = fades(mine, own[near][1], near[0] == row)
                for cell, fade in zip(((row, col), near), found or (), strict=False):
                    if cut := fade.cut(self._reach(own[cell][0]).cut(inside)):
                        fading[cell].append(cut)
        return fading


def _around(cell: Cell) -> list[Cell]:
    return [(cell[0] + down, cell[1] + right) for down, right in AROUND]


def _split(boxes: list[Box], reach: Box) -> tuple[list[Box], list[Box]]:
    """The parts of some boxes inside and outside of ``reach``."""
    return _inside(boxes, reach), [rest for box in boxes for rest in box.without(reach)]


def _inside(boxes: list[Box], reach: Box) -> list[Box]:
    return [cut for box in boxes if not (cut := box.cut(reach)).empty]


def _paint(
    sheet: Pixels, corner: Box, tile: Part, stroke: Stroke, gain: tuple[float, ...] | None
) -> list[tuple[Fade, Pixels]]:
    """Draw a tile's boxes on a block's sheet (2048, 2048, channels); what of it fades is for later."""
    placed = stroke.placed
    whole = hull([*stroke.boxes, *(fade.box for fade in stroke.fades)])
    patch = sample(tile, whole.x0 - placed.x_px, whole.y0 - placed.y_px, whole, gain)
    for box in stroke.boxes:
        _within(sheet, corner, box)[...] = _within(patch, whole, box)
    return [(fade, _within(patch, whole, fade.box).copy()) for fade in stroke.fades]


def _within(pixels: Pixels, corner: Box, box: Box) -> Pixels:
    """The pixels of a box, of a picture whose top-left is that of ``corner``."""
    return pixels[box.y0 - corner.y0 : box.y1 - corner.y0, box.x0 - corner.x0 : box.x1 - corner.x0]
