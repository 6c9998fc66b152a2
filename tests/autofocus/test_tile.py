"""Does a tile get as many planes as it needs, keep the sharpest, and say so where none is?"""

import math
from dataclasses import replace

import numpy as np
import pytest

from autofocus.answers import Look, NoSample, Refused
from autofocus.height import Prior
from autofocus.template import FocusTemplate
from autofocus.tile import TileAnswer, TileHeight, TilePolicy, first_planes, judge_tile, next_plane
from tests.autofocus.fields import Field, both, cells

TEMPLATE = FocusTemplate.from_optics(0.98)
POLICY = TilePolicy()
LOOKING = TilePolicy(crowded_share=math.inf)


def taken(field: Field, prior: Prior, policy: TilePolicy) -> tuple[list[Look], TileAnswer]:
    """Expose what is asked for, and judge it."""
    looks = [field.look(z) for z in first_planes(TEMPLATE, prior, policy)]
    while (z_um := next_plane(looks, TEMPLATE, prior, policy)) is not None:
        looks.append(field.look(z_um))
    return looks, judge_tile(looks, TEMPLATE, prior, policy)


def test_where_the_height_is_known_one_plane_is_enough() -> None:
    flat = replace(TEMPLATE, spread_um=0.3)
    assert first_planes(flat, Prior(3.0, 0.1), POLICY) == (3.0,)
    assert len(first_planes(flat, Prior(3.0, 0.6), POLICY)) == 2
    assert len(first_planes(TEMPLATE, Prior(3.0, 0.1), POLICY)) == 2


def test_in_a_crowded_field_the_stage_leaves_without_waiting_for_the_last_frame() -> None:
    field = cells(60, 0.0, 0.3, seed=1)

    def never() -> np.ndarray:
        raise AssertionError("the last frame was waited for")

    looks = [field.look(-0.6), Look(0.6, never)]
    assert next_plane(looks, TEMPLATE, Prior(0.0, 0.3), replace(POLICY, crowded_share=0.01)) is None


@pytest.mark.parametrize("height_um", [-2.5, -1.6, 1.7, 2.6])
def test_one_cell_far_from_the_prediction_gets_a_plane_of_its_own(height_um: float) -> None:
    field = cells(1, height_um, 0.0, seed=2)
    looks, answer = taken(field, Prior(0.0, 0.3), LOOKING)
    assert len(looks) in (3, 4)
    assert isinstance(answer, TileHeight)
    assert looks[answer.kept].z_um == pytest.approx(height_um, abs=0.4)


def test_the_kept_plane_is_the_sharpest_of_those_taken() -> None:
    for seed in range(5):
        field = cells(25, 0.4, 1.0, seed=20 + seed)
        looks, answer = taken(field, Prior(0.0, 0.5), LOOKING)
        assert isinstance(answer, TileHeight)
        nearest = min(looks, key=lambda look: abs(look.z_um - field.true_peak_um()))
        assert (
            abs(looks[answer.kept].z_um - field.true_peak_um())
            <= abs(nearest.z_um - field.true_peak_um()) + 0.3
        )


def test_of_two_layers_of_cells_one_is_kept_sharp_and_not_the_blur_between() -> None:
    field = both(cells(5, -2.2, 0.1, seed=31), cells(3, 2.2, 0.1, seed=32))
    looks, answer = taken(field, Prior(0.0, 0.3), LOOKING)
    assert isinstance(answer, TileHeight)
    assert abs(looks[answer.kept].z_um) == pytest.approx(2.2, abs=0.5)


def test_a_tile_whose_planes_all_miss_its_cells_is_soft_and_says_where_they_are() -> None:
    looks = [cells(3, 3.0, 0.1, seed=33).look(z) for z in (-0.6, 0.6)]
    answer = judge_tile(looks, TEMPLATE, Prior(0.0, 0.5), POLICY)
    assert isinstance(answer, TileHeight)
    assert not answer.sharp
    assert answer.better_um == pytest.approx(3.0, abs=0.5)
    assert answer.hope > answer.chance + 0.5


def test_an_empty_field_is_no_sample_and_costs_no_third_plane() -> None:
    looks, answer = taken(cells(0, seed=5), Prior(0.0, 0.3), LOOKING)
    assert isinstance(answer, NoSample)
    assert len(looks) == 2


def test_wrong_light_is_refused() -> None:
    dark = [Look.known(z, np.zeros((256, 256, 3), np.uint8)) for z in (-0.6, 0.6)]
    answer = judge_tile(dark, TEMPLATE, Prior(0.0, 0.3), POLICY)
    assert isinstance(answer, Refused)
    assert "light" in answer.reason


def test_the_same_frames_give_the_same_answer() -> None:
    field = cells(10, 0.3, 1.0, seed=6)
    one, other = (taken(field, Prior(0.0, 0.4), LOOKING)[1] for _ in range(2))
    assert isinstance(one, TileHeight)
    assert isinstance(other, TileHeight)
    assert (one.surely, one.better_um, one.kept) == (other.surely, other.better_um, other.kept)


def test_two_planes_leave_no_gap_between_them_in_a_thin_sample() -> None:
    thin, thick = replace(TEMPLATE, spread_um=0.3), replace(TEMPLATE, spread_um=1.5)
    low, high = first_planes(thin, Prior(0.0, 0.3), POLICY)
    assert high - low < 2 * thin.sharp_um
    low, high = first_planes(thick, Prior(0.0, 0.3), POLICY)
    assert high - low == POLICY.step_um
