"""How good is a detector on slides: ranked by score, and excluded under an operating point?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detection.curves import rising, roc
from detection.evaluation import (
    Numbers,
    OperatingPoint,
    at_sensitivity,
    at_threshold,
    auc,
    auc_interval,
    safe_point,
)
from detection.figures import Control, SlideFigures, Unseen
from detection.intervals import Interval, draws, exact_interval, percentiles
from detection.scoring import slide_score
from detection.seen import Seen

SECOND_READING = 0.1
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Rule:
    """How the operating point is chosen: to reach a sensitivity, as given, or under every abnormal slide."""

    sensitivity: float | None = None
    threshold: float | None = None

    @property
    def words(self) -> str:
        """The rule for a person."""
        if self.threshold is not None:
            return "the threshold given"
        if self.sensitivity is not None:
            return (
                f"the highest threshold with a sensitivity of at least {self.sensitivity:g} on these slides"
            )
        return "below every abnormal slide"

    def point(self, scores: Numbers, truth: Flags) -> OperatingPoint | None:
        """The operating point on these slides; None where it has to be chosen and no slide is abnormal."""
        if self.threshold is not None:
            return at_threshold(scores, truth, self.threshold)
        if not truth.any():
            return None
        if self.sensitivity is not None:
            return at_sensitivity(scores, truth, self.sensitivity)
        return safe_point(scores, truth)


SAFE = Rule()


@dataclass(frozen=True, slots=True)
class Slides:
    """n slides: their scores, whether a cell labelled abnormal lies on them, and how dark they are."""

    names: tuple[str, ...]
    scores: Numbers
    truth: Flags
    density: Numbers
    dark_share: Numbers


def slides_of(seen: Sequence[Seen], abnormal: Sequence[int]) -> Slides:
    """Fields put together by slide, in the order of the slides' names."""
    own: dict[str, list[Seen]] = {}
    for s in seen:
        own.setdefault(s.slide, []).append(s)
    names = tuple(sorted(own))
    return Slides(
        names=names,
        scores=np.array([slide_score(np.concatenate([s.found.abnormal for s in own[n]])) for n in names]),
        truth=np.array([any(np.isin(s.labels, abnormal).any() for s in own[n]) for n in names], bool),
        density=np.array([np.mean([s.looks.density for s in own[n]]) for n in names]),
        dark_share=np.array([np.mean([s.looks.dark_share for s in own[n]]) for n in names]),
    )


def slide_figures(slides: Slides, rule: Rule) -> SlideFigures:
    """All that these slides can tell; what they cannot is None and stands in the notes."""
    yes, no = int(slides.truth.sum()), int((~slides.truth).sum())
    point = rule.point(slides.scores, slides.truth)
    found = SlideFigures(
        auc=auc(slides.scores, slides.truth),
        auc_ci95=auc_interval(slides.scores, slides.truth),
        abnormal=yes,
        normal=no,
        rule=rule.words,
        controls=controls(slides.truth, slides.scores, slides.density, slides.dark_share),
        unseen=on_unseen(slides.scores, slides.truth, rule),
    )
    at_point = {} if point is None else _at_point(slides, point)
    whole = found.model_copy(update=at_point)
    return whole.model_copy(update={"notes": tuple(_notes(whole, rule))})


def _at_point(slides: Slides, point: OperatingPoint) -> dict[str, object]:
    yes, no = slides.scores[slides.truth], slides.scores[~slides.truth]
    caught, excluded = int((yes >= point.threshold).sum()), int((no < point.threshold).sum())
    return {
        "threshold": point.threshold,
        "sensitivity": point.sensitivity if len(yes) else None,
        "sensitivity_ci95": exact_interval(caught, len(yes)),
        "excluded": point.excluded if len(no) else None,
        "excluded_ci95": exact_interval(excluded, len(no)),
        "excluded_after_second_reading": (1 - SECOND_READING) * point.excluded if len(no) else None,
    }


def controls(truth: Flags, scores: Numbers, density: Numbers, dark_share: Numbers) -> tuple[Control, ...]:
    """How well darkness alone ranks what the detector ranked by ``scores``; none where a side is missing."""
    area = auc(scores, truth)
    if area is None:
        return ()
    named = (("mean optical density", density), ("share of dark area", dark_share))
    return tuple(_control(name, values, scores, truth) for name, values in named)


def _control(name: str, values: Numbers, scores: Numbers, truth: Flags) -> Control:
    own = auc(values, truth) or 0.0
    facing = values if own >= 0.5 else -values
    return Control(
        name=name,
        auc=own,
        auc_ci95=auc_interval(values, truth),
        ahead=(auc(scores, truth) or 0.0) - max(own, 1 - own),
        ahead_ci95=_ahead_interval(scores, facing, truth),
    )


def _ahead_interval(scores: Numbers, others: Numbers, truth: Flags) -> Interval | None:
    """95 % of the difference of two AUCs on the same draws."""
    yes, no = np.flatnonzero(truth), np.flatnonzero(~truth)
    label = np.arange(len(truth)) < len(yes)
    ahead = []
    for drawn_yes, drawn_no in zip(draws(len(yes), 0), draws(len(no), 1), strict=True):
        picked = np.concatenate([np.repeat(yes, drawn_yes), np.repeat(no, drawn_no)])
        ahead.append((auc(scores[picked], label) or 0.0) - (auc(others[picked], label) or 0.0))
    return percentiles(ahead)


def control_notes(area: float | None, blind: Sequence[Control]) -> list[str]:
    """A warning for each control that the detector is not shown to be better than."""
    return [
        f"{c.name} alone, which knows no cells, reaches an AUC of {c.best:.3f}"
        f"{'' if c.auc >= 0.5 else ' (lighter is abnormal)'}: "
        f"these data do not show that the detector's {area:.3f} comes from cells"
        for c in blind
        if c.is_rival
    ]


def on_unseen(scores: Numbers, truth: Flags, rule: Rule) -> Unseen | None:
    """A rule's point chosen on drawn slides and measured on the others; None for a given threshold or few slides."""
    yes, no = scores[truth], scores[~truth]
    if rule.threshold is not None or len(yes) < 2 or len(no) < 2:
        return None
    caught, excluded = [], []
    for drawn_yes, drawn_no in zip(draws(len(yes), 0), draws(len(no), 1), strict=True):
        picked = np.concatenate([np.repeat(yes, drawn_yes), np.repeat(no, drawn_no)])
        point = rule.point(picked, np.arange(len(picked)) < len(yes))
        left_yes, left_no = yes[drawn_yes == 0], no[drawn_no == 0]
        if point is not None and len(left_yes) and len(left_no):
            caught.append(float((left_yes >= point.threshold).mean()))
            excluded.append(float((left_no < point.threshold).mean()))
    return Unseen(
        sensitivity=float(np.mean(caught)),
        sensitivity_ci95=percentiles(caught),
        excluded=float(np.mean(excluded)),
        excluded_ci95=percentiles(excluded),
    )


def _notes(found: SlideFigures, rule: Rule) -> list[str]:
    notes = []
    if not found.normal:
        notes.append("no normal slide: no AUC and no exclusion rate can be given")
    if not found.abnormal:
        chosen = "" if rule.threshold is not None else ", and no operating point can be chosen"
        notes.append(f"no abnormal slide: no AUC and no sensitivity can be given{chosen}")
    if found.abnormal and found.normal and rule.threshold is None:
        notes.append(
            "the operating point was chosen on these very slides: what it does on others is nearer to 'slides left out'"
        )
    return notes + control_notes(found.auc, found.controls)


def roc_band(scores: Numbers, truth: Flags, grid: Numbers) -> tuple[Numbers, Numbers]:
    """(n,) lowest and highest true positive rate of 95 % of the draws at each false positive rate of ``grid``."""
    yes, no = int(truth.sum()), int((~truth).sum())
    weight = np.zeros(len(truth))
    rates = []
    for drawn_yes, drawn_no in zip(draws(yes, 0), draws(no, 1), strict=True):
        weight[truth], weight[~truth] = drawn_yes, drawn_no
        rates.append(rising(grid, *roc(scores, truth, weight)))
    low, high = np.percentile(np.stack(rates), [2.5, 97.5], axis=0)
    return low, high
