"""What do the planes of a field show of the cells it was taken for: where do they lie, and which is sharp for each?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autofocus.metrics import SmoothedBrenner
from detection.classes import CellClass
from detection.detections import Detections
from scanner.model.geometry import Point
from scanner.model.tile import Pixels
from scanner.pipeline.registration import noise_of, register

SEARCH_PX = 48.0  # the stage comes back to within a few µm; places in the image were corrected against it
AROUND_PX = 6.0
LEAST_CROP_PX = 32
NEAR_PX = 6.0
BESIDE = 1  # so many planes on either side of the sharpest are read with it

Box = tuple[float, float, float, float]
ReadImage = Callable[[int, int, int, int], Pixels]
"""(y, x, h, w) in mosaic px → pixels of the slide's image, white beyond it."""


@dataclass(frozen=True, slots=True)
class FieldPlace:
    """Top-left of a field in the image, mosaic px; ``held`` where the image could not tell."""

    x_px: float
    y_px: float
    held: bool


def find_field(field: Pixels, expected: Point, image: ReadImage) -> FieldPlace:
    """Where a field lies on the image, by its texture, within 24 µm of where the stage said.

    Args:
        field: (h, w[, 3]), upright and flat.
        expected: its top-left, mosaic px.
        image: of the slide, complete.
    """
    margin = int(SEARCH_PX)
    x, y = round(expected.x) - margin, round(expected.y) - margin
    h, w = field.shape[:2]
    there = image(y, x, h + 2 * margin, w + 2 * margin)
    found = register(there, field, Point(expected.x - x, expected.y - y), SEARCH_PX, noise_of(field))
    if not found.accepted:
        return FieldPlace(expected.x, expected.y, held=True)
    return FieldPlace(x + found.dx_px, y + found.dy_px, held=False)


def sharpest(planes: Sequence[Pixels], box: Box) -> int:
    """Index of the plane in which a box (x, y, w, h in px of the planes) is sharpest."""
    metric = SmoothedBrenner()
    energies = [metric(_crop(plane, box)) for plane in planes]
    return int(np.argmax(energies))


def read_with(layer: int, layers: int) -> range:
    """The planes of a stack that are read of a cell that is sharpest in ``layer``: that one and those beside it."""
    return range(max(0, layer - BESIDE), min(layers, layer + BESIDE + 1))


def _crop(plane: Pixels, box: Box) -> Pixels:
    (low_x, high_x), (low_y, high_y) = (_span(box[n], box[n + 2], plane.shape[1 - n]) for n in range(2))
    return plane[low_y:high_y, low_x:high_x]


def _span(start: float, length: float, size: int) -> tuple[int, int]:
    """Some pixels more than the box on either side, inside the frame."""
    wide = max(length + 2 * AROUND_PX, LEAST_CROP_PX)
    low = int(np.clip(round(start + length / 2 - wide / 2), 0, max(0, size - LEAST_CROP_PX)))
    return low, min(size, low + round(wide))


def said_of(box: Box, found: Detections, classes: Sequence[CellClass]) -> tuple[float, str]:
    """The highest P(abnormal) of what a detector found at a box, and its class; 0 and nothing where it found none.

    Args:
        box: x, y, w, h in px of the image that was searched.
        found: all that was found in it.
        classes: of the detector.
    """
    boxes: NDArray[np.float64] = found.boxes.astype(np.float64)
    centres = boxes[:, :2] + boxes[:, 2:] / 2
    low = np.array(box[:2]) - NEAR_PX
    high = np.array(box[:2]) + np.array(box[2:]) + NEAR_PX
    there = np.all((centres >= low) & (centres <= high), axis=1) & (found.abnormal_classes >= 0)
    if not there.any():
        return 0.0, ""
    best = int(np.flatnonzero(there)[np.argmax(found.abnormal[there])])
    return round(float(found.abnormal[best]), 4), classes[int(found.abnormal_classes[best])].name
