"""What did a detector say about labelled images, as they are or changed on purpose?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detection.appearance import Appearance, appearance
from detection.classes import CellClass, plain
from detection.crops import class_shares, crop_density, crop_views
from detection.decoding import softmax
from detection.detections import Detections, Floats, Image
from detection.detector import Detector, Scale
from detection.errors import DataError, ImageRefused
from detection.evaluation import Numbers, unasked
from detection.labelled import DataSet, Kind, Labelled, read_pixels
from detection.onnx_detector import OnnxDetector

Progress = Callable[[int, int, str], None]
SQUAME_UM = 50.0
"""How wide a superficial or intermediate cell is (50 to 60 µm)."""


@dataclass(frozen=True, slots=True)
class Strain:
    """How images are changed: pixel values times ``light``, clipped as a camera does; cells ``size`` times as large."""

    name: str
    light: float = 1.0
    size: float = 1.0

    def lit(self, image: Image) -> Image:
        """The image under that light."""
        return image if self.light == 1.0 else (image * self.light).clip(0, 255).astype(np.uint8)


AS_IT_IS = Strain("as it is")
STRAINS = (
    Strain("white level × 0.85", light=0.85),
    Strain("white level × 1.15", light=1.15),
    Strain("scale − 10 %", size=0.9),
    Strain("scale + 10 %", size=1.1),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """One field: what was found and what is true, (m,) and (n,) arrays; ``area_mm2`` at the image's scale.

    ``partly``: nobody knows all that is in it.
    """

    file: Path
    slide: str
    group: str
    found: Detections
    truth: Floats
    labels: NDArray[np.int64]
    area_mm2: float
    looks: Appearance
    partly: bool = False


@dataclass(frozen=True, slots=True)
class SeenCrops:
    """n crops: ``shares`` (n, k) probabilities of the package's classes, ``truth`` (n,) their true class."""

    files: tuple[Path, ...]
    shares: Numbers
    truth: NDArray[np.int64]
    looks: tuple[Appearance, ...]


def class_map(data: DataSet, classes: Sequence[CellClass]) -> NDArray[np.int64]:
    """(k,) the package's index of each class of the data.

    Raises:
        DataError: naming every class that the package does not know.
    """
    known = {plain(entry.name): index for index, entry in enumerate(classes)}
    missing = unknown_classes(data, classes)
    if missing:
        raise DataError(str(data.path), missing)
    return np.array([known[plain(entry.name)] for entry in data.classes], dtype=np.int64)


def unknown_classes(data: DataSet, classes: Sequence[CellClass]) -> list[str]:
    """A problem for each class of the data that the package does not know."""
    known = {plain(entry.name) for entry in classes}
    names = ", ".join(entry.name for entry in classes)
    return [
        f"class {entry.name} is unknown to the package, which knows {names}"
        for entry in data.classes
        if plain(entry.name) not in known
    ]


def too_coarse(data: DataSet, package_um_per_px: float) -> list[str]:
    """A problem for each field whose scale the detector would refuse."""
    if data.kind is Kind.CROPS:
        return []
    problems = []
    for entry in data.images:
        try:
            Scale.between(entry.um_per_px or data.um_per_px, package_um_per_px)
        except ImageRefused as error:
            problems.append(f"{entry.file.name}: {error}")
    return problems


def look(
    detector: Detector,
    data: DataSet,
    images: Sequence[Labelled],
    progress: Progress,
    strain: Strain = AS_IT_IS,
) -> list[Seen]:
    """The detector's answers on fields, boxes clipped to the image like the labelled ones.

    An answer in a region of which nobody knows is neither right nor wrong, and left out.

    Raises:
        DataError: where the data have classes that the package does not know.
        ImageRefused: where a field is too coarse, perhaps only under the strain.
    """
    to_package = class_map(data, detector.package.classes)
    seen = []
    for number, entry in enumerate(images):
        image = read_pixels(entry.file)
        scale = entry.um_per_px or data.um_per_px
        (found,) = detector.detect([strain.lit(image)], scale * strain.size)
        area = image.shape[0] * image.shape[1] * scale**2 / 1e6
        labels = to_package[entry.labels]
        looks = appearance(image)
        clipped = _clipped(found, image)
        clipped = clipped.take(~unasked(clipped.boxes, entry.boxes, entry.ignored))
        partly = len(entry.ignored) > 0
        seen.append(
            Seen(entry.file, entry.slide, entry.group, clipped, entry.boxes, labels, area, looks, partly)
        )
        progress(number + 1, len(images), _what(strain))
    return seen


def look_at_crops(
    detector: Detector,
    data: DataSet,
    images: Sequence[Labelled],
    progress: Progress,
    strain: Strain = AS_IT_IS,
) -> SeenCrops:
    """The class probabilities of crops.

    Raises:
        DataError: where the data have classes that the package does not know.
    """
    to_package = class_map(data, detector.package.classes)
    cpu = OnnxDetector(detector.package)
    shares, looks = [], []
    for number, entry in enumerate(images):
        image = read_pixels(entry.file)
        shares.append(crop_shares(cpu, image, strain))
        looks.append(appearance(image))
        progress(number + 1, len(images), _what(strain))
    truth = to_package[np.array([int(entry.labels[0]) for entry in images])]
    return SeenCrops(tuple(entry.file for entry in images), np.stack(shares), truth, tuple(looks))


def crop_shares(detector: OnnxDetector, image: Image, strain: Strain = AS_IT_IS) -> Numbers:
    """(k,) probabilities of the package's classes for a crop of one cell, whose scale nobody knows.

    The second look says it, of the crop laid down in 8 ways; without one, the first look. The crop fills the patch of a
    look that learnt from crops; to any other it is shown as wide as a squamous cell.
    """
    config = detector.package.config
    extension = config.rackscan
    look = extension.crop_look or extension.second_look
    if look is None:
        (maps,) = detector.maps([crop_density(strain.lit(image), strain.size)])
        return class_shares(maps)
    taught = extension.crop_look is not None
    wide = 1.0 if taught else SQUAME_UM / config.spacing_um_px / look.seen_px
    asked = detector.crop if taught else detector.second
    answers = asked(crop_views(strain.lit(image), look.seen_px, strain.size * wide))
    chances = softmax(answers[:, : len(look.class_names) + 1])
    names = list(config.class_names)
    shares = np.zeros(len(names))
    shares[[names.index(name) for name in look.class_names]] = chances[:, :-1].mean(axis=0)
    return shares


def _what(strain: Strain) -> str:
    return "evaluating" if strain is AS_IT_IS else f"evaluating, {strain.name}"


def _clipped(found: Detections, image: Image) -> Detections:
    high = np.array([image.shape[1], image.shape[0]], np.float32)
    low = np.clip(found.boxes[:, :2], 0, high)
    ends = np.clip(found.boxes[:, :2] + found.boxes[:, 2:], 0, high)
    boxes = np.hstack([low, ends - low])
    return Detections.rounded(boxes, found.classes, found.scores, found.abnormal, found.abnormal_classes)
