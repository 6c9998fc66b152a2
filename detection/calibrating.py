"""How do raw scores become probabilities? By logistic curves fitted to what the candidates truly were."""

import numpy as np
from numpy.typing import NDArray

from detection.decoding import logit
from detection.package import SecondCalibration

Numbers = NDArray[np.float64]
ROUNDS = 50
LEAST = 1e-4


def logistic(design: Numbers, truth: NDArray[np.bool_], prior: Numbers, pull: Numbers) -> Numbers:
    """(k,) weights of a logistic regression on an (n, k) design, by Newton's method.

    ``prior`` are the weights without any example and ``pull`` how many examples they are worth, so that few examples
    do not run away.
    """
    fit, weight = prior.astype(float).copy(), np.diag(pull)
    for _ in range(ROUNDS):
        chance = 1 / (1 + np.exp(-np.clip(design @ fit, -30, 30)))
        gradient = design.T @ (chance - truth) + weight @ (fit - prior)
        curvature = (design * (chance * (1 - chance))[:, None]).T @ design + weight
        fit -= np.clip(np.linalg.solve(curvature, gradient), -2, 2)
    return fit


def of_two_looks(first: Numbers, second: Numbers, truth: NDArray[np.bool_]) -> SecondCalibration:
    """How much each look's P(abnormal) counts, from (n,) candidates that were looked at twice.

    A look that would count against itself does not count.
    """
    logits = [logit(np.clip(chance, LEAST, 1 - LEAST)) for chance in (second, first)]
    design = np.stack([*logits, np.ones(len(truth))], axis=1)
    prior, pull = np.array([0.7, 0.3, 0.0]), np.array([1.0, 1.0, 0.1])
    fit = logistic(design, truth, prior, pull)
    for column in (0, 1):
        if fit[column] < 0:
            kept = np.arange(3) != column
            fit[kept] = logistic(design[:, kept], truth, prior[kept], pull[kept])
            fit[column] = 0.0
    return SecondCalibration(
        second=max(float(fit[0]), 0.0), first=max(float(fit[1]), 0.0), offset=float(fit[2])
    )
