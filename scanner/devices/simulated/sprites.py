"""How does one drawn object get into a field quickly, at any defocus?

Each object keeps copies blurred by a few fixed amounts; what lies between is mixed so that the variance of the blur
is exact.
"""

import math
from bisect import bisect_right
from functools import cached_property
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.devices.simulated.bodies import Body
from scanner.devices.simulated.textures import FloatImage

LEVELS_PX = (0.0, 0.7, 1.2, 1.8, 2.7, 3.8, 5.4, 7.5)
MOST_BLUR_PX = LEVELS_PX[-1]
STEPS_PER_DENSITY = 80.0
COARSE = 4
Box = tuple[int, int, int, int]
Picture = TypeVar("Picture", NDArray[np.float32], NDArray[np.uint8])
_PAD_PX = math.ceil(2.5 * MOST_BLUR_PX)
_NUCLEAR_DENSITY = 0.25


def levels_around(sigma_px: float) -> tuple[int, float]:
    """Number of the level above a blur (at most MOST_BLUR_PX), and its share when mixed with the level below."""
    sigma = min(sigma_px, MOST_BLUR_PX)
    upper = min(max(bisect_right(LEVELS_PX, sigma), 1), len(LEVELS_PX) - 1)
    low, high = LEVELS_PX[upper - 1], LEVELS_PX[upper]
    return upper, (sigma**2 - low**2) / (high**2 - low**2)


class Sprite:
    """A body's two densities, blurred on demand and kept as 8-bit pictures of one size."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self._planes = (_padded(body.cytoplasm), _padded(body.nucleus))
        self._blurred: dict[tuple[int, int], NDArray[np.uint8]] = {}
        self._boxes: dict[tuple[int, int], Box] = {}
        self._coarse: list[FloatImage] = []
        self.shape: tuple[int, int] = (self._planes[0].shape[0], self._planes[0].shape[1])
        x, y, w, h = body.box_px
        self.box_px: Box = (x + _PAD_PX, y + _PAD_PX, w, h)
        self.mass: FloatImage = np.array([plane.sum() for plane in self._planes], np.float32)
        self.filled = tuple(n for n, plane in enumerate(self._planes) if plane.any())

    def density(self, plane: int, sigma_px: float) -> tuple[FloatImage, Box]:
        """The cytoplasm (0) or nucleus (1) blurred by ``sigma_px``, at most MOST_BLUR_PX.

        Returns:
            (h, w) float32, and the box x, y, w, h of the object's picture that it fills; nothing is outside.
        """
        upper, share = levels_around(sigma_px)
        box = self._box(plane, upper)
        x, y, w, h = box
        keep = slice(y, y + h), slice(x, x + w)
        scale = 1 / STEPS_PER_DENSITY
        a, b = self._level(plane, upper - 1)[keep], self._level(plane, upper)[keep]
        mixed = cv2.addWeighted(a, (1 - share) * scale, b, share * scale, 0, dtype=cv2.CV_32F)
        return np.asarray(mixed, np.float32), box

    def _box(self, plane: int, upper: int) -> Box:
        """Where this level or the one below is more than nothing, within the reach of the blur."""
        if (plane, upper) not in self._boxes:
            trim = _PAD_PX - math.ceil(2.5 * LEVELS_PX[upper])
            seen = cv2.max(self._level(plane, upper - 1), self._level(plane, upper))
            inside = np.ascontiguousarray(seen[trim : seen.shape[0] - trim, trim : seen.shape[1] - trim])
            x, y, w, h = cv2.boundingRect(inside)
            self._boxes[plane, upper] = (x + trim, y + trim, max(w, 1), max(h, 1))
        return self._boxes[plane, upper]

    def coarse(self, plane: int) -> FloatImage:
        """(h / 4, w / 4) float32: the density blurred by MOST_BLUR_PX, for fields far out of focus."""
        if not self._coarse:
            widest = (
                self._level(p, len(LEVELS_PX) - 1).astype(np.float32) / STEPS_PER_DENSITY for p in (0, 1)
            )
            self._coarse.extend(_shrunk(np.asarray(picture, np.float32)) for picture in widest)
        return self._coarse[plane]

    @cached_property
    def nucleus_area_px(self) -> int:
        """How many pixels the nuclei of the drawing cover; 0 where it has none."""
        return int(cv2.countNonZero(self.nuclear))

    @cached_property
    def nucleus_look(self) -> tuple[float, float]:
        """(px, density): the area of a middling nucleus of the drawing, and how dark its nuclei are before staining."""
        _, _, stats, _ = cv2.connectedComponentsWithStats(self.nuclear)
        areas = stats[1:, cv2.CC_STAT_AREA]
        if not len(areas):
            return 0.0, 0.0
        return float(np.median(areas)), float(self._planes[1][self.nuclear > 0].mean())

    @cached_property
    def nucleus_box_px(self) -> Box:
        """x, y, 1, 1: the pixel in the middle of what is nuclear."""
        moments = cv2.moments(self.nuclear, binaryImage=True)
        x, y = (moments[name] / max(moments["m00"], 1.0) for name in ("m10", "m01"))
        return round(x), round(y), 1, 1

    @property
    def nuclear(self) -> NDArray[np.uint8]:
        """(h, w) uint8 of the object's picture, 1 where a nucleus is."""
        return (self._planes[1] > _NUCLEAR_DENSITY).astype(np.uint8)

    def _level(self, plane: int, level: int) -> NDArray[np.uint8]:
        key = (plane, level)
        if key not in self._blurred:
            source, sigma = self._planes[plane], LEVELS_PX[level]
            picture = cv2.GaussianBlur(source, (0, 0), sigma) if sigma else source
            self._blurred[key] = np.asarray(cv2.convertScaleAbs(picture, alpha=STEPS_PER_DENSITY), np.uint8)
        return self._blurred[key]


def _padded(plane: FloatImage) -> FloatImage:
    """Room for the widest blur, rounded up so that a quarter of the picture has whole pixels."""
    pad = _PAD_PX
    h, w = plane.shape
    more_y, more_x = -(h + 2 * pad) % COARSE, -(w + 2 * pad) % COARSE
    wide = cv2.copyMakeBorder(plane, pad, pad + more_y, pad, pad + more_x, cv2.BORDER_CONSTANT, value=0)
    return np.asarray(wide, np.float32)


def _shrunk(picture: FloatImage) -> FloatImage:
    h, w = picture.shape
    return np.asarray(
        cv2.resize(picture, (w // COARSE, h // COARSE), interpolation=cv2.INTER_AREA), np.float32
    )


def turned(picture: Picture, turn: int) -> Picture:
    """One of the 8 ways (0 to 7) to lay a picture down: transposed from 4 on, flipped in 1, 2 and 3."""
    if turn & 4:
        picture = np.asarray(cv2.transpose(picture), picture.dtype)
    if turn & 3:
        picture = np.asarray(cv2.flip(picture, (turn & 3) - 2), picture.dtype)
    return picture


def unturned_box(box: Box, side: int, turn: int) -> Box:
    """Where a box x, y, w, h of a square picture that was laid down that way came from."""
    x, y, w, h = box
    if turn & 3 in (1, 2):
        y = side - y - h
    if turn & 3 in (1, 3):
        x = side - x - w
    return (y, x, h, w) if turn & 4 else (x, y, w, h)


def turned_shape(shape: tuple[int, int], turn: int) -> tuple[int, int]:
    """The (h, w) of a picture laid down that way."""
    return (shape[1], shape[0]) if turn & 4 else shape


def turned_box(box: Box, shape: tuple[int, int], turn: int) -> Box:
    """Where a box x, y, w, h of a picture of ``shape`` lies after the picture was laid down that way."""
    x, y, w, h = box
    if turn & 4:
        x, y, w, h = y, x, h, w
    rows, columns = turned_shape(shape, turn)
    if turn & 3 in (1, 2):
        y = rows - y - h
    if turn & 3 in (1, 3):
        x = columns - x - w
    return x, y, w, h
