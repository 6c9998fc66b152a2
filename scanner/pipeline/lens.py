"""Where in a raw frame does each pixel lie that a perfect lens would have shown, channel by channel?

One look-up a frame, and none where the lens was not measured or does nothing that could be seen.
"""

from dataclasses import dataclass
from typing import TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.model.optics import SEEN_PX, ChannelShift, Chromatic, Distortion
from scanner.model.profile import Profile
from scanner.model.tile import Pixels

Floats = NDArray[np.float64]
P = TypeVar("P", Pixels, NDArray[np.float32])
_Map = tuple[NDArray[np.int16], NDArray[np.uint16]]
"""Whole pixels (h, w, 2) and the rest in 1/32 px: what OpenCV looks up fastest, and by whole numbers."""


@dataclass(frozen=True, slots=True)
class Lens:
    """The look-up of upright frames: one for all channels, or one for each of three."""

    maps: tuple[_Map, ...]

    @classmethod
    def of(cls, profile: Profile, turns: NDArray[np.int64]) -> "Lens | None":
        """What the profile measured; None where nothing of it moves a corner by 0.1 px."""
        distortion, chromatic = profile.measured.distortion, profile.measured.chromatic
        shape = (profile.camera.height_px, profile.camera.width_px)
        bent = distortion.value if distortion and corner_px(distortion.value, shape) > SEEN_PX else None
        split = chromatic.value if chromatic and profile.camera.channels == 3 else None
        split = split if split and apart_px(split, shape) > SEEN_PX else None
        if bent is None and split is None:
            return None
        channels = (split.red, ChannelShift(), split.blue) if split else (ChannelShift(),)
        return cls(tuple(_map(bent or Distortion(k1=0.0), shift, shape, turns) for shift in channels))

    def __call__(self, pixels: Pixels, rows: slice, cols: slice) -> Pixels:
        """Some rows and columns of what an upright frame (h, w[, 3]) becomes: cubic; the rim's last pixel goes on."""
        if len(self.maps) == 1 or pixels.ndim == 2:
            return self.plane(pixels, 0, rows, cols)
        channels = cast("list[Pixels]", cv2.split(pixels))
        return cast(Pixels, cv2.merge([self.plane(one, n, rows, cols) for n, one in enumerate(channels)]))

    def plane(self, pixels: P, channel: int, rows: slice, cols: slice) -> P:
        """The same of one channel (h, w), or of all of them where the lens treats them alike."""
        whole, rest = (part[rows, cols] for part in self.maps[channel % len(self.maps)])
        return cast(P, cv2.remap(pixels, whole, rest, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))


def _map(bent: Distortion, shift: ChannelShift, shape: tuple[int, int], turns: NDArray[np.int64]) -> _Map:
    """For every upright pixel, where it lies in the upright raw frame."""
    upright = shape if turns[0, 0] else shape[::-1]
    y, x = np.mgrid[: upright[0], : upright[1]].astype(np.float64)
    middle = [(n - 1) / 2 for n in upright]
    offsets = np.stack([x - middle[1], y - middle[0]], axis=-1)
    raw = seen_at(offsets @ turns, bent, shift, shape) @ turns.T
    across, down = (np.ascontiguousarray(raw[..., n] + middle[1 - n], np.float32) for n in (0, 1))
    whole, rest = cv2.convertMaps(across, down, cv2.CV_16SC2)
    return np.asarray(whole, np.int16), np.asarray(rest, np.uint16)


def seen_at(offsets: Floats, bent: Distortion, shift: ChannelShift, shape: tuple[int, int]) -> Floats:
    """Where a raw frame of ``shape`` (h, w) shows places: (..., 2) offsets x, y from its middle, px, in and out.

    The lens bends first, then the channel is shifted.
    """
    h, w = shape
    centre = np.array([bent.centre[0] * w / 2, bent.centre[1] * h / 2])
    away = offsets - centre
    r2 = (away**2).sum(axis=-1, keepdims=True) / (half_diagonal_px(shape) ** 2)
    green = centre + away * (1 + bent.k1 * r2 + bent.k2 * r2**2)
    seen: Floats = green * (1 + shift.magnification) + (shift.x_px, shift.y_px)
    return seen


def half_diagonal_px(shape: tuple[int, int]) -> float:
    """From the middle of a frame to its corner."""
    return float(np.hypot(*shape)) / 2


def _corners(shape: tuple[int, int]) -> Floats:
    h, w = shape
    return np.array([(x * w / 2, y * h / 2) for x in (-1, 1) for y in (-1, 1)])


def corner_px(bent: Distortion, shape: tuple[int, int]) -> float:
    """How far the worst corner of a frame (h, w) is displaced."""
    corners = _corners(shape)
    away = seen_at(corners, bent, ChannelShift(), shape) - corners
    return float(np.hypot(*away.T).max())


def apart_px(split: Chromatic, shape: tuple[int, int]) -> float:
    """How far red or blue lies from green, at the worst corner of a frame (h, w)."""
    corners = _corners(shape)
    still = Distortion(k1=0.0)
    away = [seen_at(corners, still, one, shape) - corners for one in (split.red, split.blue)]
    return float(max(np.hypot(*one.T).max() for one in away))
