"""How much sample does a tile hold, does it reach the tile's edges, and how much fine detail shows in it?"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.model.tile import EndOfPlan, Judged, Pixels, Tile
from scanner.pipeline.flat_field import Correction
from scanner.pipeline.registration import noise_of

BIN_PX = 8
EDGE_BINS = 8
EDGE_SHARE = 0.03
DARKER_DN8 = 6.0
FINE_OVER_COARSE = 0.45  # of a cell in focus


@dataclass(frozen=True, slots=True)
class Looks:
    """What a tile's pixels alone tell: see ``Judged`` for the meaning of each."""

    quality: float
    sample_share: float
    sample_edges: tuple[bool, bool, bool, bool]


def look(pixels: Pixels) -> Looks:
    """Of upright, flat pixels (h, w, 3) or (h, w), uint8 or uint16."""
    mask = sample_mask(pixels)
    return Looks(detail(pixels, mask), float(mask.mean()), _edges(mask))


def sample_mask(pixels: Pixels) -> NDArray[np.bool_]:
    """Where there is more than empty glass: (h // 8, w // 8) bool.

    A bin of 8 px averages the noise down to a fraction of a grey level; glass is what the brightest bins show.
    """
    scale = 1 / 257 if pixels.dtype == np.uint16 else 1.0
    size = (pixels.shape[1] // BIN_PX, pixels.shape[0] // BIN_PX)
    binned = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.float32) * scale
    bins = binned.reshape(*binned.shape[:2], -1)
    glass = np.quantile(bins.reshape(-1, bins.shape[2]), 0.98, axis=0)
    darker: NDArray[np.bool_] = (glass - bins).max(axis=2) > DARKER_DN8
    return darker


def _edges(mask: NDArray[np.bool_]) -> tuple[bool, bool, bool, bool]:
    """Left, top, right, bottom: does sample fill more than 3 % of the outermost 64 px?"""
    strips = (mask[:, :EDGE_BINS], mask[:EDGE_BINS], mask[:, -EDGE_BINS:], mask[-EDGE_BINS:])
    left, top, right, bottom = (bool(strip.mean() > EDGE_SHARE) for strip in strips)
    return left, top, right, bottom


def detail(pixels: Pixels, mask: NDArray[np.bool_]) -> float:
    """0 for a blurred or empty tile, 1 for crisp texture: gradients at 2 px against those at 8 px, over the sample.

    What the camera's noise adds to both is taken off first.
    """
    if not mask.any():
        return 0.0
    green = pixels[..., 1] if pixels.ndim == 3 else pixels
    noise = noise_of(pixels)
    fine, coarse = (_gradient(green, mask, noise, bin_px) for bin_px in (2, BIN_PX))
    return float(min(1.0, fine / (coarse * FINE_OVER_COARSE))) if coarse > 0 else 0.0


def _gradient(green: Pixels, mask: NDArray[np.bool_], noise: float, bin_px: int) -> float:
    """Root mean square gradient (grey levels a bin) where there is sample, without the noise's share."""
    binned = cv2.resize(green, None, fx=1 / bin_px, fy=1 / bin_px, interpolation=cv2.INTER_AREA).astype(
        np.float32
    )
    there = cv2.resize(mask.astype(np.uint8), binned.shape[::-1], interpolation=cv2.INTER_NEAREST)[1:, 1:] > 0
    energy = (binned[1:, 1:] - binned[:-1, 1:]) ** 2 + (binned[1:, 1:] - binned[1:, :-1]) ** 2
    if not there.any():
        return 0.0
    return float(np.sqrt(max(0.0, float(energy[there].mean()) - 4 * (noise / bin_px) ** 2)))


def judge(tiles: Iterable[Tile | EndOfPlan], correction: Correction) -> Iterator[Judged | EndOfPlan]:
    """Every tile corrected and looked at; one without pixels passes with what its facts say already."""
    for tile in tiles:
        yield tile if isinstance(tile, EndOfPlan) else judged(tile, correction)


def judged(tile: Tile, correction: Correction) -> Judged:
    """One tile, upright and flat.

    Raises:
        ValueError: the tile carries no pixels.
    """
    if tile.frame is None:
        raise ValueError(f"tile {tile.planned.tile} has no pixels to judge")
    pixels = correction(tile.frame.pixels)
    seen = look(pixels)
    return Judged(tile, pixels, seen.quality, seen.sample_share, seen.sample_edges)
