"""Which labelled images lie in a folder: crops by class, COCO boxes, or QuPath GeoJSON beside images?

Everything else in the folder is ignored; every fault found is said at once.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.classes import CellClass, cell_class
from detection.detections import Floats, Image
from detection.errors import DataError

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"})
ASSUMED_UM_PER_PX = 0.5
Json = dict[str, Any]


class Kind(StrEnum):
    """A crop shows one labelled cell, a field shows many in boxes."""

    CROPS = "crops"
    FIELDS = "fields"


@dataclass(frozen=True, slots=True)
class Labelled:
    """One labelled image on disk.

    Attributes:
        file: where its pixels are.
        boxes: (m, 4) float32 x, y, w, h px; for a crop one box, the whole image.
        labels: (m,) index of each box's class in its data set.
        slide: what it was cut from; images of one slide are never split between training and checking.
        um_per_px: its scale; 0 where nobody said.
    """

    file: Path
    boxes: Floats
    labels: NDArray[np.int64]
    slide: str
    um_per_px: float


@dataclass(frozen=True, slots=True)
class DataSet:
    """All labelled images of a folder; ``scale_known`` is False where 0.5 µm/px had to be assumed."""

    path: Path
    kind: Kind
    classes: tuple[CellClass, ...]
    images: tuple[Labelled, ...]

    @property
    def scale_known(self) -> bool:
        """Did every image say its µm per px?"""
        return all(image.um_per_px > 0 for image in self.images)

    @property
    def um_per_px(self) -> float:
        """The median scale, 0.5 where nobody said."""
        known = [image.um_per_px for image in self.images if image.um_per_px > 0]
        return float(np.median(known)) if known else ASSUMED_UM_PER_PX

    def counts(self) -> dict[str, int]:
        """How many boxes each class has."""
        labels = np.concatenate([image.labels for image in self.images])
        found = np.bincount(labels, minlength=len(self.classes))
        return {entry.name: int(n) for entry, n in zip(self.classes, found, strict=True)}


def read_pixels(file: Path) -> Image:
    """(h, w, 3) uint8 RGB of an image file.

    Raises:
        DataError: where the file is not an image.
    """
    pixels = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if pixels is None:
        raise DataError(str(file), ["not a readable image"])
    return np.ascontiguousarray(pixels[:, :, ::-1], dtype=np.uint8)


def read_data(path: Path) -> DataSet:
    """Whatever labelled data a folder holds: COCO first, then GeoJSON, then folders of crops.

    Raises:
        DataError: no such folder, nothing labelled in it, an empty class, boxes outside their image, lost images.
    """
    if not path.is_dir():
        raise DataError(str(path), ["there is no such folder"])
    coco = _coco_files(path)
    geojson = _pairs_with_geojson(path)
    if coco:
        found = _from_coco(path, coco)
    elif geojson:
        found = _from_geojson(path, geojson)
    else:
        found = _from_crops(path)
    if not found.images:
        raise DataError(
            str(path), ["no labelled image: CLASS/*.png, a COCO .json, or X.geojson beside X.tif"]
        )
    empty = [name for name, n in found.counts().items() if n == 0]
    if empty:
        raise DataError(str(path), [f"class {name} has no example" for name in empty])
    return found


def _from_crops(path: Path) -> DataSet:
    folders = [folder for folder in sorted(path.iterdir()) if folder.is_dir()]
    names = [folder.name for folder in folders]
    images = [
        Labelled(file, _whole(file), np.array([label]), f"{folder.name}/{file.stem}", 0.0)
        for label, folder in enumerate(folders)
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in IMAGES
    ]
    return DataSet(path, Kind.CROPS, tuple(cell_class(name) for name in names), tuple(images))


def _whole(file: Path) -> Floats:
    height, width = read_pixels(file).shape[:2]
    return np.array([[0, 0, width, height]], dtype=np.float32)


def _read_json(file: Path) -> Json:
    try:
        body = json.loads(file.read_text())
    except (ValueError, UnicodeDecodeError):
        return {}
    return body if isinstance(body, dict) else {}


def _coco_files(path: Path) -> list[tuple[Path, Json]]:
    files = sorted({*path.glob("*.json"), *path.glob("annotations/*.json")})
    bodies = [(file, _read_json(file)) for file in files]
    return [(file, body) for file, body in bodies if {"images", "annotations", "categories"} <= body.keys()]


def _from_coco(path: Path, files: Sequence[tuple[Path, Json]]) -> DataSet:
    names = sorted({cell_class(c["name"]).name for _, body in files for c in body["categories"]})
    images: list[Labelled] = []
    problems: list[str] = []
    for file, body in files:
        label_of = {c["id"]: names.index(cell_class(c["name"]).name) for c in body["categories"]}
        boxes_of: dict[Any, list[Json]] = {}
        for annotation in body["annotations"]:
            boxes_of.setdefault(annotation["image_id"], []).append(annotation)
        scale = float(body.get("info", {}).get("um_per_px", 0.0))
        for entry in body["images"]:
            found = _coco_image(file, entry, boxes_of.get(entry["id"], []), label_of)
            problems += found.problems
            if found.image_file is not None:
                slide = str(entry.get("slide", entry["file_name"]))
                um_per_px = float(entry.get("um_per_px", scale))
                images.append(Labelled(found.image_file, found.boxes, found.labels, slide, um_per_px))
    _refuse(path, problems)
    return DataSet(path, Kind.FIELDS, tuple(cell_class(name) for name in names), tuple(images))


@dataclass(frozen=True, slots=True)
class _CocoImage:
    image_file: Path | None
    boxes: Floats
    labels: NDArray[np.int64]
    problems: list[str]


def _coco_image(file: Path, entry: Json, annotations: list[Json], label_of: dict[Any, int]) -> _CocoImage:
    candidates = [file.parent / entry["file_name"], file.parent / "images" / entry["file_name"]]
    candidates.append(file.parent.parent / "images" / entry["file_name"])
    place = next((candidate for candidate in candidates if candidate.is_file()), None)
    boxes = np.array([a["bbox"] for a in annotations], dtype=np.float32).reshape(-1, 4)
    unknown = {a["category_id"] for a in annotations} - label_of.keys()
    problems = [f"{entry['file_name']}: category {c} is not listed" for c in sorted(map(str, unknown))]
    if place is None:
        problems.append(f"{entry['file_name']} is listed but not there")
    problems += _outside(entry["file_name"], boxes, int(entry["width"]), int(entry["height"]))
    labels = np.array([label_of.get(a["category_id"], 0) for a in annotations], dtype=np.int64)
    return _CocoImage(place, boxes, labels, problems)


def _outside(name: str, boxes: Floats, width: int, height: int) -> list[str]:
    ends = boxes[:, :2] + boxes[:, 2:]
    beyond = (boxes[:, :2] < -1).any(axis=1) | (ends > np.array([width, height]) + 1).any(axis=1)
    bad = beyond | (boxes[:, 2:] <= 0).any(axis=1) | ~np.isfinite(boxes).all(axis=1)
    return [f"{name}: {int(bad.sum())} boxes are empty or lie outside the image"] if bad.any() else []


def _pairs_with_geojson(path: Path) -> list[tuple[Path, Path]]:
    images = {file.stem: file for file in sorted(path.iterdir()) if file.suffix.lower() in IMAGES}
    return [(images[file.stem], file) for file in sorted(path.glob("*.geojson")) if file.stem in images]


def _from_geojson(path: Path, pairs: Sequence[tuple[Path, Path]]) -> DataSet:
    read = [(image, _features(file)) for image, file in pairs]
    names = sorted({name for _, features in read for name, _ in features})
    images: list[Labelled] = []
    problems: list[str] = []
    for file, features in read:
        boxes = np.array([box for _, box in features], dtype=np.float32).reshape(-1, 4)
        height, width = read_pixels(file).shape[:2]
        problems += _outside(file.name, boxes, width, height)
        labels = np.array([names.index(name) for name, _ in features], dtype=np.int64)
        images.append(Labelled(file, boxes, labels, file.stem, 0.0))
    _refuse(path, problems)
    return DataSet(path, Kind.FIELDS, tuple(cell_class(name) for name in names), tuple(images))


def _features(file: Path) -> list[tuple[str, tuple[float, float, float, float]]]:
    """(class name, box) of every QuPath object that has a classification."""
    body = json.loads(file.read_text())
    features = body["features"] if isinstance(body, dict) else body
    found = []
    for feature in features:
        name = feature.get("properties", {}).get("classification", {}).get("name")
        if name is None:
            continue
        points = np.array(_points(feature["geometry"]["coordinates"]), dtype=float).reshape(-1, 2)
        low, high = points.min(axis=0), points.max(axis=0)
        box = (float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1]))
        found.append((cell_class(name).name, box))
    return found


def _points(coordinates: Any) -> list[list[float]]:
    """All points of a GeoJSON geometry, however deeply nested."""
    if coordinates and isinstance(coordinates[0], (int, float)):
        return [coordinates[:2]]
    return [point for part in coordinates for point in _points(part)]


def _refuse(path: Path, problems: Sequence[str]) -> None:
    if problems:
        raise DataError(str(path), problems)
