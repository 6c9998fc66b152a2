"""How do the network's maps become cells?

One peak of the object map is one cell (Zhou et al., Objects as Points, 2019); its class and box are read at the peak.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.classes import Role, indices
from detection.detections import Detections, Floats
from detection.package import Calibration, Extension

STRIDE_PX = 8
OBJECT, OFFSET, SIZE, CLASSES = 0, slice(1, 3), slice(3, 5), 5
LARGEST_LOG_SIZE = 4.0


def sigmoid(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """1 / (1 + exp(-logits)), without overflow."""
    clipped = np.clip(logits.astype(np.float64), -30.0, 30.0)
    return np.asarray(1.0 / (1.0 + np.exp(-clipped)))


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """(m, k) probabilities that sum to 1 along k."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def calibrated(raw: NDArray[np.float64], calibration: Calibration) -> NDArray[np.float64]:
    """Platt scaling of raw probabilities; 0 stays 0."""
    inside = np.clip(raw, 1e-9, 1.0 - 1e-9)
    logit = np.log(inside) - np.log1p(-inside)
    return np.where(raw > 0, sigmoid(calibration.slope * logit + calibration.offset), 0.0)


def peaks(objectness: NDArray[np.float64], floor: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the 3 × 3 maxima of an (h, w) map that reach ``floor``, in reading order."""
    highest = cv2.dilate(objectness, np.ones((3, 3), np.uint8))
    rows, cols = np.nonzero((objectness >= highest) & (objectness >= floor))
    return rows, cols


def decode(maps: Floats, width_px: int, height_px: int, extension: Extension) -> Detections:
    """Detections in an image of ``width_px`` × ``height_px`` from its (5 + k, h/8, w/8) maps.

    Peaks outside the image (in its padding) are dropped; boxes may reach over its edge.
    """
    objectness = sigmoid(maps[OBJECT])
    rows, cols = peaks(objectness, extension.candidate_floor)
    at = maps[:, rows, cols].astype(np.float64)
    centre = (np.stack([cols, rows], axis=1) + 0.5 + np.clip(at[OFFSET].T, -1.5, 1.5)) * STRIDE_PX
    inside = (centre >= 0).all(axis=1) & (centre[:, 0] < width_px) & (centre[:, 1] < height_px)
    size = np.exp(np.clip(at[SIZE].T, -2.0, LARGEST_LOG_SIZE)) * STRIDE_PX
    found = _classified(
        objectness[rows, cols], at[CLASSES:].T, np.hstack([centre - size / 2, size]), extension
    )
    return found.take(np.nonzero(inside)[0])


def _classified(
    objectness: NDArray[np.float64],
    class_logits: NDArray[np.float64],
    boxes: NDArray[np.float64],
    extension: Extension,
) -> Detections:
    if len(objectness) == 0:
        return Detections.none()
    shares = softmax(class_logits)
    which = np.array(indices(extension.classes, Role.ABNORMAL), dtype=int)
    raw = objectness * shares[:, which].sum(axis=1)
    best = which[shares[:, which].argmax(axis=1)] if len(which) else np.full(len(raw), -1)
    abnormal = calibrated(raw, extension.calibration)
    return Detections.rounded(boxes, shares.argmax(axis=1), objectness, abnormal, best)
