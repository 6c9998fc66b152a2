"""How bright is empty glass in a tile, if there is any, and how much brighter is a tile than its neighbour?"""

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.model.tile import Pixels
from scanner.pipeline.refinement import float32
from scanner.storage.light_facts import Tie

BIN_PX = 8
FLAT = 0.01
"""By what share nine bins of glass may differ from each other: noise is a third of that."""
NINE = np.ones((3, 3), np.uint8)
PLATEAU = 0.03
TOP = 0.9
LEAST_SHARE = 0.01
UPPERMOST = 0.03
NEUTRAL = 1.25
LEAST_LIGHT = 0.2
SATURATED = 0.99
TIE_SIGMA, LOOSE_TIE_SIGMA = 0.005, 0.01
LEAST_BINS = 64


def bins(pixels: Pixels, every: int = 1) -> NDArray[np.float32]:
    """(h // 8, w // 8, c) float32 means as shares of the full range; of every second line in half the time."""
    size = (max(1, pixels.shape[1] // BIN_PX), max(1, pixels.shape[0] // BIN_PX))
    whole = pixels[: size[1] * BIN_PX : every, : size[0] * BIN_PX]
    small = cv2.resize(whole, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    return small.reshape(size[1], size[0], -1) * np.float32(1 / np.iinfo(pixels.dtype).max)


def glass_level(pixels: Pixels) -> tuple[float, ...] | None:
    """What the brightest even part of an upright, flat tile has, DN a channel; None where no such part is lit glass.

    Whether it is glass or the palest sample, one tile alone cannot say.
    """
    level = plateau(bins(pixels, every=2))
    full = float(np.iinfo(pixels.dtype).max)
    return None if level is None else tuple(round(float(value) * full, 4) for value in level)


def plateau(means: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """(c,) of the brightest even part of ``bins``."""
    planes = cv2.split(means)
    grey = float32(sum(planes[1:], planes[0])) * np.float32(1 / len(planes))
    spread = float32(cv2.dilate(grey, NINE)) - float32(cv2.erode(grey, NINE))
    even = (spread < FLAT * grey) & (grey > LEAST_LIGHT)
    for plane in planes:
        even &= np.asarray(plane) < SATURATED
    least, levels = LEAST_SHARE * grey.size, grey[even]
    if levels.size < least:
        return None
    top = float(np.partition(levels, int(TOP * levels.size))[int(TOP * levels.size)])
    chosen = even & (np.abs(grey - top) < PLATEAU * top)
    if np.count_nonzero(chosen) < least:
        return None
    # bins of 8 bits are whole numbers: their mean is finer than their median
    return np.asarray(cv2.mean(means, chosen.view(np.uint8))[: len(planes)], np.float32)


def neutral(level: tuple[float, ...]) -> bool:
    """Could this be glass on a camera whose colours are balanced more or less?"""
    return max(level) < NEUTRAL * min(level)


def uppermost(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of (n, c) levels of tiles those that are glass: the brightest, and what a flickering lamp makes of them."""
    grey = levels.mean(axis=1)
    return np.asarray(levels[grey > (1 - UPPERMOST) * np.quantile(grey, 0.9)])


def tie(first: Pixels, tile: Pixels, other: int, offset: tuple[float, float], sure: bool) -> Tie | None:
    """How much brighter ``tile`` is than ``first`` (number ``other``) in their overlap; None if that is dark or small.

    ``offset``: top-left of ``tile`` minus that of ``first``, px; ``sure`` where it was measured.
    """
    cuts = [_shared(n, m, round(by)) for n, m, by in zip(first.shape, tile.shape, offset[::-1], strict=False)]
    (ya, yb), (xa, xb) = cuts[:2]
    a, b = first[ya, xa], tile[yb, xb]
    if min(a.shape[:2]) < BIN_PX:
        return None
    one, two = (bins(green(part)).ravel() for part in (a, b))
    lit = (np.minimum(one, two) > LEAST_LIGHT) & (np.maximum(one, two) < SATURATED)
    ratios = np.log(two[lit] / one[lit])
    if ratios.size < LEAST_BINS:
        return None
    middle = np.partition(ratios, ratios.size // 2)[ratios.size // 2]
    ratio = float(ratios[np.abs(ratios - middle) < PLATEAU].mean())
    return Tie(other=other, ratio=round(ratio, 6), sigma=TIE_SIGMA if sure else LOOSE_TIE_SIGMA)


def green(pixels: Pixels) -> Pixels:
    """(h, w) of a colour or gray picture."""
    return pixels if pixels.ndim == 2 else cast(Pixels, cv2.extractChannel(pixels, 1))


def _shared(n: int, m: int, by: int) -> tuple[slice, slice]:
    """What overlaps of an axis of length n and one of length m that begins ``by`` later."""
    length = max(0, min(n, by + m) - max(0, by))
    return slice(max(0, by), max(0, by) + length), slice(max(0, -by), max(0, -by) + length)
