"""Is a fused plane lit evenly, and do its heights lie where its tiles lie?"""

import numpy as np
import pytest
from numpy.typing import NDArray

from scanner.model.tile import Pixels
from scanner.pipeline.fusing import coarse, fuse, glass_level
from scanner.pipeline.height_sheet import paint_heights
from scanner.pipeline.lattice import Box
from scanner.pipeline.mosaic import Stroke
from scanner.pipeline.placement import Placed


def lit(level: float, dtype: type = np.uint8) -> Pixels:
    """Glass with a dark stripe, (64, 96, 3)."""
    frame = np.full((64, 96, 3), level, float)
    frame[:, 20:30] *= 0.4
    return np.asarray(np.rint(frame * (1 if dtype is np.uint8 else 200)), dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_flicker_between_planes_leaves_no_patches_and_the_mean_light(dtype: type) -> None:
    planes = [lit(level, dtype) for level in (220.0, 224.0, 228.0)]
    fused = fuse(zip((0.0, 1.0, 2.0), planes, strict=True))
    assert fused.image.dtype == dtype
    glass = fused.image[:, 40:].astype(float) / (1 if dtype is np.uint8 else 200)
    assert np.ptp(glass) <= 1
    assert glass.mean() == pytest.approx(224, abs=0.6)


def test_of_two_planes_at_one_height_the_first_counts() -> None:
    first = fuse([(0.0, lit(220)), (1.0, lit(220))])
    again = fuse([(0.0, lit(220)), (1.0, lit(220)), (1.0, lit(90))])
    assert np.array_equal(first.image, again.image)


def test_a_black_frame_is_no_reason_to_fail() -> None:
    black = np.zeros((64, 96, 3), np.uint8)
    assert glass_level(black) == 0
    assert fuse([(0.0, black), (1.0, black)]).image.max() == 0


def test_heights_are_means_of_eight_by_eight() -> None:
    heights = np.arange(20 * 16, dtype=np.float32).reshape(20, 16)
    small = coarse(heights)
    assert small.shape == (3, 2)
    assert small[0, 1] == heights[:8, 8:].mean()


def test_a_height_lies_where_its_tile_was_placed_and_beyond_it_is_nothing() -> None:
    tile: NDArray[np.float32] = np.tile(np.arange(8, dtype=np.float32), (8, 1))
    placed = Placed(5, 0, 0, 24.0, 8.0, held=False, sigma_px=0.1)
    strokes = [Stroke(placed, [Box(24, 8, 24 + 64, 8 + 64)])]
    sheet = paint_heights((0, 0), strokes, lambda _: tile, 16)
    assert sheet is not None
    assert sheet[0, 1:9, 3:11].tolist() == tile.tolist()
    assert np.isfinite(sheet).sum() == 64


def test_every_coarse_pixel_of_two_neighbours_has_one_owner_wherever_they_meet() -> None:
    flat = np.zeros((8, 8), np.float32)
    for border in range(20, 44):
        left, right = Placed(0, 0, 0, 0.0, 0.0, False, 0.1), Placed(1, 0, 1, 16.3, 0.2, False, 0.1)
        strokes = [Stroke(left, [Box(0, 0, border, 64)]), Stroke(right, [Box(border, 0, 64, 64)])]
        sheet = paint_heights((0, 0), strokes, lambda tile: flat + tile, 8)
        assert sheet is not None
        assert np.isfinite(sheet).all()
        assert (np.diff(sheet[0], axis=1) >= 0).all()


def test_where_no_tile_shows_there_is_no_block() -> None:
    assert paint_heights((0, 0), [], lambda _: np.zeros((1, 1), np.float32), 8) is None
