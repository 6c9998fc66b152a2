"""Where does the grain of cytoplasm and chromatin come from, cheaply?"""

import cv2
import numpy as np
from numpy.typing import NDArray

FloatImage = NDArray[np.float32]
_SIDE_PX = 512


class Textures:
    """A seeded store of Gaussian noise at a few correlation lengths; cells cut random pieces out of it.

    ``um_per_px`` is the scale at which pieces will be used. Every texture has mean 0 and standard deviation 1.
    """

    def __init__(self, seed: int, um_per_px: float) -> None:
        rng = np.random.default_rng((seed, 17))
        self._um_per_px = um_per_px
        self._fine = _noise(rng, 0.45 / um_per_px)
        self._medium = _noise(rng, 1.3 / um_per_px)
        self._coarse = _noise(rng, 6.0 / um_per_px)
        self._creases = _creases(rng, um_per_px)

    def fine(self, rng: np.random.Generator, shape: tuple[int, int]) -> FloatImage:
        """Grain of about half a micrometre: chromatin, granules."""
        return _cut(rng, self._fine, shape)

    def medium(self, rng: np.random.Generator, shape: tuple[int, int]) -> FloatImage:
        """Grain of about one micrometre: clumped chromatin, mucus."""
        return _cut(rng, self._medium, shape)

    def coarse(self, rng: np.random.Generator, shape: tuple[int, int]) -> FloatImage:
        """Swells of several micrometres: thickness of the cytoplasm."""
        return _cut(rng, self._coarse, shape)

    def creases(self, rng: np.random.Generator, shape: tuple[int, int]) -> FloatImage:
        """A network of thin wrinkles, 0 between them and up to 1 on them."""
        return _cut(rng, self._creases, shape)


def _noise(rng: np.random.Generator, sigma_px: float) -> FloatImage:
    """(512, 512) float32 of unit variance with a correlation length of ``sigma_px``."""
    white = rng.standard_normal((_SIDE_PX, _SIDE_PX), dtype=np.float32)
    smooth = cv2.GaussianBlur(white, (0, 0), max(sigma_px, 0.3))
    return np.asarray((smooth - smooth.mean()) / smooth.std(), np.float32)


def _creases(rng: np.random.Generator, um_per_px: float) -> FloatImage:
    """The zero lines of two smooth fields, drawn thin where a third one is high."""
    lines = np.zeros((_SIDE_PX, _SIDE_PX), np.float32)
    for length_um in (5.0, 9.0):
        field = _noise(rng, length_um / um_per_px)
        slope = np.hypot(cv2.Sobel(field, -1, 1, 0), cv2.Sobel(field, -1, 0, 1)) / 8 + 1e-4
        lines = np.maximum(lines, np.exp(-((field / slope * um_per_px / 0.55) ** 2)))
    strength = np.clip(0.5 + 0.5 * _noise(rng, 7.0 / um_per_px), 0, 1)
    return np.asarray(lines * strength, np.float32)


def _cut(rng: np.random.Generator, texture: FloatImage, shape: tuple[int, int]) -> FloatImage:
    """A random piece of ``shape``; larger pieces than the store are mirrored at its edges."""
    h, w = shape
    if h > _SIDE_PX or w > _SIDE_PX:
        pad = ((0, max(0, h - _SIDE_PX)), (0, max(0, w - _SIDE_PX)))
        texture = np.pad(texture, pad, mode="reflect")
    y = int(rng.integers(0, texture.shape[0] - h + 1))
    x = int(rng.integers(0, texture.shape[1] - w + 1))
    return texture[y : y + h, x : x + w]
