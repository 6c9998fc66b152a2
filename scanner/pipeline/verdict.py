"""What happens to the case? ``negative-excluded`` only where every condition holds; all else says why not."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from detection.record import EvaluationRecord, TakenAgain
from scanner.model.profile import Profile
from scanner.model.report import Verdict
from scanner.model.slide import Preparation
from scanner.storage.hashes import text_hash

HIGH_GRADE = frozenset({"HSIL", "SCC", "AGC", "ASC-H"})
URGENT_CELL = 0.9
OBSCURED, PARTLY_OBSCURED = 0.75, 0.5
"""Shares of the sample that cannot be judged, beyond which a slide is unsatisfactory, and from which it says so.

The Bethesda System, 3rd ed.: more than 75 %, and 50 to 75 %, of the squamous cells obscured.
"""
LIKELY = 0.5


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a slide's verdict rests on, after its last plan.

    Attributes:
        missing: planned tiles that were neither captured, nor skipped before the first move, nor failed.
        failed: tiles that could not be captured.
        unmeasured: tiles with sample whose own focus is not known.
        unreadable: tiles with sample too far out of focus.
        undetected: captured tiles that the detector did not see.
        region_given: was the region chosen by hand?
        sample_outside: does a border still hold sample that no plan covers?
        sample_covered: share of the sample that was captured, None without an overview.
        preparation: says how many squamous cells are enough.
        cells: squamous cells counted.
        slide_score: 0..1, as the record's operating point was measured; None without a detector.
        top: (class, score) of the most abnormal findings.
        record: the evaluation record that matches detector and rig, None without one.
        with_sample: tiles that show sample, failed ones included.
        blood: share of the sample under blood, None where nobody can tell.
        score_again: the slide's score with what more planes show of some cells, where that is higher and the record
            knows nothing of it; None without any.
        not_again: cells and tiles, in words, that keep the slide from being read as the record's slides were.
    """

    missing: int
    failed: int
    unmeasured: int
    unreadable: int
    undetected: int
    region_given: bool
    sample_outside: bool
    sample_covered: float | None
    preparation: Preparation
    cells: int
    slide_score: float | None
    top: Sequence[tuple[str, float]]
    record: EvaluationRecord | None
    with_sample: int = 0
    blood: float | None = None
    score_again: float | None = None
    not_again: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict, with a sentence for every condition of a negative that does not hold."""

    verdict: Verdict
    reasons: tuple[str, ...]


def decide(evidence: Evidence) -> Decision:
    """The design's rule "When a slide may be called negative"; the gravest verdict that applies."""
    gaps = _tile_gaps(evidence)
    coverage = _coverage_gaps(evidence)
    few, obscured = _too_few_cells(evidence), _obscured(evidence)
    suspicion = _suspicion(evidence)
    reasons = (*gaps, *coverage, *few, *obscured, *suspicion)
    if _is_urgent(evidence):
        return Decision(Verdict.URGENT, (*_urgent_words(evidence), *reasons))
    if evidence.missing or evidence.failed:
        return Decision(Verdict.INCOMPLETE, reasons)
    if (few or _hidden(evidence)) and not coverage and not _is_suspicious(evidence):
        return Decision(Verdict.UNSATISFACTORY, reasons)
    return Decision(Verdict.REVIEW if reasons else Verdict.NEGATIVE_EXCLUDED, reasons)


def rig_hash(profile: Profile) -> str:
    """SHA-256 of what a detector sees of a rig: its name, camera and active objective."""
    parts = (profile.camera, profile.active_objective)
    seen = [profile.name, *(part.model_dump(mode="json") for part in parts)]
    return text_hash(json.dumps(seen, sort_keys=True))


def taken_again(profile: Profile) -> TakenAgain | None:
    """How a rig takes suspicious cells again, None where it takes none."""
    asked = profile.capture_cells
    return TakenAgain(**asked.model_dump()) if asked.cells else None


def _tile_gaps(evidence: Evidence) -> list[str]:
    counted = (
        (evidence.missing, "not captured"),
        (evidence.failed, "failed and could not be captured"),
        (evidence.unmeasured, "with sample without a focus measurement of their own"),
        (evidence.unreadable, "with sample too far out of focus to be read"),
        (evidence.undetected, "not seen by the detector"),
    )
    return [f"{n} {'tile' if n == 1 else 'tiles'} {what}" for n, what in counted if n]


def _coverage_gaps(evidence: Evidence) -> list[str]:
    if evidence.region_given:
        return ["only a region chosen by hand was scanned: sample outside it was not looked at"]
    if evidence.sample_outside:
        return ["a border of the scan still holds sample that no plan covers"]
    if evidence.sample_covered is None:
        return ["nothing shows where the sample ends: there was no overview"]
    if evidence.sample_covered < 0.9995:
        return [f"only {100 * evidence.sample_covered:.1f} % of the sample was captured"]
    return []


def _too_few_cells(evidence: Evidence) -> list[str]:
    least = evidence.preparation.least_cells
    if evidence.slide_score is None or evidence.cells >= least:
        return []
    kind = evidence.preparation.value
    return [f"{evidence.cells:,} squamous cells counted, a {kind} slide needs {least:,}"]


def _obscured(evidence: Evidence) -> list[str]:
    said = []
    if _blood(evidence) >= PARTLY_OBSCURED:
        said.append(f"blood covers {100 * _blood(evidence):.0f} % of the sample")
    if _unreadable_share(evidence) >= PARTLY_OBSCURED:
        said.append(f"{100 * _unreadable_share(evidence):.0f} % of the tiles with sample cannot be read")
    return said


def _hidden(evidence: Evidence) -> bool:
    """Is more of the sample hidden than may be? Only a detector can say that what is left raises no suspicion."""
    most = max(_blood(evidence), _unreadable_share(evidence))
    return most > OBSCURED and evidence.slide_score is not None


def _blood(evidence: Evidence) -> float:
    return evidence.blood or 0.0


def _unreadable_share(evidence: Evidence) -> float:
    return evidence.unreadable / evidence.with_sample if evidence.with_sample else 0.0


def _suspicion(evidence: Evidence) -> list[str]:
    if evidence.slide_score is None:
        return ["no detector looked at this slide"]
    if evidence.record is None:
        return ["no evaluation record matches this detector on this rig, so no slide may be excluded"]
    if not evidence.record.excludes:
        return ["by its evaluation record this detector excludes no slide of this rig"]
    if not _over_the_point(evidence):
        return list(evidence.not_again)
    point = evidence.record.operating_point
    if evidence.slide_score >= point:
        return [f"slide score {evidence.slide_score:.4f} is not under the operating point {point:.4f}"]
    return [
        f"with more planes some cells look more suspicious: the slide score would be {evidence.score_again:.4f}, not "
        f"under the operating point {point:.4f}"
    ]


def _is_suspicious(evidence: Evidence) -> bool:
    """Over the operating point; where there is none, more likely abnormal than not."""
    if evidence.record is None or not evidence.record.excludes:
        return max(evidence.slide_score or 0.0, evidence.score_again or 0.0) >= LIKELY
    return _over_the_point(evidence)


def _over_the_point(evidence: Evidence) -> bool:
    """With the higher of a cell's two scores: a second look never makes a slide less suspicious."""
    if evidence.record is None or evidence.slide_score is None:
        return False
    return max(evidence.slide_score, evidence.score_again or 0.0) >= evidence.record.operating_point


def _is_urgent(evidence: Evidence) -> bool:
    if evidence.record is None or evidence.slide_score is None:
        return False
    high = any(name in HIGH_GRADE and score >= URGENT_CELL for name, score in evidence.top)
    return high and evidence.slide_score >= evidence.record.urgent_point


def _urgent_words(evidence: Evidence) -> list[str]:
    names = sorted({name for name, score in evidence.top if name in HIGH_GRADE and score >= URGENT_CELL})
    return [f"cells that look like {', '.join(names)} rank highest: look at this slide first"]
