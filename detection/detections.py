"""What does a detector say about an image?"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Labels = NDArray[np.int16]
Image = NDArray[np.uint8]

BOX_STEPS_PER_PX = 8
SCORE_STEPS = 10_000


@dataclass(frozen=True, slots=True)
class Detections:
    """The cells found in one image, in reading order; all arrays have one entry a cell.

    Values are multiples of 1/8 px and 1e-4, so that they survive JSON exactly.

    Attributes:
        boxes: (m, 4) float32: x, y, width, height in px of the image given; x, y is the top-left corner.
        classes: (m,) int16, the most probable class of the package.
        scores: (m,) float32 in 0..1, how sure it is that an object is there.
        abnormal: (m,) float32 in 0..1, calibrated probability that it is an abnormal cell.
        abnormal_classes: (m,) int16, the most probable abnormal class; -1 for a package without any.
    """

    boxes: Floats
    classes: Labels
    scores: Floats
    abnormal: Floats
    abnormal_classes: Labels

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def none(cls) -> "Detections":
        """An image without cells."""
        return cls.rounded(np.zeros((0, 4)), np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0))

    @classmethod
    def rounded(
        cls,
        boxes: NDArray[np.floating],
        classes: NDArray[np.generic],
        scores: NDArray[np.floating],
        abnormal: NDArray[np.floating],
        abnormal_classes: NDArray[np.generic],
    ) -> "Detections":
        """From raw network output: boxes to 1/8 px, probabilities to 1e-4; -0.0 becomes 0.0, as JSON has only one."""
        return cls(
            boxes=(np.round(boxes * BOX_STEPS_PER_PX) / BOX_STEPS_PER_PX + 0.0).astype(np.float32),
            classes=classes.astype(np.int16),
            scores=(np.round(scores * SCORE_STEPS) / SCORE_STEPS).astype(np.float32),
            abnormal=(np.round(abnormal * SCORE_STEPS) / SCORE_STEPS).astype(np.float32),
            abnormal_classes=abnormal_classes.astype(np.int16),
        )

    def take(self, which: NDArray[np.generic]) -> "Detections":
        """The detections that an index array or a mask names, in its order."""
        return Detections(*(getattr(self, field.name)[which] for field in fields(self)))

    def moved(self, dx_px: float, dy_px: float, scale: float = 1.0) -> "Detections":
        """The same cells in an image ``scale`` times as large whose origin lies ``dx_px, dy_px`` up and left."""
        boxes = self.boxes.astype(float) * scale + np.array([dx_px, dy_px, 0.0, 0.0])
        return Detections.rounded(boxes, self.classes, self.scores, self.abnormal, self.abnormal_classes)

    def to_json(self) -> dict[str, list[int]]:
        """Whole numbers that :meth:`from_json` turns into the identical arrays."""
        return {
            "boxes": np.round(self.boxes.astype(float).ravel() * BOX_STEPS_PER_PX).astype(int).tolist(),
            "classes": self.classes.tolist(),
            "scores": np.round(self.scores.astype(float) * SCORE_STEPS).astype(int).tolist(),
            "abnormal": np.round(self.abnormal.astype(float) * SCORE_STEPS).astype(int).tolist(),
            "abnormal_classes": self.abnormal_classes.tolist(),
        }

    @classmethod
    def from_json(cls, body: dict[str, list[int]]) -> "Detections":
        """The inverse of :meth:`to_json`."""
        return cls.rounded(
            np.asarray(body["boxes"], float).reshape(-1, 4) / BOX_STEPS_PER_PX,
            np.asarray(body["classes"], int),
            np.asarray(body["scores"], float) / SCORE_STEPS,
            np.asarray(body["abnormal"], float) / SCORE_STEPS,
            np.asarray(body["abnormal_classes"], int),
        )


def concatenate(parts: list[Detections]) -> Detections:
    """All detections of several parts, in the parts' order."""
    if not parts:
        return Detections.none()
    names = [field.name for field in fields(Detections)]
    return Detections(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
