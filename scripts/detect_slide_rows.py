"""Does the shipped detector miss an abnormal slide, and how many normal ones may it exclude? Rows for the bench.

    python -m scripts.detect_slide_rows [--slides 100] [--kept FOLDER]

Once with every cell seen once, and once with the most suspicious ones taken again in more planes. A slide with too few
cells counted is never excluded: none of these has too few. The same slides, judged by a rule on the true area and
darkness of nuclei, show whether the simulation is too easy. A hundred of each kind take an hour on two cores.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detection.evaluation import auc, auc_interval, safe_point
from detection.intervals import exact_interval
from detection.package import default_package
from scanner.model.slide import Preparation
from scripts.evaluation_slides import CAPTURE, Reading, asked, read_slides, scores_of
from scripts.nuclear_rule import rule_scores
from scripts.rows import Row, at_least, at_most, row, tell

WANTED_EXCLUDED = 0.6
WANTED_MISSED_BY_RULE = 0.1
LEAST_CELLS = Preparation.THINPREP.least_cells
Numbers = NDArray[np.float64]


def slide_rows(count: int, kept: Path | None = None) -> Iterator[Row]:
    """The slides' figures and the rule's."""
    abnormal, normal = read_slides(default_package(), range(count), kept)
    yield from rows_of(abnormal, normal)


def rows_of(abnormal: Sequence[Reading], normal: Sequence[Reading]) -> Iterator[Row]:
    """Rows of slides that were read."""
    truth = np.arange(len(abnormal) + len(normal)) < len(abnormal)
    shares = []
    for again, seen in ((False, "each cell seen once"), (True, f"{CAPTURE.cells} cells taken again")):
        scores = scores_of((*abnormal, *normal), again)
        point = safe_point(scores, truth)
        missed = int((scores[truth] < point.threshold).sum())
        excluded = int((scores[~truth] < point.threshold).sum())
        yield row(_counted(f"{seen}: abnormal slides missed", missed, len(abnormal)), missed, 0, missed == 0)
        shares.append(excluded / len(normal))
        of = _counted(f"{seen}: normal slides excluded", excluded, len(normal))
        yield at_least(of, shares[-1], WANTED_EXCLUDED)
        yield row(f"{seen}: AUC of slides, 95 % {auc_interval(scores, truth)}", auc(scores, truth))
    few = sum(reading.cells < LEAST_CELLS for reading in normal)
    yield at_most(
        _counted(f"normal slides with fewer than {LEAST_CELLS:,} cells counted", few, len(normal)), few, 0
    )
    rule = rule_scores([reading.looks for reading in (*abnormal, *normal)])
    lost = missed_at_exclusion(rule[truth], rule[~truth], max(*shares, WANTED_EXCLUDED))
    yield at_least(
        "abnormal slides missed by the rule on nuclei at that exclusion", lost, WANTED_MISSED_BY_RULE
    )
    yield row("AUC of slides, rule on nuclei", auc(rule, truth))


def missed_at_exclusion(abnormal: Numbers, normal: Numbers, excluded: float) -> float:
    """Share of the abnormal slides under the point that excludes that share of the normal ones."""
    return float((abnormal < np.quantile(normal, excluded)).mean())


def _counted(what: str, found: int, of: int) -> str:
    low, high = exact_interval(found, of) or (0.0, 1.0)
    return f"{what}, {found} of {of} (95 % {100 * low:.1f} to {100 * high:.1f} %)"


if __name__ == "__main__":
    tell(slide_rows(*asked(__doc__ or "")))
