"""How do a detector's failures become small pictures: the cell in its surroundings, its box, its score?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from detection.detections import Image
from detection.failures import Box, Failure
from detection.labelled import read_pixels
from scanner.review.pictures import data_uri, jpeg

SHOWN_PX = 224
LEAST_SIDE_PX = 96
SURROUNDINGS = 2.2
PAPER = 244
INK = (226, 35, 26)


@dataclass(frozen=True, slots=True)
class Shown:
    """A failure as a square picture, with what to write below it."""

    uri: str
    score: str
    truth: str
    where: str


def shown(failures: Sequence[Failure]) -> Iterator[Shown]:
    """The pictures, in the order given; each file is read once."""
    pixels = {file: read_pixels(file) for file in {failure.file for failure in failures}}
    for failure in failures:
        score = "no box on it" if failure.score is None else f"P {failure.score:.3f}"
        square = picture(pixels[failure.file], failure.box)
        yield Shown(data_uri(jpeg(square)), score, failure.truth, _where(failure.file))


def picture(image: Image, box: Box | None) -> Image:
    """(224, 224, 3) uint8 RGB: the box with its surroundings, white beyond the image; without one the whole image."""
    height, width = image.shape[:2]
    x, y, w, h = box or (0.0, 0.0, float(width), float(height))
    side = max(width, height) if box is None else max(LEAST_SIDE_PX, SURROUNDINGS * max(w, h))
    zoom = SHOWN_PX / side
    middle = SHOWN_PX / 2
    matrix = np.array([[zoom, 0, middle - zoom * (x + w / 2)], [0, zoom, middle - zoom * (y + h / 2)]])
    how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    square = cv2.warpAffine(image, matrix, (SHOWN_PX,) * 2, flags=how, borderValue=(PAPER,) * 3)
    if box is not None:
        low = (round(middle - zoom * w / 2), round(middle - zoom * h / 2))
        high = (round(middle + zoom * w / 2), round(middle + zoom * h / 2))
        cv2.rectangle(square, low, high, INK, 1, cv2.LINE_AA)
    return np.asarray(square, dtype=np.uint8)


def _where(file: Path) -> str:
    return f"{file.parent.name}/{file.name}"
