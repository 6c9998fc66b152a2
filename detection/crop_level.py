"""How good is a detector on crops of one cell each, and what would darkness alone reach on them?"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detection.curves import calibration_error, reliability
from detection.evaluation import BOOTSTRAPS, Numbers, auc, auc_interval, balanced_accuracy, confusion
from detection.figures import CropFigures, Reliability
from detection.intervals import Interval, exact_interval, percentiles
from detection.seen import SeenCrops
from detection.slide_level import control_notes, controls


def crop_figures(seen: SeenCrops, abnormal: Sequence[int], names: Sequence[str]) -> CropFigures:
    """All that these crops can tell; ``names`` are the package's classes."""
    counts = confusion(seen.truth, seen.shares.argmax(axis=1), len(names))
    said, truth = abnormal_share(seen, abnormal), np.isin(seen.truth, abnormal)
    bins = reliability(said, truth)
    total, right = counts.sum(axis=1), np.diag(counts)
    here = [int(k) for k in np.flatnonzero(total)]
    area = auc(said, truth)
    density = np.array([look.density for look in seen.looks])
    blind = controls(truth, said, density, np.array([look.dark_share for look in seen.looks]))
    return CropFigures(
        balanced_accuracy=balanced_accuracy(counts),
        auc_abnormal=area,
        confusion=tuple(tuple(int(v) for v in row) for row in counts),
        balanced_accuracy_ci95=balanced_interval(counts),
        auc_abnormal_ci95=auc_interval(said, truth),
        classes=tuple(names),
        recall_of={names[k]: float(right[k] / total[k]) for k in here},
        recall_of_ci95={names[k]: exact_interval(int(right[k]), int(total[k])) for k in here},
        calibration=Reliability(error=calibration_error(bins), bins=tuple(bins)),
        controls=blind,
        notes=(*_notes(truth), *control_notes(area, blind)),
    )


def abnormal_share(seen: SeenCrops, abnormal: Sequence[int]) -> Numbers:
    """(n,) P(abnormal) of each crop: the shares of the abnormal classes together."""
    return np.asarray(seen.shares[:, list(abnormal)].sum(axis=1).clip(0, 1))


def balanced_interval(counts: NDArray[np.int64], seed: int = 0) -> Interval | None:
    """95 % bootstrap interval of the balanced accuracy, crops drawn within each class.

    Of n crops drawn with replacement the right ones are binomial: nothing else need be drawn.
    """
    total = counts.sum(axis=1)
    total, right = total[total > 0], np.diag(counts)[total > 0]
    drawn = np.random.default_rng(seed).binomial(total, right / total, (BOOTSTRAPS, len(total))) / total
    return percentiles(list(drawn.mean(axis=1)))


def _notes(truth: NDArray[np.bool_]) -> list[str]:
    missing = [] if truth.any() else ["no abnormal crop: no AUC can be given"]
    return missing + (["no normal crop: no AUC can be given"] if truth.all() else [])
