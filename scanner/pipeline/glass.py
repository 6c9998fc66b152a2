"""How bright is empty glass in a tile, if there is any, and how much brighter is a tile than its neighbour?"""

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.model.tile import Pixels
from scanner.storage.light_facts import Tie

BIN_PX = 8
FLAT = 0.008
"""By what share a bin of glass may differ from the mean of the bins around it: noise is a fifth of that."""
PLATEAU = 0.03
LEAST_SHARE = 0.01
LEAST_LIGHT = 0.2
SATURATED = 0.99
TIE_SIGMA, LOOSE_TIE_SIGMA = 0.003, 0.008
LEAST_BINS = 64


def bins(pixels: Pixels) -> NDArray[np.float32]:
    """(h // 8, w // 8, c) float32 means as shares of the full range."""
    size = (max(1, pixels.shape[1] // BIN_PX), max(1, pixels.shape[0] // BIN_PX))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    return small.reshape(size[1], size[0], -1) / np.float32(np.iinfo(pixels.dtype).max)


def glass_level(pixels: Pixels) -> tuple[float, ...] | None:
    """What the brightest even part of an upright, flat tile has, DN a channel; None where no such part is lit glass.

    Whether it is glass or the palest sample, one tile alone cannot say.
    """
    means = bins(pixels)
    grey = means.mean(axis=2)
    around = cv2.blur(grey, (3, 3))
    even = (np.abs(grey - around) < FLAT * around) & (grey > LEAST_LIGHT) & (means.max(axis=2) < SATURATED)
    least = LEAST_SHARE * grey.size
    if even.sum() < least:
        return None
    top = float(np.quantile(grey[even], 0.9))
    plateau = even & (np.abs(grey - top) < PLATEAU * top)
    if plateau.sum() < least:
        return None
    level = np.median(means[plateau], axis=0) * float(np.iinfo(pixels.dtype).max)
    return tuple(round(float(value), 4) for value in level)


def tie(first: Pixels, tile: Pixels, other: int, offset: tuple[float, float], sure: bool) -> Tie | None:
    """How much brighter ``tile`` is than ``first`` (number ``other``) where they overlap; None if that is dark or small.

    ``offset``: top-left of ``tile`` minus that of ``first``, px; ``sure`` where it was measured.
    """
    cuts = [_shared(n, m, round(by)) for n, m, by in zip(first.shape, tile.shape, offset[::-1], strict=False)]
    (ya, yb), (xa, xb) = cuts[:2]
    a, b = first[ya, xa], tile[yb, xb]
    if min(a.shape[:2]) < BIN_PX:
        return None
    one, two = (bins(part if part.ndim == 2 else part[..., 1]) for part in (a, b))
    lit = (np.minimum(one, two) > LEAST_LIGHT) & (np.maximum(one, two) < SATURATED)
    if lit.sum() < LEAST_BINS:
        return None
    ratio = float(np.median(np.log(two[lit] / one[lit])))
    return Tie(other=other, ratio=round(ratio, 6), sigma=TIE_SIGMA if sure else LOOSE_TIE_SIGMA)


def _shared(n: int, m: int, by: int) -> tuple[slice, slice]:
    """What overlaps of an axis of length n and one of length m that begins ``by`` later."""
    length = max(0, min(n, by + m) - max(0, by))
    return slice(max(0, by), max(0, by) + length), slice(max(0, -by), max(0, -by) + length)
