"""Do the searches find the height where the field is sharp, and refuse where nobody could?"""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autofocus.errors import FocusInputError
from autofocus.height import Prior, estimate
from autofocus.search import (
    Answer,
    Found,
    Look,
    NoSample,
    Refused,
    first_point,
    guided,
    judge,
    run,
    template_of,
    two_frame,
)
from autofocus.sharpness import Sharpness, measure
from autofocus.template import FocusTemplate, depth_of_field_um, learn
from tests.autofocus.fields import Field, both, cells

DEPTH_UM = 0.98
START = FocusTemplate.from_optics(DEPTH_UM)


def first(field: Field) -> Answer:
    return run(first_point(0.0, 15.0, DEPTH_UM), field.look)


@pytest.fixture(scope="module")
def template() -> FocusTemplate:
    found = first(cells(12, 0.0, 1.5, seed=50))
    assert isinstance(found, Found)
    return template_of([found.curve], START)


def test_the_depth_of_field_of_a_twenty_fold_objective_is_a_micrometre() -> None:
    assert depth_of_field_um(0.75) == pytest.approx(0.98, abs=0.01)


@pytest.mark.parametrize("height_um", [-9.3, 0.4, 11.2])
def test_the_first_point_is_found_without_a_prior_in_twenty_frames(height_um: float) -> None:
    field = cells(8, height_um, 0.3, seed=7)
    found = first(field)
    assert isinstance(found, Found)
    assert found.z_um == pytest.approx(field.true_peak_um(), abs=0.15)
    assert found.frames <= 20


def test_the_last_frame_of_a_found_point_was_taken_at_its_answer() -> None:
    found = first(cells(8, 2.0, 1.0, seed=8))
    assert isinstance(found, Found)
    assert found.curve.z_um[-1] == pytest.approx(found.z_um, abs=0.3)


def test_an_empty_field_is_no_sample() -> None:
    assert isinstance(first(cells(0, seed=9)), NoSample)


def test_a_peak_outside_the_range_is_refused() -> None:
    refused = first(cells(8, 17.5, 0.2, seed=10))
    assert isinstance(refused, Refused)
    assert "edge" in refused.reason


def test_two_layers_far_apart_are_refused() -> None:
    refused = first(both(cells(6, -8.0, 0.1, seed=11), cells(6, 8.0, 0.1, seed=12)))
    assert isinstance(refused, Refused)
    assert refused.reason == "two peaks"


@pytest.mark.parametrize("level", [255, 1])
def test_a_field_without_usable_light_is_refused(level: int) -> None:
    look = _constant_light(level)
    refused = run(guided(START, 0.0, 1.0), look)
    assert isinstance(refused, Refused)
    assert "light" in refused.reason


def test_a_stage_that_does_not_move_is_refused_and_never_answered_with_a_height() -> None:
    field = cells(8, 5.0, 0.5, seed=13)
    stuck = measure(field.image(0.0))
    assert isinstance(run(first_point(0.0, 15.0, DEPTH_UM), lambda z_um: Look.known(z_um, stuck)), Refused)
    assert isinstance(run(guided(START, 0.0, 1.0), lambda z_um: Look.known(z_um, stuck)), Refused)
    assert isinstance(run(guided(START, 0.0, 1.0), lambda z_um: Look.known(0.0, stuck)), Refused)


def test_a_guided_point_is_right_after_four_or_five_frames(template: FocusTemplate) -> None:
    errors, frames = [], []
    for seed in range(8):
        field = cells(8, 0.0, 1.2, seed=200 + seed)
        found = run(guided(template, field.true_peak_um() + 0.8 * (-1) ** seed, 0.8), field.look)
        assert isinstance(found, Found)
        errors.append(abs(found.z_um - field.true_peak_um()))
        frames.append(found.frames)
    assert np.median(errors) < 0.12
    assert min(frames) == 4
    assert np.median(frames) <= 5


@pytest.mark.parametrize("offset_um", [-1.2, 0.0, 1.2])
def test_two_frames_tell_the_signed_defocus_of_a_flat_field(offset_um: float) -> None:
    found = first(cells(12, 0.0, 0.1, seed=51))
    assert isinstance(found, Found)
    flat = template_of([found.curve], START)
    answer = run(two_frame(flat, offset_um, 0.7, 3.0), cells(8, 0.0, 0.0, seed=300).look)
    assert isinstance(answer, Found)
    assert answer.z_um == pytest.approx(0.0, abs=0.35)


def test_the_stated_uncertainty_of_three_planes_covers_the_truth(template: FocusTemplate) -> None:
    inside = 0
    for seed in range(12):
        field = cells(10, 0.0, 1.5, seed=400 + seed)
        answer = judge([field.look(z) for z in (-1.0, 0.0, 1.0)], template, Prior(0.0, 2.0))
        error_um = abs(answer.z_um - field.true_peak_um()) if isinstance(answer, Found) else 0.0
        inside += not isinstance(answer, Found) or error_um <= 2 * max(answer.sigma_um, 0.15)
    assert inside >= 10


def test_the_learned_template_is_close_to_the_blur_that_made_the_field() -> None:
    heights = np.arange(-6, 6.1, 0.5)
    true = FocusTemplate(1.2, 1.8, 1.0)
    curves = np.stack([true(heights - h) for h in np.linspace(-2, 2, 9)], axis=1)
    learned = learn(heights, curves, START)
    assert learned.half_width_um(0.5) == pytest.approx(true.half_width_um(0.5), rel=0.1)
    assert learned.width_below_um < learned.width_above_um


def test_too_few_heights_teach_no_template() -> None:
    with pytest.raises(FocusInputError, match="template needs"):
        learn([0.0, 1.0, 2.0], np.ones((3, 4)), START)
    assert template_of([], START) is START


@settings(max_examples=60, deadline=None)
@given(
    height=st.floats(-1.5, 1.5),
    size=st.floats(1e-4, 1e-1),
    shift=st.floats(-1000, 1000),
)
def test_an_estimate_from_ideal_blocks_is_exact_wherever_the_stage_counts_from(
    height: float, size: float, shift: float
) -> None:
    z = np.array([-1.5, 0.0, 1.5]) + shift
    blocks = (START(z - shift - height) * size)[:, None] * np.array([1.0, 0.5, 0.0])
    found = estimate(z, blocks, START, Prior(shift, 2.0), 1e-4 * size)
    assert found.z_um - shift == pytest.approx(height, abs=0.4)


def test_numbers_that_are_not_finite_never_become_a_height() -> None:
    with pytest.raises(FocusInputError, match="finite"):
        estimate(np.array([0.0, np.nan]), np.ones((2, 3)), START, Prior(0.0, 1.0), 1e-6)
    with pytest.raises(FocusInputError, match="belong together"):
        estimate(np.array([0.0]), np.ones((2, 3)), START, Prior(0.0, 1.0), 1e-6)


def _constant_light(level: int) -> Callable[[float], Look]:
    sharpness: Sharpness = measure(np.full((128, 128, 3), level, np.uint8))
    return lambda z_um: Look.known(z_um, sharpness)
