"""What would a rule on nuclear area and darkness make of the same slides? The simplest thing that could work.

A logistic rule learns from slides of their own what the two true measures of a nucleus (no image, no noise) tell about
its being abnormal; a slide's score is the mean of its five highest. If that found every abnormal slide, the simulated
ones would be too easy for a detector to prove anything.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from detection.calibrating import logistic
from scanner.devices.simulated.specimen import SMALL_DEPOSIT
from scanner.devices.simulated.truth import ABNORMAL
from scanner.offline.simulated_fields import SlideUnderCamera
from scripts.evaluation_slides import Looks

SEED = 800_001
SLIDES = 4
EACH = 40
TOP = 5
Numbers = NDArray[np.float64]


@cache
def _weights() -> Numbers:
    """The rule, from the nuclei of slides with many abnormal cells; both kinds weigh alike."""
    looks, truth = [], []
    for number in range(SLIDES):
        slide = SlideUnderCamera((SEED + number, 1), dict.fromkeys(sorted(ABNORMAL), EACH), SMALL_DEPOSIT)
        own, kinds = slide.nuclear_looks()
        looks.append(own)
        truth.append(np.array([kind in ABNORMAL for kind in kinds]))
    design, abnormal = _design(np.concatenate(looks)), np.concatenate(truth)
    kept = _balanced(abnormal)
    nothing = np.zeros(design.shape[1])
    return logistic(design[kept], abnormal[kept], nothing, nothing + 1e-3)


def _balanced(abnormal: NDArray[np.bool_]) -> NDArray[np.int64]:
    rng = np.random.default_rng(SEED)
    yes, no = np.flatnonzero(abnormal), np.flatnonzero(~abnormal)
    return np.concatenate([yes, rng.choice(no, min(len(no), 10 * len(yes)), replace=False)])


def _design(looks: Looks) -> Numbers:
    """Area and darkness, their squares and product, logarithmic; and one."""
    size, dark = np.log(np.maximum(looks, 1e-3)).T
    size -= np.log(60.0)
    return np.stack([size, dark, size * size, dark * dark, size * dark, np.ones_like(size)], axis=1)


def rule_scores(slides: Sequence[Looks]) -> Numbers:
    """(n,) mean log-odds of the five most suspicious nuclei of each slide."""
    scores = []
    for looks in slides:
        odds = np.sort(_design(looks) @ _weights())[::-1]
        scores.append(float(odds[:TOP].mean()))
    return np.array(scores)
