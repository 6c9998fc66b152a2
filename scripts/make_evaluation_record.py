"""On what grounds may the simulated rig exclude a slide? Measures the shipped detector on slides it never saw.

    python scripts/make_evaluation_record.py --normal 4 --abnormal 24

Normal slides are looked at whole. Of an abnormal slide the fields that hold an abnormal cell are looked at, and joined
with all cells of one of the normal slides: both kinds have the same normal cells but for those few. Fields lie within
the focus that the rig reaches. Writes hardware_profiles/simulated.evaluation.json.
"""

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detection.detector import Detector, open_detector
from detection.evaluation import auc, auc_interval, safe_point
from detection.merging import TileDetections, merge
from detection.package import default_package
from detection.record import SUFFIX, EvaluationRecord
from detection.scoring import slide_score
from scanner.devices.simulated.field import SIDE_PX
from scanner.devices.simulated.rack import SimulatedRack
from scanner.devices.simulated.truth import ABNORMAL
from scanner.offline.simulated_fields import Field, SlideUnderCamera
from scanner.pipeline.findings import count_cells
from scanner.pipeline.verdict import rig_hash
from scanner.storage.profiles import read_profile

PROFILE = Path(__file__).resolve().parents[1] / "hardware_profiles" / "simulated.yaml"
SEED = 700_001
DEFOCUS_UM = tuple(float(v) for v in np.random.default_rng(SEED).normal(0, 0.35, 997))
DATA = (
    "{normal} whole normal simulated slides of the frozen kind, and {abnormal} abnormal ones (5 to 55 abnormal cells "
    "among 20,000), seeds {seed} and later, none trained on; of the abnormal ones the fields with abnormal cells were "
    "looked at and joined with the cells of a normal slide"
)
Chances = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Looked:
    """P(abnormal) of every cell found, and how many squamous cells were counted."""

    abnormal: Chances
    cells: int


def main() -> int:
    """Measure and write; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--normal", type=int, default=8)
    parser.add_argument("--abnormal", type=int, default=40)
    given = parser.parse_args()
    detector = open_detector(default_package(), "onnx")
    normal = [look_at_normal(detector, number) for number in range(given.normal)]
    abnormal = [look_at_abnormal(detector, number) for number in range(given.abnormal)]
    joined = [np.concatenate([chances, normal[i % len(normal)]]) for i, chances in enumerate(abnormal)]
    for chances in joined:
        print(f"abnormal, joined: score {slide_score(chances):.4f}", file=sys.stderr)
    record = record_of(detector, [slide_score(c) for c in joined], [slide_score(c) for c in normal])
    target = PROFILE.with_name(f"{PROFILE.stem}{SUFFIX}")
    target.write_text(record.model_dump_json(indent=1) + "\n")
    print(record.model_dump_json(indent=1))
    return 0


def look_at_normal(detector: Detector, number: int) -> Chances:
    """A whole normal slide."""
    slide = SlideUnderCamera((SEED + number, 1), {})
    looked = read(detector, slide.scan(DEFOCUS_UM), slide.grid.um_per_px)
    score = slide_score(looked.abnormal)
    print(f"normal {number}: score {score:.4f}, {looked.cells} cells", file=sys.stderr, flush=True)
    return looked.abnormal


def look_at_abnormal(detector: Detector, number: int) -> Chances:
    """The fields of an abnormal slide around its abnormal cells."""
    abnormal = SimulatedRack(seed=SEED + number).abnormal(2 + 2 * (number % 4))
    slide = SlideUnderCamera((SEED + number, 2), abnormal)
    places = [(t.x_um, t.y_um) for t in slide.truth() if t.cell_class in ABNORMAL]
    fields = (slide.look(place, DEFOCUS_UM[i % len(DEFOCUS_UM)]) for i, place in enumerate(places))
    looked = read(detector, fields, slide.grid.um_per_px)
    words = ", ".join(f"{n} {kind.value}" for kind, n in abnormal.items())
    score = slide_score(looked.abnormal)
    print(f"abnormal {number} ({words}): alone {score:.4f}", file=sys.stderr, flush=True)
    return looked.abnormal


def read(detector: Detector, fields: Iterable[Field], um_per_px: float) -> Looked:
    """What a run would make of these fields."""
    tiles = []
    for number, field in enumerate(fields):
        (found,) = detector.detect([field.rgb], um_per_px)
        tiles.append(TileDetections(number, field.corner[0], field.corner[1], SIDE_PX, SIDE_PX, found))
    found = merge(tiles).detections
    package = detector.package
    cells = count_cells(found, package.classes, package.config.rackscan.cell_floor)
    return Looked(found.abnormal, cells)


def record_of(detector: Detector, abnormal: list[float], normal: list[float]) -> EvaluationRecord:
    """The record with the operating point just under every abnormal slide."""
    scores = np.array([*abnormal, *normal])
    truth = np.array([True] * len(abnormal) + [False] * len(normal))
    point = safe_point(scores, truth)
    profile = read_profile(PROFILE)
    return EvaluationRecord(
        detector=detector.package.hash,
        profile=profile.name,
        rig=rig_hash(profile),
        operating_point=point.threshold,
        urgent_point=float(max(scores[~truth].max(), np.median(scores[truth]))),
        slides={"abnormal": len(abnormal), "normal": len(normal)},
        auc=auc(scores, truth),
        auc_ci95=auc_interval(scores, truth),
        sensitivity=point.sensitivity,
        excluded=point.excluded,
        data=DATA.format(normal=len(normal), abnormal=len(abnormal), seed=SEED),
        command=f"python scripts/make_evaluation_record.py --normal {len(normal)} --abnormal {len(abnormal)}",
    )


if __name__ == "__main__":
    sys.exit(main())
