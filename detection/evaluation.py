"""How good is a detector: on cells, on crops, on slides? Pure figures from scores and truth, with their uncertainty."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detection.detections import Floats

SCANNED_AGAIN = 0.3
"""Scanned a second time a slide may score so much less, in logit; what it rests on, decision 0106 says."""
Numbers = NDArray[np.float64]
BOOTSTRAPS = 1000
SAME_CELL_IOU = 0.3
FROC_FALSE_PER_MM2 = (1.0, 5.0, 20.0, 60.0)


def auc(scores: Sequence[float] | Numbers, positive: Sequence[bool] | NDArray[np.bool_]) -> float | None:
    """Area under the ROC curve (Mann-Whitney, ties count half); None where one side is missing."""
    values, truth = np.asarray(scores, float), np.asarray(positive, bool)
    p, n = int(truth.sum()), int((~truth).sum())
    if not p or not n:
        return None
    low = np.searchsorted(np.sort(values[~truth]), values[truth], side="left")
    high = np.searchsorted(np.sort(values[~truth]), values[truth], side="right")
    return float((low + high).sum() / (2 * p * n))


def auc_interval(
    scores: Sequence[float] | Numbers, positive: Sequence[bool] | NDArray[np.bool_], seed: int = 0
) -> tuple[float, float] | None:
    """95 % bootstrap interval of the AUC, both sides resampled on their own; None as for :func:`auc`.

    Where all pairs are in the same order no draw differs. Then the bound is exact: each of the smaller side has a
    partner of its own, and of m independent pairs all m are right with a probability of AUC ** m.
    """
    values, truth = np.asarray(scores, float), np.asarray(positive, bool)
    if not truth.any() or truth.all():
        return None
    rng = np.random.default_rng(seed)
    yes, no = values[truth], values[~truth]
    least = float(0.025 ** (1 / min(len(yes), len(no))))
    if yes.min() > no.max():
        return least, 1.0
    if yes.max() < no.min():
        return 0.0, 1 - least
    label = np.concatenate([np.ones(len(yes), bool), np.zeros(len(no), bool)])
    drawn = [
        auc(np.concatenate([rng.choice(yes, len(yes)), rng.choice(no, len(no))]), label) or 0.0
        for _ in range(BOOTSTRAPS)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A slide under ``threshold`` may be excluded.

    ``sensitivity`` is the share of abnormal slides at or over it, ``excluded`` the share of normal ones under it.
    """

    threshold: float
    sensitivity: float
    excluded: float


def at_threshold(scores: Numbers, positive: NDArray[np.bool_], threshold: float) -> OperatingPoint:
    """The shares at a given threshold; 0 where there is no slide of a kind."""
    yes, no = scores[positive], scores[~positive]
    sensitivity = float((yes >= threshold).mean()) if len(yes) else 0.0
    return OperatingPoint(threshold, sensitivity, float((no < threshold).mean()) if len(no) else 0.0)


def safe_point(scores: Numbers, positive: NDArray[np.bool_], margin: float = SCANNED_AGAIN) -> OperatingPoint:
    """The operating point under every abnormal slide, by ``margin`` of logit, so that none seen is excluded."""
    lowest = float(np.clip(scores[positive].min(initial=1.0), 1e-6, 1 - 1e-6))
    logit = np.log(lowest / (1 - lowest)) - margin
    return at_threshold(scores, positive, float(1 / (1 + np.exp(-logit))))


def at_sensitivity(scores: Numbers, positive: NDArray[np.bool_], wanted: float) -> OperatingPoint:
    """The highest operating point whose sensitivity on these slides is at least ``wanted``, over 0 up to 1."""
    yes = np.sort(scores[positive])[::-1]
    needed = max(1, int(np.ceil(wanted * len(yes) - 1e-9)))
    return at_threshold(scores, positive, float(yes[needed - 1]) if len(yes) else 1.0)


def iou(boxes: Floats, others: Floats) -> Numbers:
    """(m, n) intersection over union of x, y, w, h boxes."""
    a, b = boxes.astype(float)[:, None], others.astype(float)[None]
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    shared = np.clip(high - low, 0, None).prod(axis=-1)
    union = a[..., 2:].prod(axis=-1) + b[..., 2:].prod(axis=-1) - shared
    return np.asarray(shared / np.maximum(union, 1e-9))


def unasked(boxes: Floats, truth: Floats, unknown: Floats) -> NDArray[np.bool_]:
    """(m,) which boxes nobody can judge: their centre lies in a region of which nobody knows, and they hit no truth."""
    centres = (boxes[:, :2] + boxes[:, 2:] / 2)[:, None]
    inside = (centres >= unknown[None, :, :2]) & (centres <= unknown[None, :, :2] + unknown[None, :, 2:])
    free = iou(boxes, truth).max(axis=1, initial=0.0) < SAME_CELL_IOU
    return np.asarray(np.any(np.all(inside, axis=2), axis=1) & free, dtype=bool)


def matched(boxes: Floats, scores: Floats, truth: Floats, least_iou: float = 0.5) -> NDArray[np.bool_]:
    """Which boxes of one image hit a true box of their own, the best scores choosing first (VOC's rule)."""
    hit = np.zeros(len(boxes), bool)
    overlap = iou(boxes, truth)
    for index in np.argsort(-scores, kind="stable"):
        if not len(truth):
            break
        best = int(overlap[index].argmax())
        if overlap[index, best] >= least_iou:
            hit[index] = True
            overlap[:, best] = -1.0
    return hit


def average_precision(
    scores: Numbers, hits: NDArray[np.bool_], truths: int, weight: NDArray[np.int64] | None = None
) -> float | None:
    """Area under the precision-recall curve with precision made monotone; None without any true box.

    ``weight`` says how often each detection counts, as in a bootstrap; ``truths`` is then a weighted count too.
    """
    if not truths:
        return None
    order = np.argsort(-scores, kind="stable")
    each = np.ones(len(scores), np.int64) if weight is None else weight[order]
    found = np.cumsum(hits[order] * each)
    recall = np.concatenate([[0.0], found / truths])
    precision = np.concatenate([found / np.maximum(np.cumsum(each), 1), [0.0]])
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall) * precision[:-1]).sum())


def froc(
    scores: Numbers,
    hits: NDArray[np.bool_],
    truths: int,
    area_mm2: float,
    weight: NDArray[np.int64] | None = None,
) -> dict[str, float]:
    """Sensitivity at given numbers of false detections on a square millimetre; ``weight`` as above."""
    order = np.argsort(-scores, kind="stable")
    each = np.ones(len(scores), np.int64) if weight is None else weight[order]
    false = np.cumsum(~hits[order] * each) / max(area_mm2, 1e-12)
    found = np.cumsum(hits[order] * each) / max(truths, 1)
    return {
        f"{rate:g}": float(found[false <= rate].max(initial=0.0)) if truths else 0.0
        for rate in FROC_FALSE_PER_MM2
    }


def confusion(truth: NDArray[np.int64], said: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """(k, k) counts: row the true class, column the one said."""
    return np.bincount(truth * classes + said, minlength=classes * classes).reshape(classes, classes)


def balanced_accuracy(counts: NDArray[np.int64]) -> float | None:
    """Mean recall over the classes that occur in a confusion matrix."""
    total = counts.sum(axis=1)
    recall = np.diag(counts)[total > 0] / total[total > 0]
    return float(recall.mean()) if len(recall) else None


def platt(raw: Numbers, truth: NDArray[np.bool_], rounds: int = 50) -> tuple[float, float]:
    """(slope, offset) of the logistic curve from logit(raw) to truth (Platt 1999).

    By Newton's method with a weak prior at (1, 0), so that few examples do not run away.
    """
    inside = np.clip(raw, 1e-4, 1 - 1e-4)
    design = np.stack([np.log(inside / (1 - inside)), np.ones(len(raw))], axis=1)
    prior, weight = np.array([1.0, 0.0]), np.diag([1.0, 0.1])
    fit = prior.copy()
    for _ in range(rounds):
        chance = 1 / (1 + np.exp(-np.clip(design @ fit, -30, 30)))
        gradient = design.T @ (chance - truth) + weight @ (fit - prior)
        curvature = (design * (chance * (1 - chance))[:, None]).T @ design + weight
        step = np.linalg.solve(curvature, gradient)
        fit -= np.clip(step, -2, 2)
    return max(float(fit[0]), 0.05), float(fit[1])
