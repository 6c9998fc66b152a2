"""How does the light fall off over a frame, told by the first tiles of a scan alone, whatever lies on the glass?

A retrospective fit as in CIDRE (Smith et al., Nature Methods 2015) and BaSiC (Peng et al., Nature Communications 2017):
many frames share one light. What differs here: the light is a smooth polynomial, and sample can only darken, so that
the upper envelope of many frames is glass; the fit then narrows down on what lies on it in all channels at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.model.profile import FlatField
from scanner.model.tile import Pixels

Floats = NDArray[np.float64]

SIDE = 64
"""A frame is looked at as 64 × 64 means: noise is gone, cells of a smear still leave glass between them."""
ENVELOPE = 0.85
NARROWING = (0.10, 0.06, 0.04, 0.025, 0.018, 0.012, 0.012, 0.012)
"""ln of light: how far from the fit a mean may lie and still count as glass, turn by turn."""
MOST_FLICKER = 0.05
LEAST_TILES = 4
LEAST_LIGHT = 0.2
SATURATED = 0.985
UNKNOWN = -20.0
LEAST_COVER = 0.9
COVER_CELLS = 8
LEAST_SEEN = 6
LEAST_GLASS = 20
MOST_SIGMA = 0.01
SURE_SIGMA = 0.003


@dataclass(frozen=True, slots=True)
class Estimate:
    """A field and how sure it is; ``field`` is None where ``reason`` says why the tiles tell none.

    ``sigma``: half the difference (root mean square, share of the light) of what two halves of the tiles say.
    """

    field: FlatField | None
    sigma: float | None
    reason: str = ""


def coarse(pixels: Pixels) -> NDArray[np.float32]:
    """(64, 64, c) float32 means of a raw frame as shares of its full range: what ``estimate`` needs of it."""
    small = np.asarray(cv2.resize(pixels.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA))
    return small.reshape(SIDE, SIDE, -1) / np.float32(np.iinfo(pixels.dtype).max)


def estimate(tiles: Sequence[NDArray[np.float32]]) -> Estimate:
    """The light's fall-off from ``coarse`` frames of different places, in raw camera pixels.

    It answers only where glass was seen nearly everywhere in the frame and two halves of the tiles agree.
    """
    if len(tiles) < LEAST_TILES:
        return Estimate(None, None, f"{len(tiles)} tiles are too few to tell the light from the sample")
    light = np.stack(tiles).reshape(len(tiles), SIDE * SIDE, -1).astype(np.float64)
    if float(np.quantile(light, 0.95)) < LEAST_LIGHT:
        return Estimate(None, None, "the frames are dark: no lit glass was seen")
    logs = np.log(np.clip(light, 1e-4, None))
    logs[light.max(axis=2) > SATURATED] = UNKNOWN
    whole, seen = _fitted(logs)
    if seen < LEAST_COVER:
        return Estimate(None, None, f"empty glass was seen in only {100 * seen:.0f} % of the frame")
    halves = [_fitted(logs[start::2])[0] for start in (0, 1)]
    sigma = float(np.sqrt(np.mean((halves[0] - halves[1]) ** 2))) / 2
    if not sigma <= MOST_SIGMA:
        return Estimate(None, sigma, f"two halves of the tiles differ by {200 * sigma:.1f} %")
    return Estimate(_field(whole), sigma)


def _fitted(logs: Floats) -> tuple[Floats, float]:
    """(positions, channels) ln of the light with mean 0, and the share of the frame where glass was seen."""
    terms = polynomial(SIDE)
    surface = _envelope(logs, terms)
    flicker = np.zeros((len(logs), 1, 1))
    glass = np.zeros(logs.shape[:2], bool)
    for width in NARROWING:
        off = logs - flicker - surface
        glass = np.abs(off).max(axis=2) < width
        if glass.sum() < 4 * terms.shape[1]:
            break
        flicker = _flicker(logs - surface, glass)
        surface = _through(logs - flicker, glass, terms)
    return surface - surface.mean(axis=0), _cover(glass)


def _envelope(logs: Floats, terms: Floats) -> Floats:
    """A first surface: high quantiles over the tiles at each place, and of those rather the upper ones."""
    upper = np.quantile(logs, ENVELOPE, axis=0)
    surface = np.empty_like(upper)
    for n, plane in enumerate(upper.T):
        known = plane > UNKNOWN / 2
        weight, values = known.astype(float), np.where(known, plane, 0.0)
        for _ in range(12):
            by = terms * weight[:, None]
            at = np.linalg.lstsq(by.T @ terms, by.T @ values, rcond=None)[0]
            left = values - terms @ at
            scale = max(1.5 * float(np.median(np.abs(left))), 0.004)
            weight = known * np.where(left > 0, 1.0, 1 / (1 + (left / scale) ** 2))
        surface[:, n] = terms @ at
    return surface


def _flicker(off: Floats, glass: NDArray[np.bool_]) -> Floats:
    """(tiles, 1, 1): how much brighter each tile's glass is; nothing where it has hardly any."""
    count = glass.sum(axis=1)
    told = count >= LEAST_GLASS
    if not told.any():
        return np.zeros((len(off), 1, 1))
    mean = np.where(glass[..., None], off, 0.0).sum(axis=1).mean(axis=1) / np.maximum(count, 1)
    brighter = np.where(told, mean - np.median(mean[told]), 0.0)
    return np.clip(brighter, -MOST_FLICKER, MOST_FLICKER)[:, None, None]


def _through(logs: Floats, glass: NDArray[np.bool_], terms: Floats) -> Floats:
    """Least squares over all glass of all tiles, channel by channel."""
    count = glass.sum(axis=0).astype(float)
    total = np.where(glass[..., None], logs, 0.0).sum(axis=0)
    at = np.linalg.lstsq((terms * count[:, None]).T @ terms, terms.T @ total, rcond=None)[0]
    surface: Floats = terms @ at
    return surface


def _cover(glass: NDArray[np.bool_]) -> float:
    """Of 8 × 8 parts of the frame, how many showed glass six times or more?"""
    side = SIDE // COVER_CELLS
    parts = glass.sum(axis=0).reshape(COVER_CELLS, side, COVER_CELLS, side).sum(axis=(1, 3))
    return float((parts >= LEAST_SEEN).mean())


def polynomial(side: int) -> Floats:
    """(side², 9): the terms of ``FlatField`` at the middles of a square grid of pixels."""
    at = (np.arange(side) + 0.5) * 2 / side - 1
    y, x = (plane.ravel() for plane in np.meshgrid(at, at, indexing="ij"))
    return np.column_stack([x**0, x, y, x**2, x * y, y**2, x**4, x**2 * y**2, y**4])


def _field(logs: Floats) -> FlatField:
    """The polynomial of the light itself, with mean 1 over the frame."""
    terms = polynomial(SIDE)
    light = np.exp(logs)
    at = np.linalg.lstsq(terms, light / light.mean(axis=0), rcond=None)[0].T
    rounded = [tuple(round(float(v), 6) for v in channel) for channel in at]
    return FlatField.model_validate({"coefficients": rounded})
