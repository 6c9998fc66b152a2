"""Which linear rule tells classes apart best when there are more features than examples?

Linear discriminant analysis with a covariance shrunk towards a ball (Friedman, JASA 1989), solved in closed form: the
same examples give the same rule.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
LEAST_SPREAD = 1e-6
TEMPERATURES = np.geomspace(0.05, 64.0, 101)


@dataclass(frozen=True, slots=True)
class Rule:
    """Logits of (n, f) features x: ((x - mean) / spread) @ weight + bias, (n, k)."""

    mean: Numbers
    spread: Numbers
    weight: Numbers
    bias: Numbers

    def logits(self, features: Numbers) -> Numbers:
        """(n, k), before any softening."""
        return np.asarray((features - self.mean) / self.spread @ self.weight + self.bias)

    def softened(self, temperature: float) -> "Rule":
        """The same decisions with logits divided by ``temperature``."""
        return Rule(self.mean, self.spread, self.weight / temperature, self.bias / temperature)


def discriminant(features: Numbers, labels: NDArray[np.int64], classes: int, shrinkage: float) -> Rule:
    """The rule of (n, f) features with (n,) labels; every class is expected as often as any other."""
    mean, spread = features.mean(axis=0), features.std(axis=0) + LEAST_SPREAD
    scaled = (features - mean) / spread
    centres = np.stack([scaled[labels == label].mean(axis=0) for label in range(classes)])
    rest = scaled - centres[labels]
    covariance = rest.T @ rest * ((1 - shrinkage) / len(rest))
    covariance[np.diag_indices_from(covariance)] += shrinkage * (rest**2).sum() / rest.size
    weight = np.linalg.solve(covariance, centres.T)
    return Rule(mean, spread, weight, -0.5 * (centres.T * weight).sum(axis=0))


def temperature_of(logits: Numbers, labels: NDArray[np.int64]) -> float:
    """What (n, k) logits of examples that the rule never saw must be divided by to be honest: least log loss."""
    losses = [_log_loss(logits / temperature, labels) for temperature in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))])


def _log_loss(logits: Numbers, labels: NDArray[np.int64]) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    chance = shifted[np.arange(len(labels)), labels] - np.log(np.exp(shifted).sum(axis=1))
    return float(-chance.mean())
