"""Is a stack focused on its sample, also under dirt, in two layers, and where the drive stood still?"""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from autofocus.consensus import CURVATURES_PX, SLOPES_PX, agree, scale_energies
from autofocus.layers import is_dirt, is_second, main_layer, popular, specks, votes
from autofocus.stack import StackAnswer, focus_stack
from tests.autofocus.fields import Field, cells

HEIGHTS = np.arange(-12.0, 13.0, 1.0)
SCALES = len(SLOPES_PX) + len(CURVATURES_PX)


def together(one: Field, other: Field) -> Field:
    pairs = (
        (one.x_px, other.x_px),
        (one.y_px, other.y_px),
        (one.z_um, other.z_um),
        (one.radius_px, other.radius_px),
        (one.depth, other.depth),
    )
    x_px, y_px, z_um, radius_px, depth = (np.concatenate(pair) for pair in pairs)
    return Field(x_px, y_px, z_um, radius_px, depth)


def dirty(cell_count: int, speck_count: int) -> Field:
    """Cells around -4 µm under black specks on the cover slip at +7 µm."""
    rng = np.random.default_rng(1)
    x_px, y_px = rng.uniform(20, 490, (2, speck_count))
    radius_px = rng.uniform(2, 5, speck_count)
    ones = np.ones(speck_count)
    return together(
        cells(cell_count, -4.0, 0.5, seed=2), Field(x_px, y_px, 7.0 * ones, radius_px, 2.5 * ones)
    )


def focused(field: Field) -> tuple[StackAnswer, tuple[StackAnswer, ...]]:
    answer = focus_stack([field.image(float(z)) for z in HEIGHTS], HEIGHTS)
    return answer.whole, answer.blocks


@pytest.mark.parametrize(("cell_count", "speck_count"), [(60, 6), (60, 15), (25, 6), (12, 4)])
def test_dirt_on_the_cover_slip_is_louder_than_the_sample_and_does_not_win(
    cell_count: int, speck_count: int
) -> None:
    whole, blocks = focused(dirty(cell_count, speck_count))
    assert whole.z_um == pytest.approx(-4.0, abs=0.5)
    heights = [block.z_um for block in blocks if block.z_um is not None]
    assert heights
    assert max(heights) < 0.0


def test_dirt_that_would_have_decided_is_told_of() -> None:
    _, blocks = focused(dirty(12, 4))
    assert any("dirt, sharp at plane 19, is left out" in note for block in blocks for note in block.notes)


def test_a_field_without_dirt_has_no_notes() -> None:
    whole, blocks = focused(cells(60, 0.0, 0.5, seed=3))
    assert whole.notes == ()
    assert {block.notes for block in blocks} == {()}


def test_a_tilted_field_is_not_taken_for_dirt_at_its_ends() -> None:
    flat = cells(80, 0.0, 0.0, seed=2)
    tilted = Field(flat.x_px, flat.y_px, (flat.x_px - 256) / 40, flat.radius_px, flat.depth)
    _, blocks = focused(tilted)
    assert not [note for block in blocks for note in block.notes if "dirt" in note]
    assert {block.state for block in blocks} <= {"found", "no-sample"}


def two_layers(dot_density: float) -> list[NDArray[np.uint8]]:
    """Soft blobs at -4 µm below fine dots at +4 µm."""
    rng = np.random.default_rng(1)
    soft, dots = np.zeros((512, 512), np.float32), np.zeros((512, 512), np.float32)
    for x, y in rng.integers(0, 512, (60, 2)):
        cv2.circle(soft, (int(x), int(y)), 18, 0.5, -1)
    dots[tuple(rng.integers(0, 512, (2, 4000)))] = dot_density
    planes = []
    for z in np.arange(-9.0, 10.0):
        blurs = (float(np.hypot(3.0, 1.1 * (z + 4))), float(np.hypot(0.6, 1.1 * (z - 4))))
        density = cv2.GaussianBlur(soft, (0, 0), blurs[0]) + cv2.GaussianBlur(dots, (0, 0), blurs[1])
        planes.append(
            (235 * np.exp(-density) + rng.normal(0, 1, density.shape)).clip(0, 255).astype(np.uint8)
        )
    return planes


def test_layers_that_no_plane_shows_together_are_refused_as_thick() -> None:
    whole = focus_stack(two_layers(0.3), np.arange(-9.0, 10.0)).whole
    assert (whole.state, whole.thick, whole.z_um) == ("refused", True, None)
    assert "two layers at planes 5 and 13" in whole.reason
    assert "edf or z-stack" in whole.reason


def test_a_second_layer_under_a_stronger_one_is_told_of() -> None:
    whole = focus_stack(two_layers(0.8), np.arange(-9.0, 10.0)).whole
    assert whole.z_um == pytest.approx(4.0, abs=0.3)
    assert any("a second layer at plane 5" in note for note in whole.notes)


@pytest.mark.parametrize("stopped_at", [2, 6, 8, 10, 12])
def test_a_drive_that_stood_still_before_the_peak_gives_no_height(stopped_at: int) -> None:
    field = cells(60, 3.0, 1.0, seed=7)
    stuck = [field.image(float(min(z, HEIGHTS[stopped_at])), seed=n) for n, z in enumerate(HEIGHTS)]
    whole = focus_stack(stuck, HEIGHTS).whole
    assert (whole.state, whole.z_um) == ("refused", None)


def test_two_equal_planes_are_refused_with_their_numbers() -> None:
    field = cells(40, 0.0, 0.5, seed=4)
    planes = [field.image(float(z)) for z in HEIGHTS]
    planes[5] = planes[4].copy()
    answer = focus_stack(planes, HEIGHTS).whole
    assert (answer.state, "planes 4 and 5 are the same picture" in answer.reason) == ("refused", True)


@pytest.mark.parametrize(("wrong", "state"), [(12, "refused"), (13, "refused"), (2, "found")])
def test_a_dark_plane_is_left_out_and_refused_only_beside_the_peak(wrong: int, state: str) -> None:
    field = cells(40, 0.0, 0.3, seed=4)
    planes = [field.image(float(z)) for z in HEIGHTS]
    planes[wrong] = np.random.default_rng(0).integers(0, 3, planes[0].shape).astype(np.uint8)
    answer = focus_stack(planes, HEIGHTS).whole
    assert answer.state == state
    assert any(f"plane {wrong} is left out" in note for note in answer.notes)


def test_the_lamp_may_flicker() -> None:
    field = cells(60, 0.0, 0.5, seed=3)
    rng = np.random.default_rng(0)
    planes = [(field.image(float(z)) * rng.uniform(0.6, 1.0)).astype(np.uint8) for z in HEIGHTS]
    steady = focus_stack([field.image(float(z)) for z in HEIGHTS], HEIGHTS).whole.z_um
    assert focus_stack(planes, HEIGHTS).whole.z_um == pytest.approx(steady, abs=0.3)


@given(st.integers(0, 8), st.integers(3, 9), st.permutations(range(SCALES)))
def test_scales_that_peak_together_are_followed_whatever_their_order(
    peak: int, planes: int, order: list[int]
) -> None:
    peak = min(peak, planes - 1)
    away = np.abs(np.arange(planes) - peak)
    energies = np.stack([np.exp(-away / (1.0 + scale)) for scale in order], axis=1)
    said = agree(energies * np.arange(1, SCALES + 1))
    assert said.plane == peak
    assert said.share == pytest.approx(1.0)


def test_a_scale_that_sees_only_noise_has_no_say() -> None:
    curve = np.array([0.2, 0.5, 1.0, 0.5, 0.2])
    noise = np.array([1.0, 0.99, 0.97, 0.98, 0.99])
    energies = np.stack([curve] * 2 + [noise] * (SCALES - 2), axis=1)
    assert agree(energies).plane == 2


def test_one_scale_is_measured_in_equal_cells_of_every_size_of_field() -> None:
    gray = np.random.default_rng(0).integers(0, 255, (123, 457)).astype(np.uint8)
    assert scale_energies(gray, 4, 8).shape == (SCALES, 4, 8)


def hills(peaks: list[int], loudness: list[float], planes: int = 20) -> NDArray[np.float64]:
    """(planes, k) sharpness of cells with these peaks."""
    away = np.arange(planes)[:, None] - np.array(peaks)[None, :]
    return np.asarray(np.exp(-0.5 * (away / 1.5) ** 2) * np.array(loudness))


def test_every_cell_has_one_vote_and_few_loud_ones_are_dirt() -> None:
    sharpness = hills([5] * 20 + [15] * 3, [1.0] * 20 + [50.0] * 3)
    cast, curve = votes(sharpness, np.ones(23, np.bool_)), sharpness.mean(axis=1)
    loud = cast.layer(curve, 15)
    other = popular(cast, loud, curve)
    assert (cast.voters, loud.votes) == (23, 3)
    assert other is not None
    assert abs(other.plane - 5) <= 1
    assert is_dirt(loud, other, cast.voters)
    assert specks(sharpness, cast, main_layer(cast, curve / curve.max())).nonzero()[0].tolist() == [
        20,
        21,
        22,
    ]


def test_half_the_cells_are_a_layer_and_no_dirt() -> None:
    sharpness = hills([5] * 10 + [15] * 10, [1.0] * 10 + [50.0] * 10)
    cast, curve = votes(sharpness, np.ones(20, np.bool_)), sharpness.mean(axis=1)
    loud = cast.layer(curve, 15)
    other = popular(cast, loud, curve)
    assert not is_dirt(loud, other, cast.voters)
    assert is_second(loud, other)


def test_cells_without_texture_do_not_vote() -> None:
    sharpness = hills([5, 9], [1.0, 1.0])
    assert votes(sharpness, np.array([True, False])).peaks.tolist() == [5, -1]
    assert votes(np.ones((6, 3)), np.ones(3, np.bool_)).voters == 0
