"""What does one frame tell a focus search: its light, whether there is sample, and where lies what must be sharp?

Detail is measured at several scales (bands): the finest tells heights near the focus, the coarsest far from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from autofocus.gray import SMALLEST_SIDE_PX, Image, checked, ranked
from autofocus.nuclei import Mask, clear_levels, nuclear_mask, texture_mask
from autofocus.patches import patches
from autofocus.sharpness import light_fault, shows_sample
from autofocus.stain import GREEN

FloatArray = NDArray[np.float64]
Plane = NDArray[Any]

FINE_UM = 0.5
BLOCK_PX = 32
MOST_BLOCKS = 128
LEAST_BLOCK_AREA = 3
_GLASS_SHARE = 0.93
_GLANCE_SHRINK = 4
_COARSE = 8
_LIGHT_REACH = 25
_MARGIN_PX = 7
_WHITE_OF_16_BIT = 220.0
_SMOOTH_REACH_PX = 2
_QUIET_PLACES = 8
_ONE_OBJECT_PX = 7
# mean absolute difference between white noise of variance 1 and itself smoothed
_REST_OF_NOISE = 0.688


class View:
    """One frame, made ready to be compared with others of the same field; each part is worked out when asked for.

    Args:
        image: (h, w[, 3|4]) uint8 or uint16.
        um_per_px: of the image.

    Attributes:
        pixels: (h, w[, 3]) uint8 at about 0.5 µm a pixel.
        light_fault: why its light is not to be trusted, "" where it is.

    Raises:
        FocusInputError: for pixels of another shape or type.
    """

    def __init__(self, image: Image, um_per_px: float = FINE_UM) -> None:
        image = checked(image, 2 * SMALLEST_SIDE_PX)
        image = image[..., :3] if image.ndim == 3 else image
        self.light_fault = light_fault(image)
        shrink = max(1, round(FINE_UM / um_per_px - 0.25))
        self.pixels = _shrunk(_eight_bit(image), shrink)

    @cached_property
    def small(self) -> NDArray[np.uint8]:
        """(h / 2, w / 2[, 3]) uint8 at about 1 µm a pixel."""
        return _shrunk(self.pixels, 2)

    @cached_property
    def coarse(self) -> NDArray[np.float32]:
        """(h / 8, w / 8) float32 of one channel, at about 4 µm a pixel."""
        gray = self.pixels if self.pixels.ndim == 2 else cv2.extractChannel(self.pixels, GREEN)
        return _shrunk(np.asarray(gray, np.uint8), _COARSE).astype(np.float32)

    @cached_property
    def clear(self) -> FloatArray:
        """(channels,) gray level of the empty field."""
        return clear_levels(self.pixels[::2, ::2])

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
    def sample_share(self) -> float:
        """How much of the frame holds sample, 0 to 1, at a glance: enough to tell a crowded field from a sparse one."""
        glance = _shrunk(self.small, _GLANCE_SHRINK)
        lightest = glance if glance.ndim == 2 else np.ascontiguousarray(glance.max(axis=2))
        reach = np.ones((_LIGHT_REACH, _LIGHT_REACH), np.uint8)
        clear = cv2.blur(cv2.dilate(lightest, reach), (_LIGHT_REACH, _LIGHT_REACH))
        return float(np.mean(fine_of(glance) < _GLASS_SHARE * np.asarray(clear)))

    @cached_property
    def level(self) -> float:
        """Gray level of the empty field in what ``fine_of`` gives."""
        return float(self.clear[:2].max())

    @cached_property
    def noise(self) -> float:
        """Variance of the pixel noise there, gray levels squared: from the quietest tenth of some places."""
        rows, columns = (np.arange(0, side // BLOCK_PX, _apart(side)) for side in self.pixels.shape[:2])
        at = np.repeat(rows, len(columns)), np.tile(columns, len(rows))
        fine = fine_of(patches(self.pixels, *at, BLOCK_PX, _SMOOTH_REACH_PX))
        rest = cv2.absdiff(fine, smoothed(fine)).astype(np.float32)
        means = cv2.resize(rest, (1, len(rows) * len(columns)), interpolation=cv2.INTER_AREA)
        return (ranked(means, 0.1) / _REST_OF_NOISE) ** 2


def fine_of(pixels: NDArray[np.uint8]) -> Plane:
    """(h, w) uint8: of a colour picture the lighter of red and green. Nuclei stay dark in it, counterstains fade."""
    if pixels.ndim == 2:
        return pixels
    return np.asarray(cv2.max(cv2.extractChannel(pixels, 0), cv2.extractChannel(pixels, 1)))


def smoothed(fine: Plane) -> Plane:
    """After a Gaussian of 1 px."""
    return np.asarray(cv2.GaussianBlur(fine, (5, 5), 1.0))


def bands(smooth: Plane) -> tuple[Plane, Plane]:
    """The two coarser bands of what was smoothed, (h / 2, w / 2) float32."""
    half = _shrunk(smooth, 2).astype(np.float32)
    softer = cv2.GaussianBlur(half, (7, 7), 1.0)
    softest = cv2.GaussianBlur(half, (11, 11), 2.2)
    return np.asarray(cv2.subtract(half, softer)), np.asarray(cv2.subtract(softer, softest))


@dataclass(frozen=True, slots=True)
class Blocks:
    """Places of a field.

    ``rows`` and ``columns`` (n,) of blocks; ``areas`` (n,) how much of each is wanted, px of 1 µm; ``wide``
    (n, 16, 16) uint8 1 where that is, with a margin; ``objects`` (n,) which of the objects it shows, 0 and up.
    ``part_of`` are blocks that these were taken from, and which.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    areas: FloatArray
    wide: Mask
    objects: NDArray[np.int64]
    part_of: "tuple[Blocks, NDArray[np.int64]] | None" = None

    def fullest(self, most: int) -> "Blocks":
        """At most so many of them, those with most that is wanted."""
        if len(self.areas) <= most:
            return self
        which = np.sort(np.argsort(-self.areas, kind="stable")[:most])
        objects = np.unique(self.objects[which], return_inverse=True)[1]
        parts = self.rows[which], self.columns[which], self.areas[which], self.wide[which]
        return Blocks(*parts, objects, (self, which))


def blocks_of(views: Sequence[View]) -> Blocks:
    """The fullest 128 blocks in which any of the views shows something wanted; nuclei go before mere texture."""
    counted = [v for v in views if v.nuclei.any()] or list(views)
    mask = counted[0].wanted
    for other in counted[1:]:
        mask = np.asarray(cv2.bitwise_or(mask, other.wanted), np.uint8)
    side = BLOCK_PX // 2
    # an object that two views see a little apart must not count for more
    areas = np.mean([_squares(v.wanted, side).sum(axis=(1, 3), dtype=np.int64) for v in counted], axis=0)
    full = np.flatnonzero(areas.ravel() >= LEAST_BLOCK_AREA)
    if len(full) > MOST_BLOCKS:
        full = np.sort(full[np.argsort(-areas.ravel()[full], kind="stable")[:MOST_BLOCKS]])
    rows, columns = np.divmod(full, areas.shape[1])
    wide = _squares(np.asarray(cv2.dilate(mask, _MARGIN), np.uint8), side)[rows, :, columns, :]
    parts = _squares(mask, side)[rows, :, columns, :]
    return Blocks(rows, columns, areas.ravel()[full], wide, _objects(rows, columns, parts))


def _objects(rows: NDArray[np.int64], columns: NDArray[np.int64], parts: Mask) -> NDArray[np.int64]:
    """(n,) the same number for blocks whose wanted parts, (n, 16, 16), lie so close that they are one object."""
    side = parts.shape[1]
    mass = np.maximum(parts.sum(axis=(1, 2), dtype=np.float64), 1.0)
    along = np.arange(side)
    y = rows * side + parts.sum(axis=2, dtype=np.float64) @ along / mass
    x = columns * side + parts.sum(axis=1, dtype=np.float64) @ along / mass
    near = np.hypot(y[:, None] - y, x[:, None] - x) < _ONE_OBJECT_PX
    return np.asarray(connected_components(near, directed=False)[1], np.int64)


def moved_px(one: View, other: View) -> float:
    """How far the picture moved between two frames, px of ``fine``; 0 where it shows nothing to hold on to."""
    # copies: OpenCV multiplies the window into what it is given
    a, b = (v.coarse.copy() for v in (one, other))
    (x, y), response = cv2.phaseCorrelate(a, b, _window(a.shape))
    return float(_COARSE * np.hypot(x, y)) if response > _HOLDS else 0.0


@lru_cache(maxsize=4)
def _window(shape: tuple[int, int]) -> Plane:
    return np.asarray(cv2.createHanningWindow(shape[::-1], cv2.CV_32F))


_HOLDS = 0.25
_MARGIN = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_MARGIN_PX, _MARGIN_PX))


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


def _squares(mask: Mask, side: int) -> Mask:
    """(rows, side, columns, side) of the whole blocks."""
    rows, columns = mask.shape[0] // side, mask.shape[1] // side
    return mask[: rows * side, : columns * side].reshape(rows, side, columns, side)


def _apart(side_px: int) -> int:
    """About eight places along a side, at least two blocks apart where there is room."""
    return max(1, side_px // BLOCK_PX // _QUIET_PLACES)
