"""Which row and column has each tile of a layout that somebody else made?"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scanner.model.geometry import Point
from scanner.pipeline.lattice import Cell, Lattice

FloatArray = NDArray[np.float64]
SLACK = 0.35  # of a step: how far a neighbour may lie from where the step puts it


def cells_of(places: Sequence[Point], tile_px: tuple[int, int]) -> list[Cell]:
    """(row, col) of every tile from its top-left (px), the first of both 0; ``tile_px`` is (h, w).

    Neighbours are counted from tile to tile, so that a slanted or drifting raster does not jump a row.

    Raises:
        ValueError: names the indices of two tiles that claim the same cell.
    """
    at = np.array([(p.x, p.y) for p in places], float).reshape(-1, 2)
    across, down = _step(at, 0, tile_px), _step(at, 1, tile_px)
    lattice = np.column_stack([across, down])
    cells = _counted(at, lattice)
    _refuse_doubles(cells)
    cells -= cells.min(axis=0)
    return [(int(row), int(col)) for col, row in cells]


def fit_lattice(places: Sequence[Point], cells: Sequence[Cell], tile_px: tuple[int, int]) -> Lattice:
    """The regular grid nearest to some places (least squares); along an axis with one line it is upright."""
    at = np.array([(p.x, p.y) for p in places], float).reshape(-1, 2)
    index = np.array([(col, row) for row, col in cells], float).reshape(-1, 2)
    spread = index - index.mean(axis=0)
    steps, *_ = np.linalg.lstsq(spread, at - at.mean(axis=0), rcond=None)
    steps = _completed(steps, spread, tile_px)
    origin = at.mean(axis=0) - index.mean(axis=0) @ steps
    return Lattice(_point(origin), _point(steps[0]), _point(steps[1]), tile_px)


def _completed(steps: FloatArray, spread: FloatArray, tile_px: tuple[int, int]) -> FloatArray:
    """Steps with an axis that was never taken set at right angles to the other."""
    one_col, one_row = (not spread[:, axis].any() for axis in (0, 1))
    h, w = float(tile_px[0]), float(tile_px[1])
    if one_col and one_row:
        return np.array([[w, 0.0], [0.0, h]])
    if one_row:
        steps[1] = np.array([-steps[0, 1], steps[0, 0]]) * h / w
    elif one_col:
        steps[0] = np.array([steps[1, 1], -steps[1, 0]]) * w / h
    return steps


def _point(xy: FloatArray) -> Point:
    return Point(float(xy[0]), float(xy[1]))


def _step(at: FloatArray, axis: int, tile_px: tuple[int, int]) -> FloatArray:
    """The median displacement to the nearest tile ahead on an axis; the tile's own size where there is none."""
    size = tile_px[::-1]
    found = []
    for place in at:
        ahead = at - place
        near = ahead[
            (ahead[:, axis] > 0.2 * size[axis]) & (np.abs(ahead[:, 1 - axis]) < 0.3 * size[1 - axis])
        ]
        if len(near):
            found.append(near[near[:, axis].argmin()])
    if not found:
        return np.asarray(np.eye(2)[axis] * size[axis], np.float64)
    return np.asarray(np.median(found, axis=0), np.float64)


def _counted(at: FloatArray, lattice: FloatArray) -> NDArray[np.int64]:
    """(n, 2) column and row: counted along neighbours, by distance from the first tile where there are none."""
    inverse = np.linalg.inv(lattice)
    cells = np.full((len(at), 2), np.iinfo(np.int64).min)
    unseen = set(range(len(at)))
    while unseen:
        start = min(unseen)
        unseen.discard(start)
        cells[start] = np.rint(inverse @ (at[start] - at[0]))
        front = [start]
        while front:
            here = front.pop(0)
            left = np.array(sorted(unseen), np.int64)
            away = (at[left] - at[here]) @ inverse.T
            step = np.rint(away)
            near = (np.abs(away - step).max(axis=1, initial=0) < SLACK) & (np.abs(step).sum(axis=1) == 1)
            for k in np.flatnonzero(near):
                cells[left[k]] = cells[here] + step[k]
                front.append(int(left[k]))
                unseen.discard(int(left[k]))
    return cells


def _refuse_doubles(cells: NDArray[np.int64]) -> None:
    seen: dict[tuple[int, int], int] = {}
    for k, (col, row) in enumerate(cells.tolist()):
        if (col, row) in seen:
            raise ValueError(seen[col, row], k)
        seen[col, row] = k
