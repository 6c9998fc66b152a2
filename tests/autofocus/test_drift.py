"""Is a focus that wanders followed closely, whatever single fields say, and never beyond what a focus does?"""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from autofocus.drift import MOST_UM, Drift

STEP_H = 0.14 / 3600
HOUR = 25_700
SETTLED = 300

Shape = Callable[[NDArray[np.float64]], NDArray[np.float64]]
SHAPES: dict[str, Shape] = {
    "3 µm in an hour": lambda hours: 3 * hours,
    "10 µm in an hour": lambda hours: -10 * hours,
    "warming up by 10 µm in 20 minutes": lambda hours: 10 * (1 - np.exp(-3 * hours)),
    "warming up by 6 µm in 10 minutes": lambda hours: -6 * (1 - np.exp(-6 * hours)),
}


def hours(steps: int = HOUR) -> NDArray[np.float64]:
    passed: NDArray[np.float64] = np.arange(steps, dtype=float) * STEP_H
    return passed


def followed(residuals: NDArray[np.float64], sigma_um: float) -> NDArray[np.float64]:
    """The level after every field."""
    drift, levels = Drift(), []
    for residual in residuals.tolist():
        drift = drift.updated(residual, sigma_um)
        levels.append(drift.z_um)
    return np.array(levels)


@pytest.mark.parametrize("sigma_um", [0.3, 1.5])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_an_hour_of_drift_is_followed_without_lagging_a_tenth_of_a_micrometre(
    shape: Shape, sigma_um: float
) -> None:
    truth = shape(hours())
    assert np.abs(followed(truth, sigma_um) - truth)[SETTLED:].max() < 0.1


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_wrong_fields_move_it_little(shape: Shape) -> None:
    rng, truth = np.random.default_rng(7), shape(hours(12_000))
    seen = truth + rng.normal(0, 0.7, len(truth))
    seen[rng.random(len(truth)) < 0.03] += 8.0
    off = (followed(seen, 0.7) - truth)[SETTLED:]
    assert np.sqrt(np.mean(off**2)) < 0.06


def test_the_stated_uncertainty_covers_two_thirds_or_more() -> None:
    rng, hits = np.random.default_rng(3), []
    truth = SHAPES["3 µm in an hour"](hours(1000))
    for _ in range(30):
        drift = Drift()
        for z_um in truth.tolist():
            drift = drift.updated(z_um + rng.normal(0, 0.7), 0.7)
        hits.append(abs(drift.z_um - truth[-1]) < drift.sigma_um)
    assert 0.6 < np.mean(hits) < 0.95


def test_one_wild_field_moves_nothing() -> None:
    drift = Drift()
    for _ in range(200):
        drift = drift.updated(1.0, 0.5)
    assert drift.updated(80.0, 0.5).z_um == pytest.approx(drift.z_um, abs=0.01)


def test_a_jump_that_every_field_shows_is_followed_at_once() -> None:
    rng = np.random.default_rng(0)
    seen = np.where(np.arange(1200) < 1000, 0.0, 3.0) + rng.normal(0, 0.5, 1200)
    levels = followed(seen, 0.5)
    assert levels[1060] == pytest.approx(3.0, abs=0.4)
    assert levels[1150:].max() < 3.5


def test_after_a_pause_the_drift_has_gone_on_and_is_less_sure() -> None:
    drift = Drift()
    for n in range(2000):
        drift = drift.updated(4e-4 * n, 0.3)
    later = drift.after(500)
    assert later.z_um == pytest.approx(4e-4 * 2499, abs=0.03)
    assert later.sigma_um > drift.sigma_um
    assert drift.updated(later.z_um, 0.3, 500).z_um == pytest.approx(later.z_um, abs=1e-6)


def test_a_drift_beyond_what_a_focus_does_says_so() -> None:
    drift = Drift()
    assert not drift.capped
    for n in range(4000):
        drift = drift.updated(0.02 * n, 0.3)
    assert drift.capped
    assert abs(drift.z_um) == MOST_UM


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(1e-3, 10.0), st.integers(1, 1000)), max_size=50),
)
def test_it_stays_finite_and_within_its_cap_whatever_is_measured(
    fields: list[tuple[float, float, int]],
) -> None:
    drift = Drift()
    for residual, sigma, steps in fields:
        drift = drift.updated(residual, sigma, steps)
        assert abs(drift.z_um) <= MOST_UM
        assert math.isfinite(drift.sigma_um)
        assert drift.sigma_um > 0
