"""Where do tiles lie that are tied together by measured displacements, some of which are wrong?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array
from scipy.sparse.linalg import splu

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]
SCALES_PX = (
    20.0,
    10.0,
    5.0,
    2.5,
    1.0,
)  # graduated Cauchy: convicts a wrong tie that closes no loop of true ones
LEAST_TRUST = 0.1


@dataclass(frozen=True, slots=True)
class Ties:
    """n ties: node ``end`` lies at node ``start`` + ``offset``.

    ``start``, ``end``: (n,) int; ``offset``: (n, 2) float64 px as x, y; ``weight``: (n,) 1/σ² in 1/px².
    """

    start: IntArray
    end: IntArray
    offset: FloatArray
    weight: FloatArray


def solve(at: FloatArray, free: NDArray[np.bool_], ties: Ties, soft: Ties) -> tuple[FloatArray, FloatArray]:
    """Robust least-squares positions of the free nodes; the others stay exactly where they are.

    Iteratively reweighted with a graduated Cauchy loss (Barron, CVPR 2019 calls the family); then ties trusted
    less than a tenth are dropped.

    Args:
        at: (m, 2) float64 px, the places of fixed nodes and a first guess of the free ones.
        free: (m,) bool.
        ties: measured, may be wrong.
        soft: never doubted: what the stage says.

    Returns:
        (m, 2) float64 places and (n,) float64 trust 0..1 in each of ``ties``.
    """
    trust = np.ones(len(ties.start))
    for scale in SCALES_PX:
        at = _least_squares(at, free, ties, soft, trust)
        trust = 1 / (1 + _residual(at, ties) ** 2 / scale**2)
    trust = np.where(trust < LEAST_TRUST, 0.0, 1.0)
    return _least_squares(at, free, ties, soft, trust), trust


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
