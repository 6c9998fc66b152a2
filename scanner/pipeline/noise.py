"""How noisy is the camera at each level, told from a slide's own frames where its rig was never measured?"""

import itertools
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.model.profile import CameraNoise
from scanner.model.tile import Pixels

PATCH_PX = 16
SMOOTH_SHARE = 0.2  # of the patches at one level: those with the least variance, where nothing but noise is
LEAST_PATCHES = 30
LEVELS = 16

Floats = NDArray[np.float64]


def noise_curve(frames: Sequence[Pixels]) -> CameraNoise | None:
    """A photon transfer curve from what the smoothest patches of some frames vary by; None where they say nothing.

    The variance of a patch is that of its second differences, which no slope of brightness adds to (J. Immerkær, "Fast
    Noise Variance Estimation", CVIU 64, 1996). Of the patches at a level the smoothest fifth counts, which rather tells
    too little noise than too much, and the curve is lowered until no level lies under it.

    Args:
        frames: (h, w[, 3]) uint8 or uint16.
    """
    found = [_patches(plane) for frame in frames for plane in _planes(frame)]
    if not found:
        return None
    level, variance = (np.concatenate(part) for part in zip(*found, strict=True))
    bright = level < 0.98 * _top(frames[0])
    points = _smoothest(level[bright], variance[bright])
    if not points:
        return None
    levels, variances = (np.array(part) for part in zip(*points, strict=True))
    per_level, read = _line(levels, variances)
    return CameraNoise(electrons_per_dn=round(1 / per_level, 4), read_dn=round(float(np.sqrt(read)), 4))


def _planes(frame: Pixels) -> list[NDArray[np.float32]]:
    return (
        [np.asarray(frame[..., c], np.float32) for c in range(3)]
        if frame.ndim == 3
        else [frame.astype(np.float32)]
    )


def _top(frame: Pixels) -> int:
    return int(np.iinfo(frame.dtype).max)


def _patches(plane: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Mean level and noise variance of every patch."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
    rough = cv2.filter2D(plane, cv2.CV_32F, kernel)
    size = plane.shape[1] // PATCH_PX, plane.shape[0] // PATCH_PX
    inside = slice(0, size[1] * PATCH_PX), slice(0, size[0] * PATCH_PX)
    means = cv2.resize(plane[inside], size, interpolation=cv2.INTER_AREA)
    powers = cv2.resize(rough[inside] ** 2, size, interpolation=cv2.INTER_AREA)
    return means.ravel().astype(np.float64), powers.ravel().astype(np.float64)


def _smoothest(level: Floats, variance: Floats) -> list[tuple[float, float]]:
    """(level, variance) where enough patches lie."""
    if not level.size:
        return []
    edges = np.linspace(level.min(), level.max() + 1e-6, LEVELS + 1)
    points = []
    for low, high in itertools.pairwise(edges.tolist()):
        here = (level >= low) & (level < high)
        if here.sum() >= LEAST_PATCHES:
            smooth = variance[here] <= np.quantile(variance[here], SMOOTH_SHARE)
            points.append((float(level[here][smooth].mean()), float(variance[here][smooth].mean())))
    return points


def _line(levels: Floats, variances: Floats) -> tuple[float, float]:
    """(slope, offset) of variance over level, neither negative, through or under every point."""
    slope = float(np.min(variances / np.maximum(levels, 1.0)))
    if len(levels) > 2:
        fitted, offset = np.polyfit(levels, variances, 1)
        if fitted > 0 and offset > 0:
            spare = float(np.min(variances / (fitted * levels + offset)))
            return float(fitted) * min(1.0, spare), float(offset) * min(1.0, spare)
    return max(slope, 1e-9), 0.0
