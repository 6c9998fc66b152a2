"""Which labelled images lie in a folder: crops by class, COCO boxes, or QuPath GeoJSON beside images?

Everything else in the folder is ignored; every fault found is said at once.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError

from detection.classes import CellClass, cell_class
from detection.detections import Floats, Image
from detection.errors import DataError

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"})
ASSUMED_UM_PER_PX = 0.5
MOST_PLACES = 20
Json = dict[str, Any]
ScaleOf = Callable[[Path], float | None]
"""The µm per px of an image file, None where it does not say."""


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
        group: what it has in common with others, such as a stain or a scanner; empty where nobody said.
        ignored: (m, 4) boxes in which nobody knows what there is: COCO's ``iscrowd``.
    """

    file: Path
    boxes: Floats
    labels: NDArray[np.int64]
    slide: str
    um_per_px: float
    group: str = ""
    ignored: Floats = field(default_factory=lambda: np.zeros((0, 4), np.float32))


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


def unsaid(file: Path) -> None:
    """No image says its scale."""


def read_data(
    path: Path, further: Callable[[DataSet], list[str]] | None = None, scale_of: ScaleOf = unsaid
) -> DataSet:
    """Whatever labelled data a folder holds: COCO first, then GeoJSON, then folders of crops.

    Args:
        path: the folder.
        further: says what else is wrong with the data, so that all problems are told at once.
        scale_of: gives the scale of fields whose labels do not say it.

    Raises:
        DataError: no such folder, nothing labelled in it, an empty class, boxes outside their image, lost images.
    """
    if not path.is_dir():
        raise DataError(str(path), ["there is no such folder"])
    coco = _coco_files(path)
    geojson = _pairs_with_geojson(path)
    if coco:
        found, problems = _from_coco(path, coco)
    elif geojson:
        found, problems = _from_geojson(path, geojson)
    else:
        found, problems = _from_crops(path)
    if not found.images and not problems:
        raise DataError(
            str(path), ["no labelled image: CLASS/*.png, a COCO .json, or X.geojson beside X.tif"]
        )
    found = _with_scales(found, scale_of)
    problems += further(found) if further else []
    if problems:
        raise DataError(str(path), problems)
    return found


Read = tuple[DataSet, list[str]]


def _with_scales(data: DataSet, scale_of: ScaleOf) -> DataSet:
    if data.kind is Kind.CROPS:
        return data
    scaled = (
        image if image.um_per_px > 0 else replace(image, um_per_px=scale_of(image.file) or 0.0)
        for image in data.images
    )
    return replace(data, images=tuple(scaled))


def _from_crops(path: Path) -> Read:
    folders = [folder for folder in sorted(path.iterdir()) if folder.is_dir()]
    classes = tuple(cell_class(folder.name) for folder in folders)
    images: list[Labelled] = []
    problems: list[str] = []
    for label, folder in enumerate(folders):
        files = [file for file in sorted(folder.iterdir()) if file.suffix.lower() in IMAGES]
        for file in files:
            try:
                whole = _whole(read_pixels(file))
            except DataError:
                problems.append(f"{folder.name}/{file.name} is not a readable image")
                continue
            images.append(Labelled(file, whole, np.array([label]), f"{folder.name}/{file.stem}", 0.0))
    labels = [int(image.labels[0]) for image in images]
    problems += _empty_classes(classes, labels) if images else []
    return DataSet(path, Kind.CROPS, classes, tuple(images)), problems


def _empty_classes(classes: Sequence[CellClass], labels: Iterable[int]) -> list[str]:
    met = set(labels)
    return [f"class {entry.name} has no example" for k, entry in enumerate(classes) if k not in met]


def _whole(image: Image) -> Floats:
    return np.array([[0, 0, image.shape[1], image.shape[0]]], dtype=np.float32)


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


class _Info(BaseModel):
    um_per_px: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class _Listed(_Info):
    id: int | str
    file_name: str


class _Category(BaseModel):
    id: int | str
    name: str


class _Coco(BaseModel):
    """What of a COCO file has to be there, whatever else is."""

    info: _Info = _Info()
    images: list[_Listed]
    categories: list[_Category]
    annotations: list[dict[str, Any]]


def _malformed(file: Path, body: Json) -> list[str]:
    try:
        _Coco.model_validate(body)
    except ValidationError as error:
        places = [(".".join(map(str, e["loc"])), e["msg"]) for e in error.errors()]
        return [f"{file.name}: {place}: {what}" for place, what in places[:MOST_PLACES]]
    return []


def _from_coco(path: Path, files: Sequence[tuple[Path, Json]]) -> Read:
    malformed = [problem for file, body in files for problem in _malformed(file, body)]
    if malformed:
        raise DataError(str(path), malformed)
    names = sorted({cell_class(c["name"]).name for _, body in files for c in body["categories"]})
    classes = tuple(cell_class(name) for name in names)
    images: list[Labelled] = []
    problems: list[str] = []
    met: set[int] = set()
    for file, body in files:
        label_of = {c["id"]: names.index(cell_class(c["name"]).name) for c in body["categories"]}
        boxes_of, lost = _boxes_of(file, body)
        problems += lost
        scale = float(body.get("info", {}).get("um_per_px", 0.0))
        for entry in body["images"]:
            own = boxes_of.get(entry["id"], [])
            problems += _unlisted(entry, own, label_of)
            named = [annotation for annotation in own if not annotation.get("iscrowd")]
            labels = [label_of.get(annotation["category_id"], 0) for annotation in named]
            boxes, every = _bboxes(named), _bboxes(own)
            ignored = _bboxes([annotation for annotation in own if annotation.get("iscrowd")])
            met |= set(labels)
            place = _coco_place(file, entry["file_name"])
            problems += _checked(entry["file_name"], place, every)
            if place is not None:
                images.append(replace(_coco_image(place, entry, boxes, labels, scale), ignored=ignored))
    return DataSet(path, Kind.FIELDS, classes, tuple(images)), problems + _empty_classes(classes, met)


def _boxes_of(file: Path, body: Json) -> tuple[dict[Any, list[Json]], list[str]]:
    """The annotations of each image, and what is wrong with those that belong to none."""
    listed = {entry["id"] for entry in body["images"]}
    boxes_of: dict[Any, list[Json]] = {}
    incomplete, lost = 0, 0
    for annotation in body["annotations"]:
        if len(annotation.get("bbox", ())) != 4 or not {"image_id", "category_id"} <= annotation.keys():
            incomplete += 1
        elif annotation["image_id"] not in listed:
            lost += 1
        else:
            boxes_of.setdefault(annotation["image_id"], []).append(annotation)
    said = (
        (incomplete, "have no bbox of 4 numbers, no category_id or no image_id"),
        (lost, "are of no listed image"),
    )
    return boxes_of, [f"{file.name}: {n} annotations {what}" for n, what in said if n]


def _bboxes(annotations: Sequence[Json]) -> Floats:
    return np.array([annotation["bbox"] for annotation in annotations], np.float32).reshape(-1, 4)


def _unlisted(entry: Json, annotations: Sequence[Json], label_of: dict[Any, int]) -> list[str]:
    unknown = {annotation["category_id"] for annotation in annotations} - label_of.keys()
    return [f"{entry['file_name']}: category {c} is not listed" for c in sorted(map(str, unknown))]


def _coco_place(file: Path, name: str) -> Path | None:
    folders = (file.parent, file.parent / "images", file.parent.parent / "images")
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def _coco_image(place: Path, entry: Json, boxes: Floats, labels: Sequence[int], um_per_px: float) -> Labelled:
    return Labelled(
        file=place,
        boxes=boxes,
        labels=np.array(labels, dtype=np.int64),
        slide=str(entry.get("slide", entry["file_name"])),
        um_per_px=float(entry.get("um_per_px", um_per_px)),
        group=str(entry.get("group", "")),
    )


def _checked(name: str, place: Path | None, boxes: Floats) -> list[str]:
    """What is wrong with an image and its boxes; its own size counts, not the one that was written down."""
    if place is None:
        return [f"{name} is listed but not there"]
    try:
        height, width = read_pixels(place).shape[:2]
    except DataError:
        return [f"{name} is not a readable image"]
    return _outside(name, boxes, width, height)


def _outside(name: str, boxes: Floats, width: int, height: int) -> list[str]:
    ends = boxes[:, :2] + boxes[:, 2:]
    beyond = (boxes[:, :2] < -1).any(axis=1) | (ends > np.array([width, height]) + 1).any(axis=1)
    bad = beyond | (boxes[:, 2:] <= 0).any(axis=1) | ~np.isfinite(boxes).all(axis=1)
    n = int(bad.sum())
    said = "1 box is empty or lies" if n == 1 else f"{n} boxes are empty or lie"
    return [f"{name}: {said} outside the image of {width} × {height} px"] if n else []


def _pairs_with_geojson(path: Path) -> list[tuple[Path, Path]]:
    images = {file.stem: file for file in sorted(path.iterdir()) if file.suffix.lower() in IMAGES}
    return [(images[file.stem], file) for file in sorted(path.glob("*.geojson")) if file.stem in images]


def _from_geojson(path: Path, pairs: Sequence[tuple[Path, Path]]) -> Read:
    read = [(image, _features(file)) for image, file in pairs]
    names = sorted({name for _, features in read for name, _ in features})
    images: list[Labelled] = []
    problems: list[str] = []
    for file, features in read:
        boxes = np.array([box for _, box in features], dtype=np.float32).reshape(-1, 4)
        problems += _checked(file.name, file, boxes)
        labels = np.array([names.index(name) for name, _ in features], dtype=np.int64)
        images.append(Labelled(file, boxes, labels, file.stem, 0.0))
    return DataSet(path, Kind.FIELDS, tuple(cell_class(name) for name in names), tuple(images)), problems


def _features(file: Path) -> list[tuple[str, tuple[float, float, float, float]]]:
    """(class name, box) of every QuPath object that has a classification."""
    try:
        body = json.loads(file.read_text())
    except ValueError as error:
        raise DataError(str(file), [f"is no GeoJSON: {error}"]) from error
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
