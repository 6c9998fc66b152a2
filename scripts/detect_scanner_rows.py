"""Does the whole scanner find on a slide what reading its fields one by one found? Rows for the bench.

Five racks of two small slides, one normal and one with five abnormal cells, all of the evaluation record, are scanned
by the command line: overview, focus, placement, merging and cells taken again included. Compared are the slides'
scores with each cell seen once and with the most suspicious ones seen again, the side of the operating point on which
each lies, and the suspicious cells by their place on the glass.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from detection.detector import Detector
from detection.opening import open_detector
from detection.package import default_package
from detection.record import SUFFIX, EvaluationRecord
from detection.scoring import slide_score
from scanner.devices.simulated.specimen import SMALL_DEPOSIT
from scanner.devices.simulated.truth import CellClass
from scanner.offline.simulated_fields import SlideUnderCamera
from scripts.evaluation_slides import (
    ABNORMAL_SLOT,
    CAPTURE,
    DEFOCUS_UM,
    NORMAL_SLOT,
    SEED,
    five_cells,
    found_again,
    found_in,
)
from scripts.rows import Row, at_least, at_most

PROFILES = Path(__file__).resolve().parents[1] / "hardware_profiles"
RACKS = 5
SUSPICIOUS, SAME = 0.5, 0.25
NEAR_UM = 10.0
WANTED = 0.9
MOST_APART = 0.1


@dataclass(frozen=True, slots=True)
class Found:
    """What was found on one slide: (n, 2) slide µm and (n,) P(abnormal) of its candidates.

    ``once`` is its score with each cell seen once, ``again`` with the most suspicious ones taken again.
    """

    once: float
    again: float
    places: NDArray[np.float64]
    chances: NDArray[np.float64]

    def also_in(self, other: "Found") -> tuple[int, int]:
        """(how many suspicious cells the other one has too, of how many)."""
        suspicious = self.places[self.chances >= SUSPICIOUS]
        there = other.places[other.chances >= SAME]
        if not len(suspicious) or not len(there):
            return 0, len(suspicious)
        away = np.hypot(*(suspicious[:, None] - there[None]).transpose(2, 0, 1))
        return int((away.min(axis=1) <= NEAR_UM).sum()), len(suspicious)


def scanner_rows(racks: int = RACKS) -> Iterator[Row]:
    """Two slides a rack."""
    yield from rows_of(pairs_of(range(racks)))


def pairs_of(racks: Iterable[int]) -> list[tuple[Found, Found]]:
    """What was found field by field and by the scanner, of the two slides of each rack."""
    cv2.setNumThreads(1)
    detector = open_detector(default_package(), "onnx")
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        for number in racks:
            whole = _scanned(Path(folder), number)
            kinds: tuple[tuple[int, dict[CellClass, int]], ...] = (
                (NORMAL_SLOT, {}),
                (ABNORMAL_SLOT, five_cells(number)),
            )
            pairs += [(_read(detector, number, slot, kind), whole[slot]) for slot, kind in kinds]
    return pairs


def rows_of(pairs: Sequence[tuple[Found, Found]]) -> Iterator[Row]:
    """How alike both are."""
    for way, seen in (("once", "each cell seen once"), ("again", "cells taken again")):
        scores = np.array([[getattr(one, way) for one in pair] for pair in pairs])
        apart = float(np.abs(scores[:, 0] - scores[:, 1]).max())
        yield at_most(
            f"{seen}: of {len(pairs)} slides scanned whole, the slide scores differ by at most",
            apart,
            MOST_APART,
        )
        record = PROFILES / (f"simulated{SUFFIX}" if way == "once" else f"simulated-again{SUFFIX}")
        point = EvaluationRecord.model_validate_json(record.read_bytes()).operating_point
        if point > 0:
            over = scores >= point
            other_side = int((over[:, 0] != over[:, 1]).sum())
            yield at_most(f"{seen}: slides on the other side of the operating point", other_side, 0)
    for name, counts in (
        ("read field by field, that the scanner finds", [a.also_in(b) for a, b in pairs]),
        ("of the scanner, that are read field by field", [b.also_in(a) for a, b in pairs]),
    ):
        shared, of = (sum(column) for column in zip(*counts, strict=True))
        yield at_least(f"share of {of} suspicious cells {name}", shared / max(of, 1), WANTED)


def _read(detector: Detector, number: int, slot: int, abnormal: dict[CellClass, int]) -> Found:
    """The slide's fields one by one, without a scanner."""
    slide = SlideUnderCamera((SEED + number, slot), abnormal, SMALL_DEPOSIT)
    merged, defocus_um = found_in(detector, slide, slide.scan(DEFOCUS_UM))
    found = merged.detections
    centres = found.boxes[:, :2] + found.boxes[:, 2:] / 2
    places = np.array([slide.grid.to_slide(float(u), float(v)) for u, v in centres]).reshape(-1, 2)
    chances = found.abnormal.astype(np.float64)
    counted = np.sort(chances)[::-1]
    counted[: CAPTURE.cells] = found_again(detector, slide, merged, defocus_um)
    return Found(slide_score(chances), slide_score(counted), places, chances)


def _scanned(folder: Path, number: int) -> dict[int, Found]:
    """Both slides of a rack by the command line, by slot."""
    rig, out = folder / f"rig{number}", folder / f"run{number}"
    shutil.copytree(PROFILES, rig)
    diagnosis = "+".join(f"{kind.value}:{n}" for kind, n in five_cells(number).items())
    said = {"Preparations": "small-liquid-based", "Diagnoses": f"normal;{diagnosis}"}
    wiring = rig / "simulated.cfg"
    lines = wiring.read_text().splitlines()
    for name, value in said.items():
        line = f"#py Property,World,{name},"
        lines = [f"{line}{value}" if entry.startswith(line) else entry for entry in lines]
    wiring.write_text("\n".join(lines) + "\n")
    command = [
        sys.executable,
        "-m",
        "scanner.cli",
        "run",
        "--profile",
        str(rig / "simulated.yaml"),
        "--slides",
        "2",
    ]
    command += [
        "--seed",
        str(SEED + number),
        "--out",
        str(out),
        "--json",
        "--capture-cells",
        str(CAPTURE.cells),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr[-2000:])
    slides: list[dict[str, Any]] = json.loads(done.stdout)["slides"]
    return {slide["slot"]: _of_run(out / slide["image"]) for slide in slides}


def _of_run(image: Path) -> Found:
    table = pq.read_table(image.parent / "findings.parquet")
    places = np.stack([table[name].to_numpy() for name in ("x_um", "y_um")], axis=1).astype(np.float64)
    report = json.loads((image.parent / "report.json").read_text())
    chances = table["score"].to_numpy().astype(np.float64)
    once, again = report["cells_again"]["slide_score_once"], report["slide_score"]
    return Found(float(once), float(again), places, chances)
