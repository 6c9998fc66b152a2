"""Which plane of a stack do slopes and curvatures of different scale agree on?

One metric answers for one scale of texture: a coarse one likes the plane where the thick parts are sharp, a fine one
where the thin or the loud are. Slopes and curvatures after Gaussians of several widths span the scales that usual
metrics look at; the plane is chosen that leaves the fewest of them short of their own peak.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from autofocus.gray import Gray
from autofocus.metrics import FloatArray, smoothed_difference_kernel, smoothing_kernel

SLOPES_PX = (0.0, 0.5, 1.0, 2.0)
CURVATURES_PX = (0.0, 1.0)
ROBUST_SCALE = SLOPES_PX.index(1.0)
"""The scale of ``SmoothedBrenner``, the one that neither noise nor compression reaches."""
CONTENT = 0.95
_TIE = 1e-3


@dataclass(frozen=True, slots=True)
class Consensus:
    """What the scales of one part of a field say together.

    Attributes:
        plane: where they miss least of their peaks.
        share: at that plane, of its own peak, what the median scale reaches.
        curve: (n,) mean of the scales, each relative to its own peak.
        peaks: the plane where each of the scales peaks, from fine to coarse slopes, then curvatures.
    """

    plane: int
    share: float
    curve: FloatArray
    peaks: tuple[int, ...]


def scale_energies(gray: Gray, rows: int, columns: int) -> FloatArray:
    """Energy of every scale in equal cells: (scales, rows, columns) float64, gray levels squared.

    Slopes are Brenner's difference over two pixels in both directions, curvatures the Laplacian (J. F. Brenner et al.,
    J. Histochem. Cytochem. 24, 1976; J. L. Pech-Pacheco et al., ICPR 2000). ``gray``: (h, w) uint8 or uint16.
    """
    maps = [_slope(gray, sigma) for sigma in SLOPES_PX] + [_curvature(gray, sigma) for sigma in CURVATURES_PX]
    cells = [cv2.resize(energy, (columns, rows), interpolation=cv2.INTER_AREA) for energy in maps]
    return np.asarray(cells, np.float64)


def _slope(gray: Gray, sigma_px: float) -> NDArray[np.float32]:
    smooth = smoothing_kernel(sigma_px) if sigma_px else np.ones(1, np.float32)
    difference = smoothed_difference_kernel(sigma_px) if sigma_px else np.array([1, 0, -1], np.float32)
    across = cv2.sepFilter2D(gray, cv2.CV_32F, difference, smooth)
    down = cv2.sepFilter2D(gray, cv2.CV_32F, smooth, difference)
    return np.asarray(cv2.accumulateSquare(down, cv2.multiply(across, across, across)), np.float32)


def _curvature(gray: Gray, sigma_px: float) -> NDArray[np.float32]:
    smooth = cv2.GaussianBlur(gray.astype(np.float32), (0, 0), sigma_px) if sigma_px else gray
    bend = cv2.Laplacian(smooth, cv2.CV_32F)
    return np.asarray(cv2.multiply(bend, bend, bend), np.float32)


def agree(energies: FloatArray) -> Consensus:
    """Of (n, scales) energies of n planes, the plane that leaves the scales least short of their own peaks.

    A scale is content within 5 % of its peak. One that hardly changes over the planes, as a fine one in noise or
    compression, is content everywhere and has no say, so that nothing must be known of the noise.
    """
    relative = energies / np.maximum(energies.max(axis=0), 1e-12)
    curve: FloatArray = relative.mean(axis=1)
    plane = int(np.argmax(np.minimum(relative, CONTENT).mean(axis=1) + _TIE * curve))
    peaks = tuple(int(peak) for peak in relative.argmax(axis=0))
    return Consensus(plane, float(np.median(relative[plane])), curve, peaks)
