"""How do the focus points of a run become a rack file that a person edits and gives to the next run?"""

from collections.abc import Iterable, Sequence

from scanner.model.report import FocusPointFact
from scanner.model.slide import UM_PER_MM, Rack, RackSlot
from scanner.storage.reader import RunReader

HEAD = """\
# The focus points of run {run}: x, y in mm from the glass's top left corner, label to the left.
# Add, drop or move points, then: rackscan run --rack THIS_FILE ...
# Points without an answer stand here as comments; a slot without `focus_points` gets chosen ones.
slots:"""


def rack_with_points(reader: RunReader) -> str:
    """A rack file of every slide that has focus points; their heights and states beside them as comments.

    Raises:
        DamagedRun: the ledger or a report cannot be read.
    """
    entries = {entry.slot: entry for entry in _rack(reader)}
    lines = [HEAD.format(run=reader.folder.settings.run)]
    for slide_id in reader.slides():
        slot = int(slide_id.split("-", maxsplit=1)[0])
        points = reader.focus_points(slide_id)
        if any(point.z_um is not None for point in points):
            lines += [*_slot(entries.get(slot, RackSlot(slot=slot))), *map(_point, points)]
    return "\n".join(lines) + "\n" if len(lines) > 1 else ""


def points_in_mm(places_um: Iterable[Sequence[float]]) -> str:
    """(y, x) places in slide µm, as a viewer holds them, as the lines under ``focus_points:``."""
    return "\n".join(f"      - [{x / UM_PER_MM:.3f}, {y / UM_PER_MM:.3f}]" for y, x in places_um)


def _rack(reader: RunReader) -> Sequence[RackSlot]:
    """What lay where, with identities, as the ledger knows it; a replay knows slots only."""
    known = reader.rack() or reader.folder.settings.rack or Rack(slots=(RackSlot(slot=1),))
    return known.slots


def _slot(entry: RackSlot) -> list[str]:
    named = [f"    slide: {entry.slide}"] if entry.slide else []
    return [f"  - slot: {entry.slot}", *named, f"    preparation: {entry.preparation}", "    focus_points:"]


def _point(point: FocusPointFact) -> str:
    place = f"- [{point.x_um / UM_PER_MM:.3f}, {point.y_um / UM_PER_MM:.3f}]"
    if point.z_um is None:
        return f"      # {place}  {point.state}: {' '.join(point.reason.split())}"
    sure = f" ± {point.sigma_um:.2f}" if point.sigma_um is not None else ""
    return f"      {place}  # z {point.z_um:.2f}{sure} µm, {point.state}"
