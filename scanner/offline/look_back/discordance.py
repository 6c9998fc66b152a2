"""Which cases need a person, the most dangerous first? Only where what is seen now and what was said then disagree."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from scanner.offline.look_back.past import OperatingPoint, Past, Says
from scanner.offline.look_back.reading import Found


class State(StrEnum):
    """What the newer detector says of an image. Only one that was read whole and shows cells is not suspicious."""

    SUSPICIOUS = "suspicious"
    NOT_SUSPICIOUS = "not-suspicious"
    UNREADABLE = "unreadable"


class Kind(StrEnum):
    """Why a case needs a person, in the order of the danger."""

    MISSED_THEN = "missed-then"
    UNRECORDED = "unrecorded"
    MISSED_NOW = "missed-now"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Judged:
    """An image that was read, beside what was said of its case."""

    found: Found
    past: Past
    point: OperatingPoint

    @property
    def state(self) -> State:
        """Suspicion counts also where part of the image could not be judged; its absence counts only where all was."""
        score = self.found.slide_score
        if score is not None and score >= self.point.value:
            return State.SUSPICIOUS
        return State.UNREADABLE if self.found.unreadable or score is None else State.NOT_SUSPICIOUS


@dataclass(frozen=True, slots=True)
class Discordant:
    """One line of the list."""

    rank: int
    kind: Kind
    judged: Judged


def discordant(cases: Sequence[Judged]) -> tuple[Discordant, ...]:
    """The cases that need a person, ranked: by kind, then by score or by how grave the old diagnosis was.

    A recorded case of several images was missed now only where none of them is suspicious.
    """
    seen = {one.past.case for one in cases if one.state is State.SUSPICIOUS and one.past.case is not None}
    kinds = ((_kind(one, seen), one) for one in cases)
    found = sorted(((kind, one) for kind, one in kinds if kind is not None), key=lambda pair: _danger(*pair))
    return tuple(Discordant(rank, kind, one) for rank, (kind, one) in enumerate(found, 1))


def asked_then(cases: Iterable[Judged]) -> int:
    """Suspicious now, and then too a person was asked to look, whose answer is not known here."""
    return sum(one.state is State.SUSPICIOUS and one.past.says is Says.PERSON for one in cases)


def _kind(one: Judged, seen: set[int]) -> Kind | None:
    if one.state is State.UNREADABLE:
        return Kind.UNREADABLE
    if one.state is State.SUSPICIOUS:
        return {Says.NEGATIVE: Kind.MISSED_THEN, Says.NOTHING: Kind.UNRECORDED}.get(one.past.says)
    missed = one.past.says is Says.ABNORMAL and one.past.case not in seen
    return Kind.MISSED_NOW if missed else None


def _danger(kind: Kind, one: Judged) -> tuple[int, float, float, int]:
    """Sorts the most dangerous first."""
    score = one.found.slide_score or 0.0
    suspicious = kind in (Kind.MISSED_THEN, Kind.UNRECORDED)
    gravity = 0 if suspicious else -one.past.gravity
    return list(Kind).index(kind), gravity, -score if suspicious else score, one.found.case
