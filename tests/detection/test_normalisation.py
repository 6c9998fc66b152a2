import numpy as np
import pytest

from detection.errors import ImageRefused
from detection.normalisation import optical_density, rgb8, white_level


def _stained(level: float) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    image = np.full((128, 128, 3), 240.0) * level
    image[40:80, 40:80] *= np.array([0.3, 0.5, 0.7])
    return np.round(image).astype(np.uint8)


def test_density_does_not_depend_on_the_lamp() -> None:
    bright, dim = (_stained(level) for level in (1.0, 0.7))
    a, b = (optical_density(image, white_level(image)) for image in (bright, dim))
    assert np.abs(a - b).max() < 0.01
    assert a[:, 60, 60] == pytest.approx(-np.log10([0.3, 0.5, 0.7]), abs=0.01)
    assert np.abs(a[:, 5, 5]).max() < 1e-6


def test_gray_and_16_bit_images_become_rgb_of_8_bits() -> None:
    gray = np.arange(256, dtype=np.uint16).reshape(16, 16) * 16
    seen = rgb8(gray, bits=12)
    assert seen.shape == (16, 16, 3)
    assert seen[0, 5].tolist() == [5, 5, 5]
    assert rgb8(seen) is not None


def test_images_of_another_kind_are_refused() -> None:
    with pytest.raises(ImageRefused):
        rgb8(np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(ImageRefused):
        rgb8(np.zeros((4, 4), np.float32))
