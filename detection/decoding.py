"""How do the network's maps become cells?

One peak of the object map is one cell (Zhou et al., Objects as Points, 2019); its class and box are read at the peak.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.classes import Role, indices
from detection.detections import Detections, Floats
from detection.package import STRIDE, Calibration, Extension, SecondCalibration

STRIDE_PX = STRIDE
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


def logit(chance: NDArray[np.floating]) -> NDArray[np.float64]:
    """log(p / (1 - p)), finite also at 0 and 1."""
    inside = np.clip(chance.astype(np.float64), 1e-9, 1.0 - 1e-9)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def together(
    how: SecondCalibration, second: NDArray[np.floating], first: NDArray[np.floating]
) -> NDArray[np.float64]:
    """P(abnormal) of a later look's word and of what was said before it."""
    return sigmoid(how.second * logit(second) + how.first * logit(first) + how.offset)


def calibrated(raw: NDArray[np.float64], calibration: Calibration) -> NDArray[np.float64]:
    """Platt scaling of raw probabilities; 0 stays 0."""
    return np.where(raw > 0, sigmoid(calibration.slope * logit(raw) + calibration.offset), 0.0)


def peaks(objectness: NDArray[np.float64], floor: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the 3 × 3 maxima of an (h, w) map that reach ``floor``, in reading order."""
    highest = cv2.dilate(objectness, np.ones((3, 3), np.uint8))
    rows, cols = np.nonzero((objectness >= highest) & (objectness >= floor))
    return rows, cols


@dataclass(frozen=True, slots=True)
class Candidates:
    """What the first look found in one image, before anything is rounded; one entry a candidate, in reading order.

    Attributes:
        boxes: (m, 4) x, y, w, h px.
        objectness: (m,) object probability.
        shares: (m, k) class probabilities, summing to 1.
    """

    boxes: NDArray[np.float64]
    objectness: NDArray[np.float64]
    shares: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.objectness)

    def take(self, which: NDArray[np.generic]) -> "Candidates":
        """Those that an index array or a mask names, in its order."""
        return Candidates(self.boxes[which], self.objectness[which], self.shares[which])

    def raw(self, extension: Extension) -> NDArray[np.float64]:
        """(m,) P(abnormal) as the network says it, uncalibrated."""
        which = indices(extension.classes, Role.ABNORMAL)
        return np.asarray(self.objectness * self.shares[:, which].sum(axis=1))


def joined(parts: Sequence[Candidates]) -> Candidates:
    """Those of several images, in the images' order."""
    return Candidates(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.objectness for part in parts]),
        np.concatenate([part.shares for part in parts]),
    )


def decode(maps: Floats, width_px: int, height_px: int, extension: Extension) -> Candidates:
    """Candidates in an image of ``width_px`` × ``height_px`` from its (5 + k, h/8, w/8) maps.

    Peaks outside the image (in its padding) are dropped; boxes may reach over its edge.
    """
    rows, cols = peaks(sigmoid(maps[OBJECT]), extension.candidate_floor)
    read, inside = read_at(rows, cols, maps[:, rows, cols], (width_px, height_px))
    return read.take(inside)


def read_at(
    rows: NDArray[np.integer], cols: NDArray[np.integer], said: NDArray[np.floating], size_px: tuple[int, int]
) -> tuple[Candidates, NDArray[np.bool_]]:
    """What (5 + k, m) ``said`` by the maps at m rows and columns means, and which centres lie in the image.

    ``size_px`` is the image's width and height.
    """
    at = said.astype(np.float64)
    centre = (np.stack([cols, rows], axis=1) + 0.5 + np.clip(at[OFFSET].T, -1.5, 1.5)) * STRIDE_PX
    inside = (centre >= 0).all(axis=1) & (centre < size_px).all(axis=1)
    size = np.exp(np.clip(at[SIZE].T, -2.0, LARGEST_LOG_SIZE)) * STRIDE_PX
    boxes = np.hstack([centre - size / 2, size])
    return Candidates(boxes, sigmoid(at[OBJECT]), softmax(at[CLASSES:].T)), np.asarray(inside)


def detections_of(
    candidates: Candidates, shares: NDArray[np.float64], abnormal: NDArray[np.float64], extension: Extension
) -> Detections:
    """The candidates with (m, k) class probabilities and (m,) P(abnormal), rounded."""
    which = np.array(indices(extension.classes, Role.ABNORMAL), dtype=int)
    best = which[shares[:, which].argmax(axis=1)] if len(which) else np.full(len(shares), -1)
    return Detections.rounded(candidates.boxes, shares.argmax(axis=1), candidates.objectness, abnormal, best)
