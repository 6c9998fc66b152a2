"""Does a filter over patches give what it gives over the whole frame?"""

import cv2
import numpy as np
import pytest

from autofocus.patches import inner, patches


@pytest.mark.parametrize("channels", [(), (3,)])
def test_blurred_patches_are_the_blurred_frame(channels: tuple[int, ...]) -> None:
    frame = np.random.default_rng(0).integers(0, 255, (200, 170, *channels), dtype=np.uint8)
    rows, columns = np.array([0, 0, 2, 5, 5]), np.array([0, 4, 2, 0, 4])
    tall = patches(frame, rows, columns, 32, 6)
    assert tall.shape == (5 * 44, 44, *channels)
    blurred = inner(np.asarray(cv2.GaussianBlur(tall, (9, 9), 2.0)), 32, 6)
    whole = np.asarray(cv2.GaussianBlur(frame, (9, 9), 2.0))
    for got, row, column in zip(blurred, rows, columns, strict=True):
        assert np.array_equal(got, whole[32 * row : 32 * row + 32, 32 * column : 32 * column + 32])
