"""What do measured heights tell of the surface's relief, of the scatter of fields, and which of them are wrong?

Maximum of the marginal likelihood under a weak belief (Rasmussen and Williams, chapter 5.4.1) with each point left
out in turn (5.4.2): a point that the others cannot explain gets a doubt that explains it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from autofocus.relief import FloatArray, Relief, covariance, trend

LEAST_POINTS = 6
MOST_TO_FIT = 120
_TOGETHER = 160
_OUTLIER_SIGMA = 3.5
_ROBUST_ROUNDS = 4
_BOUNDED_ROUNDS = 12
_PULLS_SIGMA = 1.5
_GROSS_SIGMA = 5.0
_WITHIN = 0.6827
_COUNTS_AS_POINTS = 20.0
_NUMBERS = 5
_LEAST_COUNTED = 0.3
_BELIEF = np.array([1.0, 1.0, 1.0, 0.5, 0.5])
_BOUNDS = (
    (math.log(0.01), math.log(20.0)),
    (math.log(300.0), math.log(50_000.0)),
    (math.log(0.02), math.log(5.0)),
    (-1.0, 1.0),
    (-1.0, 1.0),
)
_TINY_UM2 = 1e-6


@dataclass(frozen=True, slots=True)
class Heights:
    """Measured heights as arrays, µm: places (n, 2), heights, sigmas and doubts (n,).

    ``sigmas`` are those that came with the points, ``doubts`` what the other points add to them.
    """

    places: FloatArray
    heights: FloatArray
    sigmas: FloatArray
    doubts: FloatArray

    def __len__(self) -> int:
        return len(self.heights)

    def noise(self, scatter_um: float) -> FloatArray:
        """(n,) variance of each height around the surface, µm²."""
        total: FloatArray = self.sigmas**2 + self.doubts**2 + scatter_um**2 + _TINY_UM2
        return total

    def some(self, which: NDArray[np.int64]) -> "Heights":
        """A part of them."""
        return Heights(self.places[which], self.heights[which], self.sigmas[which], self.doubts[which])

    def joined(self, other: "Heights") -> "Heights":
        """These and then the others."""
        return Heights(
            np.concatenate([self.places, other.places]),
            np.concatenate([self.heights, other.heights]),
            np.concatenate([self.sigmas, other.sigmas]),
            np.concatenate([self.doubts, other.doubts]),
        )


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What the other points say of each: (n,) how far it lies off, and the variance of the surface there."""

    miss: FloatArray
    surface: FloatArray


def learned(known: Heights, start: Relief) -> tuple[Heights, Relief]:
    """The same heights with doubts, and the relief they show; ``start`` where they show little."""
    centred = known.places - known.places.mean(axis=0)
    cleared = replace(known, places=centred, doubts=np.zeros(len(known)))
    relief = _roughly(_sample(cleared), start)
    for _ in range(2):
        part = _doubted(_sample(cleared), relief)
        relief = _most_likely(part, start, relief)
    judged = _doubted(cleared, relief)
    return replace(judged, places=known.places), _unsure(
        replace(relief, scatter_um=_scatter_um(judged, relief)), len(known)
    )


def _doubted(known: Heights, relief: Relief) -> Heights:
    """The same heights; those that the others cannot explain with a doubt that does."""
    doubts = np.zeros(len(known))
    for which in _neighbourhoods(known.places):
        doubts[which] = _doubts(known.some(which), relief)
    return replace(known, doubts=doubts)


def doubt_um(miss_um: FloatArray, variance: FloatArray) -> FloatArray:
    """What explains a miss beyond all belief, as (n,) further uncertainty; 0 for any other."""
    beyond = np.abs(miss_um) > _OUTLIER_SIGMA * np.sqrt(variance)
    doubt: FloatArray = np.where(beyond, np.sqrt(np.clip(miss_um**2 - variance, 0.0, None)), 0.0)
    return doubt


def _doubts(known: Heights, relief: Relief) -> FloatArray:
    doubts = _bounded(known, relief)
    for _ in range(_ROBUST_ROUNDS):
        left_out = _left_out(replace(known, doubts=doubts), relief)
        doubts = doubt_um(left_out.miss, left_out.surface + known.sigmas**2 + relief.scatter_um**2)
    return doubts


def _bounded(known: Heights, relief: Relief) -> FloatArray:
    """Doubts under which no point pulls harder than 1.5 sigma would: several wrong ones cannot hide each other.

    Huber's estimate by reweighting; it has one answer, wherever it begins (P. J. Huber, "Robust Statistics", 1981).
    """
    shape = covariance(known.places, known.places, relief)
    heights = known.heights - np.median(known.heights)
    own = replace(known, doubts=np.zeros(len(known))).noise(relief.scatter_um)
    noise = own
    for _ in range(_BOUNDED_ROUNDS):
        off = noise * np.linalg.solve(shape + np.diag(noise), heights)
        noise = own * np.maximum(np.abs(off) / (_PULLS_SIGMA * np.sqrt(own)), 1.0)
    doubts: FloatArray = np.sqrt(noise - own)
    return doubts


def _left_out(known: Heights, relief: Relief) -> LeftOut:
    noise = known.noise(relief.scatter_um)
    inverse = np.linalg.inv(covariance(known.places, known.places, relief) + np.diag(noise))
    spread = 1 / np.diag(inverse)
    miss = (inverse @ (known.heights - np.median(known.heights))) * spread
    return LeftOut(miss, np.clip(spread - noise, 0.0, None))


def _roughly(known: Heights, start: Relief) -> Relief:
    """``start`` made as rough as most points are, so that the first look takes few of them for wrong."""
    bounded = replace(known, doubts=_bounded(known, start))
    left_out = _left_out(bounded, start)
    expected = np.sqrt(left_out.surface + known.noise(start.scatter_um))
    times = float(np.median(np.abs(left_out.miss) / expected)) / 0.6745
    times = min(max(times, 0.5), 6.0)
    return replace(start, relief_um=start.relief_um * times, scatter_um=start.scatter_um * times)


def _scatter_um(known: Heights, relief: Relief) -> float:
    """The scatter within which two thirds of the fields lie, as leaving out says; few points change it little."""
    excess = []
    for which in _neighbourhoods(known.places):
        part = known.some(which)
        left_out = _left_out(part, relief)
        own = left_out.surface + part.sigmas**2
        sound = left_out.miss**2 < _GROSS_SIGMA**2 * (own + relief.scatter_um**2)
        excess += (left_out.miss**2 - own)[sound].tolist()
    least = (_LEAST_COUNTED * relief.scatter_um) ** 2
    counted = math.sqrt(max(float(np.quantile(excess, _WITHIN)), least))
    share = len(known) / (len(known) + _COUNTS_AS_POINTS)
    return math.exp(share * math.log(counted) + (1 - share) * math.log(relief.scatter_um))


def _unsure(relief: Relief, points: int) -> Relief:
    """Five numbers learned from a few points fit those better than they fit the other fields."""
    times = math.sqrt(1 + _NUMBERS / points)
    return replace(relief, relief_um=relief.relief_um * times, scatter_um=relief.scatter_um * times)


def _most_likely(known: Heights, belief: Relief, first: Relief) -> Relief:
    cost = _Cost(known, _numbers(belief))
    found = minimize(
        cost,
        _numbers(first),
        jac=True,
        method="L-BFGS-B",
        bounds=_BOUNDS,
        options={"maxiter": 25, "ftol": 1e-5},
    )
    return _relief(found.x)


def _numbers(relief: Relief) -> FloatArray:
    """Logarithms of size, reach and scatter, and the stretch as a vector of twice its heading."""
    stretch, twice = math.log(relief.stretch) / 2, 2 * relief.heading_rad
    logs = [math.log(v) for v in (relief.relief_um, relief.reach_um, relief.scatter_um)]
    numbers = np.array([*logs, stretch * math.cos(twice), stretch * math.sin(twice)])
    within: FloatArray = np.clip(numbers, *np.array(_BOUNDS).T)
    return within


def _relief(numbers: FloatArray) -> Relief:
    size, reach, scatter = (float(v) for v in np.exp(numbers[:3]))
    stretch = math.hypot(numbers[3], numbers[4])
    return Relief(size, reach, scatter, math.exp(2 * stretch), math.atan2(numbers[4], numbers[3]) / 2)


class _Cost:
    """Minus the logarithm of the posterior of a relief's numbers, and its gradient (5,)."""

    def __init__(self, known: Heights, belief: FloatArray) -> None:
        x, y = (known.places[:, None, axis] - known.places[None, :, axis] for axis in (0, 1))
        self._products = (x * x + y * y, x * x - y * y, 2 * x * y)
        features = trend(known.places)
        self._trend = features @ features.T
        self._heights = known.heights - np.median(known.heights)
        self._noise, self._belief = known.noise(0.0), belief

    def __call__(self, numbers: FloatArray) -> tuple[float, FloatArray]:
        size, scatter = np.exp(2 * numbers[0]), np.exp(2 * numbers[2])
        squared, turned = self._apart(numbers)
        apart = np.sqrt(np.maximum(squared, 0.0))
        fading = size * np.exp(-apart)
        local = fading * (1 + apart)
        total = self._trend + local
        total[np.diag_indices_from(total)] += self._noise + scatter
        factor = cho_factor(total, lower=True)
        solved = cho_solve(factor, self._heights)
        off = (numbers - self._belief) / _BELIEF
        cost = 0.5 * self._heights @ solved + np.log(np.diag(factor[0])).sum() + 0.5 * off @ off
        weight = cho_solve(factor, np.eye(len(solved))) - np.outer(solved, solved)
        change = -0.5 * fading * weight
        slopes = [
            float(np.sum(weight * local)),
            float(np.sum(fading * weight * squared)) / 2,
            scatter * float(np.trace(weight)),
            0.5 * float(np.sum(change * turned[0])),
            0.5 * float(np.sum(change * turned[1])),
        ]
        return float(cost), np.array(slopes) + off / _BELIEF

    def _apart(self, numbers: FloatArray) -> tuple[FloatArray, tuple[FloatArray, FloatArray]]:
        """Squared distances in reaches, and how they change with the two numbers of the stretch."""
        scale = 3 * math.exp(-2 * numbers[1])
        squared = scale * self._stretched(numbers[3], numbers[4])
        step = 1e-5
        along = scale * self._stretched(numbers[3] + step, numbers[4])
        across = scale * self._stretched(numbers[3], numbers[4] + step)
        return squared, ((along - squared) / step, (across - squared) / step)

    def _stretched(self, a: float, b: float) -> FloatArray:
        stretch = math.hypot(a, b)
        even, uneven = math.cosh(2 * stretch), math.sinh(2 * stretch) / stretch if stretch > 1e-9 else 2.0
        whole, square, diagonal = self._products
        return even * whole - uneven * (a * square + b * diagonal)


def _sample(known: Heights) -> Heights:
    """A part that is enough to learn from: places anywhere, and the nearest of each, which tell relief from scatter."""
    if len(known) <= MOST_TO_FIT:
        return known
    seeds = np.random.default_rng(len(known)).choice(len(known), MOST_TO_FIT // 3, replace=False)
    chosen: set[int] = set()
    for seed in seeds.tolist():
        far = np.sum((known.places - known.places[seed]) ** 2, axis=1)
        chosen.update(np.argpartition(far, 3)[:3].tolist())
    return known.some(np.array(sorted(chosen), np.int64))


def _neighbourhoods(places: FloatArray) -> Iterator[NDArray[np.int64]]:
    """All places in groups of neighbours small enough to be looked at together."""
    left = [np.arange(len(places))]
    while left:
        group = left.pop()
        if len(group) <= _TOGETHER:
            yield group
            continue
        axis = int(np.argmax(np.ptp(places[group], axis=0)))
        ordered = group[np.argsort(places[group, axis], kind="stable")]
        left += [np.sort(ordered[: len(group) // 2]), np.sort(ordered[len(group) // 2 :])]
