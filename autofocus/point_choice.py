"""At which places does a focus map learn most about all the fields that will be scanned?

Greedy choice and one round of exchanges, each for what lowers the variance of the surface over the fields most
(D. Cohn, "Neural network exploration using optimal experiment design", 1996; S. Seo et al., 2000), so that none is
spent on a rim whose far side nobody will look at. Where the surface is least sure counts more than the mean does.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autofocus.errors import FocusInputError
from autofocus.relief import FloatArray, Relief, covariance

MOST_FIELDS = 600
POINT_SIGMA_UM = 0.1
_LEAST_WEIGHT = 1e-9
_WORST_COUNTS = 2


def choose_points(
    candidates_um: ArrayLike,
    weights: ArrayLike,
    count: int,
    relief: Relief,
    start: tuple[float, float] | None = None,
) -> NDArray[np.int64]:
    """Which fields to focus on before the first tile, in the order of a short way over them.

    Args:
        candidates_um: (n, 2) field centres, slide µm.
        weights: (n,) how much sample each is expected to hold: so much does its height matter, and so likely is an
            answer there. A field of weight 0 is never chosen.
        count: how many points, fewer where there are fewer fields with weight.
        relief: what the surface is expected to be like.
        start: where the way begins, slide µm; None for the middle of the sample.

    Raises:
        FocusInputError: shapes that do not belong together, numbers that are not finite, no weight at all.
    """
    places, amounts = _checked(candidates_um, weights)
    which = most_telling(places, amounts, count, relief)
    begin = amounts @ places / amounts.sum() if start is None else np.asarray(start, float)
    return which[short_way(places[which], begin)]


def most_telling(
    places: FloatArray,
    weights: FloatArray,
    count: int,
    relief: Relief,
    known: FloatArray | None = None,
) -> NDArray[np.int64]:
    """Indices of ``count`` of (n, 2) places, most telling first; ``known`` (m, 3) x, y, sigma is measured already.

    Of more fields than 600 every second, third, … is looked at.
    """
    with_sample = np.flatnonzero(weights > _LEAST_WEIGHT)
    looked = with_sample[:: max(1, -(-len(with_sample) // max(MOST_FIELDS, count)))]
    centre = places.mean(axis=0)
    fields = _Fields(places[looked] - centre, weights[looked], relief)
    if known is not None:
        fields.know(known[:, :2] - centre, known[:, 2])
    chosen = [fields.take() for _ in range(min(count, len(looked)))]
    found: NDArray[np.int64] = looked[[fields.exchange(at) for at in chosen]]
    return found


class _Fields:
    """The surface's covariance (n, n) between all fields, less and less as points are taken."""

    def __init__(self, places: FloatArray, weights: FloatArray, relief: Relief) -> None:
        self._places, self._relief = places, relief
        self._weights, self._likely = weights / weights.sum(), weights / weights.max()
        self._covariance = covariance(places, places, relief)
        self._noise = relief.scatter_um**2 + POINT_SIGMA_UM**2
        self._free = np.ones(len(places), bool)

    def know(self, places: FloatArray, sigmas: FloatArray) -> None:
        """Points that were measured already."""
        noisy = covariance(places, places, self._relief)
        noisy[np.diag_indices_from(noisy)] += sigmas**2 + self._relief.scatter_um**2
        towards = covariance(self._places, places, self._relief)
        self._covariance -= towards @ np.linalg.solve(noisy, towards.T)

    def take(self) -> int:
        """The place that tells most; from now on it counts as measured."""
        left = np.clip(np.diag(self._covariance), 0.0, None)
        gain = self._likely * ((self._weights * left**_WORST_COUNTS) @ self._covariance**2)
        gain = np.where(self._free, gain / (left + self._noise), -1.0)
        best = int(np.argmax(gain))
        self._free[best] = False
        self._learn(best, 1.0)
        return best

    def exchange(self, taken: int) -> int:
        """Give one place back and take the one that now tells most, often the same."""
        self._learn(taken, -1.0)
        self._free[taken] = True
        return self.take()

    def _learn(self, at: int, sign: float) -> None:
        """As if the height at a place were measured, or with sign -1 as if it had not been."""
        column = self._covariance[:, at] / np.sqrt(self._covariance[at, at] * sign + self._noise)
        self._covariance -= sign * np.outer(column, column)


def short_way(places: FloatArray, begin: FloatArray) -> NDArray[np.int64]:
    """The order of a short way over (n, 2) places from the one nearest to ``begin``: nearest first, then 2-opt."""
    far = np.hypot(*(places[:, None] - places[None, :]).transpose(2, 0, 1))
    order = [int(np.argmin(np.hypot(*(places - begin).T)))]
    left = set(range(len(places))) - set(order)
    while left:
        order.append(min(left, key=lambda n: (far[order[-1], n], n)))
        left.remove(order[-1])
    return np.array(_uncrossed(order, far), np.int64)


def _uncrossed(order: list[int], far: FloatArray) -> list[int]:
    """Turn parts of the way round as long as that makes it shorter; its beginning stays."""
    better = True
    while better:
        better = False
        for i in range(1, len(order) - 1):
            for j in range(i + 1, len(order)):
                before = far[order[i - 1], order[i]]
                after = far[order[i - 1], order[j]]
                if j + 1 < len(order):
                    before, after = before + far[order[j], order[j + 1]], after + far[order[i], order[j + 1]]
                if after < before - 1e-6:
                    order[i : j + 1] = order[i : j + 1][::-1]
                    better = True
    return order


def _checked(candidates_um: ArrayLike, weights: ArrayLike) -> tuple[FloatArray, FloatArray]:
    places, amounts = np.asarray(candidates_um, float), np.asarray(weights, float)
    if places.ndim != 2 or places.shape[1] != 2 or amounts.shape != (len(places),):
        raise FocusInputError(f"places {places.shape} and weights {amounts.shape} do not belong together")
    if not (np.isfinite(places).all() and np.isfinite(amounts).all()) or (amounts < 0).any():
        raise FocusInputError("places need finite numbers, weights finite ones that are not negative")
    if not amounts.sum() > 0:
        raise FocusInputError("there is no field with sample to focus on")
    return places, amounts
