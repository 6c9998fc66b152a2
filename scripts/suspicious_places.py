"""Which places of normal slides does a detector take for abnormal? What it learns most from.

Small normal slides of the shipped rig; their seeds are those of no rack and no evaluation.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from detection.detector import Detector
from scanner.devices.simulated.specimen import SMALL_DEPOSIT
from scanner.devices.simulated.truth import CellClass
from scanner.offline.simulated_fields import Field, SlideUnderCamera, inside

SEED = 820_001
SIDE_PX = 192
"""As much as the first look knows around a place."""
MOST = 200
"""Places kept of a slide."""
DEFOCUS_UM = 0.35
Place = tuple[NDArray[np.uint8], list[tuple[list[float], CellClass]]]


def suspicious_places(detector: Detector, number: int, rng: np.random.Generator) -> tuple[float, list[Place]]:
    """µm per px, and (192, 192, 3) RGB with labelled boxes of the places of one slide, the most suspicious first."""
    slide = SlideUnderCamera((SEED + number, 1), {}, SMALL_DEPOSIT)
    um_per_px = slide.grid.um_per_px
    found: list[tuple[float, Place]] = []
    for field in slide.scan([float(value) for value in rng.normal(0, DEFOCUS_UM, 997)]):
        found += _of_field(detector, field, um_per_px)
    found.sort(key=lambda entry: -entry[0])
    return um_per_px, [place for _, place in found[:MOST]]


def _of_field(detector: Detector, field: Field, um_per_px: float) -> Iterator[tuple[float, Place]]:
    """Those most suspicious of a field with their P(abnormal); beyond its edge the picture is its mirror image."""
    (seen,) = detector.detect([field.rgb], um_per_px)
    highest = np.argsort(-seen.abnormal, kind="stable")[:MOST]
    half = SIDE_PX // 2
    mirrored = np.pad(field.rgb, ((half, half), (half, half), (0, 0)), mode="reflect")
    for box, chance in zip(seen.boxes[highest], seen.abnormal[highest], strict=True):
        middle = np.round(box[:2] + box[2:] / 2).astype(int)
        x, y = np.clip(middle, 0, np.array(field.rgb.shape[1::-1]) - 1)
        cut = mirrored[y : y + SIDE_PX, x : x + SIDE_PX]
        yield float(chance), (cut.copy(), _labelled(field, int(x) - half, int(y) - half))


def _labelled(field: Field, left: int, top: int) -> list[tuple[list[float], CellClass]]:
    """The field's objects at least a quarter inside a square of it, clipped to it."""
    boxes, kept = inside(field.boxes, (left, top), SIDE_PX)
    return [(box.tolist(), field.classes[index]) for box, index in zip(boxes, kept, strict=True)]
