"""Which tile owns a pixel of the mosaic? The one whose nominal place is nearest, known before the scan."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scanner.model.geometry import Point

Cell: TypeAlias = tuple[int, int]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Box:
    """Whole pixels, ``x0 <= x < x1`` and ``y0 <= y < y1``; empty where an end is not beyond its start."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def empty(self) -> bool:
        """Does it hold no pixel?"""
        return self.x1 <= self.x0 or self.y1 <= self.y0

    @property
    def area(self) -> int:
        """How many pixels it holds."""
        return 0 if self.empty else (self.x1 - self.x0) * (self.y1 - self.y0)

    def cut(self, other: "Box") -> "Box":
        """What both share."""
        x0, y0 = max(self.x0, other.x0), max(self.y0, other.y0)
        return Box(x0, y0, min(self.x1, other.x1), min(self.y1, other.y1))

    def grown(self, by_px: int) -> "Box":
        """With a rim all around."""
        return Box(self.x0 - by_px, self.y0 - by_px, self.x1 + by_px, self.y1 + by_px)

    def holds(self, pixels: FloatArray) -> NDArray[np.bool_]:
        """(n,) which of (n, 2) x, y it holds."""
        return np.asarray(((pixels >= (self.x0, self.y0)) & (pixels < (self.x1, self.y1))).all(axis=1))

    def swapped(self) -> "Box":
        """With x and y exchanged."""
        return Box(self.y0, self.x0, self.y1, self.x1)

    def without(self, other: "Box") -> "list[Box]":
        """The rest of this box beside ``other``, as up to four boxes that share no pixel."""
        hole = self.cut(other)
        if hole.empty:
            return [self]
        rest = [
            Box(self.x0, self.y0, self.x1, hole.y0),
            Box(self.x0, hole.y0, hole.x0, hole.y1),
            Box(hole.x1, hole.y0, self.x1, hole.y1),
            Box(self.x0, hole.y1, self.x1, self.y1),
        ]
        return [box for box in rest if not box.empty]


def hull(boxes: Iterable[Box]) -> Box:
    """The smallest box around some boxes."""
    found = list(boxes)
    x0, y0 = min(b.x0 for b in found), min(b.y0 for b in found)
    return Box(x0, y0, max(b.x1 for b in found), max(b.y1 for b in found))


def meeting(first: Sequence[Box], second: Sequence[Box]) -> tuple[IntArray, IntArray]:
    """The lines y in which all of ``first`` ends where ``second`` begins, and those x; both may hold many boxes."""
    if not first or not second:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    whole = hull([*first, *second])
    ends = np.full(whole.y1 - whole.y0, whole.x0 - 1)
    begins = np.full(whole.y1 - whole.y0, whole.x1 + 1)
    for box in first:
        rows = slice(box.y0 - whole.y0, box.y1 - whole.y0)
        ends[rows] = np.maximum(ends[rows], box.x1)
    for box in second:
        rows = slice(box.y0 - whole.y0, box.y1 - whole.y0)
        begins[rows] = np.minimum(begins[rows], box.x0)
    lines = np.flatnonzero(ends == begins)
    return lines + whole.y0, ends[lines]


@dataclass(frozen=True, slots=True)
class Lattice:
    """Tile (row, col) nominally has its top-left at ``origin + col·across + row·down``, mosaic px.

    ``across`` points mostly right and ``down`` mostly down; a camera turned against the stage tilts both.
    ``tile_px`` is (h, w).
    """

    origin: Point
    across: Point
    down: Point
    tile_px: tuple[int, int]

    def __post_init__(self) -> None:
        if self.across.x <= abs(self.across.y) or self.down.y <= abs(self.down.x):
            raise ValueError("a lattice's first step points right and its second down")

    def nominal(self, row: int, col: int) -> Point:
        """Top-left of a tile as planned, px."""
        x = self.origin.x + col * self.across.x + row * self.down.x
        return Point(x, self.origin.y + col * self.across.y + row * self.down.y)

    def reach(self, top_left: Point) -> Box:
        """The mosaic pixels that a tile placed there shows whole."""
        h, w = self.tile_px
        right, bottom = (
            int(np.floor(at + size - 1)) + 1
            for at, size in zip((top_left.x, top_left.y), (w, h), strict=True)
        )
        return Box(int(np.ceil(top_left.x)), int(np.ceil(top_left.y)), right, bottom)

    def nearest(self, places: FloatArray) -> IntArray:
        """(n, 2) row, col of the cells that own (n, 2) x, y."""
        (col_x, col_y, col_0), (row_x, row_y, row_0) = self._coordinates()
        planes = np.array([(row_x, row_y), (col_x, col_y)]).T
        return np.asarray(np.floor(places @ planes + (row_0, col_0) + 0.5), np.int64)

    def cells_over(self, box: Box) -> list[Cell]:
        """(row, col) of every cell that may own a pixel of ``box``, rows first; a few at the rim may own none."""
        corners = np.array([(x, y) for x in (box.x0, box.x1 - 1) for y in (box.y0, box.y1 - 1)], float) + 0.5
        (col_x, col_y, col_0), (row_x, row_y, row_0) = self._coordinates()
        cols = corners @ [col_x, col_y] + col_0
        rows = corners @ [row_x, row_y] + row_0
        return [
            (row, col)
            for row in range(_nearest(rows.min()), _nearest(rows.max()) + 1)
            for col in range(_nearest(cols.min()), _nearest(cols.max()) + 1)
        ]

    def owned(self, cell: Cell, box: Box) -> list[Box]:
        """The pixels of ``box`` that a cell owns, as boxes. Every pixel belongs to exactly one cell."""
        across, down = self._coordinates()
        y = np.arange(box.y0, box.y1, dtype=np.float64) + 0.5
        left = np.full(y.shape, float(box.x0))
        right = np.full(y.shape, float(box.x1))
        for plane, at in ((across, cell[1]), (down, cell[0])):
            low, high = _between(plane, at, y)
            left, right = np.maximum(left, low), np.minimum(right, high)
        left = np.minimum(left, box.x1)
        return _stacked(left, np.maximum(left, right), box.y0)

    def _coordinates(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """(x, y, constant) of the column and of the row coordinate of a point; whole numbers at tile centres."""
        a, b, c, d = self.across.x, self.down.x, self.across.y, self.down.y
        scale = 1 / (a * d - b * c)
        x0 = self.origin.x + self.tile_px[1] / 2
        y0 = self.origin.y + self.tile_px[0] / 2
        col, row = (d * scale, -b * scale), (-c * scale, a * scale)
        return (*col, -(col[0] * x0 + col[1] * y0)), (*row, -(row[0] * x0 + row[1] * y0))


def _nearest(coordinate: float) -> int:
    return int(np.floor(coordinate + 0.5))


def _between(plane: tuple[float, float, float], at: int, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """In each line of pixel centres ``y``, the first x and the end x where a coordinate is nearest to ``at``."""
    slope, per_line, constant = plane
    value = per_line * y + constant
    if abs(slope) < 1e-12:
        inside = (value >= at - 0.5) & (value < at + 0.5)
        return np.where(inside, -np.inf, np.inf), np.full(y.shape, np.inf)
    low, high = (_edge(slope, value, at + side) for side in (-0.5, 0.5))
    return (low, high) if slope > 0 else (high, low)


def _edge(slope: float, value: FloatArray, border: float) -> FloatArray:
    """The first whole x beyond ``border``: the same number for both cells that meet there, so none is owned twice."""
    x = (border - value) / slope - 0.5
    result: FloatArray = np.ceil(x) if slope > 0 else np.floor(x) + 1
    return result


def _stacked(left: FloatArray, right: FloatArray, y0: int) -> list[Box]:
    """Boxes from the span of each line: lines with the same span become one."""
    changes = np.flatnonzero((np.diff(left) != 0) | (np.diff(right) != 0)) + 1
    starts, ends = [0, *changes.tolist()], [*changes.tolist(), len(left)]
    return [
        Box(int(left[a]), y0 + a, int(right[a]), y0 + b)
        for a, b in zip(starts, ends, strict=True)
        if right[a] > left[a]
    ]
