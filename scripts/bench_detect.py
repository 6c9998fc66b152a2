"""How fast and how good is the shipped detector? Rows for ``scripts/bench detect [--json]``.

Accuracy is measured on simulated slides that training never saw, beside a control that knows no cells: how dark a
field is. The slides' figures are those of the evaluation record, which scripts/make_evaluation_record.py measures.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.detections import Detections
from detection.detector import Detector, open_detector
from detection.evaluation import auc, average_precision, matched
from detection.merging import TileDetections, merge
from detection.normalisation import optical_density, white_level
from detection.package import default_package
from detection.record import matching, read_records
from detection.scoring import slide_score
from scanner.devices.simulated.truth import ABNORMAL
from scanner.offline.simulated_fields import Field, SlideUnderCamera
from scanner.pipeline.verdict import rig_hash
from scanner.storage.profiles import read_profile

PROFILE = Path(__file__).resolve().parents[1] / "hardware_profiles" / "simulated.yaml"
SEED = 900_001
Row = dict[str, Any]


def row(name: str, value: float | str | None, bar: float | None, met: bool | None) -> Row:
    """One line of the bench."""
    shown = round(value, 4) if isinstance(value, float) else value
    return {"name": name, "value": shown, "bar": bar, "met": met}


def cpu_ms(work: Callable[[], object], times: int) -> float:
    """CPU milliseconds of one call, the first left out."""
    work()
    start = time.process_time()
    for _ in range(times):
        work()
    return 1000 * (time.process_time() - start) / times


def speed_rows(detector: Detector, fields: list[Field], um_per_px: float) -> list[Row]:
    """CPU time of a tile and of merging a slide."""
    images = [field.rgb for field in fields[:8]]
    tile = cpu_ms(lambda: detector.detect(images, um_per_px), 3) / len(images)
    tiles = crowded_tiles()
    merging = cpu_ms(lambda: merge(tiles), 2) / 1000
    return [
        row("CPU ms per 1024² tile", tile, 80.0, tile <= 80),
        row("merging 40,000 boxes of 1,500 tiles, CPU s", merging, 0.5, merging <= 0.5),
    ]


def crowded_tiles() -> list[TileDetections]:
    """1,500 tiles with 27 boxes each."""
    rng = np.random.default_rng(SEED)
    tiles = []
    for number in range(1500):
        boxes = np.hstack([rng.uniform(0, 950, (27, 2)), rng.uniform(20, 110, (27, 2))])
        found = Detections.rounded(boxes, np.zeros(27), rng.random(27), rng.random(27), np.zeros(27))
        tiles.append(TileDetections(number, number % 40 * 922, number // 40 * 922, 1024, 1024, found))
    return tiles


def fields_of_unseen_slides() -> tuple[list[Field], float]:
    """48 fields of two slides: one normal, one with many abnormal cells."""
    rng = np.random.default_rng(SEED)
    fields: list[Field] = []
    for number, count in enumerate((0, 250)):
        slide = SlideUnderCamera((SEED, number), dict.fromkeys(sorted(ABNORMAL), count) if count else {})
        for _ in range(24):
            x, y = rng.uniform(-6_500, 6_500, 2)
            fields.append(slide.look((45_000 + float(x), 12_500 + float(y)), float(rng.normal(0, 0.4))))
    return fields, slide.grid.um_per_px


def accuracy_rows(detector: Detector, fields: list[Field], um_per_px: float) -> list[Row]:
    """Average precision of abnormal cells, and fields ranked by the detector and by darkness alone."""
    answers = detector.detect([field.rgb for field in fields], um_per_px)
    truths = [abnormal_boxes(field) for field in fields]
    hits = [matched(a.boxes, a.abnormal, t) for a, t in zip(answers, truths, strict=True)]
    scores = np.concatenate([a.abnormal for a in answers]).astype(float)
    precision = average_precision(scores, np.concatenate(hits), sum(len(t) for t in truths))
    abnormal = [len(t) > 0 for t in truths]
    darkness = [float(optical_density(f.rgb, white_level(f.rgb)).mean()) for f in fields]
    return [
        row("average precision of abnormal cells at IoU 0.5, unseen slides", precision, None, None),
        row(
            "AUC of fields, detector",
            auc([slide_score(a.abnormal, 1) for a in answers], abnormal),
            None,
            None,
        ),
        row("AUC of fields, darkness alone (control)", auc(darkness, abnormal), None, None),
    ]


def abnormal_boxes(field: Field) -> NDArray[np.float32]:
    """(m, 4) the true boxes of abnormal cells."""
    chosen = [kind in ABNORMAL for kind in field.classes]
    return np.asarray(field.boxes[np.array(chosen, bool)], dtype=np.float32)


def slide_rows(detector: Detector) -> list[Row]:
    """What the evaluation record of the simulated rig says about this detector."""
    profile = read_profile(PROFILE)
    record = matching(read_records(PROFILE.parent), detector.package.hash, profile.name, rig_hash(profile))
    if record is None:
        return [row("evaluation record for this detector on the simulated rig", "none", None, False)]
    return [
        row(f"AUC of slides {record.slides}, 95 % {record.auc_ci95}", record.auc, None, None),
        row("sensitivity at the operating point", record.sensitivity, None, None),
        row("normal slides excluded at the operating point", record.excluded, None, None),
    ]


def main() -> int:
    """Print the rows; returns the exit code."""
    cv2.setNumThreads(1)
    detector = open_detector(default_package(), "onnx")
    fields, um_per_px = fields_of_unseen_slides()
    rows = [*speed_rows(detector, fields, um_per_px), *accuracy_rows(detector, fields, um_per_px)]
    rows += slide_rows(detector)
    if "--json" in sys.argv[1:]:
        print(json.dumps({"rows": rows}))
    else:
        for entry in rows:
            print(f"{entry['name']}: {entry['value']} (bar {entry['bar']}, met {entry['met']})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
