"""Which labelled fields do corrections make? Cut around corrected cells, at the image's own scale, as COCO boxes.

Cells that a person named are boxes, those that were rejected are background. What nobody answered is never truth:
findings without an answer, and whatever else the detector sees there, are regions that training does not ask about.
"""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.detector import Detector, Scale
from detection.errors import ImageRefused
from detection.evaluation import SAME_CELL_IOU, iou
from detection.normalisation import rgb8
from scanner.errors import BadInput, Problem
from scanner.model.correction import Said, standing
from scanner.offline.detect import scale_of
from scanner.review.correcting import found_cells
from scanner.storage.images import StoredImage, open_image
from scanner.storage.reader import RunReader

FIELD_PX = 512
"""Side of a field at the detector's scale: twice that of the patches that are drawn from it."""
MARGIN = 0.25
"""A cell in the middle of a field, at least this share of the side from its edges, needs no field of its own."""
Floats = NDArray[np.float32]
Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Corrected:
    """What is known of a slide; boxes (m, 4) float32 x, y, w, h, mosaic px."""

    slide_id: str
    image: Path
    named: Floats
    names: tuple[str, ...]
    rejected: Floats
    unanswered: Floats

    @property
    def answered(self) -> Floats:
        """Every box that a person spoke of."""
        return np.concatenate([self.named, self.rejected])


@dataclass
class Coco:
    """A COCO file that grows."""

    images: list[Json] = field(default_factory=list)
    annotations: list[Json] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def add(self, image: Json, boxes: Floats, names: Sequence[str], ignored: Floats) -> None:
        """An image with its labelled boxes, and regions of which nobody knows."""
        number = len(self.images)
        self.images.append({"id": number, **image})
        for box, name in zip(boxes.tolist(), names, strict=True):
            if name not in self.names:
                self.names.append(name)
            self._annotate(number, self.names.index(name), box, crowd=0)
        for box in ignored.tolist():
            self._annotate(number, 0, box, crowd=1)

    def text(self) -> str:
        """The file."""
        categories = [{"id": index, "name": name} for index, name in enumerate(self.names)]
        return json.dumps({"images": self.images, "annotations": self.annotations, "categories": categories})

    def _annotate(self, image: int, category: int, box: object, crowd: int) -> None:
        self.annotations.append({"image_id": image, "category_id": category, "bbox": box, "iscrowd": crowd})


def runs_in(data: Path) -> tuple[Path, ...]:
    """The run folder ``data``, or those that lie in it; empty where it is something else."""
    places = [data, *(sorted(data.iterdir()) if data.is_dir() else ())]
    runs = tuple(place for place in places if (place / "run.json").is_file())
    return runs[:1] if runs[:1] == (data,) else runs


def detectors_of(runs: Sequence[Path]) -> set[tuple[str, str]]:
    """(folder, hash) of every package that made findings which people corrected."""
    found = set()
    for run in runs:
        with RunReader.open(run) as reader:
            settings = reader.folder.settings
            said = any(reader.corrections(slide_id) for slide_id in reader.slides())
            if said and settings.detector and settings.detector_hash:
                found.add((settings.detector, settings.detector_hash))
    return found


def write_fields(runs: Sequence[Path], out: Path, detector: Detector) -> int:
    """OUT/images/*.png and OUT/boxes.json from all corrections of the runs; the number of corrections that hold.

    Fields of one glass are of one slide, also where it was scanned in several runs.

    Raises:
        BadInput: nothing was corrected, no cell was named, or images are too coarse for the detector.
    """
    (out / "images").mkdir(parents=True)
    coco, number, problems = Coco(), 0, list[Problem]()
    glasses: dict[str, str] = {}
    for run in runs:
        with RunReader.open(run) as reader:
            for slide_id in reader.slides():
                slide = _corrected(reader, slide_id)
                if slide is None:
                    continue
                try:
                    number += len(slide.answered)
                    _cut_slide(slide, _glass(reader, slide_id, glasses), detector, coco, out / "images")
                except ImageRefused as error:
                    problems.append(Problem(str(error), "correct finer images", file=str(slide.image)))
    if not problems and not coco.names:
        mend = "name some in `rackscan view`, or give back an edited export: `rackscan review import`"
        problems.append(Problem("holds no corrected cell that has a class", mend))
    if problems:
        raise BadInput(problems)
    (out / "boxes.json").write_text(coco.text(), encoding="utf-8")
    return number


def _glass(reader: RunReader, slide_id: str, glasses: dict[str, str]) -> str:
    """One name for all scans of a glass, without its accession number; a scan alone where that is not known."""
    report = reader.report(slide_id)
    accession = report.accession if report else None
    return slide_id if accession is None else glasses.setdefault(accession, slide_id)


def _corrected(reader: RunReader, slide_id: str) -> Corrected | None:
    last = standing(reader.corrections(slide_id))
    if not last:
        return None
    cells = [c for c in last.values() if c.said is Said.CELL]
    return Corrected(
        slide_id,
        reader.paths(slide_id).image,
        _boxes([c.box_px for c in cells]),
        tuple(c.name for c in cells),
        _boxes([c.box_px for c in last.values() if c.said is Said.NO_CELL]),
        _boxes([c.box_px for c in found_cells(reader, slide_id) if c.cell not in last]),
    )


def _boxes(boxes: Sequence[tuple[float, float, float, float]]) -> Floats:
    return np.array(boxes, np.float32).reshape(-1, 4)


def _cut_slide(slide: Corrected, glass: str, detector: Detector, coco: Coco, folder: Path) -> None:
    with closing(open_image(slide.image)) as picture:
        um = scale_of(picture, slide.image, None)
        spacing = detector.package.config.spacing_um_px
        Scale.between(um, spacing)
        side = round(FIELD_PX * spacing / um)
        for number, (x, y) in enumerate(places(slide.answered, side, picture)):
            pixels = _read(picture, x, y, side)
            (seen,) = detector.detect([pixels], um)
            found = seen.boxes + np.array([x, y, 0, 0], np.float32)
            shown = np.array([x, y, pixels.shape[1], pixels.shape[0]], np.float32)
            boxes, names, ignored = labels_of(slide, found, shown)
            name = f"{slide.slide_id}_{number}.png"
            cv2.imwrite(str(folder / name), np.ascontiguousarray(pixels[:, :, ::-1]))
            coco.add({"file_name": name, "slide": glass, "um_per_px": um}, boxes, names, ignored)


def places(boxes: Floats, side: int, picture: StoredImage) -> list[tuple[int, int]]:
    """Top-left corners, px, of fields that show every box well inside, or as well as the image's edge allows."""
    corners: list[tuple[int, int]] = []
    size = np.array([picture.width_px, picture.height_px])
    for middle in boxes[:, :2] + boxes[:, 2:] / 2:
        off = [middle - np.array(corner) for corner in corners]
        if any((o >= MARGIN * side).all() and (o <= (1 - MARGIN) * side).all() for o in off):
            continue
        x, y = np.clip(np.round(middle - side / 2), 0, np.maximum(size - side, 0)).astype(int).tolist()
        if (x, y) not in corners:
            corners.append((x, y))
    return corners


def labels_of(slide: Corrected, found: Floats, shown: Floats) -> tuple[Floats, list[str], Floats]:
    """Boxes, their names, and regions that are not asked about, px of a field at ``shown`` (x, y, w, h).

    ``found`` are the boxes that the detector sees there, of any class. A named cell that lies more outside than inside
    is not asked about either.
    """
    unknown = np.concatenate([slide.unanswered, found])
    unknown = unknown[iou(unknown, slide.answered).max(axis=1, initial=0.0) < SAME_CELL_IOU]
    middles = slide.named[:, :2] + slide.named[:, 2:] / 2
    inside = np.asarray(
        np.all((middles >= shown[:2]) & (middles < shown[:2] + shown[2:]), axis=1), dtype=bool
    )
    ignored = _within(np.concatenate([unknown, slide.named[~inside]]), shown)
    names = [name for name, here in zip(slide.names, inside, strict=True) if here]
    return _within(slide.named[inside], shown), names, ignored[np.all(ignored[:, 2:] > 0, axis=1)]


def _within(boxes: Floats, shown: Floats) -> Floats:
    """The part of each box that shows, px of the field; without width or height where none does."""
    low = np.clip(boxes[:, :2] - shown[:2], 0, shown[2:])
    high = np.clip(boxes[:, :2] + boxes[:, 2:] - shown[:2], 0, shown[2:])
    return np.hstack([low, high - low]).astype(np.float32)


def _read(picture: StoredImage, x: int, y: int, side: int) -> NDArray[np.uint8]:
    w, h = min(side, picture.width_px - x), min(side, picture.height_px - y)
    return rgb8(picture.read(x, y, w, h), 16)
