"""How sharp is an image, as a whole and block by block, on the CPU?

No metric here compares two images: a larger number means sharper only for the same field at another height.
"""

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from autofocus.gray import (
    SMALLEST_SIDE_PX,
    Gray,
    Image,
    background,
    block_means,
    checked,
    filtered_block_means,
    focus_channel,
    noise,
)
from autofocus.stain import GREEN

FloatArray = NDArray[np.float64]
DEFAULT_BLOCK_PX = 64
LINE_EVERY_PX = 16
DCT_PX = 8


def _dct_matrix() -> NDArray[np.float32]:
    """(8, 8) float32: row u is the cosine of frequency u, orthonormal (DCT-II)."""
    at = np.arange(DCT_PX)
    rows = np.cos(np.pi * (2 * at[None] + 1) * at[:, None] / (2 * DCT_PX)) * np.sqrt(2 / DCT_PX)
    rows[0] /= np.sqrt(2)
    return np.asarray(rows, np.float32)


DCT = _dct_matrix()
DCT_MIDDLE: NDArray[np.float32] = np.isin(
    np.add.outer(np.arange(DCT_PX), np.arange(DCT_PX)), (2, 3, 4, 5)
).astype(np.float32)
"""(8, 8): which coefficients count."""


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
    """Brenner's gradient after 2 × 2 bins and a Gaussian, block-wise, minus the noise floor: the robust one.

    J. F. Brenner et al., "An automated microscope for cytologic research", J. Histochem. Cytochem. 24, 1976,
    in both directions; the smoothing measures at the scale of the texture and not of noise and compression.
    ``sigma_px`` counts in bins; ``channel`` is that of a colour frame.
    """

    sigma_px: float = 0.7
    channel: int = GREEN

    @property
    def name(self) -> str:
        """The word used in files and plots."""
        return "smoothed_brenner"

    def __call__(self, image: Image) -> float:
        """Mean over blocks of the energy above the noise floor, relative to the background squared."""
        return float(np.clip(self.blocks(image), 0.0, None).mean())

    def blocks(self, image: Image, block_px: int = DEFAULT_BLOCK_PX) -> FloatArray:
        """(rows, columns) float64 energies above the floor; noise makes an empty block slightly negative."""
        gray = focus_channel(_binned(image), self.channel)
        reach_px = smoothing_kernel(self.sigma_px).size // 2 + 1
        energy = filtered_block_means(gray, max(1, block_px // 2), reach_px, self._energy)
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
        return min(float(np.quantile(energy, 0.1)), noise_gain(self.sigma_px) * noise(gray, 32) ** 2)


@dataclass(frozen=True, slots=True)
class BinnedBrenner:
    """Brenner's gradient on 2 × 2 bins of two lines in sixteen: cheap enough for every frame of a stream.

    Brenner et al. 1976; binning halves the noise and the reach of the difference is 4 px of the camera. A frame of a
    colour camera is mostly the time it takes to read it, so that only an eighth of it is touched.
    """

    channel: int = GREEN

    @property
    def name(self) -> str:
        """The word used in files and plots."""
        return "binned_brenner"

    def __call__(self, image: Image) -> float:
        """Mean squared difference over two bins, relative to the background squared."""
        lines = _lines(image, self.channel)
        apart = cv2.absdiff(lines[:, 2:], lines[:, :-2])
        energy = cv2.norm(apart, cv2.NORM_L2SQR) / apart.size
        return float(energy / background(lines) ** 2)

    def blocks(self, image: Image, block_px: int = DEFAULT_BLOCK_PX) -> FloatArray:
        """(rows, columns) float64 energies; the noise is left in."""
        lines = _lines(image, self.channel)
        apart = np.asarray(cv2.absdiff(lines[:, 2:], lines[:, :-2]), np.float32)
        rows, columns = (max(1, round(side / block_px)) for side in image.shape[:2])
        means = cv2.resize(apart * apart, (columns, rows), interpolation=cv2.INTER_AREA)
        return np.asarray(means, np.float64) / background(lines) ** 2


def _binned(image: Image) -> Image:
    """Means of 2 × 2 px, all channels; an odd last line or column is left out."""
    rows, columns = image.shape[0] // 2, image.shape[1] // 2
    if min(rows, columns) < SMALLEST_SIDE_PX or image.dtype not in (np.uint8, np.uint16):
        return image
    whole = image[: 2 * rows, : 2 * columns]
    return np.asarray(cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA), image.dtype)


def _lines(image: Image, channel: int) -> Gray:
    """(h / 16, w / 2): two lines in sixteen, binned by two along and across."""
    strips, width = checked(image).shape[0] // LINE_EVERY_PX, image.shape[1] // 2 * 2
    plane = image if image.ndim == 2 else image[..., channel]
    apart = plane[: strips * LINE_EVERY_PX, :width].reshape(strips, LINE_EVERY_PX, width)
    pairs = np.ascontiguousarray(apart[:, :2]).reshape(2 * strips, width)
    return np.asarray(cv2.resize(pairs, (width // 2, strips), interpolation=cv2.INTER_AREA), image.dtype)


@dataclass(frozen=True, slots=True)
class VarianceOfLaplacian:
    """Variance of the Laplacian: the usual one, kept for comparison.

    J. L. Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000.
    """

    channel: int = GREEN

    @property
    def name(self) -> str:
        """The word used in files and plots."""
        return "variance_of_laplacian"

    def __call__(self, image: Image) -> float:
        """Variance over the field, relative to the background squared."""
        gray = focus_channel(image, self.channel)
        return float(cv2.Laplacian(gray, cv2.CV_32F).var()) / background(gray) ** 2

    def blocks(self, image: Image, block_px: int = DEFAULT_BLOCK_PX) -> FloatArray:
        """(rows, columns) float64 variances."""
        gray = focus_channel(image, self.channel)
        return _block_variance(cv2.Laplacian(gray, cv2.CV_32F), block_px) / background(gray) ** 2


@dataclass(frozen=True, slots=True)
class Tenengrad:
    """Mean squared Sobel gradient.

    E. Krotkov, "Focusing", International Journal of Computer Vision 1, 1987.
    """

    channel: int = GREEN

    @property
    def name(self) -> str:
        """The word used in files and plots."""
        return "tenengrad"

    def __call__(self, image: Image) -> float:
        """Mean over the field, relative to the background squared."""
        gray = focus_channel(image, self.channel)
        return float(self._energy(gray).mean()) / background(gray) ** 2

    def blocks(self, image: Image, block_px: int = DEFAULT_BLOCK_PX) -> FloatArray:
        """(rows, columns) float64 mean squared gradients."""
        gray = focus_channel(image, self.channel)
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

    channel: int = GREEN

    @property
    def name(self) -> str:
        """The word used in files and plots."""
        return "normalised_variance"

    def __call__(self, image: Image) -> float:
        """Variance divided by mean and background, so that it has no unit."""
        gray = focus_channel(image, self.channel)
        return float(gray.var()) / max(1.0, float(gray.mean())) / background(gray)

    def blocks(self, image: Image, block_px: int = DEFAULT_BLOCK_PX) -> FloatArray:
        """(rows, columns) float64, each block over its own mean."""
        gray = focus_channel(image, self.channel)
        values = gray.astype(np.float32)
        mean = np.maximum(block_means(values, block_px), 1.0)
        return _block_variance(values, block_px) / mean / background(gray)


@dataclass(frozen=True, slots=True)
class DctEnergy:
    """Energy of the middle frequencies of 8 × 8 px blocks under the cosine transform.

    C.-H. Shen, H. H. Chen, "Robust focus measure for low-contrast images", ICCE 2006: the middle band tells sharp from
    blurred where the highest holds noise and the lowest the shading.
    """

    channel: int = GREEN

    @property
    def name(self) -> str:
        """The word used in files and plots."""
        return "dct_energy"

    def __call__(self, image: Image) -> float:
        """Mean over the field, relative to the background squared."""
        gray = focus_channel(image, self.channel)
        return float(self._energy(gray).mean()) / background(gray) ** 2

    def blocks(self, image: Image, block_px: int = DEFAULT_BLOCK_PX) -> FloatArray:
        """(rows, columns) float64 energies."""
        gray = focus_channel(image, self.channel)
        return block_means(self._energy(gray), max(1, block_px // DCT_PX)) / background(gray) ** 2

    def _energy(self, gray: Gray) -> NDArray[np.float32]:
        rows, columns = (side // DCT_PX for side in gray.shape)
        tiles = gray[: rows * DCT_PX, : columns * DCT_PX].reshape(rows, DCT_PX, columns, DCT_PX)
        bands = np.einsum("ui,ricj,vj->rucv", DCT, tiles.astype(np.float32), DCT, optimize=True)
        return np.asarray((bands**2 * DCT_MIDDLE[:, None, :]).sum(axis=(1, 3)) / DCT_PX**2, np.float32)


def _block_variance(values: Image, block_px: int) -> FloatArray:
    # squares of gray levels exhaust single precision, those of what differs from the mean do not
    floats = np.asarray(values, np.float32) - np.float32(np.mean(values))
    variance = block_means(floats * floats, block_px) - block_means(floats, block_px) ** 2
    return np.clip(variance, 0.0, None)


ALL_METRICS: tuple[FocusMetric, ...] = (
    SmoothedBrenner(),
    BinnedBrenner(),
    VarianceOfLaplacian(),
    Tenengrad(),
    NormalisedVariance(),
    DctEnergy(),
)
"""Every metric, the robust one first."""
