"""Where do tiles lie that are tied together by measured displacements, some of which are wrong?"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array
from scipy.sparse.linalg import splu

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]
SCALES_PX = (10.0, 7.0, 5.0, 3.5, 2.5, 1.7, 1.2, 0.8, 0.5)
STIFFNESS = (
    0.3  # while a scale is tried no tie is stiffer than this share of it: the others can contradict it
)
FIRST_DOUBT_PX = 15.0  # how far from where the stage puts it a tie is half believed at first
WRONG_PX = 1.0  # a tie that misses by more is dropped
SPREAD_PX, SPREAD_SIGMA_PX = (
    5.0,
    1.0,
)  # the same, and the least sigma, where a misfit is known to be the stage's


@dataclass(frozen=True, slots=True)
class Ties:
    """n ties: node ``end`` lies at node ``start`` + ``offset``.

    ``start``, ``end``: (n,) int; ``offset``: (n, 2) float64 px as x, y; ``weight``: (n,) 1/σ² in 1/px².
    """

    start: IntArray
    end: IntArray
    offset: FloatArray
    weight: FloatArray


def solve(
    at: FloatArray, free: NDArray[np.bool_], ties: Ties, soft: Ties, spread: bool = False
) -> tuple[FloatArray, FloatArray]:
    """Robust least-squares positions of the free nodes; the others stay exactly where they are.

    Iteratively reweighted with a Cauchy loss whose scale falls from gross errors to half a pixel (graduated
    non-convexity, Blake and Zisserman 1987), beginning from what the stage says. No tie is stiff until the scale is
    small: a wrong one that alone joins two groups of tiles pulls them away from where the stage has them, and is
    convicted by that.

    Args:
        at: (m, 2) float64 px, the places of fixed nodes and a first guess of the free ones.
        free: (m,) bool.
        ties: measured, may be wrong.
        soft: never doubted: what the stage says.
        spread: two groups of fixed tiles do not fit each other: share that among many ties, convict no true one.

    Returns:
        (m, 2) float64 places and (n,) float64 trust 0..1 in each of ``ties``.
    """
    at = _least_squares(at, free, ties, soft, np.zeros(len(ties.start)))
    trust = _cauchy(_residual(at, ties), FIRST_DOUBT_PX)
    for scale in SCALES_PX:
        yielding = replace(ties, weight=np.minimum(ties.weight, (STIFFNESS * scale) ** -2))
        at = _least_squares(at, free, yielding, soft, trust)
        trust = _cauchy(_residual(at, ties), scale)
        if spread and scale == SPREAD_PX:
            break
    wrong_px = SPREAD_PX if spread else WRONG_PX
    final = replace(ties, weight=np.minimum(ties.weight, SPREAD_SIGMA_PX**-2)) if spread else ties
    for _ in range(2):
        trust = np.where(_residual(at, ties) < wrong_px, 1.0, 0.0)
        at = _least_squares(at, free, final, soft, trust)
    return at, trust


def _cauchy(residual: FloatArray, scale: float) -> FloatArray:
    weight: FloatArray = 1 / (1 + (residual / scale) ** 2)
    return weight


def _residual(at: FloatArray, ties: Ties) -> FloatArray:
    miss = at[ties.end] - at[ties.start] - ties.offset
    result: FloatArray = np.hypot(miss[:, 0], miss[:, 1])
    return result


def _least_squares(
    at: FloatArray, free: NDArray[np.bool_], ties: Ties, soft: Ties, trust: FloatArray
) -> FloatArray:
    start = np.concatenate([ties.start, soft.start])
    end = np.concatenate([ties.end, soft.end])
    offset = np.concatenate([ties.offset, soft.offset])
    weight = np.concatenate([ties.weight * trust, soft.weight])
    miss = (at[end] - at[start] - offset) * weight[:, None]
    force = np.zeros_like(at)
    np.add.at(force, start, miss)
    np.subtract.at(force, end, miss)
    column = np.cumsum(free) - 1
    moved = at.copy()
    moved[free] += splu(_stiffness(start, end, weight, free, column)).solve(force[free])
    return moved


def _stiffness(
    start: IntArray, end: IntArray, weight: FloatArray, free: NDArray[np.bool_], column: IntArray
) -> "csc_array":
    """The weighted Laplacian of the free nodes, compressed by column."""
    both = free[start] & free[end]
    a, b = column[start], column[end]
    rows = np.concatenate([a[free[start]], b[free[end]], a[both], b[both]])
    cols = np.concatenate([a[free[start]], b[free[end]], b[both], a[both]])
    data = np.concatenate([weight[free[start]], weight[free[end]], -weight[both], -weight[both]])
    size = int(free.sum())
    return csc_array(coo_array((data, (rows, cols)), shape=(size, size)))
