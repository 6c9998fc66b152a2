"""What does the stage do other than it reports, as the measured pairs of one scan tell: backlash, thread, turn, scale?

It describes; nothing is corrected by it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array, csr_array, diags_array

from scanner.pipeline.joints import Joint

FloatArray = NDArray[np.float64]
LEAST_PAIRS = 8
LEAST_LINES = 5  # columns or rows, for a curve along an axis
TURNS = 4
HUBER = 1.345
FREEDOMS = 2  # a constant in the columns' errors, and a slope that scale has too, are told by nothing
RIDGE = 1e-9  # takes the least of what nothing tells
PEAK_TO_PEAK = 2 * 2**0.5  # of a sine, from its root mean square


@dataclass(frozen=True, slots=True)
class Known:
    """A number and its standard deviation."""

    value: float
    sigma: float


@dataclass(frozen=True, slots=True)
class AxisErrors:
    """One axis of the stage, in the unit of the reported places (µm).

    ``backlash``: place after a move towards smaller coordinates less that after one towards larger ones; None where the
    scan arrived from one side only. ``thread``: peak to peak of the sine with the energy of what repeats along the
    axis, noise taken off; None with too few columns (rows). ``scale`` (a share) and ``turn`` (radians, of this axis by
    travel along the other) remain between camera and stage. ``at``, ``curve``, ``curve_sigma``: (k,) place of every
    column (row), its error without scale, and how sure.
    """

    backlash: Known | None
    thread: Known | None
    scale: Known
    turn: Known
    at: FloatArray
    curve: FloatArray
    curve_sigma: FloatArray


@dataclass(frozen=True, slots=True)
class StageErrors:
    """Both axes, from ``pairs`` measured pairs; ``residuals`` (n, 2) measured minus reported displacement of each."""

    pairs: int
    x: AxisErrors
    y: AxisErrors
    joints: tuple[Joint, ...]
    residuals: FloatArray


def stage_errors(joints: Sequence[Joint], stage_per_px: ArrayLike) -> StageErrors | None:
    """Robust least squares over the measured pairs; None with fewer than eight.

    Of each axis: residual = scale · travel + turn · travel across - backlash / 2 · change of direction + error of the
    end's column (row) - error of the start's. Huber weights
    (Huber 1964); a slope in the columns' errors counts as scale.

    Args:
        joints: of one slide.
        stage_per_px: (2, 2) unit of the reported places per mosaic px.
    """
    measured = tuple(joint for joint in joints if joint.measured is not None)
    if len(measured) < LEAST_PAIRS:
        return None
    px = np.array([(j.measured.x, j.measured.y) for j in measured if j.measured is not None])
    said = np.array([[(s.said.x, s.said.y) for s in (j.first, j.second)] for j in measured])
    travel = said[:, 1] - said[:, 0]
    residuals = px @ np.asarray(stage_per_px, float).T - travel
    towards = np.array([[(s.direction.x, s.direction.y) for s in (j.first, j.second)] for j in measured])
    turns = towards[:, 1] - towards[:, 0]
    lines = np.array([[(s.col, s.row) for s in (j.first, j.second)] for j in measured])
    stops = _stops(lines)
    x, y = (
        _axis(residuals[:, k], travel[:, [k, 1 - k]], turns[:, k], lines[:, :, k], said[:, :, k], stops)
        for k in (0, 1)
    )
    return StageErrors(len(measured), x, y, measured, residuals)


def _axis(
    residual: FloatArray,
    travel: FloatArray,
    turn: FloatArray,
    lines: NDArray[np.int64],
    said: FloatArray,
    stops: "csr_array",
) -> AxisErrors:
    """One axis: ``travel`` (n, 2) along and across, ``lines`` and ``said`` (n, 2) column and place of start and end."""
    names, index = np.unique(lines, return_inverse=True)
    index = index.reshape(lines.shape)
    found, spread = _robust(_design(travel, turn, index, len(names)), residual, stops)
    count = np.bincount(index.ravel(), minlength=len(names))
    at = np.bincount(index.ravel(), said.ravel(), minlength=len(names)) / count
    level = _level(at)
    curve = level @ found[3:]
    sigma = np.sqrt(np.clip(np.diag(level @ spread[3:, 3:] @ level.T), 0, None))
    return AxisErrors(
        backlash=Known(float(found[2]), float(np.sqrt(spread[2, 2]))) if turn.any() else None,
        thread=_thread(curve, sigma) if len(names) >= LEAST_LINES else None,
        scale=_scale(found, spread, at),
        turn=Known(float(found[1]) / 1000, float(np.sqrt(spread[1, 1])) / 1000),
        at=at,
        curve=curve,
        curve_sigma=sigma,
    )


def _stops(lines: NDArray[np.int64]) -> "csr_array":
    """(n, stops): -1 where a pair starts and 1 where it ends; ``lines`` (n, 2, 2) column and row of both."""
    _, index = np.unique(lines.reshape(-1, 2), axis=0, return_inverse=True)
    ends = index.reshape(-1, 2)
    rows, ones = np.arange(len(ends)), np.ones(len(ends))
    places = (np.tile(rows, 2), np.concatenate([ends[:, 0], ends[:, 1]]))
    return csr_array(
        coo_array((np.concatenate([-ones, ones]), places), shape=(len(ends), int(ends.max()) + 1))
    )


def _design(travel: FloatArray, turn: FloatArray, index: NDArray[np.intp], lines: int) -> "csr_array":
    """(n, 3 + lines): what each unknown adds to each residual; sparse, as each pair knows two columns (rows) only."""
    rows = np.arange(len(turn))
    values = (travel[:, 0] / 1000, travel[:, 1] / 1000, -turn / 2, np.ones(len(turn)), -np.ones(len(turn)))
    columns = (0 * rows, 0 * rows + 1, 0 * rows + 2, 3 + index[:, 1], 3 + index[:, 0])
    places = (np.tile(rows, len(columns)), np.concatenate(columns))
    return csr_array(coo_array((np.concatenate(values), places), shape=(len(turn), 3 + lines)))


def _robust(design: "csr_array", target: FloatArray, stops: "csr_array") -> tuple[FloatArray, FloatArray]:
    """The answer under Huber weights, and its covariance where each stop errs for itself, as a stage does.

    An error of a stop is in all pairs it has a part in, with opposite signs: along a row it does not add up.
    """
    weight = np.ones(len(target))
    found: FloatArray = np.zeros(design.shape[1])
    normal: FloatArray = np.zeros((design.shape[1],) * 2)
    inverse, weighed = normal, design.T
    for _ in range(TURNS):
        weighed = design.T @ diags_array(weight)
        normal = (weighed @ design).toarray()
        stiff = normal + RIDGE * float(normal.max()) * np.eye(len(normal))
        inverse = np.asarray(np.linalg.inv(stiff), np.float64)
        found = np.asarray(inverse @ (weighed @ target), np.float64)
        miss = np.abs(target - design @ found)
        scale = max(1.4826 * float(np.median(miss)), 1e-9)
        weight = np.minimum(1.0, HUBER * scale / np.maximum(miss, 1e-12))
    free = max(1, len(target) - int(np.count_nonzero(normal.diagonal())) + FREEDOMS)
    variance = float(weight @ (target - design @ found) ** 2) / free
    moved = weighed @ stops
    return found, variance / 2 * (inverse @ (moved @ moved.T).toarray() @ inverse)


def _slope(at: FloatArray) -> FloatArray:
    """(k,): the weights that turn values at places into their slope."""
    away = at - at.mean()
    square = float(away @ away)
    weights: FloatArray = away / square if square else away
    return weights


def _level(at: FloatArray) -> FloatArray:
    """(k, k): takes mean and slope off values at places."""
    away = at - at.mean()
    result: FloatArray = np.eye(len(at)) - 1 / len(at) - np.outer(away, _slope(at))
    return result


def _scale(found: FloatArray, spread: FloatArray, at: FloatArray) -> Known:
    """The part along the axis: what travel explains and the slope of the columns' errors are one thing."""
    weights = np.zeros(len(found))
    weights[0], weights[3:] = 1 / 1000, _slope(at)
    sigma = max(0.0, float(weights @ spread @ weights)) ** 0.5
    return Known(float(weights @ found), sigma)


def _thread(curve: FloatArray, sigma: FloatArray) -> Known:
    free = len(curve) - 2
    noise = float(sigma @ sigma) / free
    energy = max(0.0, float(curve @ curve) / free - noise)
    return Known(PEAK_TO_PEAK * energy**0.5, PEAK_TO_PEAK * (noise / free) ** 0.5)
