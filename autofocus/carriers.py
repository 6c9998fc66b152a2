"""How is a height predicted from thousands of points in the time that a few take?

Some points spread over the whole slide are solved once; for a prediction the nearest of the others join them by a
Schur complement. What is left out makes the answer less sure, never wrongly sure.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

from autofocus.relief import FloatArray, Placed, Relief
from autofocus.relief_fit import Heights

MOST_CARRIERS = 80
NEIGHBOURS = 40


@dataclass(frozen=True, slots=True)
class Carriers:
    """The first ``count`` points of a map, solved around ``centre`` (2,): the triangle's inverse and its answer."""

    centre: FloatArray
    count: int
    placed: Placed
    level_um: float
    inverse: FloatArray
    answer: FloatArray

    @classmethod
    def of(cls, first: Heights, relief: Relief) -> "Carriers":
        """Solve the points that carry the slide."""
        centre, level = first.places.mean(axis=0), float(np.median(first.heights))
        placed = Placed.of(first.places - centre, relief)
        noisy = placed.covariance(placed) + np.diag(first.noise(relief.scatter_um))
        triangle = cholesky(noisy, lower=True, check_finite=False)
        inverse = solve_triangular(triangle, np.eye(len(first)), lower=True, check_finite=False)
        return cls(centre, len(first), placed, level, inverse, inverse @ (first.heights - level))


def spread(places: FloatArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which places carry the slide, each the farthest from those before it, and which are left."""
    if len(places) <= MOST_CARRIERS:
        return np.arange(len(places)), np.arange(0)
    chosen = [int(np.argmin(np.sum((places - places.mean(axis=0)) ** 2, axis=1)))]
    far = np.sum((places - places[chosen[0]]) ** 2, axis=1)
    while len(chosen) < MOST_CARRIERS:
        chosen.append(int(np.argmax(far)))
        far = np.minimum(far, np.sum((places - places[chosen[-1]]) ** 2, axis=1))
    return np.array(chosen), np.setdiff1d(np.arange(len(places)), chosen)


def carried(
    carriers: Carriers, known: Heights, places: FloatArray, relief: Relief
) -> tuple[FloatArray, FloatArray]:
    """(m,) heights µm and (m,) variances µm² of the surface at (m, 2) places."""
    others = len(known) - carriers.count
    if others <= NEIGHBOURS:
        return _joined(carriers, known, np.arange(carriers.count, len(known)), places, relief)
    even = relief.even(known.places[carriers.count :])
    single = [
        _joined(
            carriers, known, carriers.count + _nearest(even, relief.even(place[None])), place[None], relief
        )
        for place in places
    ]
    return np.concatenate([z for z, _ in single]), np.concatenate([v for _, v in single])


def _nearest(even: FloatArray, place: FloatArray) -> NDArray[np.int64]:
    far = (even[:, 0] - place[0, 0]) ** 2 + (even[:, 1] - place[0, 1]) ** 2
    return np.sort(np.argpartition(far, NEIGHBOURS)[:NEIGHBOURS])


def _joined(
    carriers: Carriers, known: Heights, others: NDArray[np.int64], places: FloatArray, relief: Relief
) -> tuple[FloatArray, FloatArray]:
    """Carriers and ``others`` together."""
    near, count = known.some(others), len(others)
    both = Placed.of(np.concatenate([near.places, places]) - carriers.centre, relief)
    towards = carriers.inverse @ carriers.placed.covariance(both)
    z_um = carriers.level_um + carriers.answer @ towards
    if not count:
        return z_um, np.clip(both.variance() - np.einsum("ij,ij->j", towards, towards), 0.0, None)
    left = both.first(count).covariance(both) - towards[:, :count].T @ towards
    inner = left[:, :count]
    inner[np.diag_indices(count)] += near.noise(relief.scatter_um)
    triangle = cholesky(inner, lower=True, check_finite=False)
    aims = np.column_stack([near.heights - z_um[:count], left[:, count:]])
    solved = solve_triangular(triangle, aims, lower=True, check_finite=False)
    there, nearer = towards[:, count:], solved[:, 1:]
    explained = np.einsum("ij,ij->j", there, there) + np.einsum("ij,ij->j", nearer, nearer)
    return z_um[count:] + solved[:, 0] @ nearer, np.clip(both.variance()[count:] - explained, 0.0, None)
