"""Are recorded stacks focused part by part, and fused without losing what was sharp?"""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from autofocus.edf import extended_focus
from autofocus.errors import FocusInputError
from autofocus.stack import focus_stack
from tests.autofocus.fields import Field, cells, field_of

STACK = Path(__file__).parents[3] / "shared/data/B_isbi2014_zstack"
HEIGHTS = np.arange(-4.0, 4.1, 1.0)


def stack(field: Field) -> list[NDArray[np.uint8]]:
    """The field at all heights."""
    return [field.image(float(z)) for z in HEIGHTS]


def test_the_best_plane_of_a_tilted_field_differs_from_left_to_right() -> None:
    flat = cells(60, 0.0, 0.0, seed=2)
    tilted = Field(flat.x_px, flat.y_px, (flat.x_px - 256) / 100, flat.radius_px, flat.depth)
    answer = focus_stack(stack(tilted), HEIGHTS)
    left = [b.z_um for b in answer.blocks if b.x_px == 0 and b.z_um is not None]
    right = [b.z_um for b in answer.blocks if b.x_px == 384 and b.z_um is not None]
    assert np.mean(left) == pytest.approx(-1.9, abs=0.6)
    assert np.mean(right) == pytest.approx(1.9, abs=0.6)


def test_sixteen_blocks_tile_the_field_without_gap() -> None:
    answer = focus_stack([plane[:300, :333] for plane in stack(cells(20, seed=3))], HEIGHTS)
    assert sum(block.w_px * block.h_px for block in answer.blocks) == 300 * 333
    assert len(answer.blocks) == 16


def test_parts_without_a_cell_are_no_sample() -> None:
    one = field_of([64], [64], [0], [10], [0.5])
    answer = focus_stack(stack(one), HEIGHTS)
    assert answer.whole.best_plane == 4
    assert [block.state for block in answer.blocks].count("no-sample") == 15
    assert focus_stack(stack(cells(0)), HEIGHTS).whole.state == "no-sample"


@pytest.mark.parametrize(
    ("planes", "heights", "reason"),
    [
        (1, [0.0], "at least"),
        (4, [0.0, 2.0, 1.0, 3.0], "unordered"),
        (4, [0.0, 1.0, 1.0, 2.0], "repeated"),
        (4, [0.0, 1.0, np.nan, 2.0], "finite"),
        (4, [0.0, 1.0, 2.0, 3.0], "flat"),
        (0, [], "at least"),
    ],
)
def test_a_stack_that_proves_nothing_is_refused(planes: int, heights: list[float], reason: str) -> None:
    image = cells(6, 0.0, 0.0, seed=4).image(0.0)
    answer = focus_stack([image] * planes, heights)
    assert answer.whole.state == "refused"
    assert reason in answer.whole.reason
    assert answer.whole.z_um is None


def test_a_peak_at_the_end_of_the_stack_is_refused() -> None:
    answer = focus_stack(stack(cells(20, 6.0, 0.0, seed=5)), HEIGHTS)
    assert (answer.whole.state, "edge" in answer.whole.reason) == ("refused", True)


@pytest.mark.parametrize("level", [0, 255])
def test_black_and_saturated_stacks_are_refused(level: int) -> None:
    answer = focus_stack([np.full((64, 64), level, np.uint8)] * 5, range(5))
    assert (answer.whole.state, "light" in answer.whole.reason) == ("refused", True)


def test_planes_of_different_shapes_are_bad_input() -> None:
    with pytest.raises(FocusInputError, match="different shapes"):
        focus_stack([np.zeros((64, 64), np.uint8), np.zeros((64, 32), np.uint8)], [0, 1])


@pytest.mark.skipif(not STACK.exists(), reason="the real z-stack is not on this machine")
def test_every_part_of_a_real_stack_is_focused_near_the_known_planes() -> None:
    planes = [np.asarray(cv2.imread(str(STACK / f"z{i:03d}.png"), 0), np.uint8) for i in range(20)]
    answer = focus_stack(planes, range(20))
    assert answer.whole.best_plane in (14, 15)
    assert all(b.best_plane is not None and 12 <= b.best_plane <= 18 for b in answer.blocks)


def test_extended_focus_keeps_cells_of_every_height_sharp_and_tells_their_height() -> None:
    field = field_of([120, 390], [256, 256], [-3, 3], [10, 10], [0.5, 0.5])
    fused = extended_focus(stack(field), HEIGHTS)
    assert fused.image.dtype == np.uint8
    for x, plane in ((120, 1), (390, 7)):
        part = np.s_[226:286, x - 30 : x + 30]
        assert _gradient(fused.image[part]) > 0.95 * _gradient(field.image(HEIGHTS[plane])[part])
        assert np.median(fused.height_um[250:262, x - 6 : x + 6]) == pytest.approx(HEIGHTS[plane], abs=1.0)


def test_extended_focus_of_one_plane_is_that_plane() -> None:
    image = cells(5, seed=6).image(0.0)
    assert np.abs(extended_focus([image], [0.0]).image.astype(int) - image).max() <= 1


def test_extended_focus_needs_a_height_for_every_plane() -> None:
    with pytest.raises(FocusInputError, match="belong together"):
        extended_focus([np.zeros((64, 64), np.uint8)], [0.0, 1.0])


def _gradient(image: NDArray[np.uint8]) -> float:
    values = cv2.GaussianBlur(image[..., 1].astype(np.float32), (0, 0), 1.0)
    return float(np.square(np.diff(values, axis=1)).sum())
