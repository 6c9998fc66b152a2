"""On what grounds may the simulated rig exclude a slide? Measures the shipped detector on slides it never saw.

    python -m scripts.make_evaluation_record [--slides 100] [--kept FOLDER]

The slides are those of ``scripts/evaluation_slides.py``. Writes hardware_profiles/simulated.evaluation.json, for slides
of which every cell is seen once, and hardware_profiles/simulated-again.evaluation.json, for those of which the most
suspicious ones are taken again.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detection.evaluation import at_threshold, auc, auc_interval, safe_point
from detection.package import DetectorPackage, default_package
from detection.record import SUFFIX, EvaluationRecord, TakenAgain
from scanner.pipeline.verdict import rig_hash
from scanner.storage.profiles import read_profile
from scripts.evaluation_slides import CAPTURE, SEED, Reading, asked, read_slides, scores_of

PROFILE = Path(__file__).resolve().parents[1] / "hardware_profiles" / "simulated.yaml"
LEAST_EXCLUDED = 0.25
LEAST_ABNORMAL = 100
DATA = (
    "{count} normal simulated slides of 5 x 5 mm with 5,500 squamous cells, and {count} abnormal ones with 5 abnormal "
    "cells each, seeds {seed} and later, none trained on; of the abnormal ones the fields that show an abnormal cell "
    "were read and joined with the cells of a normal slide"
)
AGAIN = TakenAgain(**CAPTURE.model_dump())


def main() -> int:
    """Measure and write; returns the exit code."""
    count, kept = asked(__doc__ or "")
    abnormal, normal = read_slides(default_package(), range(count), kept)
    for again, name in ((None, PROFILE.stem), (AGAIN, f"{PROFILE.stem}-again")):
        record = record_of(abnormal, normal, again)
        PROFILE.with_name(f"{name}{SUFFIX}").write_text(record.model_dump_json(indent=1) + "\n")
        print(record.model_dump_json(indent=1))
    return 0


def record_of(
    abnormal: Sequence[Reading], normal: Sequence[Reading], again: TakenAgain | None = None
) -> EvaluationRecord:
    """The record with the operating point just under every abnormal slide; ``again``: with cells taken again.

    It is 0, and excludes nothing, where that would exclude hardly any of the normal ones: then their own cells set it,
    and a slide with fewer of those would be excluded on no grounds. So it is with fewer than a hundred abnormal ones:
    that none of them was missed says too little of others.
    """
    scores = scores_of((*abnormal, *normal), again is not None)
    truth = np.arange(len(scores)) < len(abnormal)
    point = safe_point(scores, truth)
    if point.excluded < LEAST_EXCLUDED or len(abnormal) < LEAST_ABNORMAL:
        point = at_threshold(scores, truth, 0.0)
    profile = read_profile(PROFILE)
    return EvaluationRecord(
        detector=DetectorPackage.load(default_package()).hash,
        profile=profile.name,
        rig=rig_hash(profile),
        again=again,
        operating_point=point.threshold,
        urgent_point=float(max(scores[~truth].max(), np.median(scores[truth]))),
        slides={"abnormal": len(abnormal), "normal": len(normal)},
        auc=auc(scores, truth),
        auc_ci95=auc_interval(scores, truth),
        sensitivity=point.sensitivity,
        excluded=point.excluded,
        data=DATA.format(count=len(normal), seed=SEED),
        command=f"python -m scripts.make_evaluation_record --slides {len(normal)}",
    )


if __name__ == "__main__":
    sys.exit(main())
