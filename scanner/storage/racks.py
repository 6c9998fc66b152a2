"""Which slides does the operator say lie in the rack?"""

from pathlib import Path

from scanner.errors import BadInput, Problem
from scanner.model.slide import Rack, RackSlot
from scanner.storage.strict_yaml import Document, read_document, validate


def read_rack(file: Path, loader_slots: int | None = None) -> Rack:
    """The rack in ``file``; with ``loader_slots`` also checked against what the loader holds.

    Raises:
        BadInput: with every problem, among them a slot named twice or one that the loader does not have.
    """
    document = read_document(file)
    rack, problems = validate(document, Rack)
    twice = _named_twice(document)
    if twice:
        problems = [problem for problem in problems if problem.field] + twice
    if rack is not None and loader_slots is not None:
        problems += _beyond(document, rack, loader_slots)
    if rack is None or problems:
        raise BadInput(problems)
    return rack


def first_slots(count: int) -> Rack:
    """A rack of the first ``count`` slots, identities unknown."""
    return Rack(slots=tuple(RackSlot(slot=slot) for slot in range(1, count + 1)))


def _named_twice(document: Document) -> list[Problem]:
    seen: dict[str, int | None] = {}
    problems = []
    entries = document.at("slots")
    for index in range(len(entries) if isinstance(entries, list) else 0):
        slot = document.text("slots", index, "slot")
        line = document.line(("slots", index, "slot"))
        if slot is not None and slot in seen:
            said = f"slot {slot} is named twice, first in line {seen[slot]}"
            problems.append(document.problem(("slots", index, "slot"), said, "name each slot once"))
        elif slot is not None:
            seen[slot] = line
    return problems


def _beyond(document: Document, rack: Rack, loader_slots: int) -> list[Problem]:
    return [
        document.problem(
            ("slots", index, "slot"), f"the loader has {loader_slots} slots", f"choose 1 to {loader_slots}"
        )
        for index, entry in enumerate(rack.slots)
        if entry.slot > loader_slots
    ]
