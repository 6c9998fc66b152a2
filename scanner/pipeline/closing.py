"""What is said of a slide once its last tile is read: findings, counts, outcome and verdict?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from detection.detections import Detections
from detection.package import DetectorPackage
from detection.record import EvaluationRecord
from scanner.acquisition.locate import Located, sample_covered
from scanner.acquisition.rack import SlideBegun
from scanner.model.geometry import Point
from scanner.model.plan import Plan
from scanner.model.report import Outcome, TileCounts, Verdict
from scanner.model.tile import FocusState, Judged
from scanner.pipeline.again import ReadAgain, again_of, left_out
from scanner.pipeline.canvas import MosaicFrame
from scanner.pipeline.cell_branch import Found
from scanner.pipeline.findings import Findings, findings
from scanner.pipeline.image_branch import Places
from scanner.pipeline.second_reader import SecondReader, after_lot
from scanner.pipeline.verdict import Decision, Evidence, decide
from scanner.storage.facts import tile_key

RERUN_SHARE = 0.02
RERUN_LEAST = 10


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything the two branches of a slide's road found, plans and counts included.

    ``found`` is None for a scan without a detector, ``again`` where no cell was to be taken again;
    ``blood`` is the share of the sample under blood, None where nobody can tell.
    """

    begun: SlideBegun
    frame: MosaicFrame
    plans: Sequence[Plan]
    counts: TileCounts
    places: Places
    found: Found | None
    package: DetectorPackage | None
    record: EvaluationRecord | None
    growable: bool
    border_left: bool
    again: ReadAgain | None = None
    second_reader: SecondReader | None = None
    blood: float | None = None

    @property
    def so_measured(self) -> bool:
        """Was the operating point measured with cells taken again as on this slide?"""
        return self.record is not None and self.record.again is not None


@dataclass(frozen=True, slots=True)
class Closing:
    """What happens to glass and case, and why; ``second_reading``: it could be excluded, and the lot says read it.

    ``slide_score`` is what was held against the operating point, None without a detector.
    """

    outcome: Outcome
    decision: Decision
    findings: Findings | None
    covered: float | None
    states: Mapping[str, int]
    slide_score: float | None
    second_reading: bool = False


def close(reading: Reading) -> Closing:
    """The design's rules, applied to a slide whose last plan is over."""
    last = last_takes(reading.places)
    found = _findings(reading, last)
    covered = _covered(reading.begun.located, reading.plans, last)
    states = _states(last)
    evidence = _evidence(reading, last, found, covered)
    decision = decide(evidence)
    outcome, why = _outcome(reading, states)
    decision, drawn = after_lot(decision, reading.second_reader, reading.begun.slide.slot)
    told = Decision(decision.verdict, (*why, *decision.reasons))
    return Closing(outcome, told, found, covered, states, evidence.slide_score, drawn)


def last_takes(places: Places) -> dict[int, Judged]:
    """The accepted capture of every tile: the last one wins."""
    return {take.tile.planned.tile: take for take in sorted(places.takes, key=lambda take: take.tile.plan)}


def _findings(reading: Reading, last: Mapping[int, Judged]) -> Findings | None:
    if reading.found is None or reading.package is None:
        return None
    answers: dict[int, Detections] = {
        number: reading.found[tile_key(number, take.tile.plan)] for number, take in last.items()
    }
    places = {number: Point(p.x_px, p.y_px) for number, p in reading.places.placed.items()}
    h, w = reading.frame.lattice.tile_px
    to_slide, shown_at = reading.frame.slide_to_mosaic.inverse(), reading.places.shown_at
    found = findings(answers, places, (w, h), reading.package, to_slide, shown_at)
    if reading.again is None:
        return found
    again = again_of(found.boxes_px, found.scores, reading.again, reading.places.placed)
    return replace(found, again=again)


def _covered(located: Located | None, plans: Sequence[Plan], last: Mapping[int, Judged]) -> float | None:
    if located is None:
        return None
    cells = [(take.tile.planned.row, take.tile.planned.col) for take in last.values()]
    return sample_covered(located, plans[0].grid, cells)


def _states(last: Mapping[int, Judged]) -> dict[str, int]:
    seen = [take.tile.focus.state for take in last.values()]
    return {state.value: seen.count(state) for state in FocusState}


def _evidence(
    reading: Reading, last: Mapping[int, Judged], found: Findings | None, covered: float | None
) -> Evidence:
    counts, states = reading.counts, _states(last)
    top = [] if found is None else list(zip(found.classes, found.scores.tolist(), strict=True))
    again = None if found is None else found.again
    score = again if again is not None and reading.so_measured else found
    return Evidence(
        missing=counts.planned - counts.captured - counts.skipped - counts.failed,
        failed=counts.failed,
        unmeasured=states[FocusState.UNMEASURED],
        unreadable=states[FocusState.UNREADABLE],
        undetected=0 if found is not None else counts.captured,
        region_given=not reading.growable,
        sample_outside=reading.border_left,
        sample_covered=covered,
        preparation=reading.begun.slide.preparation,
        cells=0 if found is None else found.cells,
        top=top[:50],
        record=reading.record,
        with_sample=sum(states.values()) - states[FocusState.NO_SAMPLE] + counts.failed,
        blood=reading.blood,
        slide_score=None if score is None else score.slide_score,
        score_again=None if again is None or reading.so_measured else again.raised,
        not_again=_not_again(reading.again) if reading.so_measured else (),
    )


def _not_again(read: ReadAgain | None) -> tuple[str, ...]:
    """Why the most suspicious cells were not all read in more planes, as they were where the point was measured."""
    if read is None:
        return ("no suspicious cell was taken again",)
    cells, tiles = len(left_out(read)), len(read.chosen.unanswered)
    said = []
    if cells:
        said.append(f"{cells} suspicious {'cell' if cells == 1 else 'cells'} could not be taken again")
    if tiles:
        said.append(
            f"{tiles} {'tile' if tiles == 1 else 'tiles'} without an answer when the cells to take again were chosen"
        )
    return tuple(said)


def _outcome(reading: Reading, states: Mapping[str, int]) -> tuple[Outcome, tuple[str, ...]]:
    """Too many unreadable tiles: scan again; an identity that nobody can tell: the machine is in doubt."""
    unreadable = states[FocusState.UNREADABLE]
    if unreadable >= max(RERUN_LEAST, math.floor(RERUN_SHARE * reading.counts.captured) + 1):
        return Outcome.RERUN, (
            f"{unreadable} of {reading.counts.captured} tiles are unreadable: scan the slide again",
        )
    if reading.begun.located is not None and reading.begun.slide.accession is None:
        return Outcome.PROCESS_REVIEW, (f"nobody knows whose slide this is: {reading.begun.identity.reason}",)
    return Outcome.DONE, ()


def undecided(begun: SlideBegun) -> Decision:
    """The verdict of a slide that was not scanned."""
    reason = begun.decided.reason if begun.decided else "the slide was not scanned"
    return Decision(Verdict.INCOMPLETE, (reason,))
