"""Which slides does the operator say lie in the rack?"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

from scanner.errors import BadInput, Problem
from scanner.model.geometry import Point, Rect
from scanner.model.slide import GLASS_UM, UM_PER_MM, Rack, RackSlot
from scanner.storage.strict_yaml import Document, read_document, validate

SAME_PLACE_UM = 1.0
Reach = Callable[[int], Rect]


def read_rack(file: Path, loader_slots: int | None = None, reach: Reach | None = None) -> Rack:
    """The rack in ``file``.

    Args:
        file: the rack's YAML.
        loader_slots: what the loader holds, where the rack is to be checked against it.
        reach: where the stage may go on the slide of a slot (slide µm), where focus points are to be checked.

    Raises:
        BadInput: with every problem, among them a slot named twice or one that the loader does not have, and
            focus points off the glass, out of reach or given twice.
    """
    document = read_document(file)
    rack, problems = validate(document, Rack)
    twice = _named_twice(document)
    if twice:
        problems = [problem for problem in problems if problem.field] + twice
    if rack is not None and loader_slots is not None:
        problems += _beyond(document, rack, loader_slots)
    problems += _wrong_focus_points(document, loader_slots, reach)
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


def _wrong_focus_points(document: Document, slots: int | None, reach: Reach | None) -> list[Problem]:
    """Whatever else is wrong with the file, every focus point that cannot be meant."""
    problems = []
    for index, slot in _slots(document):
        known = reach(slot) if reach and slot and slot <= (slots or slot) else None
        before: list[Point] = []
        for number, point in _focus_points(document, index):
            said = _wrong(point, before, known)
            if said:
                problems.append(document.problem(("slots", index, "focus_points", number), *said))
            before.append(point)
    return problems


def _slots(document: Document) -> Iterator[tuple[int, int | None]]:
    entries = document.at("slots")
    for index in range(len(entries) if isinstance(entries, list) else 0):
        text = document.text("slots", index, "slot") or ""
        yield index, int(text) if text.isdecimal() and int(text) > 0 else None


def _focus_points(document: Document, index: int) -> Iterator[tuple[int, Point]]:
    """Those of a slot that are two finite numbers; the model refuses the others."""
    given = document.at("slots", index, "focus_points")
    for number, pair in enumerate(given if isinstance(given, list) else []):
        try:
            x, y = (float(str(value)) * UM_PER_MM for value in pair or ())
        except ValueError:
            continue
        if math.isfinite(x) and math.isfinite(y):
            yield number, Point(x, y)


def _wrong(point: Point, before: list[Point], reachable: Rect | None) -> tuple[str, str] | None:
    shown = f"{point.x / UM_PER_MM:g}, {point.y / UM_PER_MM:g} mm"
    if not GLASS_UM.contains(point):
        return (
            f"{shown} is not on the glass of 75 × 25 mm",
            "give x, y in mm from the glass's top left corner",
        )
    if reachable is not None and not reachable.contains(point):
        x, y, right, bottom = (
            v / UM_PER_MM for v in (reachable.x, reachable.y, reachable.right, reachable.bottom)
        )
        mend = f"choose x from {x:g} to {right:g} and y from {y:g} to {bottom:g}"
        return f"{shown} lies on the label or where the stage may not go", mend
    if any(point.distance(other) < SAME_PLACE_UM for other in before):
        return f"{shown} is given twice", "give each focus point once"
    return None
