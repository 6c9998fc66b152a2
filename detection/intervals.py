"""How sure is a figure that was counted on a few slides or cells? Exact and bootstrap intervals of 95 %."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from detection.evaluation import BOOTSTRAPS, Numbers

Interval = tuple[float, float]


def exact_interval(found: int, of: int) -> Interval | None:
    """95 % interval of a share (Clopper & Pearson 1934); None of nothing."""
    if not of:
        return None
    interval = binomtest(found, of).proportion_ci(0.95, "exact")
    return float(interval.low), float(interval.high)


def percentiles(drawn: list[float]) -> Interval | None:
    """What 95 % of the draws lie between; None without any, or where all agree: that is no certainty."""
    low, high = np.percentile(drawn, [2.5, 97.5]) if drawn else (0.0, 0.0)
    return (float(low), float(high)) if high > low else None


def draws(groups: int, seed: int = 0) -> Iterator[NDArray[np.int64]]:
    """(groups,) how often each group, such as a slide, was drawn with replacement; ``BOOTSTRAPS`` times."""
    rng = np.random.default_rng(seed)
    for _ in range(BOOTSTRAPS):
        yield rng.multinomial(groups, np.full(groups, 1 / groups))


def bootstrap(figure: Callable[[NDArray[np.int64]], float | None], groups: int) -> Interval | None:
    """95 % interval of a figure under :func:`draws`; draws without it do not count. None with a single group."""
    if groups < 2:
        return None
    values = (figure(drawn) for drawn in draws(groups))
    return percentiles([value for value in values if value is not None])


def band(curve: Callable[[NDArray[np.int64]], Numbers | None], groups: int) -> tuple[Numbers, Numbers] | None:
    """(n,) lowest and highest of 95 % of the draws at each of a curve's n places, None with a single group."""
    if groups < 2:
        return None
    values = (curve(drawn) for drawn in draws(groups))
    kept = [value for value in values if value is not None]
    if not kept:
        return None
    low, high = np.percentile(np.stack(kept), [2.5, 97.5], axis=0)
    return low, high
