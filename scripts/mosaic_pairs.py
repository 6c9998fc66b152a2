"""What would registration say of a grid of tiles, without a picture being drawn? Seeded pairs with their truth.

The stage of an unmeasured rig: the camera turned and scaled against it, backlash on rows that run back, jitter. A
textured overlap is measured with a small error, an empty one not at all; a share of the answers may be made false.
"""

import time
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.model.geometry import Point
from scanner.pipeline.lattice import Cell
from scanner.pipeline.network import Stage, Ties, solve
from scanner.pipeline.placement import Placed, Placement
from scanner.pipeline.registration import PairMeasurement
from scanner.pipeline.stage_model import StageHabits, StagePrior, Stop

FloatArray = NDArray[np.float64]
TILE_PX, STEP_PX = 1024, 921.6
TURN_RAD, SCALE, JITTER_PX, BACKLASH_PX = 0.0052, 1.002, 4.0, 6.0
UNMEASURED = StagePrior(matrix=5e-3)
FALSE_PX = 25.0  # how far a false answer lies from the truth at most, each axis
CELLS_A_SEAM = 4.7  # mean number of cells in an overlap, most of them in half of the area


@dataclass(frozen=True, slots=True)
class PairGrid:
    """A grid in the order of its scan.

    ``said`` and ``true`` give each cell's top-left, px; ``textured`` the pairs of neighbours (the earlier one
    first) that show something; ``measured`` what registration answered for those.
    """

    order: list[Cell]
    said: dict[Cell, Point]
    true: dict[Cell, Point]
    textured: frozenset[tuple[Cell, Cell]]
    measured: dict[tuple[Cell, Cell], PairMeasurement]


def pair_grid(side: int, kind: str, seed: int, false_share: float = 0.0) -> PairGrid:
    """``side`` × ``side`` tiles, ``kind`` "sparse" (about a third of the overlaps empty) or "dense"."""
    rng = np.random.default_rng((seed, side, 5))
    order = [(r, c if r % 2 == 0 else side - 1 - c) for r in range(side) for c in range(side)]
    said = {(r, c): Point(c * STEP_PX, r * STEP_PX) for r, c in order}
    true = {cell: _really(cell, at, rng) for cell, at in said.items()}
    density = _density(side, rng) if kind == "sparse" else np.full((2 * side, 2 * side), 50.0)
    textured, measured = set(), {}
    for cell in order:
        before = -1 if cell[0] % 2 == 0 else 1
        for other in ((cell[0], cell[1] + before), (cell[0] - 1, cell[1])):
            if other not in said:
                continue
            middle = cell[0] + other[0], cell[1] + other[1]
            cells = rng.poisson(density[middle])
            if cells:
                textured.add((other, cell))
                measured[other, cell] = _answer(true[cell] - true[other], cells, rng, false_share)
    return PairGrid(order, said, true, frozenset(textured), measured)


def _really(cell: Cell, at: Point, rng: np.random.Generator) -> Point:
    cos, sin = SCALE * np.cos(TURN_RAD), SCALE * np.sin(TURN_RAD)
    dx, dy = rng.normal(0, JITTER_PX, 2)
    back = BACKLASH_PX if cell[0] % 2 else 0.0
    return Point(cos * at.x - sin * at.y + dx + back, sin * at.x + cos * at.y + dy)


def _density(side: int, rng: np.random.Generator) -> FloatArray:
    """Mean number of cells in the overlap at every half step of the grid: clumps and empty glass."""
    size = 2 * side
    coarse = sum(
        weight
        * cv2.resize(
            rng.normal(size=(size // n + 3, size // n + 3)), (size, size), interpolation=cv2.INTER_CUBIC
        )
        for n, weight in ((3, 1.0), (1, 0.5))
    )
    field = np.clip(np.asarray(coarse, np.float64) - np.quantile(coarse, 0.33), 0, None) ** 0.7
    return np.asarray(CELLS_A_SEAM * field / field.mean(), np.float64)


def _answer(offset: Point, cells: int, rng: np.random.Generator, false_share: float) -> PairMeasurement:
    sigma = float(np.hypot(0.03, 0.12 / np.sqrt(cells)))
    miss = rng.normal(0, sigma, 2)
    if rng.random() < false_share:
        miss = rng.uniform(-FALSE_PX, FALSE_PX, 2)
    return PairMeasurement(offset.x + miss[0], offset.y + miss[1], sigma, 0.9, 0.9, 0.3, True, "")


def placed_in_order(grid: PairGrid, rows_later: int | None = 6) -> dict[Cell, Placed]:
    """Where placement puts every tile when they come one by one."""
    placement = Placement((TILE_PX, TILE_PX), UNMEASURED, rows_later)
    placement.comes(grid.order)
    numbers = {cell: k for k, cell in enumerate(grid.order)}
    found = []
    for cell, number in numbers.items():
        pairs = [
            (e.other, grid.measured[grid.order[e.other], cell])
            for e in placement.expect(*cell, grid.said[cell])
            if (grid.order[e.other], cell) in grid.measured
        ]
        found += placement.add(number, *cell, grid.said[cell], pairs)
    found += placement.finish()
    return {(p.row, p.col): p for p in found}


def seam_errors(grid: PairGrid, placed: dict[Cell, Placed]) -> FloatArray:
    """How far neighbours with texture between them lie from their true displacement, px."""
    at = {cell: Point(p.x_px, p.y_px) for cell, p in placed.items()}
    return np.array(
        [(at[b] - at[a]).distance(grid.true[b] - grid.true[a]) for a, b in sorted(grid.textured)], float
    )


def whole_solution_s(grid: PairGrid) -> float:
    """CPU seconds of solving for all tiles at once, everything known: robust, with the stage's word on each pair."""
    number = {cell: k for k, cell in enumerate(grid.order)}
    listed = [
        (number[a], number[b], Point(m.dx_px, m.dy_px), m.sigma_px) for (a, b), m in grid.measured.items()
    ]
    between = [(k, number[n], grid.said[n] - c_at, 6.3) for k, n, c_at in _neighbours(grid, number)]
    at = np.array([(grid.said[cell].x, grid.said[cell].y) for cell in grid.order])
    habits = StageHabits(UNMEASURED)
    design = np.array([habits.regressors(Stop(grid.said[cell], _direction(cell))) for cell in grid.order])
    stage = Stage(at, design, UNMEASURED.position_px**-2, habits.normal, habits.right)
    began = time.process_time()
    solve(at, np.full(len(at), True), Ties.of(listed), Ties.of(between), stage)
    return time.process_time() - began


def _direction(cell: Cell) -> Point:
    return Point(-1.0 if cell[0] % 2 else 1.0, 1.0)


def _neighbours(grid: PairGrid, number: dict[Cell, int]) -> list[tuple[int, Cell, Point]]:
    return [
        (number[r, c], near, grid.said[r, c])
        for r, c in grid.order
        for near in ((r, c + 1), (r + 1, c))
        if near in number
    ]
