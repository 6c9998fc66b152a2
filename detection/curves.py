"""Which curves show how a ranking does at every threshold: ROC, precision and recall, FROC, reliability?

Weights say how often each ranked thing was drawn in a bootstrap; without them each counts once.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detection.evaluation import Numbers
from detection.intervals import Interval, exact_interval

BINS = 10
Flags = NDArray[np.bool_]


def cumulative(scores: Numbers, hits: Flags, weight: Numbers | None = None) -> tuple[Numbers, Numbers]:
    """(n + 1,) hits and others at or over each of n distinct scores, the highest first, starting at 0."""
    if not len(scores):
        return np.zeros(1), np.zeros(1)
    order = np.argsort(-scores, kind="stable")
    each = np.ones(len(scores)) if weight is None else weight[order].astype(float)
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    found, false = np.cumsum(each * hits[order])[last], np.cumsum(each * ~hits[order])[last]
    return np.concatenate([[0.0], found]), np.concatenate([[0.0], false])


def roc(scores: Numbers, truth: Flags, weight: Numbers | None = None) -> tuple[Numbers, Numbers]:
    """False and true positive rate; both sides must occur."""
    found, false = cumulative(scores, truth, weight)
    return false / false[-1], found / found[-1]


def precision_recall(
    scores: Numbers, hits: Flags, truths: float, weight: Numbers | None = None
) -> tuple[Numbers, Numbers]:
    """Recall and the best precision at that recall or a higher one; ``truths`` must be over 0."""
    found, false = cumulative(scores, hits, weight)
    precision = found[1:] / np.maximum(found[1:] + false[1:], 1e-9)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return found[1:] / truths, best


def froc_curve(
    scores: Numbers, hits: Flags, truths: float, area_mm2: float, weight: Numbers | None = None
) -> tuple[Numbers, Numbers]:
    """False detections on a square millimetre, and the share of true ones found; ``truths`` over 0."""
    found, false = cumulative(scores, hits, weight)
    return false / max(area_mm2, 1e-12), found / truths


def rising(grid: Numbers, x: Numbers, y: Numbers) -> Numbers:
    """(n,) the highest y of a rising curve at or before each place of the grid."""
    return y[np.searchsorted(x, grid, side="right") - 1]


def falling(grid: Numbers, x: Numbers, y: Numbers) -> Numbers:
    """(n,) the y of a falling curve at or after each place of the grid, 0 beyond its end."""
    return np.append(y, 0.0)[np.searchsorted(x, grid, side="left")]


@dataclass(frozen=True, slots=True)
class Bin:
    """Things whose probability was said to lie in ``low`` … ``high``; ``found`` is how often it came true."""

    low: float
    high: float
    n: int
    said: float
    found: float
    found_ci95: Interval


def reliability(said: Numbers, truth: Flags, bins: int = BINS) -> list[Bin]:
    """The bins of equal width that hold anything; intervals are exact and take each thing as independent."""
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.digitize(said, edges) - 1, 0, bins - 1)
    return [_bin(edges[k : k + 2], said[place == k], truth[place == k]) for k in np.unique(place)]


def _bin(edges: Numbers, said: Numbers, truth: Flags) -> Bin:
    interval = exact_interval(int(truth.sum()), len(truth)) or (0.0, 1.0)
    return Bin(float(edges[0]), float(edges[1]), len(said), float(said.mean()), float(truth.mean()), interval)


def calibration_error(bins: list[Bin]) -> float | None:
    """Expected calibration error (Naeini et al. 2015): the gap between said and found, mean over the things."""
    total = sum(b.n for b in bins)
    return sum(b.n * abs(b.said - b.found) for b in bins) / total if total else None
