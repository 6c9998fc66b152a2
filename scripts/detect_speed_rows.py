"""What does the shipped detector cost a tile, and what does merging a slide cost? Rows for the bench.

CPU milliseconds are those of the whole process.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np

from detection.detections import Detections, Image
from detection.detector import Detector
from detection.merging import TileDetections, merge
from detection.opening import open_detector
from detection.package import default_package
from scanner.offline.simulated_fields import SlideUnderCamera
from scripts.rows import Row, at_most

SEED = 900_001
FIELDS = 8


def speed_rows() -> Iterator[Row]:
    """The cost of tiles and of merging."""
    cv2.setNumThreads(1)
    slide = SlideUnderCamera((SEED, 0), {})
    rng = np.random.default_rng(SEED)
    places = [(45_000 + float(x), 12_500 + float(y)) for x, y in rng.uniform(-6_500, 6_500, (4 * FIELDS, 2))]
    images = [slide.look(place, float(rng.normal(0, 0.4))).rgb for place in places]
    um_per_px = slide.grid.um_per_px
    detector = open_detector(default_package(), "onnx")
    tile = cpu_ms(lambda: detector.detect(images, um_per_px), 1) / len(images)
    yield at_most("CPU ms per 1024² tile", tile, 80.0)
    large = [_four_in_one(images[n : n + 4]) for n in range(0, len(images), 4)]
    wall = wall_ms(detector, large, um_per_px)
    yield at_most("ms per 2048² tile, a detector on each of two cores", wall, 160.0)
    tiles = crowded_tiles()
    merging = cpu_ms(lambda: merge(tiles), 2) / 1000
    yield at_most("merging 40,000 boxes of 1,500 tiles, CPU s", merging, 0.5)


def _four_in_one(images: Sequence[Image]) -> Image:
    return np.ascontiguousarray(np.vstack([np.hstack(images[:2]), np.hstack(images[2:])]))


def cpu_ms(work: Callable[[], object], times: int) -> float:
    """CPU milliseconds of one call, the first left out."""
    work()
    start = time.process_time()
    for _ in range(times):
        work()
    return 1000 * (time.process_time() - start) / times


def wall_ms(detector: Detector, images: Sequence[Image], um_per_px: float) -> float:
    """Milliseconds between two answers where two detectors share the images, from the CPU time of one."""
    cores = min(2, len(os.sched_getaffinity(0)))
    return cpu_ms(lambda: detector.detect(images, um_per_px), 1) / len(images) / cores


def crowded_tiles() -> list[TileDetections]:
    """1,500 tiles with 27 boxes each."""
    rng = np.random.default_rng(SEED)
    tiles = []
    for number in range(1500):
        boxes = np.hstack([rng.uniform(0, 950, (27, 2)), rng.uniform(20, 110, (27, 2))])
        found = Detections.rounded(boxes, np.zeros(27), rng.random(27), rng.random(27), np.zeros(27))
        tiles.append(TileDetections(number, number % 40 * 922, number // 40 * 922, 1024, 1024, found))
    return tiles
