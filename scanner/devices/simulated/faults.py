"""Which faults does the simulated rig show, and when?

A plan reads ``lost-move@40;zero-frame@55;loader-jam@slot2``: moves are XY moves, frames are exposures of the
main camera, both counted from 1 since the configuration was loaded.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from scanner.errors import BadInput


class Fault(StrEnum):
    """The faults that can be asked for."""

    LOST_MOVE = "lost-move"
    STUCK_AXIS = "stuck-axis"
    ZERO_FRAME = "zero-frame"
    DROPPED_FRAME = "dropped-frame"
    REPEATED_FRAME = "repeated-frame"
    LOADER_JAM = "loader-jam"
    UNREADABLE_LABEL = "unreadable-label"
    EMPTY_SLOT = "empty-slot"


_OF_SLOTS = frozenset({Fault.LOADER_JAM, Fault.UNREADABLE_LABEL, Fault.EMPTY_SLOT})
_ENTRY = re.compile(r"(?P<fault>[a-z-]+)@(?P<slot>slot)?(?P<count>\d+)")


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Faults with the move, exposure or slot at which each happens."""

    entries: frozenset[tuple[Fault, int]] = frozenset()

    @classmethod
    def parse(cls, text: str) -> "FaultPlan":
        """Read a plan.

        Raises:
            BadInput: where an entry is not a known fault with a count.
        """
        return cls(frozenset(_entries(text)))

    def hits(self, fault: Fault, count: int) -> bool:
        """Does ``fault`` happen at this move, exposure or slot?"""
        return (fault, count) in self.entries

    def since(self, fault: Fault, count: int) -> bool:
        """Has a lasting ``fault`` begun at or before this count?"""
        return any(f is fault and at <= count for f, at in self.entries)


def _entries(text: str) -> Iterator[tuple[Fault, int]]:
    known = {fault.value: fault for fault in Fault}
    for part in filter(None, (piece.strip() for piece in text.split(";"))):
        match = _ENTRY.fullmatch(part)
        fault = known.get(match["fault"]) if match else None
        if match is None or fault is None or bool(match["slot"]) != (fault in _OF_SLOTS):
            mend = (
                f"use NAME@COUNT, or NAME@slotN for {', '.join(sorted(_OF_SLOTS))}; names: {', '.join(known)}"
            )
            raise BadInput.one(f"unknown entry {part!r} in the fault plan", mend, field="Faults.Plan")
        yield fault, int(match["count"])
