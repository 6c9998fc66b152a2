"""How good is a detector on single cells: found, ranked, and as probable as it says; for all, by class and by group?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detection.appearance import Third, thirds_of_hue, thirds_of_white
from detection.curves import calibration_error, reliability
from detection.evaluation import Numbers, average_precision, froc, matched
from detection.figures import CellFigures, GroupFigures, Reliability
from detection.intervals import Interval, band, bootstrap
from detection.seen import Seen

LEAST_SLIDES = 5
HIT_IOU = 0.3
"""The overlap that makes a box an abnormal cell when P(abnormal) is calibrated; AP asks for 0.5."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """m boxes of g slides, the best first.

    Attributes:
        scores: (m,) what ranks them.
        hits: (m,) whether each hit a true box of its own.
        owner: (m,) which slide each lies on.
        truths: (g,) true boxes of each slide.
        area_mm2: (g,) seen of each slide.
    """

    scores: Numbers
    hits: NDArray[np.bool_]
    owner: NDArray[np.int64]
    truths: NDArray[np.int64]
    area_mm2: Numbers

    @property
    def may_be_drawn(self) -> bool:
        """Have enough slides true boxes for a bootstrap to say anything?"""
        return int((self.truths > 0).sum()) >= LEAST_SLIDES

    def precision(self, drawn: NDArray[np.int64] | None = None) -> float | None:
        """Average precision, of all slides or with each as often as it was drawn."""
        if drawn is None:
            return average_precision(self.scores, self.hits, int(self.truths.sum()))
        return average_precision(self.scores, self.hits, int(drawn @ self.truths), drawn[self.owner])

    def precision_interval(self) -> Interval | None:
        """95 % of :meth:`precision`, bootstrapped by slide; None where fewer than 5 slides have true boxes."""
        return bootstrap(self.precision, len(self.truths)) if self.may_be_drawn else None

    def froc(self, drawn: NDArray[np.int64] | None = None) -> dict[str, float]:
        """Sensitivity at given numbers of false boxes on a square millimetre."""
        if drawn is None:
            return froc(self.scores, self.hits, int(self.truths.sum()), float(self.area_mm2.sum()))
        truths, area = int(drawn @ self.truths), float(drawn @ self.area_mm2)
        return froc(self.scores, self.hits, truths, area, drawn[self.owner])

    def froc_interval(self) -> dict[str, Interval]:
        """95 % of :meth:`froc`, bootstrapped by slide; empty as above, without the rates where no draw differs."""

        def found(drawn: NDArray[np.int64]) -> Numbers | None:
            return np.array(list(self.froc(drawn).values())) if drawn @ self.truths else None

        ends = band(found, len(self.truths)) if self.may_be_drawn else None
        if ends is None:
            return {}
        return {rate: (float(a), float(b)) for rate, a, b in zip(self.froc(), *ends, strict=True) if b > a}


def ranking(seen: Sequence[Seen], wanted: Sequence[int], score: str, least_iou: float = 0.5) -> Ranking:
    """All boxes found, ranked by ``abnormal`` or ``scores``; true are those of the classes ``wanted``."""
    names, place = np.unique(np.array([s.slide for s in seen], str), return_inverse=True)
    truth = [s.truth[np.isin(s.labels, wanted)] for s in seen]
    values = [getattr(s.found, score) for s in seen]
    hits = [matched(s.found.boxes, v, t, least_iou) for s, v, t in zip(seen, values, truth, strict=True)]
    scores = np.concatenate([np.zeros(0), *values])
    order = np.argsort(-scores, kind="stable")
    return Ranking(
        scores=scores[order],
        hits=np.concatenate([np.zeros(0, bool), *hits])[order],
        owner=np.repeat(place, [len(v) for v in values])[order],
        truths=np.bincount(place, [len(t) for t in truth], len(names)).astype(np.int64),
        area_mm2=np.bincount(place, [s.area_mm2 for s in seen], len(names)).astype(np.float64),
    )


def of_class(seen: Sequence[Seen], index: int) -> Ranking:
    """The boxes that were called one class, by their object score."""
    own = [replace(s, found=s.found.take(s.found.classes == index)) for s in seen]
    return ranking(own, [index], "scores")


def cell_figures(seen: Sequence[Seen], abnormal: Sequence[int], classes: dict[str, int]) -> CellFigures:
    """All that these fields can tell; ``classes`` names the classes of the data and their place in the package."""
    whole = ranking(seen, abnormal, "abnormal")
    each = {name: of_class(seen, index) for name, index in classes.items()}
    return CellFigures(
        ap50=whole.precision(),
        ap50_any=ranking(seen, list(classes.values()), "scores").precision(),
        ap50_of={name: own.precision() for name, own in each.items()},
        froc=whole.froc(),
        ap50_ci95=whole.precision_interval(),
        ap50_of_ci95={name: own.precision_interval() for name, own in each.items()},
        boxes_of={name: int(own.truths.sum()) for name, own in each.items()},
        froc_ci95=whole.froc_interval(),
        area_mm2=float(whole.area_mm2.sum()),
        calibration=calibration(seen, abnormal),
        groups=tuple(_groups(seen, abnormal)),
        notes=tuple(_notes(seen, whole)),
    )


def calibration(seen: Sequence[Seen], abnormal: Sequence[int]) -> Reliability:
    """Is P(abnormal) of a box as often true as it says? True: it overlaps an abnormal cell by 0.3 or more."""
    loose = ranking(seen, abnormal, "abnormal", HIT_IOU)
    bins = reliability(loose.scores, loose.hits)
    return Reliability(error=calibration_error(bins), bins=tuple(bins))


def groups_of(seen: Sequence[Seen]) -> list[tuple[str, list[Third]]]:
    """How images fall into groups: by the ``group`` they were given, else by white level and by hue of the stain."""
    names = sorted({s.group for s in seen})
    if names != [""]:
        given = [(name or "not said", np.array([s.group == name for s in seen])) for name in names]
        return [("group", given)]
    looks = [s.looks for s in seen]
    found = [("white level", thirds_of_white(looks)), ("hue of the stain", thirds_of_hue(looks))]
    return [(by, thirds) for by, thirds in found if thirds]


def _groups(seen: Sequence[Seen], abnormal: Sequence[int]) -> list[GroupFigures]:
    figures = []
    for by, parts in groups_of(seen):
        for name, mask in parts:
            here = [s for s, is_here in zip(seen, mask, strict=True) if is_here]
            own = ranking(here, abnormal, "abnormal")
            figures.append(
                GroupFigures(
                    by=by,
                    name=name,
                    images=int(mask.sum()),
                    abnormal=int(own.truths.sum()),
                    ap50=own.precision(),
                    ap50_ci95=own.precision_interval(),
                    calibration_error=calibration(here, abnormal).error,
                )
            )
    return figures


def _notes(seen: Sequence[Seen], whole: Ranking) -> list[str]:
    notes = []
    if not whole.truths.any():
        notes.append("no abnormal cell is labelled: no average precision and no FROC can be given")
    elif not whole.may_be_drawn:
        notes.append(
            f"fewer than {LEAST_SLIDES} slides have abnormal cells: no interval of theirs can be given"
        )
    if len(whole.truths) == len(seen) > 1:
        notes.append(
            "every image counts as a slide of its own; `slide` of a COCO image says which belong together"
        )
    return notes
