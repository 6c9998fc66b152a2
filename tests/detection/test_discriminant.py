"""Does the rule tell classes apart with fewer examples than features, and know how sure it may be?"""

import numpy as np
import pytest
from numpy.typing import NDArray

from detection.discriminant import discriminant, temperature_of


def _drawn(rng: np.random.Generator, n: int, features: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    labels = np.arange(n) % 3
    centres = np.random.default_rng(9).normal(0, 0.6, (3, features))
    return centres[labels] + rng.normal(0, 1, (n, features)), labels


def test_unseen_examples_are_told_apart_with_more_features_than_examples() -> None:
    rng = np.random.default_rng(1)
    seen, labels = _drawn(rng, 60, 200)
    fresh, truth = _drawn(rng, 600, 200)
    assert (discriminant(seen, labels, 3, 0.4).logits(fresh).argmax(1) == truth).mean() > 0.9


def test_two_balls_are_parted_in_the_middle() -> None:
    rng = np.random.default_rng(2)
    labels = np.arange(4000) % 2
    features = rng.normal(0, 1, (4000, 1)) + 4.0 * labels[:, None]
    rule = discriminant(features, labels, 2, 0.0)
    low, middle, high = rule.logits(np.array([[1.0], [2.0], [3.0]]))
    assert low[0] > low[1]
    assert high[1] > high[0]
    assert middle[0] == pytest.approx(middle[1], abs=0.3)


def test_a_rule_is_made_as_sure_as_it_is_right_and_decides_the_same() -> None:
    rng = np.random.default_rng(3)
    seen, labels = _drawn(rng, 45, 300)
    fresh, truth = _drawn(rng, 900, 300)
    for factor in (1.0, 0.1):
        rule = discriminant(seen, labels, 3, 0.05).softened(factor)
        softened = rule.softened(temperature_of(rule.logits(fresh), truth)).logits(fresh)
        assert (softened.argmax(1) == rule.logits(fresh).argmax(1)).all()
        power = np.exp(softened - softened.max(1, keepdims=True))
        chance = power / power.sum(1, keepdims=True)
        assert chance.max(1).mean() == pytest.approx((softened.argmax(1) == truth).mean(), abs=0.05)
