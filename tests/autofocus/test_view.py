"""Does a frame tell nuclei from cytoplasm, folds and dirt, and how much detail each place shows?"""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from autofocus.detail import detail
from autofocus.errors import FocusInputError
from autofocus.view import BLOCK_PX, View, blocks_of, moved_px
from tests.autofocus.fields import cells

PINK, BLUE, GRAY = (0.1, 0.5, 0.27), (0.52, 0.27, 0.08), (0.8, 0.8, 0.8)
NUCLEAR = (0.9, 0.8, 0.3)


def stained(*spots: tuple[tuple[int, int], int, tuple[float, float, float]]) -> NDArray[np.uint8]:
    """(256, 256, 3) uint8: discs (centre, radius px, stain) on white glass, with noise."""
    od = np.zeros((256, 256, 3), np.float32)
    for centre, radius, stain in spots:
        disc = np.zeros((256, 256), np.float32)
        cv2.circle(disc, centre, radius, 1.0, -1, cv2.LINE_AA)
        od += cv2.GaussianBlur(disc, (0, 0), 0.8)[..., None] * np.array(stain, np.float32)
    noise = np.random.default_rng(0).normal(0, 2, od.shape)
    return np.clip(230 * np.exp(-od) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("stain", [PINK, BLUE, (0.3, 0.38, 0.17)])
def test_a_nucleus_is_found_in_its_cell_and_the_cell_is_not(stain: tuple[float, float, float]) -> None:
    seen = View(stained(((128, 128), 60, stain), ((128, 128), 8, NUCLEAR)))
    rows, columns = np.nonzero(seen.nuclei)
    assert 30 <= len(rows) <= 80
    assert np.hypot(rows - 64, columns - 64).max() < 7


def test_dirt_that_absorbs_blue_like_red_is_no_nucleus() -> None:
    assert not View(stained(((128, 128), 8, GRAY))).nuclei.any()
    assert View(stained(((128, 128), 8, GRAY))).wanted.any()


def test_a_crowd_of_nuclei_is_found_nearly_whole() -> None:
    spots = [((50 + 26 * (n % 6), 50 + 26 * (n // 6)), 7, (1.1, 1.0, 0.35)) for n in range(36)]
    found = 4 * int(View(stained(*spots)).nuclei.sum())
    assert found > 0.5 * 36 * np.pi * 49


def test_paler_nuclei_in_a_clump_count_as_much_as_dark_ones() -> None:
    dark, pale = (1.9, 1.8, 0.6), (0.95, 0.9, 0.3)
    middles = [(row, column) for row in range(70, 190, 17) for column in range(70, 190, 17)]
    spots = [(at, 9, dark if n % 2 else pale) for n, at in enumerate(middles)]
    seen = View(stained(*spots)).nuclei.repeat(2, 0).repeat(2, 1)
    found = [seen[row - 5 : row + 6, column - 5 : column + 6].mean() for row, column in middles]
    assert min(np.mean(found[0::2]), np.mean(found[1::2])) > 0.8


def test_a_glance_tells_a_crowded_field_from_a_sparse_one() -> None:
    cell = [((40 + 60 * (n % 4), 40 + 60 * (n // 4)), 24, BLUE) for n in range(16)]
    assert View(stained(*cell)).sample_share == pytest.approx(16 * np.pi * 24**2 / 256**2, rel=0.3)
    assert View(stained(*cell[:1])).sample_share < 0.06
    assert View(stained()).sample_share < 0.002


def test_gray_and_sixteen_bit_frames_show_the_same_nuclei() -> None:
    image = cells(6, 0.0, 0.5, seed=3).image(0.0)
    eight, sixteen = View(image).nuclei, View(image.astype(np.uint16) * 200).nuclei
    gray = View(np.ascontiguousarray(image[..., 1])).nuclei
    assert np.mean(eight != sixteen) < 0.002
    assert np.mean(eight != gray) < 0.01


@settings(max_examples=25, deadline=None)
@given(brightness=st.floats(0.5, 1.05), seed=st.integers(0, 50))
def test_detail_does_not_depend_on_how_bright_the_lamp_is(brightness: float, seed: int) -> None:
    image = cells(6, 0.0, 0.5, seed=seed).image(0.3)
    dimmed = np.clip(image * brightness, 0, 255).astype(np.uint8)
    views = View(image), View(dimmed)
    blocks = blocks_of(views)
    bright, dim = (detail(v, blocks).energy.sum(axis=0) for v in views)
    assert dim[1:] == pytest.approx(bright[1:], rel=0.1)


def test_noise_alone_has_no_detail() -> None:
    field = cells(6, 0.0, 0.0, seed=2)
    blocks = blocks_of([View(field.image(0.0))])
    found = detail(View(field.image(25.0)), blocks)
    assert (np.abs(found.energy[:, 1]) < 4 * found.sigma[:, 1]).mean() > 0.8


def test_a_shift_of_the_picture_is_measured() -> None:
    image = cells(20, 0.0, 0.5, seed=4).image(0.0)
    assert moved_px(View(image), View(np.roll(image, 12, axis=1))) == pytest.approx(12, abs=2)
    assert moved_px(View(image), View(cells(20, 0.0, 0.5, seed=4).image(1.0))) < 1.5


def test_a_finer_camera_sees_the_same_nuclei() -> None:
    image = cells(6, 0.0, 0.5, seed=5).image(0.0)
    fine = cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    assert int(View(np.asarray(fine), 0.25).nuclei.sum()) == pytest.approx(
        int(View(image).nuclei.sum()), rel=0.15
    )


@pytest.mark.parametrize("shape", [(16, 64), (64, 64, 2), (4, 64, 64, 3)])
def test_pixels_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(FocusInputError):
        View(np.zeros(shape, np.uint8))
    with pytest.raises(FocusInputError):
        View(np.zeros((64, 64), np.float32))


def test_blocks_cover_every_nucleus() -> None:
    seen = View(cells(30, 0.0, 0.2, seed=6).image(0.0))
    blocks = blocks_of([seen])
    assert blocks.areas.sum() >= 0.9 * seen.nuclei.sum()
    assert blocks.rows.max() < 512 // BLOCK_PX


def test_comparing_two_frames_leaves_them_as_they_are() -> None:
    field = cells(1, 0.0, 0.5, seed=5)
    one, other = View(field.image(-1.0)), View(field.image(0.0))
    before = one.coarse.copy()
    assert moved_px(one, other) < 1.0
    assert np.array_equal(one.coarse, before)


def test_the_tip_of_a_cell_at_the_border_is_no_nucleus_and_half_a_nucleus_is_one() -> None:
    seen = View(stained(((60, 262), 22, BLUE), ((180, 255), 8, NUCLEAR)))
    rows, columns = np.nonzero(seen.nuclei)
    assert len(rows) > 10
    assert np.abs(2 * columns - 180).max() < 14


def test_a_nucleus_across_four_blocks_is_one_object_and_its_neighbour_another() -> None:
    blocks = blocks_of([View(stained(((128, 128), 9, NUCLEAR), ((168, 128), 9, NUCLEAR)))])
    assert len(blocks.rows) >= 4
    assert blocks.objects.max() == 1
    areas = np.bincount(blocks.objects, blocks.areas)
    assert areas[0] == pytest.approx(areas[1], rel=0.15)
    few = blocks.fullest(2)
    assert set(few.objects) <= {0, 1}
    seen = View(stained(((128, 128), 9, NUCLEAR), ((168, 128), 9, NUCLEAR)))
    assert np.array_equal(detail(seen, few).energy, detail(seen, blocks).of(few.part_of[1]).energy)  # type: ignore[index]


def test_a_frame_with_an_alpha_channel_shows_the_same_nuclei() -> None:
    image = cells(6, 0.0, 0.5, seed=3).image(0.0)
    with_alpha = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    assert np.array_equal(View(with_alpha).nuclei, View(image).nuclei)
