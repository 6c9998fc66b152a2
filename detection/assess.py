"""What are a detector's figures on labelled images?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from detection.classes import CellClass, Role, plain
from detection.crops import class_shares, crop_density
from detection.detections import Detections, Floats, Image
from detection.detector import Detector
from detection.errors import DataError
from detection.evaluation import (
    Numbers,
    auc,
    auc_interval,
    average_precision,
    balanced_accuracy,
    confusion,
    froc,
    matched,
    safe_point,
)
from detection.labelled import DataSet, Kind, Labelled, read_pixels
from detection.onnx_detector import OnnxDetector
from detection.scoring import slide_score

Progress = Callable[[int, int, str], None]


class SlideFigures(BaseModel):
    """Slides ranked by score; ``sensitivity`` and ``excluded`` at the point below every abnormal slide."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    auc: float | None = None
    auc_ci95: tuple[float, float] | None = None
    sensitivity: float | None = None
    excluded: float | None = None


class CellFigures(BaseModel):
    """``ap50`` of abnormal cells ranked by P(abnormal), ``ap50_any`` of all labelled cells by their object score."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    ap50: float | None = None
    ap50_any: float | None = None
    ap50_of: dict[str, float | None] = {}
    froc: dict[str, float] = {}


class CropFigures(BaseModel):
    """Crops by class; rows of ``confusion`` are true classes in the package's order."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    balanced_accuracy: float | None = None
    auc_abnormal: float | None = None
    confusion: tuple[tuple[int, ...], ...] = ()


class Figures(BaseModel):
    """``rackscan evaluate --json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    slide: SlideFigures = SlideFigures()
    cell: CellFigures = CellFigures()
    crop: CropFigures = CropFigures()
    n: dict[str, int]


def assess(detector: Detector, data: DataSet, images: Sequence[Labelled], progress: Progress) -> Figures:
    """All figures that the data allow.

    Raises:
        DataError: where the data have classes that the package does not know.
    """
    to_package = class_map(data, detector.package.classes)
    if data.kind is Kind.CROPS:
        return _crops(detector, images, to_package, progress)
    return _fields(detector, data, images, to_package, progress)


def class_map(data: DataSet, classes: Sequence[CellClass]) -> NDArray[np.int64]:
    """(k,) the package's index of each class of the data.

    Raises:
        DataError: naming every class that the package does not know.
    """
    known = {plain(entry.name): index for index, entry in enumerate(classes)}
    missing = [entry.name for entry in data.classes if plain(entry.name) not in known]
    if missing:
        raise DataError(str(data.path), [f"class {name} is unknown to the package" for name in missing])
    return np.array([known[plain(entry.name)] for entry in data.classes], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Seen:
    """One field: what was found and what is true, (m,) and (n,) arrays; ``area_mm2`` at the image's scale."""

    slide: str
    found: Detections
    truth: Floats
    labels: NDArray[np.int64]
    area_mm2: float


def look(detector: Detector, data: DataSet, images: Sequence[Labelled], progress: Progress) -> list[Seen]:
    """The detector's answers on fields, boxes clipped to the image like the labelled ones."""
    to_package = class_map(data, detector.package.classes)
    seen = []
    for number, entry in enumerate(images):
        image = read_pixels(entry.file)
        scale = entry.um_per_px or data.um_per_px
        (found,) = detector.detect([image], scale)
        area = image.shape[0] * image.shape[1] * scale**2 / 1e6
        seen.append(Seen(entry.slide, _clipped(found, image), entry.boxes, to_package[entry.labels], area))
        progress(number + 1, len(images), "evaluating")
    return seen


def _clipped(found: Detections, image: Image) -> Detections:
    high = np.array([image.shape[1], image.shape[0]], np.float32)
    low = np.clip(found.boxes[:, :2], 0, high)
    ends = np.clip(found.boxes[:, :2] + found.boxes[:, 2:], 0, high)
    boxes = np.hstack([low, ends - low])
    return Detections.rounded(boxes, found.classes, found.scores, found.abnormal, found.abnormal_classes)


def _fields(
    detector: Detector,
    data: DataSet,
    images: Sequence[Labelled],
    to_package: NDArray[np.int64],
    progress: Progress,
) -> Figures:
    seen = look(detector, data, images, progress)
    abnormal = detector.package.of_role(Role.ABNORMAL)
    n = {
        "images": len(images),
        "slides": len({s.slide for s in seen}),
        "boxes": sum(len(s.labels) for s in seen),
    }
    cell = CellFigures(
        ap50=_precision(seen, abnormal, "abnormal"),
        ap50_any=_precision(seen, to_package.tolist(), "scores"),
        ap50_of={data.classes[i].name: _precision_of(seen, int(c)) for i, c in enumerate(to_package)},
        froc=_froc(seen, abnormal),
    )
    return Figures(slide=_slides(seen, abnormal), cell=cell, n=n)


def _ranked(
    seen: Sequence[Seen], wanted: Sequence[int], score: str
) -> tuple[Numbers, NDArray[np.bool_], int]:
    scores, hits, truths = [np.zeros(0)], [np.zeros(0, bool)], 0
    for s in seen:
        truth = s.truth[np.isin(s.labels, wanted)]
        values = getattr(s.found, score)
        scores.append(values.astype(float))
        hits.append(matched(s.found.boxes, values, truth))
        truths += len(truth)
    return np.concatenate(scores), np.concatenate(hits), truths


def _precision(seen: Sequence[Seen], wanted: Sequence[int], score: str) -> float | None:
    return average_precision(*_ranked(seen, wanted, score))


def _precision_of(seen: Sequence[Seen], index: int) -> float | None:
    own = [Seen(s.slide, s.found.take(s.found.classes == index), s.truth, s.labels, s.area_mm2) for s in seen]
    return _precision(own, [index], "scores")


def _froc(seen: Sequence[Seen], abnormal: Sequence[int]) -> dict[str, float]:
    return froc(*_ranked(seen, abnormal, "abnormal"), area_mm2=sum(s.area_mm2 for s in seen))


def _slides(seen: Sequence[Seen], abnormal: Sequence[int]) -> SlideFigures:
    names = sorted({s.slide for s in seen})
    truth = np.array(
        [any(np.isin(s.labels, abnormal).any() for s in seen if s.slide == name) for name in names]
    )
    cells = [np.concatenate([s.found.abnormal for s in seen if s.slide == name]) for name in names]
    scores = np.array([slide_score(values) for values in cells])
    if not truth.any() or truth.all():
        return SlideFigures()
    point = safe_point(scores, truth)
    return SlideFigures(
        auc=auc(scores, truth),
        auc_ci95=auc_interval(scores, truth),
        sensitivity=point.sensitivity,
        excluded=point.excluded,
    )


def _crops(
    detector: Detector, images: Sequence[Labelled], to_package: NDArray[np.int64], progress: Progress
) -> Figures:
    cpu = OnnxDetector(detector.package)
    shares = []
    for number, entry in enumerate(images):
        (maps,) = cpu.maps([crop_density(read_pixels(entry.file))])
        shares.append(class_shares(maps))
        progress(number + 1, len(images), "evaluating")
    truth = to_package[np.array([int(entry.labels[0]) for entry in images])]
    table, abnormal = np.stack(shares), detector.package.of_role(Role.ABNORMAL)
    counts = confusion(truth, table.argmax(axis=1), len(detector.package.classes))
    crop = CropFigures(
        balanced_accuracy=balanced_accuracy(counts),
        auc_abnormal=auc(table[:, abnormal].sum(axis=1), np.isin(truth, abnormal)),
        confusion=tuple(tuple(int(v) for v in row) for row in counts),
    )
    return Figures(crop=crop, n={"crops": len(images)})
