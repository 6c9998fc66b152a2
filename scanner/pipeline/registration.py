"""How far is a tile shifted against its neighbour, by their overlap alone, and may that answer be believed?

It never guesses: an overlap without texture, with two answers or with an answer at the edge of the search says so.
"""

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from scanner.model.geometry import Point
from scanner.model.tile import Pixels
from scanner.pipeline.refinement import Plane, Refined, float32, refine, where_stained

Image = NDArray[np.uint8] | NDArray[np.uint16]

PEAK, ALIGNED, SECOND = 0.45, 0.4, 0.86  # measured on sparse cytology: docs/decisions/0020
FAINT = 0.33  # a lower peak is chance; between, an answer is only worth what others say of it
STAINED_PX, STAINED = 1500, 0.9  # a lone cell may speak for an overlap: docs/decisions/0073
RIVAL_STAINED = 0.5  # a rival peak that aligns no stain is chance
ONLY_FAINT = "only faint texture matches"
NOISE_SHARE = (
    0.5  # of the noise's energy in the norms: empty glass scores low, thin overlaps are not punished
)
SIGNIFICANCE = 6.0  # a peak must stand this many standard deviations above chance
GRAIN_PX2 = 9.0  # binned pixels that carry one independent value: thin overlaps are judged by it
HIGH_PASS_PX = 17
WIDER = 1.5  # once more and this much further where a good match lies at the edge
ALIKE = "two shifts match alike"
AT_EDGE = "the best match lies at the edge of the search"
THIN_PX = 48  # overlaps thinner than this are not binned


@dataclass(frozen=True, slots=True)
class PairMeasurement:
    """Where a tile's top-left lies relative to its neighbour's, in upright camera px.

    ``sigma_px`` is the standard deviation of both coordinates; ``peak`` and ``second`` the best and second-best
    normalised correlation of the search; ``ncc`` that of the aligned overlap. ``reason`` says why not ``accepted``.
    """

    dx_px: float
    dy_px: float
    sigma_px: float
    peak: float
    ncc: float
    second: float
    accepted: bool
    reason: str


@dataclass(frozen=True, slots=True)
class _Window:
    """A part of a tile, and binned minus its local mean: shading and empty glass become zero."""

    plane: Plane
    binned: Plane
    box_px: int

    def fine(self) -> Plane:
        """The part in full resolution minus its local mean."""
        return self.binned if self.binned.shape == self.plane.shape else _high_pass(self.plane, self.box_px)


@dataclass(frozen=True, slots=True)
class _Overlap:
    """Both windows of an overlap widened by the search, and the lag (y, x) at which they lie as expected."""

    first: _Window
    second: _Window
    lag: tuple[int, int]
    size: tuple[int, int]
    bin_px: int


@dataclass(frozen=True, slots=True)
class _Peak:
    """The best lag (y, x) of a correlation surface in its own pixels, how it stands out, and where its rival lies."""

    lag: tuple[float, float]
    value: float
    rival: tuple[int, int]
    second: float
    needed: float
    inside: bool


def register(
    first: Pixels, tile: Pixels, expected: Point, search_px: float, noise_dn: float
) -> PairMeasurement:
    """The displacement of ``tile`` against ``first``, looked for within ``search_px`` of ``expected``.

    Normalised correlation of the whole true overlap at every shift (energies from summed-area tables), then
    refinement at full resolution.

    Args:
        first: (h, w) or (h, w, 3), uint8 or uint16; of colour the green channel is used.
        tile: the same format; the sizes may differ.
        expected: top-left of ``tile`` minus top-left of ``first``, px.
        search_px: how far the answer may lie from ``expected`` on each axis; a good match at the edge is followed
            half as far again.
        noise_dn: standard deviation of the camera's noise in a pixel, see ``noise_of``.
    """
    planes = _plane(first), _plane(tile)
    found = _attempt(*planes, expected, search_px, noise_dn)
    if found.reason == AT_EDGE and found.peak >= PEAK:
        return _attempt(*planes, expected, WIDER * search_px, noise_dn)
    return found


def _attempt(
    first: Image, second: Image, expected: Point, search_px: float, noise_dn: float
) -> PairMeasurement:
    overlap = _windows(first, second, expected, search_px)
    if overlap is None:
        return _refused(expected, "the tiles do not overlap")
    noise = max(NOISE_SHARE * noise_dn, 0.3)
    coarse = _search(overlap, search_px, noise)
    if coarse is None:
        return _refused(expected, "the overlap is too thin")
    if not coarse.inside:
        return _refused(expected, AT_EDGE, coarse)
    if coarse.value < coarse.needed:
        return _refused(expected, "no texture that matches", coarse)
    return _refined(overlap, coarse, expected, noise)


def noise_of(pixels: Pixels) -> float:
    """Standard deviation in DN of the noise, from the middle 256² px (Immerkær, CVIU 1996, with a median)."""
    plane = _plane(pixels)
    h, w = plane.shape
    y, x = max(0, h // 2 - 128), max(0, w // 2 - 128)
    middle = plane[y : y + 256, x : x + 256].astype(np.float32)
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    return float(np.median(np.abs(cv2.filter2D(middle, -1, kernel)))) / (6 * 0.6745)


def _plane(pixels: Pixels) -> Image:
    return pixels[..., 1] if pixels.ndim == 3 else pixels


def _refused(expected: Point, reason: str, coarse: _Peak | None = None) -> PairMeasurement:
    peak, second = (coarse.value, coarse.second) if coarse else (0.0, 0.0)
    return PairMeasurement(expected.x, expected.y, 1e6, peak, 0.0, second, False, reason)


def _windows(first: Image, second: Image, expected: Point, search_px: float) -> _Overlap | None:
    """Cut both tiles to what can overlap for any shift of the search; None where that is nothing."""
    reach = int(np.ceil(search_px))
    cuts = [
        _cut(n, m, round(e), reach)
        for n, m, e in zip(first.shape, second.shape, (expected.y, expected.x), strict=True)
    ]
    if any(size < 1 for _, _, _, size in cuts):
        return None
    (ya, yb, lag_y, rows), (xa, xb, lag_x, cols) = cuts
    thickness = min(rows, cols)
    bin_px = 2 if thickness >= THIN_PX else 1
    a, b = (_window(part, bin_px, thickness) for part in (first[ya, xa], second[yb, xb]))
    return _Overlap(a, b, (lag_y, lag_x), (rows, cols), bin_px)


def _cut(n: int, m: int, expected: int, reach: int) -> tuple[slice, slice, int, int]:
    """One axis: the window of the first (length n), of the second (length m), the lag, the overlap's size."""
    a = slice(max(0, expected - reach), min(n, expected + m + reach))
    b = slice(max(0, -expected - reach), min(m, n - expected + reach))
    size = min(n, expected + m) - max(0, expected)
    return a, b, b.start + expected - a.start, size


def _window(pixels: Image, bin_px: int, thickness_px: int) -> _Window:
    """A window of an overlap; a thin one takes a narrower mean, because at a tile's edge half of it is missing."""
    plane = binned = pixels.astype(np.float32)
    if bin_px > 1:
        h, w = (n // bin_px for n in plane.shape)
        whole = plane[: h * bin_px, : w * bin_px]
        binned = float32(cv2.resize(whole, (w, h), interpolation=cv2.INTER_AREA))
    box_px = min(HIGH_PASS_PX, max(5, thickness_px // 2 | 1))
    return _Window(plane, _high_pass(binned, box_px), box_px)


def _high_pass(plane: Plane, box_px: int) -> Plane:
    box = (box_px, box_px)
    return plane - float32(cv2.blur(cv2.blur(plane, box), box))


def _search(overlap: _Overlap, search_px: float, noise_dn: float) -> _Peak | None:
    """The best lag of the binned windows within the search."""
    a, b, bin_px = overlap.first.binned, overlap.second.binned, overlap.bin_px
    reach = max(2, int(np.ceil(search_px / bin_px)))
    centre = [round(lag / bin_px) for lag in overlap.lag]
    lags = [np.arange(c - reach, c + reach + 1) for c in centre]
    least = 0.3 * (overlap.size[0] / bin_px) * (overlap.size[1] / bin_px)
    surface, count = _correlate(a, b, lags, (noise_dn / bin_px) ** 2)
    surface[count < max(least, 32)] = -1
    if surface.max() <= -1:
        return None
    return _peak(surface, count, lags)


def _correlate(
    a: Plane, b: Plane, lags: list[NDArray[np.int64]], floor: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Normalised correlation of ``a`` with ``b`` moved by each lag (y, x), and the pixels that took part."""
    shape = [
        fft.next_fast_len(int(max(n, m) + np.abs(lag).max()), real=True)
        for n, m, lag in zip(a.shape, b.shape, lags, strict=True)
    ]
    spectrum = fft.rfft2(a, shape) * np.conj(fft.rfft2(b, shape))
    product = fft.irfft2(spectrum, shape)[np.ix_(lags[0] % shape[0], lags[1] % shape[1])].astype(np.float64)
    spans = [_spans(n, m, lag) for n, m, lag in zip(a.shape, b.shape, lags, strict=True)]
    energy_a = _energy(a, spans[0][0], spans[1][0])
    energy_b = _energy(b, spans[0][1], spans[1][1])
    sizes = [np.maximum(span[0][1] - span[0][0], 0) for span in spans]
    count = sizes[0][:, None] * sizes[1][None]
    whole = (energy_a + floor * count) * (energy_b + floor * count)
    return product / np.sqrt(np.maximum(whole, 1e-12)), count


_Span: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]


def _spans(n: int, m: int, lags: NDArray[np.int64]) -> tuple[_Span, _Span]:
    """One axis: first and last index of what overlaps, in the first (length n) and in the second (length m)."""
    start, stop = np.clip(lags, 0, n), np.clip(lags + m, 0, n)
    stop = np.maximum(start, stop)
    return (start, stop), (np.clip(start - lags, 0, m), np.clip(stop - lags, 0, m))


def _energy(plane: Plane, rows: _Span, cols: _Span) -> NDArray[np.float64]:
    """Sum of squares over every rectangle of ``rows`` × ``cols``, from a summed-area table (Crow 1984)."""
    table = cv2.integral(plane * plane, sdepth=cv2.CV_64F)
    corner = [[table[np.ix_(y, x)] for x in cols] for y in rows]
    return np.asarray(corner[1][1] - corner[0][1] - corner[1][0] + corner[0][0], np.float64)


def _peak(surface: NDArray[np.float64], count: NDArray[np.int64], lags: list[NDArray[np.int64]]) -> _Peak:
    """The best lag with a parabola's fraction, and the best of everything more than 3 px away from it."""
    y, x = (int(v) for v in np.unravel_index(int(surface.argmax()), surface.shape))
    h, w = surface.shape
    inside = 0 < y < h - 1 and 0 < x < w - 1
    value = float(surface[y, x])
    fraction = (
        (_vertex(surface[y - 1 : y + 2, x]), _vertex(surface[y, x - 1 : x + 2])) if inside else (0.0, 0.0)
    )
    rest = surface.copy()
    rest[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4] = 0
    needed = SIGNIFICANCE / float(np.sqrt(count[y, x] / GRAIN_PX2))
    lag = (float(lags[0][y]) + fraction[0], float(lags[1][x]) + fraction[1])
    down, right = np.unravel_index(int(rest.argmax()), rest.shape)
    rival = int(lags[0][down]), int(lags[1][right])
    return _Peak(lag, value, rival, float(rest.max()), needed, inside)


def _vertex(three: NDArray[np.float64]) -> float:
    """Where the parabola through values at -1, 0, 1 has its extremum, within ±0.5."""
    low, mid, high = (float(v) for v in three)
    bend = low - 2 * mid + high
    return float(np.clip((low - high) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0


def _refined(overlap: _Overlap, coarse: _Peak, expected: Point, noise_dn: float) -> PairMeasurement:
    """Gauss-Newton at full resolution from the coarse answer, and the verdict on it."""
    start = (coarse.lag[0] * overlap.bin_px, coarse.lag[1] * overlap.bin_px)
    fine = refine(overlap.first.fine(), overlap.second.fine(), start, noise_dn)
    moved = max(abs(fine.lag[0] - start[0]), abs(fine.lag[1] - start[1]))
    reason = _verdict(coarse, fine, moved, noise_dn)
    if reason == ALIKE and _is_the_only_cell(overlap, coarse, fine, noise_dn):
        reason = ""
    dy = round(expected.y) + fine.lag[0] - overlap.lag[0]
    dx = round(expected.x) + fine.lag[1] - overlap.lag[1]
    return PairMeasurement(dx, dy, fine.sigma_px, coarse.value, fine.ncc, coarse.second, not reason, reason)


def _is_the_only_cell(overlap: _Overlap, coarse: _Peak, fine: Refined, noise_dn: float) -> bool:
    """Does a lone cell lie on itself, and on nothing where the rival peak has it? Then that one is of the noise."""
    stained_px, likeness = where_stained(fine, noise_dn)
    if stained_px < STAINED_PX or likeness < STAINED:
        return False
    start = (float(coarse.rival[0] * overlap.bin_px), float(coarse.rival[1] * overlap.bin_px))
    rival = refine(overlap.first.fine(), overlap.second.fine(), start, noise_dn)
    return where_stained(rival, noise_dn)[1] < RIVAL_STAINED


def _verdict(coarse: _Peak, fine: Refined, moved_px: float, noise_dn: float) -> str:
    if moved_px > 3:
        return "the refinement ran away"
    if fine.sigma_px > 1:
        return "the texture fixes only one direction"
    if coarse.second > SECOND * coarse.value:
        return ALIKE
    if coarse.value >= PEAK and fine.ncc >= ALIGNED:
        return ""
    stained_px, likeness = where_stained(fine, noise_dn)
    if stained_px >= STAINED_PX and likeness >= STAINED:
        return ""
    return ONLY_FAINT if fine.ncc >= FAINT <= coarse.value else "the aligned overlap does not match"
