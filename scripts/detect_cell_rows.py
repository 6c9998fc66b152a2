"""Does the shipped detector find abnormal cells where nobody trained it? Rows for the bench.

Fields of simulated slides that training never saw, then the same kind of field in a stain and with a blur beyond all
that training was shown, each beside a control that knows no cells: how dark a field is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.detections import Floats, Image
from detection.detector import Detector
from detection.evaluation import auc, average_precision, matched
from detection.normalisation import optical_density, white_level
from detection.opening import open_detector
from detection.package import default_package
from detection.scoring import slide_score
from scanner.devices.simulated.bodies import Palette
from scanner.devices.simulated.scene import NORMAL_MIX, Look, render_scene
from scanner.devices.simulated.truth import ABNORMAL, CellClass
from scanner.offline.simulated_fields import SlideUnderCamera
from scripts.rows import Row, at_least, row

SEED = 900_001
SLIDES = 6
FIELDS = 16
EACH = 250
SCENES = 288
WANTED = 0.85
NEAR_IOU = 0.3
AREA_MM2 = 314.0
MIX = NORMAL_MIX | dict.fromkeys(sorted(ABNORMAL), EACH / AREA_MM2)
UNSEEN_STAIN = Look(
    palette=Palette(blue=(0.34, 0.40, 0.16), pink=(0.22, 0.34, 0.12), nuclear=(0.62, 0.86, 0.58)),
    white=(0.97, 0.90, 0.82),
)
"""Haematoxylin gone red, cytoplasm lilac, a yellow lamp: no random look of training comes near all three."""
UNSEEN_BLUR = Look(extra_blur_px=2.0)
"""Twice the blur of the rig's lens in focus."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A field and (m, 4) the boxes of its abnormal cells, clipped to it."""

    image: Image
    truth: Floats


def cell_rows() -> Iterator[Row]:
    """Average precision at IoU 0.5 and how fields rank, by the detector and by darkness."""
    cv2.setNumThreads(1)
    detector = open_detector(default_package(), "onnx")
    fields, um_per_px = of_unseen_slides()
    yield from _rows("unseen slides", detector, fields, um_per_px)
    for name, look in (("a stain never trained on", UNSEEN_STAIN), ("a blur never trained on", UNSEEN_BLUR)):
        yield from _rows(name, detector, scenes(look), look.um_per_px)


def of_unseen_slides() -> tuple[list[Labelled], float]:
    """96 fields of six slides of the rig, with 250 abnormal cells of each class on each."""
    rng = np.random.default_rng(SEED)
    fields = []
    for number in range(SLIDES):
        slide = SlideUnderCamera((SEED, 10 + number), dict.fromkeys(sorted(ABNORMAL), EACH))
        for _ in range(FIELDS):
            x, y = rng.uniform(-6_500, 6_500, 2)
            field = slide.look((45_000 + float(x), 12_500 + float(y)), float(rng.normal(0, 0.4)))
            fields.append(Labelled(field.rgb, _abnormal(field.boxes, field.classes)))
    return fields, slide.grid.um_per_px


def scenes(look: Look) -> list[Labelled]:
    """Fields of the same mixture under another look."""
    made = (render_scene((1024, 1024), SEED + number, look, MIX) for number in range(SCENES))
    return [Labelled(scene.rgb, _abnormal(scene.boxes_px, scene.classes)) for scene in made]


def _abnormal(boxes: NDArray[np.float64], classes: Sequence[CellClass]) -> Floats:
    return np.asarray(boxes[np.array([kind in ABNORMAL for kind in classes], bool)], np.float32)


def _rows(name: str, detector: Detector, fields: Sequence[Labelled], um_per_px: float) -> Iterator[Row]:
    hits, near, scores, ranks = [], [], [], []
    for field in fields:
        (found,) = detector.detect([field.image], um_per_px)
        inside = clipped(found.boxes, field.image)
        hits.append(matched(inside, found.abnormal, field.truth))
        near.append(matched(inside, found.abnormal, field.truth, NEAR_IOU))
        scores.append(found.abnormal)
        ranks.append(slide_score(found.abnormal, 1))
    count = sum(len(field.truth) for field in fields)
    precision = average_precision(np.concatenate(scores).astype(float), np.concatenate(hits), count)
    yield at_least(f"average precision at IoU 0.5, {name} ({count} abnormal cells)", precision, WANTED)
    highest = np.argsort(-np.concatenate(scores), kind="stable")[:100]
    yield row(f"abnormal among the hundred highest, {name}", float(np.concatenate(near)[highest].sum()))
    abnormal = [len(field.truth) > 0 for field in fields]
    yield row(f"AUC of fields, {name}", auc(ranks, abnormal))
    darkness = [float(optical_density(f.image, white_level(f.image)).mean()) for f in fields]
    yield row(f"AUC of fields, {name}, darkness alone (control)", auc(darkness, abnormal))


def clipped(boxes: Floats, image: Image) -> Floats:
    """Boxes as far as they lie inside the image, as the true ones are marked."""
    high = np.array([image.shape[1], image.shape[0]], np.float32)
    low = np.clip(boxes[:, :2], 0, high)
    return np.hstack([low, np.clip(boxes[:, :2] + boxes[:, 2:], 0, high) - low])
