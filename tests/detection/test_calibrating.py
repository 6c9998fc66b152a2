"""Does a logistic curve find the weights that the examples were drawn with, and stay sane with few of them?"""

import numpy as np
import pytest

from detection.calibrating import logistic, of_two_looks
from detection.decoding import sigmoid


def test_weights_are_found_again() -> None:
    rng = np.random.default_rng(1)
    design = np.hstack([rng.normal(size=(20_000, 2)), np.ones((20_000, 1))])
    truth = rng.random(20_000) < sigmoid(design @ np.array([1.5, -0.7, 0.4]))
    fit = logistic(design, truth, np.zeros(3), np.full(3, 0.1))
    assert fit == pytest.approx([1.5, -0.7, 0.4], abs=0.08)


def test_without_examples_the_prior_stays() -> None:
    fit = logistic(np.zeros((0, 2)), np.zeros(0, bool), np.array([1.0, 0.5]), np.ones(2))
    assert fit == pytest.approx([1.0, 0.5])


def test_a_look_that_knows_nothing_does_not_count() -> None:
    rng = np.random.default_rng(2)
    truth = rng.random(4_000) < 0.3
    knowing = sigmoid(rng.normal(np.where(truth, 1.5, -1.5), 1.0))
    guessing = sigmoid(rng.normal(0, 1.0, 4_000))
    how = of_two_looks(guessing, knowing, truth)
    assert how.second > 0.5
    assert how.first < 0.1


def test_a_look_that_is_wrong_is_not_turned_round() -> None:
    rng = np.random.default_rng(3)
    truth = rng.random(4_000) < 0.3
    knowing = sigmoid(rng.normal(np.where(truth, 1.5, -1.5), 1.0))
    wrong = sigmoid(rng.normal(np.where(truth, -1.0, 1.0), 1.0))
    how = of_two_looks(wrong, knowing, truth)
    assert how.first == 0
    assert how.second > 0.5
