"""At which height does the sample lie where nobody has looked yet, and how sure is that?

Kriging: a Gaussian process whose kernel holds the plane, the bow, the local relief and the scatter of single fields
(C. E. Rasmussen, C. K. I. Williams, "Gaussian Processes for Machine Learning", 2006, chapters 2.7 and 5.4.1).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from autofocus.errors import FocusInputError

FloatArray = NDArray[np.float64]

# what glass on a stage does at most, 1 sigma: height, tilt and bow; in µm and mm
_LEVEL_UM = 50.0
_TILT_UM_PER_MM = 1.0
_BOW_UM_PER_MM2 = 0.05
_LEAST_POINTS_TO_FIT = 6
_OUTLIER_SIGMA = 3.0
_ROBUST_ROUNDS = 4
_NEIGHBOURS = 64


@dataclass(frozen=True, slots=True)
class FocusPoint:
    """A measured height at a place, slide µm; ``sigma_um`` is the measurement's own (1 sigma)."""

    x_um: float
    y_um: float
    z_um: float
    sigma_um: float


@dataclass(frozen=True, slots=True)
class Relief:
    """What a surface is like: size and reach of its local relief, scatter of single fields around it, all µm."""

    relief_um: float = 0.7
    reach_um: float = 4000.0
    scatter_um: float = 0.5


@dataclass(frozen=True, slots=True)
class _Points:
    """The same as arrays: places (n, 2), heights (n,), sigmas (n,), µm."""

    places: FloatArray
    heights: FloatArray
    sigmas: FloatArray

    @classmethod
    def of(cls, points: Sequence[FocusPoint]) -> "_Points":
        if not points:
            raise FocusInputError("a focus map needs at least one point")
        rows = np.array([(p.x_um, p.y_um, p.z_um, p.sigma_um) for p in points], float)
        if not np.isfinite(rows).all() or (rows[:, 3] <= 0).any():
            raise FocusInputError("focus points need finite numbers and a positive sigma")
        return cls(rows[:, :2], rows[:, 2], rows[:, 3])

    def some(self, which: NDArray[np.int64]) -> "_Points":
        return _Points(self.places[which], self.heights[which], self.sigmas[which])

    def joined(self, other: "_Points") -> "_Points":
        return _Points(
            np.concatenate([self.places, other.places]),
            np.concatenate([self.heights, other.heights]),
            np.concatenate([self.sigmas, other.sigmas]),
        )

    def nearest(self, place: FloatArray, count: int) -> "_Points":
        far = np.sum((self.places - place) ** 2, axis=1)
        return self.some(np.sort(np.argpartition(far, count)[:count]))


@dataclass(frozen=True, slots=True)
class FocusMap:
    """Measured points and what the surface between them is like; never changed, only followed by a new one."""

    _known: _Points
    relief: Relief

    @classmethod
    def of(cls, points: Sequence[FocusPoint], relief: Relief | None = None) -> "FocusMap":
        """Learn the relief from the points where there are six or more.

        Raises:
            FocusInputError: without points, or with a number that is not finite.
        """
        known, start = _Points.of(points), relief or Relief()
        if len(points) < _LEAST_POINTS_TO_FIT:
            return cls(known, start)
        fitted = _fit(known, start)
        return cls(_weighed_down(known, fitted), fitted)

    @property
    def points(self) -> tuple[FocusPoint, ...]:
        """What was measured; an outlier has an uncertainty that explains it."""
        known = self._known
        rows = np.column_stack([known.places, known.heights, known.sigmas]).tolist()
        return tuple(FocusPoint(*row) for row in rows)

    def with_points(self, points: Sequence[FocusPoint]) -> "FocusMap":
        """The map that also knows ``points``; the relief stays."""
        return replace(self, _known=self._known.joined(_Points.of(points)))

    def without(self, x_um: float, y_um: float, radius_um: float) -> "FocusMap":
        """The map without the points around a place.

        Raises:
            FocusInputError: where no point would be left.
        """
        far = np.hypot(*(self._known.places - (x_um, y_um)).T) > radius_um
        if not far.any():
            raise FocusInputError("a focus map needs at least one point")
        return replace(self, _known=self._known.some(np.flatnonzero(far)))

    def refitted(self) -> "FocusMap":
        """The same points with the relief learned anew and outliers weighed down."""
        return FocusMap.of(self.points, self.relief)

    def predict(self, x_um: float, y_um: float) -> tuple[float, float]:
        """Height of a field and its uncertainty (1 sigma, the scatter of single fields included), µm."""
        z_um, sigma_um = self.predict_many(np.array([[x_um, y_um]]))
        return float(z_um[0]), float(sigma_um[0])

    def predict_many(self, places_um: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """(m, 2) places as (m,) heights and (m,) uncertainties; far from all points the latter grows."""
        places = np.asarray(places_um, float).reshape(-1, 2)
        known = self._known
        if len(known.heights) <= 2 * _NEIGHBOURS:
            return _krige(known, places, self.relief)
        single = [_krige(known.nearest(place, _NEIGHBOURS), place[None], self.relief) for place in places]
        return np.concatenate([z for z, _ in single]), np.concatenate([s for _, s in single])


def next_points(focus_map: FocusMap, candidates_um: ArrayLike, count: int) -> NDArray[np.int64]:
    """Which ``count`` of (m, 2) candidate places to measure next: each time where the map is least sure."""
    candidates = np.asarray(candidates_um, float).reshape(-1, 2)
    chosen: list[int] = []
    believed = focus_map
    for _ in range(min(count, len(candidates))):
        z_um, sigma_um = believed.predict_many(candidates)
        sigma_um[chosen] = -1.0
        best = int(np.argmax(sigma_um))
        chosen.append(best)
        place = candidates[best]
        assumed = FocusPoint(float(place[0]), float(place[1]), float(z_um[best]), 0.1)
        believed = believed.with_points([assumed])
    return np.array(chosen, np.int64)


def _kernel(a: FloatArray, b: FloatArray, relief: Relief) -> FloatArray:
    """Covariance of the surface between (n, 2) and (m, 2) places, µm²: plane, bow and Matérn 3/2 relief."""
    mm_a, mm_b = a / 1000, b / 1000
    plane = _LEVEL_UM**2 + _TILT_UM_PER_MM**2 * (mm_a @ mm_b.T)
    bow = _BOW_UM_PER_MM2**2 * (mm_a @ mm_b.T) ** 2
    apart = np.sqrt(3) * np.linalg.norm(a[:, None] - b[None, :], axis=2) / relief.reach_um
    local = relief.relief_um**2 * (1 + apart) * np.exp(-apart)
    total: FloatArray = plane + bow + local
    return total


def _krige(known: _Points, places: FloatArray, relief: Relief) -> tuple[FloatArray, FloatArray]:
    centre, level = known.places.mean(axis=0), float(np.median(known.heights))
    at, wanted = known.places - centre, places - centre
    factor = cho_factor(_noisy(at, known.sigmas, relief))
    towards = _kernel(wanted, at, relief)
    z_um = level + towards @ cho_solve(factor, known.heights - level)
    explained = np.einsum("ij,ji->i", towards, cho_solve(factor, towards.T))
    own = np.array([_kernel(w[None], w[None], relief)[0, 0] for w in wanted])
    variance = np.clip(own - explained, 0.0, None) + relief.scatter_um**2
    return z_um, np.sqrt(variance)


def _noisy(at: FloatArray, sigmas: FloatArray, relief: Relief) -> FloatArray:
    covariance: FloatArray = _kernel(at, at, relief) + np.diag(sigmas**2 + relief.scatter_um**2 + 1e-6)
    return covariance


def _fit(known: _Points, start: Relief) -> Relief:
    """Most likely relief under a weak belief in ``start``, outliers weighed down before each round."""
    relief = start
    for _ in range(2):
        relief = _most_likely(_weighed_down(known, relief), start)
    return relief


def _most_likely(known: _Points, start: Relief) -> Relief:
    first: FloatArray = np.log(np.array([start.relief_um, start.reach_um, start.scatter_um]))

    def cost(logs: FloatArray) -> float:
        return _unlikeliness(known, _of_logs(logs)) + 0.5 * float(np.sum((logs - first) ** 2))

    found = minimize(cost, first, method="Nelder-Mead", options={"xatol": 0.05, "fatol": 0.02, "maxfev": 60})
    return _of_logs(found.x)


def _of_logs(logs: FloatArray) -> Relief:
    relief, reach, scatter = (float(v) for v in np.exp(logs))
    return Relief(
        min(max(relief, 0.01), 20.0), min(max(reach, 300.0), 50_000.0), min(max(scatter, 0.02), 5.0)
    )


def _unlikeliness(known: _Points, relief: Relief) -> float:
    at = known.places - known.places.mean(axis=0)
    heights = known.heights - np.median(known.heights)
    lower, _ = cho_factor(_noisy(at, known.sigmas, relief), lower=True)
    solved = cho_solve((lower, True), heights)
    return 0.5 * float(heights @ solved) + float(np.log(np.diag(lower)).sum())


def _weighed_down(known: _Points, relief: Relief) -> _Points:
    """Outliers, judged by leaving each point out, get an uncertainty that explains them."""
    sigmas = known.sigmas
    for _ in range(_ROBUST_ROUNDS):
        at = known.places - known.places.mean(axis=0)
        inverse = np.linalg.inv(_noisy(at, sigmas, relief))
        spread = 1 / np.sqrt(np.diag(inverse))
        miss = (inverse @ (known.heights - np.median(known.heights))) * spread**2
        base = spread**2 - sigmas**2 + known.sigmas**2
        excess = np.abs(miss) / np.sqrt(base)
        grown = np.sqrt(known.sigmas**2 + np.clip(miss**2 - base, 0.0, None))
        sigmas = np.where(excess > _OUTLIER_SIGMA, grown, known.sigmas)
    return replace(known, sigmas=sigmas)
