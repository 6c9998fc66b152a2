"""What is kept of one plane of a stack, once its pixels were looked at?"""

from dataclasses import dataclass

import cv2
import numpy as np

from autofocus.consensus import ROBUST_SCALE, SLOPES_PX, scale_energies
from autofocus.gray import Gray, Image, background, focus_channel, noise
from autofocus.metrics import BinnedBrenner, FloatArray, noise_gain
from autofocus.sharpness import measure

_CHEAP = BinnedBrenner()


@dataclass(frozen=True, slots=True)
class PlaneLook:
    """Energies in equal cells, rows × columns of them, and whether there is sample and light.

    Attributes:
        energies: (scales, rows, columns) float64, relative to the mean light squared, noise left in.
        robust: (rows, columns) float64, of the robust scale above the noise floor, relative to the background squared.
        deviation: (rows, columns) float64, standard deviation of the light relative to the background.
        has_sample: something absorbs light here.
        light_fault: why the plane must not be used ("" where it may).
    """

    energies: FloatArray
    robust: FloatArray
    deviation: FloatArray
    has_sample: bool
    light_fault: str


def look_at(plane: Image, grid: int, cell_px: int) -> PlaneLook:
    """Look at (h, w[, 3|4]) uint8 or uint16; every part of the ``grid`` holds whole cells of about ``cell_px``.

    Raises:
        FocusInputError: for pixels of another shape or type.
    """
    gray = focus_channel(plane)
    rows, columns = (grid * max(1, round(side / grid / cell_px)) for side in gray.shape)
    seen = measure(plane, _CHEAP, cell_px)
    scales = scale_energies(gray, rows, columns)
    light = max(1.0, float(cv2.mean(gray)[0]))
    robust = (scales[ROBUST_SCALE] - _floor(gray, scales[ROBUST_SCALE])) / background(gray) ** 2
    return PlaneLook(
        scales / light**2, robust, _deviation(gray, rows, columns), seen.has_sample, seen.light_fault
    )


def _floor(gray: Gray, energy: FloatArray) -> float:
    # as in SmoothedBrenner: a dense field has no empty cell, a compressed one no white noise
    return min(float(np.quantile(energy, 0.1)), noise_gain(SLOPES_PX[ROBUST_SCALE]) * noise(gray) ** 2)


def _deviation(gray: Gray, rows: int, columns: int) -> FloatArray:
    smooth = cv2.GaussianBlur(gray, (0, 0), 2.0).astype(np.float32)
    mean = cv2.resize(smooth, (columns, rows), interpolation=cv2.INTER_AREA)
    square = cv2.resize(smooth * smooth, (columns, rows), interpolation=cv2.INTER_AREA)
    deviation: FloatArray = np.sqrt(np.clip(square - mean * mean, 0, None)).astype(float) / background(gray)
    return deviation
