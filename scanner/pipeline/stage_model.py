"""What has the stage been found to do, other than what it reports: a turn, a scale, a shear and a backlash?

Learnt on line from measured pairs; it only predicts where to look and what holds a tile that nothing else holds.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scanner.model.geometry import Point

FloatArray = NDArray[np.float64]
FIRST_PX = 100.0  # how far the first tile may lie from where it was reported
SCATTER_TILES = 20  # as many tiles as the profile's word on how far a tile strays is worth
TRUSTED_PAIRS = 24  # before this many the search stays wide: a radius cut too early loses tiles for good


@dataclass(frozen=True, slots=True)
class StagePrior:
    """What the profile already knows, each as a standard deviation of what may remain: a measured rig by default.

    ``position_px`` of a stop around the reported place, ``matrix`` of each entry of the camera→stage matrix,
    ``backlash_px`` of half the backlash, ``search_px`` how far to look before anything is learnt.
    """

    position_px: float = 4.5
    matrix: float = 5e-4
    backlash_px: float = 6.0
    search_px: float = 32.0


@dataclass(frozen=True, slots=True)
class Stop:
    """One place the stage went to: the reported place in mosaic px and the last directions of travel (±1)."""

    at: Point
    direction: Point


def next_stop(last: Stop | None, at: Point, still_px: float) -> Stop:
    """The stop after ``last``; an axis that moved less than ``still_px`` keeps its last direction."""
    if last is None:
        return Stop(at, Point(1.0, 1.0))
    moved = at - last.at
    x = last.direction.x if abs(moved.x) < still_px else float(np.sign(moved.x))
    y = last.direction.y if abs(moved.y) < still_px else float(np.sign(moved.y))
    return Stop(at, Point(x, y))


class StageModel:
    """Ridge regression of measured minus reported displacements on travel and change of direction.

    A fold: the same pairs in the same order give the same model. Outliers weigh less (Cauchy).
    """

    def __init__(self, prior: StagePrior) -> None:
        self._prior = prior
        stiff, loose = prior.matrix * 1000, prior.backlash_px
        self._normal = np.diag([stiff**-2, stiff**-2, loose**-2, loose**-2]) * (2 * prior.position_px**2)
        self._right = np.zeros((4, 2))
        self._weights = np.zeros((4, 2))
        self._squares = 0.0
        self._pairs = 0

    def displacement(self, start: Stop, end: Stop) -> Point:
        """Expected displacement from one stop to another, px."""
        extra = _regressors(start, end) @ self._weights
        return end.at - start.at + Point(float(extra[0]), float(extra[1]))

    def learn(self, start: Stop, end: Stop, measured: Point) -> None:
        """Take in one accepted pair."""
        regressors = _regressors(start, end)
        seen = measured - (end.at - start.at)
        error = np.array([seen.x, seen.y]) - regressors @ self._weights
        square = float(error @ error)
        weight = 1 / (1 + square / (3 * self._prior.position_px) ** 2)
        self._normal += weight * np.outer(regressors, regressors)
        self._right += weight * np.outer(regressors, [seen.x, seen.y])
        self._weights = np.asarray(np.linalg.solve(self._normal, self._right), np.float64)
        self._pairs += 1
        if self._pairs > TRUSTED_PAIRS:
            self._squares += weight * square / 2

    @property
    def search_px(self) -> float:
        """How far from the prediction the answer may lie: wide at first, then 4.5 σ of what was seen."""
        counted = self._pairs - TRUSTED_PAIRS
        if counted < TRUSTED_PAIRS:
            return self._prior.search_px
        sigma = float(np.sqrt(self._squares / counted))
        return min(self._prior.search_px, max(self._prior.search_px / 2, 4.5 * sigma))


class StageHabits:
    """Where frozen tiles came to lie less where they were reported: normal equations of what the stage does.

    Unknown of each axis: what travel adds, what direction adds, and a constant. Unlike pairs, whose errors undo each
    other along a row, places tell a turn to the last tile. A fold; outliers weigh less (Cauchy).
    """

    def __init__(self, prior: StagePrior) -> None:
        known = np.array([1000 * prior.matrix] * 2 + [prior.backlash_px] * 2 + [FIRST_PX])
        self.normal = np.diag(known**-2)
        self.right = np.zeros((5, 2))
        self._variance = prior.position_px**2
        self._tiles = float(SCATTER_TILES)
        self._squares = self._variance * SCATTER_TILES
        self._first: Stop | None = None

    def regressors(self, stop: Stop) -> FloatArray:
        """(5,): of a stop; the first that is asked for is the origin."""
        self._first = self._first or stop
        return np.append(_regressors(self._first, stop), 1.0)

    @property
    def variance_px2(self) -> float:
        """How far a tile strays from its place, squared: the profile's word, or what was seen if that is more."""
        return max(self._variance, self._squares / self._tiles)

    def learn(self, stop: Stop, at: Point, habits: FloatArray) -> None:
        """Take in a tile's final place; ``habits`` (5, 2): what was believed when it was placed."""
        design, strayed = self.regressors(stop), at - stop.at
        seen = np.array([strayed.x, strayed.y])
        error = seen - design @ habits
        square = float(error @ error)
        weight = 1 / (1 + square / (9 * self._variance))
        self._squares += weight * square / 2
        self._tiles += weight
        self.normal += weight / self._variance * np.outer(design, design)
        self.right += weight / self._variance * np.outer(design, seen)


def _regressors(start: Stop, end: Stop) -> FloatArray:
    """(4,): travel in thousands of px, half the change of direction, both as x, y."""
    travel, turn = end.at - start.at, end.direction - start.direction
    return np.array([travel.x / 1000, travel.y / 1000, turn.x / 2, turn.y / 2])
