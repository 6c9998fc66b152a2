"""Which pixels of an overview picture show glass, and which show sample?

It must never lose sample to make a picture tidy: what is doubtful counts as sample, and dust is dropped only where
it is grey, small and alone.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.model.geometry import Rect
from scanner.model.tile import Pixels

Mask = NDArray[np.bool_]
FloatImage = NDArray[np.float32]

EDGE_SEARCH_SHARE = 0.25
LEAST_EDGE_SHARE = 0.15  # of the clear glass: more than vignetting
MIRROR_PX = 40
WELL_INSIDE_PX = 5.0
LEAST_OD = 0.02
SIGMAS = 6.0
SMOOTH_SHARE = 0.28  # what a Gaussian of 1 px leaves of white noise: 1 / (2 √π)


@dataclass(frozen=True, slots=True)
class Stain:
    """What is not clear glass: ``density`` (h, w) float32 is optical density, the highest of the channels.

    ``stained`` (h, w) bool is what lies above the picture's own noise, ``coloured`` the part that has a hue.
    """

    density: FloatImage
    stained: Mask
    coloured: Mask


@dataclass(frozen=True, slots=True)
class Scale:
    """Lengths in the pixels of one picture."""

    um_per_px: float

    def px(self, um: float) -> int:
        """At least one pixel."""
        return max(1, round(um / self.um_per_px))

    def odd(self, um: float) -> int:
        """An odd number of pixels, for kernels."""
        return 2 * self.px(um / 2) + 1

    def area(self, mm2: float) -> float:
        """Pixels in ``mm2`` square millimetres."""
        return mm2 * 1e6 / self.um_per_px**2


def glass_corner(picture: Pixels, glass_px: tuple[float, float]) -> tuple[float | None, float | None]:
    """Where the glass begins, (x, y) px from the picture's corner, sub-pixel; None along an axis that shows no edge.

    Args:
        picture: (h, w, 3) uint8.
        glass_px: width and height of the glass in px.
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    h, w = grey.shape
    glass = float(np.percentile(grey[h // 4 : -h // 4 : 4, w // 3 :: 4], 90))
    columns = np.median(grey[h // 4 : -h // 4], axis=0).astype(float) / glass
    rows = np.median(grey[:, w // 3 :], axis=1).astype(float) / glass
    return start_of_glass(columns, glass_px[0]), start_of_glass(rows, glass_px[1])


def start_of_glass(profile: NDArray[np.float64], length_px: float) -> float | None:
    """Where the glass begins along ``profile`` (n,), brightness relative to clear glass; None where nothing tells.

    Both edges well in sight: their middle. A picture as long as the glass cuts one edge off, but both ground edges
    look the same, so that the two ends of the profile are mirror images, displaced by twice the shift.
    """
    n = len(profile)
    first, last = step_from_border(profile), step_from_border(profile[::-1])
    if first is not None and last is not None and min(first, last) > WELL_INSIDE_PX:
        return (first + n - last - length_px) / 2
    apart = mirror_displacement(profile[:MIRROR_PX], profile[::-1][:MIRROR_PX])
    if apart is not None:
        return (n - length_px + apart) / 2
    return first if last is None else n - last - length_px


def step_from_border(profile: NDArray[np.float64]) -> float | None:
    """Distance in px from the start of ``profile`` (n,) to where it leaves its first value, None if it never does."""
    near = profile[: max(8, int(EDGE_SEARCH_SHARE * len(profile)))]
    away = np.abs(near - near[0])
    height = float(np.percentile(away, 60)) / 2
    if height < LEAST_EDGE_SHARE / 2:
        return None
    i = int(np.argmax(away >= height))
    below, above = away[i - 1], away[i]
    return float(i - 1 + (height - below) / (above - below) + 0.5)


def mirror_displacement(start: NDArray[np.float64], end: NDArray[np.float64]) -> float | None:
    """By how many px the structure in ``start`` (k,) lies further in than in ``end`` (k,); None without structure."""
    if min(np.ptp(start), np.ptp(end)) < LEAST_EDGE_SHARE:
        return None
    place = np.arange(len(start), dtype=float)
    shifts = np.arange(-len(start) / 2, len(start) / 2, 0.05)
    unlike = [_unlikeness(start, end, place - shift) for shift in shifts]
    return float(shifts[int(np.argmin(unlike))])


def _unlikeness(start: NDArray[np.float64], end: NDArray[np.float64], at: NDArray[np.float64]) -> float:
    seen = (at >= 0) & (at <= len(end) - 1)
    return float(np.mean((start[seen] - np.interp(at[seen], np.arange(len(end)), end)) ** 2))


def clear_background(picture: Pixels, block_px: int = 25) -> FloatImage:
    """What the picture would show without sample: (h, w, 3) float32, a quadratic in x and y per channel.

    Fitted to the bright side of each block, asymmetrically: blocks darker than the fit hardly count.
    """
    h, w = picture.shape[0] // block_px, picture.shape[1] // block_px
    blocks = picture[: h * block_px, : w * block_px].reshape(h, block_px, w, block_px, 3)
    high = np.percentile(blocks[:, ::4, :, ::4], 80, axis=(1, 3)).reshape(-1, 3)
    y, x = np.meshgrid(_unit(h), _unit(w), indexing="ij")
    terms = _quadratic(x.ravel(), y.ravel())
    fits = np.stack([_fit_upper(terms, high[:, c]) for c in range(3)], axis=1)
    coarse = np.maximum(terms @ fits, 1.0).reshape(h, w, 3).astype(np.float32)
    return _stretched(coarse, picture.shape[1], picture.shape[0])


def _stretched(coarse: FloatImage, w: int, h: int) -> FloatImage:
    return cv2.resize(coarse, (w, h), interpolation=cv2.INTER_LINEAR).astype(np.float32, copy=False)


def _unit(n: int) -> NDArray[np.float64]:
    return np.linspace(-1, 1, n)


def _quadratic(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)


def _fit_upper(terms: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = (values >= np.percentile(values, 70)).astype(float) + 1e-3
    fit = _weighted_fit(terms, values, weights)
    for _ in range(12):
        close = np.abs(values - terms @ fit) < 0.015 * values.max()
        fit = _weighted_fit(terms, values, np.where(close, 1.0, 1e-3))
    return fit


def _weighted_fit(
    terms: NDArray[np.float64], values: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.asarray(np.linalg.lstsq(terms * weights[:, None], values * weights, rcond=None)[0], np.float64)


def noise_dn(picture: Pixels) -> float:
    """Standard deviation of one pixel's noise in DN, from differences of neighbours; never below 0.3."""
    green = picture[::6, :, 1].astype(np.float32)
    steps = green[:, 1:] - green[:, :-1]
    spread = float(steps.std())
    for _ in range(6):
        spread = float(steps[np.abs(steps) <= 3 * max(spread, 0.5)].std())
    return max(0.3, spread / math.sqrt(2))


def find_stain(picture: Pixels, scale: Scale) -> Stain:
    """What is not clear glass in a part of the overview (h, w, 3) uint8 that holds no label and no edge."""
    background = clear_background(picture)
    smooth = np.maximum(cv2.GaussianBlur(picture, (0, 0), 1.0), 1).astype(np.float32)
    red, green, blue = cv2.split(cv2.log(cv2.divide(background, smooth)))
    highest = cv2.max(red, cv2.max(green, blue)).astype(np.float32, copy=False)
    lowest = cv2.min(red, cv2.min(green, blue)).astype(np.float32, copy=False)
    noise = SIGMAS * SMOOTH_SHARE * noise_dn(picture) / float(background[::16, ::16].mean())
    above = highest - _slow_residue(highest, scale)
    hue = highest - lowest
    stained: Mask = above > max(LEAST_OD, noise)
    coloured: Mask = stained & (hue > max(0.75 * LEAST_OD, 1.2 * noise)) & (hue > 0.25 * highest)
    return Stain(highest, stained, coloured)


def _slow_residue(density: FloatImage, scale: Scale) -> FloatImage:
    """What a quadratic leaves of uneven light: slow and small. Anything above 0.04 is stain, not light."""
    small = cv2.resize(density, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    kernel = np.ones((scale.odd(1000) // 4 + 1,) * 2, np.uint8)
    slow = cv2.GaussianBlur(cv2.morphologyEx(small, cv2.MORPH_OPEN, kernel), (0, 0), 4)
    return _stretched(np.clip(slow, -0.04, 0.04).astype(np.float32), density.shape[1], density.shape[0])


def sample_mask(stain: Stain, expected: Mask, scale: Scale) -> Mask:
    """Where the sample lies: stain that is no dust, no edge of a cover slip and no marker pen, closed and filled.

    Args:
        stain: of the clear glass, (h, w).
        expected: (h, w) bool, where the preparation normally puts its cells; there, nothing but dust is dropped.
        scale: of the picture.
    """
    spots = stain.stained & ~straight_lines(stain.stained, scale) & ~(marker_pen(stain, scale) & ~expected)
    spots = without_dust(spots, stain.coloured, expected, scale)
    if np.count_nonzero(spots) < scale.area(0.02):
        return np.zeros_like(spots)
    return _filled_islands(spots, expected, scale)


def straight_lines(stained: Mask, scale: Scale) -> Mask:
    """Long thin straight things on otherwise clear glass: the edges of a cover slip, scratches. (h, w) bool."""
    image = stained.astype(np.uint8)
    length = scale.odd(5000)
    crowded = cv2.blur(image.astype(np.float32), (scale.odd(1000),) * 2) > 0.3
    lines = np.zeros_like(stained)
    for wide, long in (((1, 3), (length, 1)), ((3, 1), (1, length))):
        thickened = cv2.dilate(image, np.ones(wide[::-1], np.uint8))
        lines |= cv2.morphologyEx(thickened, cv2.MORPH_OPEN, np.ones(long[::-1], np.uint8)) > 0
    grown = cv2.dilate(lines.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return grown & ~crowded


def marker_pen(stain: Stain, scale: Scale) -> Mask:
    """Broad, very dark and even strokes, (h, w) bool: no cytology or tissue is that dark over 0.3 mm."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (scale.odd(300),) * 2)
    broad = cv2.morphologyEx((stain.density > 1.0).astype(np.uint8), cv2.MORPH_OPEN, kernel)
    return cv2.dilate(broad, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (scale.odd(200),) * 2)) > 0


def without_dust(spots: Mask, coloured: Mask, expected: Mask, scale: Scale) -> Mask:
    """``spots`` without grey specks that have nothing coloured within 0.5 mm. (h, w) bool.

    A speck is smaller than 0.3 mm², where sample is expected than 0.04 mm² (a grain of dust 0.2 mm across).
    """
    near = cv2.dilate((coloured & spots).astype(np.uint8), np.ones((scale.odd(1000),) * 2, np.uint8)) > 0
    kernel = np.ones((scale.odd(100),) * 2, np.uint8)
    joined = cv2.morphologyEx(spots.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    area = stats[:, cv2.CC_STAT_AREA]
    hued = np.bincount(labels[near], minlength=count) > 0
    there = np.bincount(labels[expected], minlength=count) > 0
    keep = hued | (area >= np.where(there, scale.area(0.04), scale.area(0.3)))
    keep[0] = False
    kept: Mask = keep[labels] & spots
    return kept


def _filled_islands(spots: Mask, expected: Mask, scale: Scale) -> Mask:
    """Spots closer than 0.8 mm grow together and are filled; lonely ones outside ``expected`` need 0.01 mm²."""
    closed = _closed(spots.astype(np.uint8), scale.px(400))
    count, labels = cv2.connectedComponents(closed, connectivity=8)
    weight = np.bincount(labels[spots], minlength=count)
    inside = np.bincount(labels[spots & expected], minlength=count)
    keep = (weight >= scale.area(0.01)) | (inside >= scale.area(0.0012))
    keep[0] = False
    outlines, _ = cv2.findContours(keep[labels].astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(spots.shape, np.uint8)
    cv2.drawContours(filled, outlines, -1, 1, cv2.FILLED)
    return filled > 0


def _closed(image: NDArray[np.uint8], radius: int) -> NDArray[np.uint8]:
    """Closing by a disc, through distance transforms: its cost does not grow with the radius."""
    padded = cv2.copyMakeBorder(image, radius, radius, radius, radius, cv2.BORDER_CONSTANT, value=0)
    grown = (cv2.distanceTransform(1 - padded, cv2.DIST_L2, 3) <= radius).astype(np.uint8)
    closed = cv2.distanceTransform(grown, cv2.DIST_L2, 3) > radius
    result: NDArray[np.uint8] = closed[radius:-radius, radius:-radius].astype(np.uint8) | image
    return result


def inside(shape: tuple[int, int], rect_px: Rect, ellipse: bool) -> Mask:
    """(h, w) bool: the pixels of a rectangle, or of the ellipse in it."""
    mask = np.zeros(shape, np.uint8)
    centre = (round(rect_px.centre.x), round(rect_px.centre.y))
    if ellipse:
        cv2.ellipse(mask, centre, (round(rect_px.w / 2), round(rect_px.h / 2)), 0, 0, 360, 1, cv2.FILLED)
    else:
        low, high = (round(rect_px.x), round(rect_px.y)), (round(rect_px.right), round(rect_px.bottom))
        cv2.rectangle(mask, low, high, 1, cv2.FILLED)
    return mask > 0
