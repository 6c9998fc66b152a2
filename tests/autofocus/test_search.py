"""Do the searches find the height where the field is sharp, and refuse where nobody could?"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autofocus.answers import Answer, Found, Look, NoSample, Refused, run
from autofocus.detail import Detail
from autofocus.errors import FocusInputError
from autofocus.height import Prior, estimate
from autofocus.search import first_point, guided, template_of
from autofocus.template import FocusTemplate, depth_of_field_um, learn
from tests.autofocus.fields import Field, both, cells

DEPTH_UM = 0.98
START = FocusTemplate.from_optics(DEPTH_UM)


def first(field: Field) -> Answer:
    return run(first_point(0.0, 15.0, DEPTH_UM), field.look)


@pytest.fixture(scope="module")
def template() -> FocusTemplate:
    found = first(cells(40, 0.0, 1.5, seed=50))
    assert isinstance(found, Found)
    assert found.sweep is not None
    return template_of([found.sweep], START)


def test_the_depth_of_field_of_a_twenty_fold_objective_is_a_micrometre() -> None:
    assert depth_of_field_um(0.75) == pytest.approx(0.98, abs=0.01)


@pytest.mark.parametrize("height_um", [-9.3, 0.4, 11.2])
def test_the_first_point_is_found_without_a_prior_in_twenty_frames(height_um: float) -> None:
    field = cells(8, height_um, 0.3, seed=7)
    found = first(field)
    assert isinstance(found, Found)
    assert found.z_um == pytest.approx(field.true_peak_um(), abs=0.2)
    assert found.frames <= 20


def test_a_found_height_was_looked_at_last() -> None:
    heights: list[float] = []
    field = cells(8, 2.0, 1.0, seed=8)

    def look(z_um: float) -> Look:
        heights.append(z_um)
        return field.look(z_um)

    found = run(first_point(0.0, 15.0, DEPTH_UM), look)
    assert isinstance(found, Found)
    assert heights[-1] == pytest.approx(found.z_um, abs=0.3)


def test_an_empty_field_is_no_sample_after_three_frames() -> None:
    empty = first(cells(0, seed=9))
    assert isinstance(empty, NoSample)
    assert empty.frames == 3


def test_a_peak_outside_the_range_is_refused() -> None:
    refused = first(cells(8, 17.5, 0.2, seed=10))
    assert isinstance(refused, Refused)
    assert "edge" in refused.reason


def test_of_two_layers_the_one_with_more_nuclei_is_taken_and_the_other_named() -> None:
    found = first(both(cells(10, -6.0, 0.1, seed=11), cells(4, 6.0, 0.1, seed=12)))
    assert isinstance(found, Found)
    assert found.z_um == pytest.approx(-6.0, abs=0.3)
    assert "second layer lies above" in found.note


@pytest.mark.parametrize("level", [255, 1])
def test_a_field_without_usable_light_is_refused(level: int) -> None:
    look = _constant_light(level)
    refused = run(guided(START, 0.0, 1.0, DEPTH_UM), look)
    assert isinstance(refused, Refused)
    assert "light" in refused.reason


def test_a_stage_that_does_not_move_is_refused_and_never_answered_with_a_height() -> None:
    stuck = cells(8, 5.0, 0.5, seed=13).image(0.0)
    assert isinstance(run(first_point(0.0, 15.0, DEPTH_UM), lambda z_um: Look.known(z_um, stuck)), Refused)
    assert isinstance(run(guided(START, 0.0, 1.0, DEPTH_UM), lambda z_um: Look.known(z_um, stuck)), Refused)
    assert isinstance(run(guided(START, 0.0, 1.0, DEPTH_UM), lambda _: Look.known(0.0, stuck)), Refused)


def test_a_picture_that_moves_between_frames_is_refused() -> None:
    field = cells(12, 0.0, 0.3, seed=14)

    def shaken(z_um: float) -> Look:
        return Look.known(z_um, np.roll(field.image(z_um), round(9 * z_um), axis=1))

    refused = run(guided(START, 0.0, 1.0, DEPTH_UM), shaken)
    assert isinstance(refused, Refused)
    assert "moved" in refused.reason


def test_a_guided_point_is_right_after_four_frames(template: FocusTemplate) -> None:
    errors, frames = [], []
    for seed in range(8):
        field = cells(20, 0.0, 1.2, seed=200 + seed)
        found = run(guided(template, field.true_peak_um() + 0.5 * (-1) ** seed, 0.5, DEPTH_UM), field.look)
        assert isinstance(found, Found)
        errors.append(abs(found.z_um - field.true_peak_um()))
        frames.append(found.frames)
    assert np.median(errors) < 0.2
    assert np.median(frames) == 4


def test_the_learned_template_is_close_to_the_blur_that_made_the_blocks() -> None:
    heights = np.arange(-6, 6.1, 0.5)
    fine, middle, coarse = (fade.scaled(0.9, 1.4) for fade in START.bands)
    true = replace(START, sharp=START.sharp.scaled(0.9, 1.4), bands=(fine, middle, coarse))
    energies = _ideal(true, heights, np.linspace(-2, 2, 240))
    learned = learn(heights, energies, energies * 0 + 1e-6, START)
    assert learned.bands[0].half_width_um(0.5) == pytest.approx(true.bands[0].half_width_um(0.5), rel=0.1)
    assert learned.sharp_um == pytest.approx(true.sharp_um, rel=0.15)
    assert learned.bands[0].below_um < learned.bands[0].above_um


def test_too_few_heights_teach_no_template() -> None:
    with pytest.raises(FocusInputError, match="template needs"):
        learn([0.0, 1.0, 2.0], np.ones((3, 40, 4)), np.ones((3, 40, 4)), START)
    assert template_of([], START) is START


@settings(max_examples=60, deadline=None)
@given(height=st.floats(-2.5, 2.5), size=st.floats(1e-4, 1e-1), shift=st.floats(-1000, 1000))
def test_two_planes_of_ideal_blocks_tell_the_height_wherever_the_stage_counts_from(
    height: float, size: float, shift: float
) -> None:
    z = np.array([-0.6, 0.6])
    energies = _ideal(START, z, np.full(6, height)) * size
    details = [Detail(e, e * 0 + 1e-6 * size) for e in energies]
    found = estimate(z + shift, details, np.ones(6), START, Prior(shift, 1.0))
    assert found.z_um - shift == pytest.approx(height, abs=0.2)


def test_numbers_that_are_not_finite_never_become_a_height() -> None:
    seen = Detail(np.ones((3, 4)), np.ones((3, 4)))
    with pytest.raises(FocusInputError, match="finite"):
        estimate(np.array([0.0, np.nan]), [seen, seen], np.ones(3), START, Prior(0.0, 1.0))
    with pytest.raises(FocusInputError, match="belong together"):
        estimate(np.array([0.0]), [seen, seen], np.ones(3), START, Prior(0.0, 1.0))


def _ideal(template: FocusTemplate, z_um: np.ndarray, heights_um: np.ndarray) -> np.ndarray:
    """(n, k, 4) energies without noise."""
    defocus = z_um[:, None] - heights_um[None]
    bands = [fade(defocus) * np.exp(s) for fade, s in zip(template.bands, template.spectrum, strict=True)]
    return np.stack([template.sharp(defocus), *bands], axis=2)


def _constant_light(level: int) -> Callable[[float], Look]:
    image = np.full((128, 128, 3), level, np.uint8)
    return lambda z_um: Look.known(z_um, image)
