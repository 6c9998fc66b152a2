"""Where do tiles lie that are tied together by measured displacements, some of which are wrong?"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array
from scipy.sparse.linalg import splu

from scanner.model.geometry import Point

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]
SCALES_PX = (10.0, 7.0, 5.0, 3.5, 2.5, 1.7, 1.2, 0.8, 0.5)
# while a scale is tried no tie is stiffer than this share of it: the others can contradict it
STIFFNESS = 0.5
# how far from where the stage puts it a tie is half believed at first
FIRST_DOUBT_PX = 15.0
# a tie that misses by more is dropped
WRONG_PX = 1.0
# a dropped tie that the stage allows gets a second hearing, softly: was it alone?
PLAUSIBLE_PX, AGAIN_SIGMA_PX = 22.0, 0.5
# what is dropped, and the least sigma, where a misfit is known to be the stage's
SPREAD_PX, SPREAD_SIGMA_PX = 5.0, 1.0


@dataclass(frozen=True, slots=True)
class Ties:
    """n ties: node ``end`` lies at node ``start`` + ``offset``.

    ``start``, ``end``: (n,) int; ``offset``: (n, 2) float64 px as x, y; ``weight``: (n,) 1/σ² in 1/px².
    """

    start: IntArray
    end: IntArray
    offset: FloatArray
    weight: FloatArray

    @classmethod
    def of(cls, rows: Iterable[tuple[int, int, Point, float]]) -> "Ties":
        """From (start, end, offset, sigma in px)."""
        listed = list(rows)
        offset = np.array([(p.x, p.y) for _, _, p, _ in listed], float).reshape(-1, 2)
        start = np.array([s for s, *_ in listed], np.intp)
        end = np.array([e for _, e, *_ in listed], np.intp)
        return cls(start, end, offset, np.array([sigma**-2 for *_, sigma in listed], float))


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the stage says that the k free nodes lie, in their order: at ``said`` + ``design`` · habits.

    ``weight`` is 1/σ² of that. ``said``: (k, 2) float64 px; ``design``: (k, r). The habits, (r, 2), are what it does
    other than it reports: unknown, and solved for. ``normal`` (r, r) and ``right`` (r, 2): normal equations of what
    else is known of them.
    """

    said: FloatArray
    design: FloatArray
    weight: float
    normal: FloatArray
    right: FloatArray


@dataclass(frozen=True, slots=True)
class Solution:
    """``at``: (m, 2) float64 px; ``trust``: (n,) float64, 0 or 1 for each tie; ``habits``: (r, 2)."""

    at: FloatArray
    trust: FloatArray
    habits: FloatArray


def solve(
    at: FloatArray, free: NDArray[np.bool_], ties: Ties, soft: Ties, stage: Stage, spread: bool = False
) -> Solution:
    """Robust least-squares positions of the free nodes; the others stay exactly where they are.

    Iteratively reweighted with a Cauchy loss whose scale falls from gross errors to half a pixel (graduated
    non-convexity, Blake and Zisserman 1987), beginning from what the stage says. No tie is stiff until the scale is
    small: a wrong one that alone joins two groups of tiles pulls them away from where the stage has them, and is
    convicted by that. What the stage allows is heard again at the end: a true tie whose tile strayed far is dropped
    only where others contradict it.

    Args:
        at: (m, 2) float64 px, the places of fixed nodes and a first guess of the free ones.
        free: (m,) bool.
        ties: measured, may be wrong.
        soft: never doubted: how the stage moved between neighbours.
        stage: never doubted: where it says that the free nodes lie.
        spread: two groups of fixed tiles do not fit each other: share that among many ties, convict no true one.
    """
    at, _ = _least_squares(at, free, ties, soft, stage, np.zeros(len(ties.start)))
    stray = _residual(at, ties)
    trust = _cauchy(stray, FIRST_DOUBT_PX)
    for scale in SCALES_PX:
        at, _ = _least_squares(at, free, _yielding(ties, STIFFNESS * scale), soft, stage, trust)
        trust = _cauchy(_residual(at, ties), scale)
        if spread and scale == SPREAD_PX:
            break
    wrong_px = SPREAD_PX if spread else WRONG_PX
    final = _yielding(ties, SPREAD_SIGMA_PX) if spread else ties
    believed = _residual(at, ties) < wrong_px
    again = ~believed & (stray < PLAUSIBLE_PX)
    weight = np.where(again, np.minimum(final.weight, AGAIN_SIGMA_PX**-2), final.weight)
    heard = (believed | again).astype(float)
    at, _ = _least_squares(at, free, replace(final, weight=weight), soft, stage, heard)
    trust = np.where(_residual(at, ties) < wrong_px, 1.0, 0.0)
    at, habits = _least_squares(at, free, final, soft, stage, trust)
    return Solution(at, trust, habits)


def _yielding(ties: Ties, sigma_px: float) -> Ties:
    """The same ties, none stiffer than ``sigma_px``."""
    return replace(ties, weight=np.minimum(ties.weight, sigma_px**-2))


def _cauchy(residual: FloatArray, scale: float) -> FloatArray:
    weight: FloatArray = 1 / (1 + (residual / scale) ** 2)
    return weight


def _residual(at: FloatArray, ties: Ties) -> FloatArray:
    miss = at[ties.end] - at[ties.start] - ties.offset
    result: FloatArray = np.hypot(miss[:, 0], miss[:, 1])
    return result


def _least_squares(
    at: FloatArray, free: NDArray[np.bool_], ties: Ties, soft: Ties, stage: Stage, trust: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Places and habits; the habits, few and tied to every node, are eliminated (Schur complement)."""
    start = np.concatenate([ties.start, soft.start])
    end = np.concatenate([ties.end, soft.end])
    offset = np.concatenate([ties.offset, soft.offset])
    weight = np.concatenate([ties.weight * trust, soft.weight])
    miss = (at[end] - at[start] - offset) * weight[:, None]
    pulls = [np.bincount(node, miss[:, axis], len(at)) for axis in (0, 1) for node in (start, end)]
    tied = np.column_stack([pulls[0] - pulls[1], pulls[2] - pulls[3]])[free]
    force = tied + stage.weight * (stage.said - at[free])
    coupling = stage.weight * stage.design
    stiffness = _stiffness(start, end, weight, free, np.cumsum(free) - 1, stage.weight)
    symmetric = {"SymmetricMode": True}  # it is, and positive: half the work of a general matrix
    factors = splu(
        stiffness, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, panel_size=1, options=symmetric
    )
    answers = factors.solve(np.column_stack([force, coupling]))
    moved, by_habits = answers[:, :2], answers[:, 2:]
    rest = stage.right + coupling.T @ (at[free] + moved - stage.said)
    habits = np.linalg.solve(stage.normal + coupling.T @ (stage.design - by_habits), rest)
    found = at.copy()
    found[free] += moved + by_habits @ habits
    return found, np.asarray(habits, np.float64)


def _stiffness(
    start: IntArray,
    end: IntArray,
    weight: FloatArray,
    free: NDArray[np.bool_],
    column: IntArray,
    anchor: float,
) -> "csc_array":
    """The weighted Laplacian of the free nodes plus ``anchor`` on its diagonal, compressed by column."""
    both = free[start] & free[end]
    a, b = column[start], column[end]
    size = int(free.sum())
    every, anchors = np.arange(size), np.full(size, anchor)
    rows = np.concatenate([a[free[start]], b[free[end]], a[both], b[both], every])
    cols = np.concatenate([a[free[start]], b[free[end]], b[both], a[both], every])
    data = np.concatenate([weight[free[start]], weight[free[end]], -weight[both], -weight[both], anchors])
    return csc_array(coo_array((data, (rows, cols)), shape=(size, size)))
