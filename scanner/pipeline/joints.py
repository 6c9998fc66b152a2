"""Which neighbouring tiles of a mosaic agree with what was measured between them, and which do not?

It reads facts; it decides nothing and moves nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from scanner.model.events import Kind
from scanner.model.geometry import Point
from scanner.model.tile import FocusState
from scanner.pipeline.pair_facts import pairs_from_body
from scanner.pipeline.stage_model import Stop, next_stop
from scanner.storage.facts import PlacedFact, key_tile
from scanner.storage.ledger import LedgerProtocol

DOUBT_PX = 0.75  # |placed - measured| beyond this found 22 of 23 seams that a person saw torn
STILL_UM = 25.0  # an axis that moved less keeps its direction: no field is that small
_COLUMNS = (
    "tile",
    "plan",
    "row",
    "col",
    "reported_x_um",
    "reported_y_um",
    "x_px",
    "y_px",
    "accepted",
    "focus_state",
)


@dataclass(frozen=True, slots=True)
class Station:
    """A tile of the finished mosaic.

    ``name`` is what a person calls it; ``placed`` its top-left, mosaic px; ``said`` where the stage reported it, µm (px
    where nobody knows µm); ``direction`` the last directions of travel (±1); ``held``: nothing but the stage placed it;
    ``blur``: see ``FocusState``.
    """

    name: str
    row: int
    col: int
    placed: Point
    said: Point
    direction: Point
    held: bool
    blur: int = 0


@dataclass(frozen=True, slots=True)
class Joint:
    """Two neighbours, ``first`` left of or above ``second``; ``measured`` is the displacement (px) where accepted.

    ``reason`` says why there is none.
    """

    first: Station
    second: Station
    measured: Point | None
    reason: str = ""

    @property
    def side_by_side(self) -> bool:
        """In one row, or one above the other?"""
        return self.first.row == self.second.row

    @property
    def error(self) -> Point | None:
        """The measured displacement minus the placed one, px."""
        return None if self.measured is None else self.measured - (self.second.placed - self.first.placed)

    @property
    def size_px(self) -> float | None:
        """How far the two tiles are from fitting, px; None where nothing was measured."""
        return None if self.error is None else self.error.distance(Point(0.0, 0.0))

    @property
    def doubtful(self) -> bool:
        """Do the places contradict a measurement that was believed?"""
        return self.size_px is not None and self.size_px > DOUBT_PX


def worst_first(joints: tuple[Joint, ...]) -> list[Joint]:
    """The measured joints, the largest error first."""
    measured = [joint for joint in joints if joint.size_px is not None]
    return sorted(measured, key=lambda joint: -(joint.size_px or 0.0))


def joints_of(ledger: LedgerProtocol, slide_id: str, tiles: pa.Table) -> tuple[Joint, ...]:
    """Every pair of neighbours of a slide that are both placed, row by row.

    Args:
        ledger: with what was measured between tiles.
        slide_id: of the slide.
        tiles: its table (``TILE_COLUMNS``).

    Raises:
        DamagedRun: a fact is not what its kind says.
    """
    placed = (PlacedFact.from_body(event.body) for event in ledger.events(Kind.PLACED, slide_id))
    held = {(fact.tile, fact.plan): fact.held for fact in placed}
    stations = dict(_stations(tiles, held))
    return joined({(s.row, s.col): (tile, s) for tile, s in stations.items()}, _measured(ledger, slide_id))


def joined(
    cells: Mapping[tuple[int, int], tuple[int, Station]],
    measured: Mapping[tuple[int, int], tuple[Point | None, str]],
) -> tuple[Joint, ...]:
    """Joints of tiles, (number, station) by (row, col); ``measured`` by (from, to): displacement, or why none."""
    return tuple(
        _joint(cells[cell], cells[near], measured)
        for cell in sorted(cells)
        for near in ((cell[0], cell[1] + 1), (cell[0] + 1, cell[1]))
        if near in cells
    )


def _joint(
    one: tuple[int, Station],
    two: tuple[int, Station],
    measured: Mapping[tuple[int, int], tuple[Point | None, str]],
) -> Joint:
    (a, first), (b, second) = one, two
    if (a, b) in measured:
        return Joint(first, second, *measured[a, b])
    if (b, a) in measured:
        offset, reason = measured[b, a]
        return Joint(first, second, None if offset is None else Point(-offset.x, -offset.y), reason)
    return Joint(first, second, None, "never measured")


def _stations(tiles: pa.Table, held: Mapping[tuple[int, int], bool]) -> Iterator[tuple[int, Station]]:
    """Every placed capture in the order of the plans, so that of a tile the last one wins."""
    columns = {name: tiles.column(name).to_pylist() for name in _COLUMNS}
    last: Stop | None = None
    for tile, plan, row, col, x_um, y_um, x_px, y_px, accepted, focus in zip(*columns.values(), strict=True):
        if not accepted or x_um is None:
            continue
        last = next_stop(last, Point(x_um, y_um), STILL_UM)
        if x_px is not None:
            is_held = held.get((tile, plan), False)
            yield (
                tile,
                Station(
                    str(tile),
                    row,
                    col,
                    Point(x_px, y_px),
                    last.at,
                    last.direction,
                    is_held,
                    FocusState(focus).blur,
                ),
            )


def _measured(ledger: LedgerProtocol, slide_id: str) -> dict[tuple[int, int], tuple[Point | None, str]]:
    """What was last measured between two tiles; a tile taken again voids what was measured of its first capture."""
    found: dict[tuple[int, int], tuple[Point | None, str]] = {}
    seen: set[int] = set()
    for event in ledger.events(Kind.PAIRS, slide_id):
        tile, _ = key_tile(event.key)
        if tile in seen:
            found = {ends: pair for ends, pair in found.items() if tile not in ends}
        seen.add(tile)
        for other, pair in pairs_from_body(event.body):
            offset = Point(pair.dx_px, pair.dy_px) if pair.accepted else None
            found[other, tile] = (offset, pair.reason)
    return found
