"""Does registration find the true shift, and say so where there is none to find?"""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.model.geometry import Point
from scanner.model.tile import Pixels
from scanner.pipeline.registration import PEAK, noise_of, register
from tests.scanner.pipeline.conftest import SIDE, as_pixels, cells_on_glass, cut_tile

NOISE = 2.0
SHEET = cells_on_glass(700, 700, seed=3)


def pair(dx: float, dy: float) -> tuple[Pixels, Pixels]:
    return cut_tile(SHEET, 100, 100, 1), cut_tile(SHEET, 100 + dx, 100 + dy, 2)


def in_green(tile: Pixels) -> Pixels:
    return as_pixels(np.dstack([tile * 0.0, tile, tile * 0.5]), deep=False)


def bright(tile: Pixels) -> Pixels:
    return as_pixels(tile * 200.0, deep=True)


@settings(max_examples=25, deadline=None)
@given(dx=st.floats(190, 225), dy=st.floats(-14, 14), off_x=st.floats(-12, 12), off_y=st.floats(-12, 12))
def test_the_shift_of_a_right_neighbour_is_found_to_a_tenth_of_a_pixel(
    dx: float, dy: float, off_x: float, off_y: float
) -> None:
    found = register(*pair(dx, dy), Point(dx + off_x, dy + off_y), 16, NOISE)
    assert found.accepted, found.reason
    assert abs(found.dx_px - dx) < 0.1
    assert abs(found.dy_px - dy) < 0.1


def test_a_lower_neighbour_and_one_to_the_left_are_found_alike() -> None:
    for dx, dy in ((3.3, 205.6), (-206.4, 2.7), (1.2, -204.1)):
        found = register(*pair(dx, dy), Point(dx + 5, dy - 6), 16, NOISE)
        assert found.accepted, found.reason
        assert np.hypot(found.dx_px - dx, found.dy_px - dy) < 0.1


def test_colour_and_sixteen_bits_give_the_same_answer() -> None:
    first, second = pair(204.4, -3.2)
    gray = register(first, second, Point(205, 0), 16, NOISE)
    colour = register(in_green(first), in_green(second), Point(205, 0), 16, NOISE)
    deep = register(bright(first), bright(second), Point(205, 0), 16, NOISE * 200)
    assert colour == gray
    assert np.hypot(deep.dx_px - gray.dx_px, deep.dy_px - gray.dy_px) < 0.01


def test_a_brighter_lamp_and_shading_do_not_move_the_answer() -> None:
    first, second = pair(204.4, -3.2)
    shade = np.linspace(0.85, 1.0, SIDE)[None, :]
    found = register(first, (second * shade).astype(np.uint8), Point(205, 0), 16, NOISE)
    assert found.accepted
    assert np.hypot(found.dx_px - 204.4, found.dy_px + 3.2) < 0.15


@pytest.mark.parametrize("seed", range(8))
def test_empty_glass_is_never_matched_even_with_shading(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    glass = 235 * (1 - 0.15 * (x * x + y * y) / 2)
    first, second = ((glass + rng.normal(0, 2, glass.shape)).astype(np.uint8) for _ in range(2))
    found = register(first, second, Point(205, 0), 16, NOISE)
    assert not found.accepted
    assert found.reason


def test_a_shift_beyond_the_search_is_not_answered_with_another_one() -> None:
    found = register(*pair(204.4, -3.2), Point(204.4 - 24, 10), 8, NOISE)
    assert not found.accepted


def test_a_good_match_at_the_edge_of_the_search_is_followed() -> None:
    found = register(*pair(204.4, -3.2), Point(204.4 - 10, -3.2), 10, NOISE)
    assert found.accepted, found.reason
    assert abs(found.dx_px - 204.4) < 0.1


def test_one_small_cell_on_noisy_glass_is_placed_truly_and_called_less_sure() -> None:
    sheet = np.full((700, 700), 230, np.float32)
    cv2.circle(sheet, (325, 200), 5, 90.0, -1)
    sheet = np.asarray(cv2.GaussianBlur(sheet, (0, 0), 1.2), np.float32)
    found = register(cut_tile(sheet, 100, 100, 1), cut_tile(sheet, 304.4, 96.8, 2), Point(208, 0), 16, NOISE)
    many = register(*pair(204.4, -3.2), Point(208, 0), 16, NOISE)
    assert found.accepted, found.reason
    assert np.hypot(found.dx_px - 204.4, found.dy_px + 3.2) < 0.3
    assert found.sigma_px > many.sigma_px


def test_a_pattern_that_repeats_within_the_search_is_refused() -> None:
    x = np.arange(600)
    lines = 180 + 40 * np.sin(2 * np.pi * x / 10)[None, :] + 40 * np.sin(2 * np.pi * x / 10)[:, None]
    sheet = lines.astype(np.float32)
    found = register(cut_tile(sheet, 100, 100, 1), cut_tile(sheet, 305, 100, 2), Point(203, 1), 16, NOISE)
    assert not found.accepted
    assert "alike" in found.reason


def test_tiles_that_do_not_touch_are_refused_with_the_reason() -> None:
    found = register(*pair(204, 0), Point(900, 0), 16, NOISE)
    assert (found.accepted, found.reason) == (False, "the tiles do not overlap")


def test_the_overlap_that_fits_decides_where_a_part_has_moved(cut: Callable[..., Pixels]) -> None:
    first, second = pair(200.0, 0.0)
    moved = second.copy()
    moved[:60] = cut(SHEET, 302.0, 100, 2)[:60]
    found = register(first, moved, Point(200, 0), 16, NOISE)
    assert found.accepted
    assert abs(found.dx_px - 200) < 0.25


@settings(max_examples=10, deadline=None)
@given(sigma=st.floats(1, 12), seed=st.integers(0, 99))
def test_noise_is_measured_on_glass_with_cells(sigma: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shown = SHEET[:SIDE, :SIDE] * 100 + rng.normal(0, sigma * 100, (SIDE, SIDE))
    assert noise_of(shown.clip(0, 65535).astype(np.uint16)) == pytest.approx(sigma * 100, rel=0.35)


@pytest.mark.parametrize(("depth_px", "found"), [(34, True), (4, False)])
def test_a_cell_cut_by_the_rim_of_a_long_empty_overlap_is_found_where_enough_of_it_shows(
    depth_px: int, found: bool
) -> None:
    rng = np.random.default_rng(5)
    sheet = np.full((1000, 800), 230, np.float32)
    cv2.ellipse(sheet, (300 + depth_px - 40, 420), (40, 48), 0, 0, 360, 214, -1, cv2.LINE_AA)
    first, second = (
        np.rint(part + rng.normal(0, 2.5, part.shape)).astype(np.uint8)
        for part in (sheet[:, :400], sheet[:, 300:700])
    )
    answer = register(first, second, Point(295.0, 6.0), 20, 2.5)
    assert answer.peak < PEAK
    assert answer.accepted == found
    if found:
        assert np.hypot(answer.dx_px - 300, answer.dy_px) < 0.5


def test_one_cell_that_fits_two_like_it_is_refused() -> None:
    """At the rim of a long empty overlap, where either could be the one that the neighbour shows."""
    rng = np.random.default_rng(6)
    two, one = (np.full((1000, 400), 230, np.float32) for _ in range(2))
    for y in (400, 428):
        cv2.circle(two, (390, y), 13, 150, -1, cv2.LINE_AA)
    cv2.circle(one, (90, 414), 13, 150, -1, cv2.LINE_AA)
    first, second = (np.rint(part + rng.normal(0, 2.5, part.shape)).astype(np.uint8) for part in (two, one))
    assert not register(first, second, Point(300.0, 0.0), 24, 2.5).accepted
