"""Which of the slides that could be excluded does a person read all the same, drawn by lot, so that misses show?

The lot is a hash of the slide's slot and the run's salt: a resume and a replay draw the same, and nothing else on the
slide has a part in it.
"""

import hashlib
from dataclasses import dataclass

from scanner.model.report import Verdict
from scanner.pipeline.verdict import Decision

REASON = "a random second reading: this slide was drawn by lot to be read by a person"
_LOTS = 2**64


@dataclass(frozen=True, slots=True)
class SecondReader:
    """``share`` of the exclusions of many runs is read, 0.1 or more; ``salt`` is the run's own."""

    salt: str
    share: float

    def draws(self, slot: int) -> bool:
        """Is the slide in this slot one that a person reads, if it could be excluded?"""
        lot = hashlib.sha256(f"second reading {self.salt} {slot}".encode()).digest()
        return int.from_bytes(lot[:8], "big") < self.share * _LOTS


def after_lot(decision: Decision, reader: SecondReader | None, slot: int) -> tuple[Decision, bool]:
    """The same, or that a person reads a slide that could be excluded; was it drawn?"""
    if decision.verdict is not Verdict.NEGATIVE_EXCLUDED or reader is None or not reader.draws(slot):
        return decision, False
    return Decision(Verdict.REVIEW, (REASON,)), True
