"""Where in a field lies what a reader looks at? The nuclei; where there are none, whatever has texture.

A field holds nuclei, folds, dirt and rims of cells at heights of their own; it must be sharp where it is read.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from autofocus.gray import ranked

Mask = NDArray[np.uint8]
"""(h, w) uint8, 1 where something is wanted sharp."""
Image = NDArray[Any]
Small = NDArray[np.uint8]
"""(h, w) gray or (h, w, 3) RGB uint8 at about 1 µm a pixel."""

_STEPS_PER_OD = 60.0
_DARKEST_LIGHT_OD = 0.1
_LIGHT_PX = 16
_LIGHT_REACH = 13
_CLEAR_QUANTILE = 0.8
# a nucleus stands out of its cell all around; the corner of a cell, a fold or a rim does not
_RING_RADII_PX = (7, 11, 16)
_RING_POINTS = 12
_LEAST_OD = 0.2
_SHARE_OF_CORE = 0.4
_STANDS_OUT_OD = 0.23
# at the border half of the ring is unknown: there the tip of a cell stands out like a pale nucleus
_BORDER_PX = 8
_DARK_AT_BORDER_OD = 0.5
_SURELY_NUCLEAR_OD = 0.75
_SHARE_OF_DARKNESS = 0.4
# haematoxylin absorbs 0.41 times as much blue as green (A. C. Ruifrok, D. A. Johnston, Anal. Quant. Cytol. Histol. 23,
# 2001), dirt about as much; of what eosin and orange G absorb in green, blue takes about half
_MOST_BLUE = 0.55
_BLUE_OF_EOSIN = 0.45
_LEAST_AREA_PX = 6
_LEAST_TEXTURE_PX = 10
_CORE_PX = 15
_TEXTURE_OD = 0.04
_TEXTURE_AROUND_PX = 31


def clear_levels(small: Small) -> NDArray[np.float64]:
    """How bright the empty field is in each channel: (channels,) gray levels ≥ 1."""
    few = np.atleast_3d(small[::4, ::4])
    levels = [ranked(few[..., channel], _CLEAR_QUANTILE) for channel in range(few.shape[2])]
    return np.maximum(levels, 1.0)


def nuclear_mask(small: Small, clear: NDArray[np.float64]) -> Mask:
    """What absorbs red and green alike, lets blue through, and is darker than everything around it.

    The chromatic rule holds for haematoxylin beside eosin, orange G and light green (papanicolaou, H&E); of a gray
    frame only darkness counts.
    """
    density = cv2.split(_density(np.asarray(cv2.GaussianBlur(small, (3, 3), 0.8)), clear))
    dark = np.asarray(cv2.min(density[0], density[1])) if len(density) > 1 else density[0]
    above = _over_surroundings(dark)
    near = np.ones((_CORE_PX, _CORE_PX), np.uint8)
    alone, crowd = _alone(above, near), _in_a_crowd(dark, above, near)
    if len(density) > 1:
        blue = _haematoxylin(density, dark)
        # what lies over or under a nucleus absorbs beside it too
        alone = np.asarray(cv2.bitwise_and(alone, cv2.bitwise_or(blue, _blue_by_itself(density[2], above))))
        crowd = np.asarray(cv2.bitwise_and(crowd, blue))
    wanted = np.asarray(cv2.bitwise_or(alone, crowd))
    return _pieces(wanted, _LEAST_AREA_PX, _strong(wanted, above, dark))


def _strong(wanted: Image, above: Image, dark: Image) -> Image:
    """255 where it stands out of its surroundings as pieces of cytoplasm and dirt do not."""
    strong = np.asarray(cv2.bitwise_and(wanted, _beyond(above, _STANDS_OUT_OD)))
    surely = _beyond(dark, _DARK_AT_BORDER_OD)
    for edge in (np.s_[:_BORDER_PX], np.s_[-_BORDER_PX:], np.s_[:, :_BORDER_PX], np.s_[:, -_BORDER_PX:]):
        strong[edge] = cv2.bitwise_and(strong[edge], surely[edge])
    return strong


def _blue_by_itself(blue: Image, above: Image) -> Image:
    """255 where it adds less to blue than dirt would, over what is around it."""
    most = np.asarray(cv2.convertScaleAbs(above, alpha=_MOST_BLUE))
    return _darker(most, _over_surroundings(blue))


def _haematoxylin(density: Sequence[Image], dark: Image) -> Image:
    """255 where less blue is absorbed than dirt would; what eosin adds to blue shows in green over red."""
    red, green, blue = density
    eosin = cv2.convertScaleAbs(cv2.subtract(green, red), alpha=_BLUE_OF_EOSIN)
    return _darker(
        np.asarray(cv2.convertScaleAbs(dark, alpha=_MOST_BLUE)), np.asarray(cv2.subtract(blue, eosin))
    )


def _over_surroundings(dark: Image) -> Image:
    """How much darker each place is than the darkest around it, at the most favourable of three distances.

    At the border the field is mirrored, so that the tip of a cell has more of the same beside it.
    """
    pad = max(_RING_RADII_PX)
    wide = cv2.copyMakeBorder(dark, pad, pad, pad, pad, cv2.BORDER_REFLECT_101)
    around, *others = (cv2.dilate(wide, _ring(radius)) for radius in _RING_RADII_PX)
    for other in others:
        around = cv2.min(around, other)
    return np.asarray(cv2.subtract(dark, np.ascontiguousarray(np.asarray(around)[pad:-pad, pad:-pad])))


def _alone(above: Image, near: Mask) -> Image:
    """Places that stand out, down to a share of what the core beside them does."""
    enough = cv2.convertScaleAbs(cv2.dilate(above, near), alpha=_SHARE_OF_CORE)
    return np.asarray(cv2.bitwise_and(_beyond(above, _LEAST_OD), _darker(above, np.asarray(enough))))


def _in_a_crowd(dark: Image, above: Image, near: Mask) -> Image:
    """Among other nuclei nothing stands out all around; what is dark, and not far lighter than one beside it, counts.

    With a larger share, clumps lose a third of their area where single nuclei lose a fifth, and weigh too little.
    """
    seeds = cv2.bitwise_and(dark, _beyond(above, _LEAST_OD))
    beside = cv2.convertScaleAbs(cv2.dilate(seeds, near), alpha=_SHARE_OF_DARKNESS)
    return np.asarray(cv2.bitwise_and(_darker(dark, beside), _beyond(dark, _SURELY_NUCLEAR_OD)))


def _beyond(density: Image, od: float) -> Image:
    """255 where a density exceeds ``od``."""
    return np.asarray(cv2.threshold(density, od * _STEPS_PER_OD, 255, cv2.THRESH_BINARY)[1])


def _darker(one: Image, other: Image) -> Image:
    """255 where one density exceeds the other."""
    return np.asarray(cv2.compare(one, other, cv2.CMP_GT))


def texture_mask(small: Small, clear: NDArray[np.float64]) -> Mask:
    """Whatever differs from its surroundings, for fields without a nucleus and for stains without nuclei."""
    gray = small if small.ndim == 2 else np.ascontiguousarray(small[..., 1])
    relative = cv2.GaussianBlur(gray, (5, 5), 1.2).astype(np.float32) / np.float32(clear[small.ndim // 3])
    apart = cv2.absdiff(relative, cv2.blur(relative, (_TEXTURE_AROUND_PX, _TEXTURE_AROUND_PX)))
    wanted = (np.asarray(apart) > _TEXTURE_OD).astype(np.uint8)
    return _pieces(wanted, _LEAST_TEXTURE_PX, wanted)


def _density(small: Image, clear: NDArray[np.float64]) -> Image:
    """Of each channel, over the clearest glass within 100 µm: the lamp's fall-off is not the sample's."""
    levels = np.clip((np.arange(256)[:, None] + 0.5) / clear, 1e-3, None)
    table = np.clip((_DARKEST_LIGHT_OD - np.log(levels)) * _STEPS_PER_OD, 0, 255).astype(np.uint8)
    density = cv2.LUT(small, table.reshape(256, 1, -1))
    size = tuple(max(1, round(side / _LIGHT_PX)) for side in reversed(density.shape[:2]))
    coarse = cv2.resize(density, size, interpolation=cv2.INTER_AREA)
    reach = np.ones((_LIGHT_REACH, _LIGHT_REACH), np.uint8)
    light = cv2.blur(cv2.erode(coarse, reach), (_LIGHT_REACH, _LIGHT_REACH))
    return np.asarray(cv2.subtract(density, cv2.resize(light, density.shape[1::-1])))


def _pieces(wanted: Image, least_px: int, strong: Image) -> Mask:
    """1 in the pieces that are large enough and hold something strong."""
    count, labels = cv2.connectedComponents(wanted, connectivity=8)
    # of the few pixels that are in any piece
    at = np.flatnonzero(np.asarray(wanted) != 0)
    piece = np.asarray(labels).ravel()[at]
    held = np.bincount(piece, np.asarray(strong).ravel()[at], count)
    keep = (np.bincount(piece, minlength=count) >= least_px) & (held > 0)
    mask = np.zeros(wanted.shape, np.uint8)
    mask.ravel()[at] = keep[piece]
    return mask


@lru_cache(maxsize=16)
def _ring(radius_px: int) -> Mask:
    ring = np.zeros((2 * radius_px + 1, 2 * radius_px + 1), np.uint8)
    for n in range(_RING_POINTS):
        angle = 2 * math.pi * (n + 0.5) / _RING_POINTS
        row, column = round(radius_px * (1 + math.sin(angle))), round(radius_px * (1 + math.cos(angle)))
        ring[row, column] = 1
    return ring
