"""What does a detector say about simulated slides: normal ones, and ones with five abnormal cells?

Slides are small ones (5 × 5 mm, 5,500 squamous cells) that no training saw, with fields within the focus that the rig
reaches. Normal slides are read whole. Of an abnormal slide the fields that show an abnormal cell are read, and joined
with all cells of a normal slide: both kinds have the same normal cells but for those few.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.detector import Detector
from detection.merging import TileDetections, merge
from detection.opening import open_detector
from scanner.devices.simulated.field import SIDE_PX
from scanner.devices.simulated.specimen import SMALL_DEPOSIT
from scanner.devices.simulated.truth import ABNORMAL, CellClass
from scanner.offline.simulated_fields import Field, SlideUnderCamera
from scanner.pipeline.findings import count_cells

SEED = 700_001
NORMAL_SLOT, ABNORMAL_SLOT = 1, 2
DEFOCUS_UM = tuple(float(v) for v in np.random.default_rng(SEED).normal(0, 0.35, 997))
MOST_KEPT = 200
LEADING = (CellClass.LSIL, CellClass.HSIL, CellClass.SCC, CellClass.AGC)
Looks = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Reading:
    """One slide: P(abnormal) of its most suspicious cells, highest first, and how many squamous cells were counted.

    ``looks`` is (n, 2): true area in µm² and optical density of the slide's n nuclei that are largest times darkest.
    """

    abnormal: NDArray[np.float64]
    cells: int
    looks: Looks

    def joined(self, other: "Reading") -> "Reading":
        """What was found on both as one slide; the nuclei, known of the whole slide, are its own."""
        chances = np.sort(np.concatenate([self.abnormal, other.abnormal]))[::-1]
        return Reading(chances, self.cells + other.cells, self.looks)


def five_cells(number: int) -> dict[CellClass, int]:
    """Three cells of a leading class and two of its lesser neighbour."""
    leading = LEADING[number % len(LEADING)]
    lesser = CellClass.ASC_US if leading is CellClass.LSIL else CellClass.ASC_H
    return {leading: 3, lesser: 2}


def read_normal(detector: Detector, number: int) -> Reading:
    """A whole normal slide."""
    slide = SlideUnderCamera((SEED + number, NORMAL_SLOT), {}, SMALL_DEPOSIT)
    return _read(detector, slide, slide.scan(DEFOCUS_UM))


def read_abnormal(detector: Detector, number: int) -> Reading:
    """The fields of an abnormal slide that show an abnormal cell."""
    slide = SlideUnderCamera((SEED + number, ABNORMAL_SLOT), five_cells(number), SMALL_DEPOSIT)
    return _read(detector, slide, slide.scan(DEFOCUS_UM, ABNORMAL))


def _read(detector: Detector, slide: SlideUnderCamera, fields: Iterable[Field]) -> Reading:
    """What a run would make of these fields."""
    tiles = []
    for number, field in enumerate(fields):
        (found,) = detector.detect([field.rgb], slide.grid.um_per_px)
        tiles.append(TileDetections(number, field.corner[0], field.corner[1], SIDE_PX, SIDE_PX, found))
    found = merge(tiles).detections
    package = detector.package
    cells = count_cells(found, package.classes, package.config.rackscan.cell_floor)
    chances = np.sort(found.abnormal.astype(np.float64))[::-1][:MOST_KEPT]
    return Reading(chances, cells, _foremost(slide.nuclear_looks()[0]))


def _foremost(looks: Looks) -> Looks:
    return looks[np.argsort(-looks.prod(axis=1), kind="stable")[:MOST_KEPT]]


def asked(words: str) -> tuple[int, Path | None]:
    """``--slides`` and ``--kept`` of the command line; ``words`` is what ``--help`` says."""
    parser = argparse.ArgumentParser(description=words, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, default=100)
    parser.add_argument("--kept", type=Path, default=None, help="a folder that lets a later call go on")
    given = parser.parse_args()
    if given.kept:
        given.kept.mkdir(parents=True, exist_ok=True)
    return given.slides, given.kept


def read_slides(package: Path, numbers: range, kept: Path | None) -> tuple[list[Reading], list[Reading]]:
    """(abnormal, normal) slides of each number, the abnormal ones joined; ``kept`` lets a later call go on."""
    jobs = [(package, kind, number, kept) for number in numbers for kind in ("normal", "abnormal")]
    with ProcessPoolExecutor() as pool:
        readings = list(pool.map(_job, jobs))
    normal, alone = readings[::2], readings[1::2]
    return [one.joined(other) for one, other in zip(alone, normal, strict=True)], normal


def _job(job: tuple[Path, str, int, Path | None]) -> Reading:
    package, kind, number, kept = job
    file = kept / f"{kind}{number:03d}.json" if kept else None
    if file is not None and file.exists():
        return _from_json(json.loads(file.read_text()))
    cv2.setNumThreads(1)
    detector = open_detector(package, "onnx")
    reading = (read_normal if kind == "normal" else read_abnormal)(detector, number)
    print(f"{kind} {number}: highest {reading.abnormal[:5].round(3)}", file=sys.stderr, flush=True)
    if file is not None:
        file.write_text(json.dumps(_to_json(reading)))
    return reading


def _to_json(reading: Reading) -> dict[str, Any]:
    return {
        "abnormal": reading.abnormal.tolist(),
        "cells": reading.cells,
        "looks": reading.looks.round(4).tolist(),
    }


def _from_json(body: dict[str, Any]) -> Reading:
    return Reading(np.array(body["abnormal"]), body["cells"], np.array(body["looks"]).reshape(-1, 2))
