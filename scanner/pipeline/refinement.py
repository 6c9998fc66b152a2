"""How far exactly is one plane shifted against another, to a few hundredths of a pixel, and how sure is that?"""

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Plane: TypeAlias = NDArray[np.float32]

FLOOR_SIGMA_PX = 0.03  # what refinement cannot beat, measured
STEPS = 8
PLAIN_STEPS = 2
STILL_PX = 0.01
OUTLYING = 2.0  # standard deviations beyond which a pixel's difference counts for less
SMOOTH_PX = 0.8
SLOPE_NOISE = 0.2  # energy of a slope of smoothed noise, in units of the variance of a difference
MARGIN_PX = 6
STAIN_BOX_PX, STAIN_SIGMAS = 5, 3.0  # a mean over so many pixels, so far out of its noise, is stain


@dataclass(frozen=True, slots=True)
class Refined:
    """The shift as y, x in px, its standard deviation, the correlation of the aligned planes, and those planes."""

    lag: tuple[float, float]
    sigma_px: float
    ncc: float
    aligned: tuple[Plane, Plane] | None = None


@dataclass(frozen=True, slots=True)
class _Template:
    """A rectangle of the first plane, its slopes along y and x, and where it lies."""

    patch: Plane
    slopes: tuple[Plane, Plane]
    rows: tuple[int, int]
    cols: tuple[int, int]


def refine(a: Plane, b: Plane, lag: tuple[float, float], noise_dn: float) -> Refined:
    """Gauss-Newton from ``lag`` (y, x) of ``b`` in ``a``, both free of shading.

    Inverse compositional (Baker and Matthews, IJCV 2004) with Cauchy weights: where a lens distorts or a cell has
    moved, the part that does fit decides.
    """
    template = _template(a, b.shape, lag)
    if template is None:
        return Refined(lag, 1e6, 0.0)
    moving = _smooth(b)
    at = np.array(lag)
    sample = _sample(moving, at, template)
    weakest = 0.0
    for turn in range(STEPS):
        step, weakest = _step(template, sample, noise_dn, robust=turn >= PLAIN_STEPS)
        at = at + np.clip(step, -1, 1)
        if turn >= PLAIN_STEPS and np.abs(step).max() < STILL_PX:
            break
        sample = _sample(moving, at, template)
    sigma = float(np.sqrt(FLOOR_SIGMA_PX**2 + 1 / max(weakest, 1e-9)))
    likeness = _likeness(template.patch, sample, noise_dn)
    return Refined((float(at[0]), float(at[1])), sigma, likeness, (template.patch, sample))


def where_stained(fine: Refined, noise_dn: float) -> tuple[int, float]:
    """Pixels where either aligned plane rises out of the noise, and the correlation there alone.

    A lone cell at the rim of a long overlap drowns in the noise of empty glass when all of it is correlated.
    """
    if fine.aligned is None:
        return 0, 0.0
    means = [float32(cv2.blur(plane, (STAIN_BOX_PX, STAIN_BOX_PX))) for plane in fine.aligned]
    risen = np.maximum(*np.abs(means)) > STAIN_SIGMAS * 2 * noise_dn / STAIN_BOX_PX
    seen = np.asarray(
        cv2.morphologyEx(risen.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), np.uint8
    )
    mask = cv2.dilate(seen, np.ones((9, 9), np.uint8)).astype(bool)
    first, second = (mean[mask] for mean in means)
    energy = float(np.sqrt(_dot(first, first) * _dot(second, second)))
    return int(mask.sum()), _dot(first, second) / energy if energy else 0.0


def float32(plane: ArrayLike) -> Plane:
    """What cv2 gave back, as it is, with the type that it has."""
    return np.asarray(plane, np.float32)


def _smooth(plane: Plane) -> Plane:
    return float32(cv2.GaussianBlur(plane, (0, 0), SMOOTH_PX))


def _template(a: Plane, b_shape: tuple[int, ...], lag: tuple[float, float]) -> _Template | None:
    """What of ``a`` both planes show with a margin; None where that is nothing."""
    (y0, y1), (x0, x1) = (_inner(n, m, at) for n, m, at in zip(a.shape, b_shape, lag, strict=True))
    if y1 - y0 < 3 or x1 - x0 < 3:
        return None
    smooth = _smooth(a)
    slope_y = (smooth[y0 + 1 : y1 + 1, x0:x1] - smooth[y0 - 1 : y1 - 1, x0:x1]) / 2
    slope_x = (smooth[y0:y1, x0 + 1 : x1 + 1] - smooth[y0:y1, x0 - 1 : x1 - 1]) / 2
    return _Template(smooth[y0:y1, x0:x1], (float32(slope_y), float32(slope_x)), (y0, y1), (x0, x1))


def _step(
    template: _Template, sample: Plane, noise_dn: float, robust: bool
) -> tuple[NDArray[np.float64], float]:
    """The next move (y, x), and the least information over all directions, 1/px².

    Noise has slopes too: on nearly empty glass they outweigh those of the cells, and steps would come out too short
    and the answer too sure. Their expected share is taken off.
    """
    slope_y, slope_x = template.slopes
    error = sample - template.patch
    scale = max(0.35 * noise_dn, 1.4826 * float(np.median(np.abs(error[::4, ::4]))), 1e-3)
    weighed_y, weighed_x, count = slope_y, slope_x, float(error.size)
    if robust:
        weight = 1 / (1 + (error / (OUTLYING * scale)) ** 2)
        weighed_y, weighed_x = float32(slope_y * weight), float32(slope_x * weight)
        count = float(weight.sum())
    yy, xy, xx = _dot(weighed_y, slope_y), _dot(weighed_y, slope_x), _dot(weighed_x, slope_x)
    weakest = (yy + xx - float(np.hypot(yy - xx, 2 * xy))) / 2
    if weakest <= 1e-9 * (yy + xx):
        return np.zeros(2), 0.0
    noise = min(SLOPE_NOISE * scale**2 * count, 0.9 * weakest)
    yy, xx = yy - noise, xx - noise
    pull_y, pull_x = _dot(weighed_y, error), _dot(weighed_x, error)
    step = np.array([xx * pull_y - xy * pull_x, yy * pull_x - xy * pull_y]) / (yy * xx - xy * xy)
    return step, (weakest - noise) ** 2 / (weakest * scale**2)


def _likeness(patch: Plane, sample: Plane, noise_dn: float) -> float:
    """Normalised correlation with the noise's energy in both norms."""
    floor = (0.35 * noise_dn) ** 2 * patch.size
    return _dot(patch, sample) / float(np.sqrt((_dot(patch, patch) + floor) * (_dot(sample, sample) + floor)))


def _inner(n: int, m: int, lag: float) -> tuple[int, int]:
    """One axis of the true overlap in the first, less a margin that sampling and small steps may use."""
    start, stop = max(0.0, lag), min(float(n), lag + m)
    margin = max(1, min(MARGIN_PX, int((stop - start) // 8)))
    return int(np.ceil(start)) + margin, int(np.floor(stop)) - margin


def _sample(plane: Plane, lag: NDArray[np.float64], template: _Template) -> Plane:
    """``plane`` moved by ``lag`` (y, x) under the template, bilinear."""
    (y0, y1), (x0, x1) = template.rows, template.cols
    move = np.array([[1, 0, x0 - lag[1]], [0, 1, y0 - lag[0]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(plane, move, (x1 - x0, y1 - y0), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return float32(moved)


def _dot(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    return float(np.dot(a.ravel(), b.ravel()))
