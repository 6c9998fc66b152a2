"""Where in a field lies what a reader looks at? The nuclei; where there are none, whatever has texture.

A field holds nuclei, folds, dirt and rims of cells at heights of their own; it must be sharp where it is read.
"""

import math
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]
"""(h, w) uint8, 1 where something is wanted sharp."""
Small = NDArray[np.uint8]
"""(h, w) gray or (h, w, 3) RGB uint8 at about 1 µm a pixel."""

_STEPS_PER_OD = 60.0
_CLEAR_QUANTILE = 0.8
# a nucleus stands out of its cell all around; the corner of a cell, a fold or a rim does not
_RING_RADII_UM = (7.0, 11.0, 16.0)
_RING_POINTS = 12
_LEAST_OD = 0.2
_SHARE_OF_CORE = 0.5
_STANDS_OUT_OD = 0.4
_SURELY_NUCLEAR_OD = 0.75
_SHARE_OF_DARKNESS = 0.55
# haematoxylin lets blue through, dirt does not
_MOST_BLUE = 0.7
_LEAST_AREA_UM2 = 10.0
_CORE_REACH_UM = 7.0
_TEXTURE_OD = 0.04
_TEXTURE_AROUND_PX = 31


def clear_levels(small: Small) -> NDArray[np.float64]:
    """How bright the empty field is in each channel: (channels,) gray levels ≥ 1."""
    few = small[::4, ::4].reshape(-1, 1 if small.ndim == 2 else small.shape[2])
    levels: NDArray[np.float64] = np.maximum(np.quantile(few, _CLEAR_QUANTILE, axis=0), 1.0)
    return levels


def nuclear_mask(small: Small, clear: NDArray[np.float64], um_per_px: float = 1.0) -> Mask:
    """What absorbs red and green alike, lets blue through, and is darker than everything around it.

    The chromatic rule holds for haematoxylin beside eosin, orange G and light green (papanicolaou, H&E); of a gray
    frame only darkness counts.
    """
    smooth = cv2.GaussianBlur(small, (3, 3), 0.8)
    density = [_density(smooth[..., c], clear[c]) for c in range(3)] if small.ndim == 3 else None
    dark = cv2.min(density[0], density[1]) if density else _density(smooth, clear[0])
    first, *others = (cv2.dilate(dark, _ring(round(radius / um_per_px))) for radius in _RING_RADII_UM)
    for other in others:
        first = cv2.min(first, other)
    above = cv2.subtract(dark, first)
    side = 2 * round(_CORE_REACH_UM / um_per_px) + 1
    core = cv2.dilate(above, np.ones((side, side), np.uint8))
    wanted = (above > _LEAST_OD * _STEPS_PER_OD) & (above > _SHARE_OF_CORE * core)
    # in a crowd the ring meets other nuclei: there, what is nearly as dark as a nucleus beside it is one too
    seeds = np.where(above > _LEAST_OD * _STEPS_PER_OD, dark, 0).astype(np.uint8)
    beside = cv2.dilate(seeds, np.ones((side, side), np.uint8))
    wanted |= dark > np.maximum(_SHARE_OF_DARKNESS * beside, _SURELY_NUCLEAR_OD * _STEPS_PER_OD)
    if density:
        wanted &= density[2] < _MOST_BLUE * dark
    mask = _without_specks(wanted, _LEAST_AREA_UM2 / um_per_px**2)
    return _standing_out(mask, above)


def texture_mask(small: Small, clear: NDArray[np.float64]) -> Mask:
    """Whatever differs from its surroundings, for fields without a nucleus and for stains without nuclei."""
    gray = small if small.ndim == 2 else np.ascontiguousarray(small[..., 1])
    relative = cv2.GaussianBlur(gray, (5, 5), 1.2).astype(np.float32) / np.float32(clear[small.ndim // 3])
    apart = cv2.absdiff(relative, cv2.blur(relative, (_TEXTURE_AROUND_PX, _TEXTURE_AROUND_PX)))
    return _without_specks(np.asarray(apart) > _TEXTURE_OD, _LEAST_AREA_UM2)


def _density(channel: NDArray[Any], clear: float) -> NDArray[np.uint8]:
    levels = np.clip((np.arange(256) + 0.5) / clear, 1e-3, None)
    table = np.clip(-np.log(levels) * _STEPS_PER_OD, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(np.ascontiguousarray(channel), table), np.uint8)


def _without_specks(wanted: NDArray[np.bool_], least_px: float) -> Mask:
    mask = wanted.astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    speck = stats[:, cv2.CC_STAT_AREA] < least_px
    if speck.any():
        mask[speck[labels]] = 0
    return mask


def _standing_out(mask: Mask, above: NDArray[Any]) -> Mask:
    """Without the pieces of cytoplasm and dirt that stand out of their surroundings less than any nucleus."""
    count, found = cv2.connectedComponents(mask, connectivity=4)
    labels = np.asarray(found, np.int64)
    most = np.zeros(count, np.uint8)
    np.maximum.at(most, labels[mask > 0], above[mask > 0])
    mask[(most < _STANDS_OUT_OD * _STEPS_PER_OD)[labels]] = 0
    return mask


@lru_cache(maxsize=16)
def _ring(radius_px: int) -> Mask:
    ring = np.zeros((2 * radius_px + 1, 2 * radius_px + 1), np.uint8)
    for n in range(_RING_POINTS):
        angle = 2 * math.pi * (n + 0.5) / _RING_POINTS
        row, column = round(radius_px * (1 + math.sin(angle))), round(radius_px * (1 + math.cos(angle)))
        ring[row, column] = 1
    return ring
