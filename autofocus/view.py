"""What does one frame tell a focus search: its light, whether there is sample, and how much detail each part shows?

Detail is measured at several scales (bands): the finest tells heights near the focus, the coarsest far from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from autofocus.errors import FocusInputError
from autofocus.gray import SMALLEST_SIDE_PX, Image
from autofocus.nuclei import Mask, clear_levels, nuclear_mask, texture_mask
from autofocus.sharpness import light_fault, shows_sample

FloatArray = NDArray[np.float64]
Plane = NDArray[Any]

FINE_UM = 0.5
GLANCE_UM = 4.0
_GLASS_SHARE = 0.93
_LIGHT_REACH = 25
BLOCK_PX = 32
BANDS = 3
MEASURES = 1 + BANDS
MOST_BLOCKS = 256
LEAST_BLOCK_AREA = 3
_MARGIN_PX = 7
_WHITE_OF_16_BIT = 220.0
# what white noise of variance 1 leaves per pixel in each measure: differences over two pixels, then three bands
_NOISE_GAIN = np.array([4.0, 0.762, 0.039, 0.0072])
# mean absolute difference between white noise of variance 1 and itself smoothed
_REST_OF_NOISE = 0.688
_CORRELATED = 4.0
_FLOOR_DOUBT = 0.05


class View:
    """One frame, made ready to be compared with others of the same field; each part is worked out when asked for.

    Args:
        image: (h, w[, 3|4]) uint8 or uint16.
        um_per_px: of the image.

    Raises:
        FocusInputError: for pixels of another shape or type.
    """

    def __init__(self, image: Image, um_per_px: float = FINE_UM) -> None:
        self.light_fault = light_fault(_checked(image))
        shrink = max(1, round(FINE_UM / um_per_px - 0.25))
        self._eight = _shrunk(_eight_bit(image), shrink)

    @cached_property
    def small(self) -> NDArray[np.uint8]:
        """(h / 2, w / 2[, 3]) uint8 at about 1 µm a pixel."""
        return _shrunk(self._eight, 2)

    @property
    def small_gray(self) -> NDArray[np.uint8]:
        """(h / 2, w / 2) uint8 of one channel."""
        return self.small if self.small.ndim == 2 else self.small[..., 1]

    @cached_property
    def clear(self) -> FloatArray:
        """(channels,) gray level of the empty field."""
        return clear_levels(self.small)

    @cached_property
    def has_sample(self) -> bool:
        """Does something absorb light here, also far out of focus?"""
        return bool(self.nuclei.any()) or shows_sample(self.small, self.clear)

    @cached_property
    def nuclei(self) -> Mask:
        """(h / 2, w / 2) uint8: where nuclei lie; all zero in a field without any."""
        return nuclear_mask(self.small, self.clear)

    @cached_property
    def wanted(self) -> Mask:
        """The same, or whatever has texture in a field without nuclei."""
        return self.nuclei if self.nuclei.any() else texture_mask(self.small, self.clear)

    @cached_property
    def fine(self) -> Plane:
        """(h, w) uint8 at about 0.5 µm a pixel: of a colour frame the lighter of red and green.

        Nuclei stay dark in it, and counterstains fade.
        """
        colour = self._eight
        if colour.ndim == 2:
            return colour
        return np.asarray(cv2.max(cv2.extractChannel(colour, 0), cv2.extractChannel(colour, 1)))

    @cached_property
    def level(self) -> float:
        """Gray level of the empty field in ``fine``."""
        return float(self.clear[:2].max())

    @cached_property
    def smooth(self) -> Plane:
        """``fine`` after a Gaussian of 1 px."""
        return np.asarray(cv2.GaussianBlur(self.fine, (5, 5), 1.0))

    @cached_property
    def halves(self) -> tuple[Plane, Plane]:
        """The two coarser bands, (h / 2, w / 2) float32."""
        half = _shrunk(self.smooth, 2).astype(np.float32)
        softer = cv2.GaussianBlur(half, (7, 7), 1.0)
        return np.asarray(cv2.subtract(half, softer)), np.asarray(
            cv2.subtract(softer, cv2.GaussianBlur(half, (11, 11), 2.2))
        )

    @cached_property
    def noise(self) -> float:
        """Variance of the pixel noise in ``fine``, gray levels squared."""
        return _noise(self.fine, self.smooth)

    @property
    def energy(self) -> float:
        """Detail of the whole field at the middle scale, relative to the clear level squared; never negative."""
        middle = self.halves[0]
        return max(0.0, float(np.mean(middle * middle)) - self.noise * float(_NOISE_GAIN[2])) / self.level**2


def sample_share(image: Image, um_per_px: float = FINE_UM) -> float:
    """How much of a frame holds sample, 0 to 1, at a glance: enough to tell a crowded field from a sparse one.

    Raises:
        FocusInputError: for pixels of another shape or type.
    """
    glance = _shrunk(_eight_bit(_checked(image)), max(1, round(GLANCE_UM / um_per_px)))
    lightest = glance if glance.ndim == 2 else np.ascontiguousarray(glance.max(axis=2))
    reach = np.ones((_LIGHT_REACH, _LIGHT_REACH), np.uint8)
    clear = cv2.blur(cv2.dilate(lightest, reach), (_LIGHT_REACH, _LIGHT_REACH))
    dark = lightest if glance.ndim == 2 else np.asarray(cv2.max(*cv2.split(glance)[:2]))
    return float(np.mean(dark < _GLASS_SHARE * np.asarray(clear)))


@dataclass(frozen=True, slots=True)
class Blocks:
    """Places of a field, (n,) rows and columns of blocks, and the area wanted in each, px of 1 µm."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    areas: FloatArray
    mask: Mask


@dataclass(frozen=True, slots=True)
class Detail:
    """(n, 4) energies above the noise in n blocks, and their uncertainty (1 sigma): gradient, then three bands."""

    energy: FloatArray
    sigma: FloatArray


def blocks_of(views: Sequence[View], most: int = MOST_BLOCKS) -> Blocks:
    """The blocks in which any of the views shows something wanted; nuclei go before mere texture.

    At most ``most``, the fullest of them.
    """
    counted = [v for v in views if v.nuclei.any()] or list(views)
    mask = counted[0].wanted
    for other in counted[1:]:
        mask = np.asarray(cv2.bitwise_or(mask, other.wanted), np.uint8)
    side = BLOCK_PX // 2
    rows, columns = mask.shape[0] // side, mask.shape[1] // side
    # an object that two views see a little apart must not count for more
    areas = np.mean([_area(v.wanted, side, rows, columns) for v in counted], axis=0)
    full = np.flatnonzero(areas.ravel() >= LEAST_BLOCK_AREA)
    if len(full) > most:
        full = np.sort(full[np.argsort(-areas.ravel()[full], kind="stable")[:most]])
    wide = cv2.dilate(mask, _MARGIN)
    return Blocks(full // columns, full % columns, areas.ravel()[full], np.asarray(wide, np.uint8))


def detail(seen: View, blocks: Blocks) -> Detail:
    """How much detail a frame shows in each block, around what is wanted there."""
    mask_fine = cv2.resize(blocks.mask, seen.fine.shape[::-1], interpolation=cv2.INTER_NEAREST)
    there = _cut(mask_fine, blocks, BLOCK_PX).astype(np.float32)
    fine = _cut(seen.fine, blocks, BLOCK_PX).astype(np.float32)
    rest = fine - _cut(seen.smooth, blocks, BLOCK_PX)
    half_there = _cut(blocks.mask, blocks, BLOCK_PX // 2).astype(np.float32)
    halves = [_cut(half, blocks, BLOCK_PX // 2) for half in seen.halves]
    pixels = there.sum(axis=(1, 2), dtype=np.float64)
    level = np.einsum("nij,nij->n", fine, there) / np.maximum(pixels, 1) / seen.level
    raw = np.stack(
        [
            _gradient(fine, there),
            np.einsum("nij,nij,nij->n", rest, rest, there),
            *(4 * np.einsum("nij,nij,nij->n", half, half, half_there) for half in halves),
        ],
        axis=1,
    )
    # shot noise is less where less light arrives
    floor = seen.noise * level[:, None] * _NOISE_GAIN * pixels[:, None]
    sigma = floor * np.hypot(np.sqrt(2 * _CORRELATED / np.maximum(pixels, 1))[:, None], _FLOOR_DOUBT)
    return Detail((raw - floor) / seen.level**2, (sigma + 1e-6) / seen.level**2)


def moved_px(one: View, other: View) -> float:
    """How far the picture moved between two frames, px of ``fine``; 0 where it shows nothing to hold on to."""
    a, b = (
        cv2.resize(v.small_gray, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA) for v in (one, other)
    )
    window = cv2.createHanningWindow(a.shape[::-1], cv2.CV_32F)
    (x, y), response = cv2.phaseCorrelate(a.astype(np.float32), b.astype(np.float32), window)
    return float(8 * np.hypot(x, y)) if response > _HOLDS else 0.0


_HOLDS = 0.25
_MARGIN = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_MARGIN_PX, _MARGIN_PX))


def _checked(image: Image) -> Image:
    if image.dtype not in (np.uint8, np.uint16):
        raise FocusInputError(f"focus needs 8 or 16 bit pixels, not {image.dtype}")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (3, 4)):
        raise FocusInputError(f"focus needs (h, w), (h, w, 3) or (h, w, 4) pixels, not {image.shape}")
    if min(image.shape[:2]) < 2 * SMALLEST_SIDE_PX:
        raise FocusInputError(f"focus needs at least {2 * SMALLEST_SIDE_PX} px a side, not {image.shape[:2]}")
    return image[..., :3] if image.ndim == 3 else image


def _eight_bit(image: Image) -> NDArray[np.uint8]:
    """Cameras of 10 to 16 bits: their clear glass becomes 220."""
    if image.dtype == np.uint8:
        return np.ascontiguousarray(image)
    white = max(1.0, float(np.quantile(image[::8, ::8], 0.9)))
    return cv2.convertScaleAbs(np.ascontiguousarray(image), alpha=_WHITE_OF_16_BIT / white)  # type: ignore[return-value]


def _shrunk(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Means of factor × factor pixels; sides cut to whole blocks."""
    if factor == 1:
        return image
    size = image.shape[1] // factor, image.shape[0] // factor
    whole = image[: size[1] * factor, : size[0] * factor]
    return np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), np.uint8)


def _noise(fine: Plane, smooth: Plane) -> float:
    """Variance of white noise in ``fine``, from the quietest tenth of a sparse sample of blocks."""
    rest = cv2.absdiff(fine, smooth)
    rows, columns = (side // BLOCK_PX for side in rest.shape)
    whole = rest[: rows * BLOCK_PX, : columns * BLOCK_PX].reshape(rows, BLOCK_PX, columns, BLOCK_PX)
    means = whole[::2, ::2, ::2].mean(axis=(1, 3))
    return float(np.quantile(means, 0.1) / _REST_OF_NOISE) ** 2


def _area(mask: Mask, side: int, rows: int, columns: int) -> FloatArray:
    whole = mask[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return np.asarray(whole.sum(axis=(1, 3)), np.float64)


def _cut(plane: Plane, blocks: Blocks, side: int) -> Plane:
    """(n, side, side): the pixels of every block."""
    rows, columns = plane.shape[0] // side, plane.shape[1] // side
    whole = plane[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return whole[blocks.rows, :, blocks.columns, :]


def _gradient(fine: Plane, there: Plane) -> FloatArray:
    """Brenner's difference over two pixels, both ways."""
    across, down = fine[:, :, 2:] - fine[:, :, :-2], fine[:, 2:] - fine[:, :-2]
    energy = np.einsum("nij,nij,nij->n", across, across, there[:, :, 1:-1])
    total: FloatArray = energy + np.einsum("nij,nij,nij->n", down, down, there[:, 1:-1])
    return total.astype(np.float64)
