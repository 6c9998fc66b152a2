"""How sharp is an image, as a whole and block by block, on the CPU?

No metric here compares two images: a larger number means sharper only for the same field at another height.
"""

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from autofocus.gray import Gray, Image, background, block_means, focus_channel, noise

FloatArray = NDArray[np.float64]
DEFAULT_BLOCK_PX = 64


class FocusMetric(Protocol):
    """One number for an image and one for each of its blocks, larger where sharper."""

    @property
    def name(self) -> str:
        """The word used in files and plots."""

    def __call__(self, image: Image) -> float:
        """Sharpness of (h, w[, 3|4]) uint8 or uint16 pixels; no unit, never negative."""

    def blocks(self, image: Image, block_px: int = DEFAULT_BLOCK_PX) -> FloatArray:
        """Sharpness of each block: (rows, columns) float64; a block without texture is near zero."""


def smoothing_kernel(sigma_px: float) -> NDArray[np.float32]:
    """A Gaussian of ``sigma_px``, cut at 2 sigma, sum 1: (2 n + 1,) float32."""
    radius = max(1, int(np.ceil(2 * sigma_px)))
    at = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (at / sigma_px) ** 2)
    return np.asarray(kernel / kernel.sum(), np.float32)


def smoothed_difference_kernel(sigma_px: float) -> NDArray[np.float32]:
    """The Gaussian followed by Brenner's difference over two pixels, as one kernel."""
    return np.convolve(smoothing_kernel(sigma_px), np.array([1, 0, -1], np.float32)).astype(np.float32)


def noise_gain(sigma_px: float) -> float:
    """Energy that white noise of variance 1 leaves in the smoothed Brenner gradient, both directions."""
    along = float(np.sum(smoothed_difference_kernel(sigma_px).astype(float) ** 2))
    across = float(np.sum(smoothing_kernel(sigma_px).astype(float) ** 2))
    return 2 * along * across


@dataclass(frozen=True, slots=True)
class SmoothedBrenner:
    """Brenner's gradient after a Gaussian, block-wise, minus the noise floor: the robust one.

    J. F. Brenner et al., "An automated microscope for cytologic research", J. Histochem. Cytochem. 24, 1976,
    in both directions; the smoothing measures at the scale of the texture and not of noise and compression.
    """

    sigma_px: float = 1.0

    @property
    def name(self) -> str:
        """The word used in files and plots."""
        return "smoothed_brenner"

    def __call__(self, image: Image) -> float:
        """Mean over blocks of the energy above the noise floor, relative to the background squared."""
        return float(np.clip(self.blocks(image), 0.0, None).mean())

    def blocks(self, image: Image, block_px: int = DEFAULT_BLOCK_PX) -> FloatArray:
        """(rows, columns) float64 energies above the floor; noise makes an empty block slightly negative."""
        gray = focus_channel(image)
        energy = block_means(self._energy(gray), block_px)
        return (energy - self._floor(gray, energy)) / background(gray) ** 2

    def _energy(self, gray: Gray) -> NDArray[np.float32]:
        smooth, difference = smoothing_kernel(self.sigma_px), smoothed_difference_kernel(self.sigma_px)
        across = cv2.sepFilter2D(gray, cv2.CV_32F, difference, smooth)
        down = cv2.sepFilter2D(gray, cv2.CV_32F, smooth, difference)
        # in place: fresh pages for big arrays cost more than the arithmetic
        squares = cv2.accumulateSquare(down, cv2.multiply(across, across, across))
        return np.asarray(squares, np.float32)

    def _floor(self, gray: Gray, energy: FloatArray) -> float:
        # a dense field has no empty block and a compressed one no white noise: the smaller estimate is safe
        return min(float(np.quantile(energy, 0.1)), noise_gain(self.sigma_px) * noise(gray) ** 2)


@dataclass(frozen=True, slots=True)
class BinnedBrenner:
    """Brenner's gradient on 2 × 2 bins: cheap enough for every frame of a stream.

    Brenner et al. 1976; binning halves the noise and the reach of the difference is 4 px of the camera.
    """

    @property
    def name(self) -> str:
        """The word used in files and plots."""
        return "binned_brenner"

    def __call__(self, image: Image) -> float:
        """Mean squared difference over two bins, relative to the background squared."""
        gray = focus_channel(image)
        return float(np.mean(self._energy(gray))) / background(gray) ** 2

    def blocks(self, image: Image, block_px: int = DEFAULT_BLOCK_PX) -> FloatArray:
        """(rows, columns) float64 energies; the noise is left in."""
        gray = focus_channel(image)
        return block_means(self._energy(gray), max(1, block_px // 2)) / background(gray) ** 2

    def _energy(self, gray: Gray) -> NDArray[np.float32]:
        rows, columns = gray.shape[0] // 2, gray.shape[1] // 2
        half = cv2.resize(gray[: 2 * rows, : 2 * columns], (columns, rows), interpolation=cv2.INTER_AREA)
        difference = cv2.subtract(half[:, 2:], half[:, :-2], dtype=cv2.CV_32F)
        return np.square(np.asarray(difference, np.float32))


@dataclass(frozen=True, slots=True)
class VarianceOfLaplacian:
    """Variance of the Laplacian: the usual one, kept for comparison.

    J. L. Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000.
    """

    @property
    def name(self) -> str:
        """The word used in files and plots."""
        return "variance_of_laplacian"

    def __call__(self, image: Image) -> float:
        """Variance over the field, relative to the background squared."""
        gray = focus_channel(image)
        return float(cv2.Laplacian(gray, cv2.CV_32F).var()) / background(gray) ** 2

    def blocks(self, image: Image, block_px: int = DEFAULT_BLOCK_PX) -> FloatArray:
        """(rows, columns) float64 variances."""
        gray = focus_channel(image)
        return _block_variance(cv2.Laplacian(gray, cv2.CV_32F), block_px) / background(gray) ** 2


@dataclass(frozen=True, slots=True)
class Tenengrad:
    """Mean squared Sobel gradient.

    E. Krotkov, "Focusing", International Journal of Computer Vision 1, 1987.
    """

    @property
    def name(self) -> str:
        """The word used in files and plots."""
        return "tenengrad"

    def __call__(self, image: Image) -> float:
        """Mean over the field, relative to the background squared."""
        gray = focus_channel(image)
        return float(self._energy(gray).mean()) / background(gray) ** 2

    def blocks(self, image: Image, block_px: int = DEFAULT_BLOCK_PX) -> FloatArray:
        """(rows, columns) float64 mean squared gradients."""
        gray = focus_channel(image)
        return block_means(self._energy(gray), block_px) / background(gray) ** 2

    def _energy(self, gray: Gray) -> NDArray[np.float32]:
        across = cv2.Sobel(gray, cv2.CV_32F, 1, 0)
        down = cv2.Sobel(gray, cv2.CV_32F, 0, 1)
        squares: NDArray[np.float32] = across * across + down * down
        return squares


@dataclass(frozen=True, slots=True)
class NormalisedVariance:
    """Variance of the gray levels over their mean.

    F. C. A. Groen et al., "A comparison of different focus functions", Cytometry 6, 1985.
    """

    @property
    def name(self) -> str:
        """The word used in files and plots."""
        return "normalised_variance"

    def __call__(self, image: Image) -> float:
        """Variance divided by mean and background, so that it has no unit."""
        gray = focus_channel(image)
        return float(gray.var()) / max(1.0, float(gray.mean())) / background(gray)

    def blocks(self, image: Image, block_px: int = DEFAULT_BLOCK_PX) -> FloatArray:
        """(rows, columns) float64, each block over its own mean."""
        gray = focus_channel(image)
        values = gray.astype(np.float32)
        mean = np.maximum(block_means(values, block_px), 1.0)
        return _block_variance(values, block_px) / mean / background(gray)


def _block_variance(values: Image, block_px: int) -> FloatArray:
    floats = np.asarray(values, np.float32)
    variance = block_means(floats * floats, block_px) - block_means(floats, block_px) ** 2
    return np.clip(variance, 0.0, None)


ALL_METRICS: tuple[FocusMetric, ...] = (
    SmoothedBrenner(),
    BinnedBrenner(),
    VarianceOfLaplacian(),
    Tenengrad(),
    NormalisedVariance(),
)
"""Every metric, the robust one first."""
