"""What does a detector say about simulated slides: normal ones, and ones with five abnormal cells?

Slides are small ones (5 × 5 mm, 5,500 squamous cells) that no training saw, with fields within the focus that the rig
reaches. Normal slides are read whole. Of an abnormal slide the fields that show an abnormal cell are read, and joined
with all cells of a normal slide: both kinds have the same normal cells but for those few. The most suspicious cells of
either are read a second time in more planes, as a run reads those that it takes again.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.counting import count_cells
from detection.detector import Detector
from detection.merging import Merged, TileDetections, merge
from detection.opening import open_detector
from detection.scoring import slide_score
from scanner.devices.simulated.field import SIDE_PX
from scanner.devices.simulated.specimen import SMALL_DEPOSIT
from scanner.devices.simulated.truth import ABNORMAL, CellClass
from scanner.model.layers import CellCapture
from scanner.offline.simulated_fields import Field, SlideUnderCamera
from scanner.pipeline.again import counting
from scanner.pipeline.cell_planes import Box, read_with, said_of, sharpest

SEED = 700_001
NORMAL_SLOT, ABNORMAL_SLOT = 1, 2
DEFOCUS_UM = tuple(float(v) for v in np.random.default_rng(SEED).normal(0, 0.35, 997))
MOST_KEPT = 200
CAPTURE = CellCapture(cells=12)
LEADING = (CellClass.LSIL, CellClass.HSIL, CellClass.SCC, CellClass.AGC)
Looks = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Reading:
    """One slide: P(abnormal) of its most suspicious cells, highest first, and how many squamous cells were counted.

    ``again`` is what counts of those cells where they are taken again, NaN for all but the first ``CAPTURE.cells``.
    ``looks`` is (n, 2): true area in µm² and optical density of the slide's n nuclei that are largest times darkest.
    """

    abnormal: NDArray[np.float64]
    again: NDArray[np.float64]
    cells: int
    looks: Looks

    @property
    def counted(self) -> NDArray[np.float64]:
        """P(abnormal) of the same cells where the most suspicious ones are taken again."""
        return np.where(np.isnan(self.again), self.abnormal, self.again)

    def joined(self, other: "Reading") -> "Reading":
        """What was found on both as one slide; the nuclei, known of the whole slide, are its own."""
        chances = np.concatenate([self.abnormal, other.abnormal])
        order = np.argsort(-chances, kind="stable")
        again = np.concatenate([self.again, other.again])[order]
        again[CAPTURE.cells :] = np.nan
        return Reading(chances[order], again, self.cells + other.cells, self.looks)


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
    """What a run would make of these fields, and of the most suspicious cells in more planes."""
    merged, defocus_um = found_in(detector, slide, fields)
    found, package = merged.detections, detector.package
    highest = np.argsort(-found.abnormal, kind="stable")[:MOST_KEPT]
    chances = found.abnormal[highest].astype(np.float64)
    again = np.full(len(highest), np.nan)
    again[: CAPTURE.cells] = found_again(detector, slide, merged, defocus_um)
    cells = count_cells(found, package.classes, package.config.rackscan.cell_floor)
    return Reading(chances, again, cells, _foremost(slide.nuclear_looks()[0]))


def found_in(
    detector: Detector, slide: SlideUnderCamera, fields: Iterable[Field]
) -> tuple[Merged, list[float]]:
    """What is found in fields of a slide, on the camera's grid, and how far off focus each of them was."""
    tiles, defocus_um = [], []
    for number, field in enumerate(fields):
        (found,) = detector.detect([field.rgb], slide.grid.um_per_px)
        tiles.append(TileDetections(number, field.corner[0], field.corner[1], SIDE_PX, SIDE_PX, found))
        defocus_um.append(field.defocus_um)
    return merge(tiles), defocus_um


def found_again(
    detector: Detector, slide: SlideUnderCamera, merged: Merged, defocus_um: Sequence[float]
) -> Looks:
    """(at most ``CAPTURE.cells``,) what counts of the most suspicious cells, highest first, after more planes."""
    found = merged.detections
    highest = np.argsort(-found.abnormal, kind="stable")[: CAPTURE.cells]
    again, sure = np.zeros(len(highest)), np.zeros(len(highest), bool)
    for rank, index in enumerate(highest):
        x, y, w, h = (float(v) for v in found.boxes[index])
        taken_at = defocus_um[int(merged.tiles[index])]
        again[rank], sure[rank] = _read_again(detector, slide, (x, y, w, h), taken_at)
    return counting(found.abnormal[highest].astype(np.float64), again, sure)


def _read_again(
    detector: Detector, slide: SlideUnderCamera, box: Box, defocus_um: float
) -> tuple[float, bool]:
    """What more planes say of the cell in a box on the camera's grid, and whether it was met sharp in one of them."""
    x_um, y_um = slide.grid.to_slide(box[0] + box[2] / 2, box[1] + box[3] / 2)
    stack = [slide.look((x_um, y_um), defocus_um + off) for off in CAPTURE.offsets_um]
    there = (box[0] - stack[0].corner[0], box[1] - stack[0].corner[1], box[2], box[3])
    best = sharpest([field.rgb for field in stack], there)
    planes = [stack[layer].rgb for layer in read_with(best, len(stack))]
    found = detector.detect(planes, slide.grid.um_per_px)
    said = [said_of(there, one, detector.package.classes)[0] for one in found]
    return float(np.mean(said)), best not in (0, len(stack) - 1)


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


def scores_of(readings: Sequence[Reading], again: bool) -> Looks:
    """(n,) the slides' scores; ``again``: with the most suspicious cells taken again."""
    return np.array([slide_score(reading.counted if again else reading.abnormal) for reading in readings])


def _job(job: tuple[Path, str, int, Path | None]) -> Reading:
    package, kind, number, kept = job
    file = kept / f"{kind}{number:03d}.json" if kept else None
    if file is not None and file.exists():
        return _from_json(json.loads(file.read_text()))
    cv2.setNumThreads(1)
    detector = open_detector(package, "onnx")
    reading = (read_normal if kind == "normal" else read_abnormal)(detector, number)
    print(
        f"{kind} {number}: highest {reading.abnormal[:5].round(3)}, again {reading.again[:5].round(3)}",
        file=sys.stderr,
        flush=True,
    )
    if file is not None:
        file.write_text(json.dumps(_to_json(reading)))
    return reading


def _to_json(reading: Reading) -> dict[str, Any]:
    return {
        "abnormal": reading.abnormal.tolist(),
        "again": [None if np.isnan(value) else value for value in reading.again.tolist()],
        "cells": reading.cells,
        "looks": reading.looks.round(4).tolist(),
    }


def _from_json(body: dict[str, Any]) -> Reading:
    again = np.array(body["again"], np.float64)
    return Reading(np.array(body["abnormal"]), again, body["cells"], np.array(body["looks"]).reshape(-1, 2))
