"""Do neighbours say how far they are from fitting, from the facts of the ledger and their last captures alone?"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from scanner.model.events import Kind
from scanner.model.geometry import Point
from scanner.model.tile import FocusState
from scanner.pipeline.joints import DOUBT_PX, Joint, joints_of, worst_first
from scanner.pipeline.pair_facts import pairs_to_body
from scanner.pipeline.registration import PairMeasurement
from scanner.storage.facts import PlacedFact, tile_key
from scanner.storage.ledger import Ledger
from scanner.storage.tables import TILE_COLUMNS, Row
from tests.scanner.pipeline.mosaics import stitched

SLIDE = "1-run-1"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "run.sqlite", create=True) as opened:
        yield opened


def pair(dx: float, dy: float, accepted: bool = True) -> PairMeasurement:
    return PairMeasurement(dx, dy, 0.1, 0.9, 0.9, 0.1, accepted, "" if accepted else "no texture")


def row(tile: int, plan: int, cell: tuple[int, int], x_px: float | None, y_px: float = 0.0) -> Row:
    known: Row = {
        "tile": tile,
        "plan": plan,
        "attempt": 1,
        "row": cell[0],
        "col": cell[1],
        "accepted": x_px is not None,
        "focus_state": FocusState.USABLE.value,
    }
    place: Row = {
        "x_px": x_px,
        "y_px": y_px,
        "reported_x_um": 50.0 * cell[1],
        "reported_y_um": 50.0 * cell[0],
    }
    return known | place


def place(ledger: Ledger, tile: int, plan: int, x_px: float, held: bool = False) -> None:
    fact = PlacedFact(tile=tile, plan=plan, x_px=x_px, y_px=0.0, held=held, sigma_px=0.1)
    ledger.append(Kind.PLACED, SLIDE, tile_key(tile, plan), fact.body())


def joints(ledger: Ledger, rows: list[Row]) -> tuple[Joint, ...]:
    return joints_of(ledger, SLIDE, pa.Table.from_pylist(rows, schema=TILE_COLUMNS))


def test_the_error_is_the_measured_displacement_minus_the_placed_one(ledger: Ledger) -> None:
    for tile in (0, 1):
        place(ledger, tile, 1, 100.0 * tile, held=tile == 1)
    ledger.append(Kind.PAIRS, SLIDE, "1.1", pairs_to_body([(0, pair(101.5, -2.0))]))
    (joint,) = joints(ledger, [row(0, 1, (0, 0), 0.0), row(1, 1, (0, 1), 100.0)])
    assert joint.error == Point(1.5, -2.0)
    assert joint.size_px == 2.5
    assert joint.doubtful
    assert (joint.side_by_side, joint.first.held, joint.second.held) == (True, False, True)


def test_a_pair_measured_from_the_right_tile_is_turned_round(ledger: Ledger) -> None:
    ledger.append(Kind.PAIRS, SLIDE, "0.1", pairs_to_body([(1, pair(-101.0, 0.5))]))
    (joint,) = joints(ledger, [row(1, 1, (0, 1), 100.0), row(0, 1, (0, 0), 0.0)])
    assert joint.measured == Point(101.0, -0.5)


def test_what_was_refused_or_never_measured_has_no_error_and_says_why(ledger: Ledger) -> None:
    ledger.append(Kind.PAIRS, SLIDE, "1.1", pairs_to_body([(0, pair(99.0, 0.0, accepted=False))]))
    rows = [row(k, 1, (0, k), 100.0 * k) for k in range(3)]
    refused, unmeasured = joints(ledger, rows)
    assert (refused.error, refused.reason, refused.doubtful) == (None, "no texture", False)
    assert (unmeasured.error, unmeasured.reason) == (None, "never measured")
    assert worst_first((refused, unmeasured)) == []


def test_a_tile_taken_again_is_judged_by_its_last_capture_and_its_own_pairs(ledger: Ledger) -> None:
    ledger.append(Kind.PAIRS, SLIDE, "1.1", pairs_to_body([(0, pair(100.0, 0.0))]))
    ledger.append(Kind.PAIRS, SLIDE, "2.1", pairs_to_body([(1, pair(100.0, 0.0))]))
    ledger.append(Kind.PAIRS, SLIDE, "1.2", pairs_to_body([(0, pair(103.0, 0.0))]))
    rows = [row(k, 1, (0, k), 100.0 * k) for k in range(3)] + [row(1, 2, (0, 1), 103.0)]
    left, right = joints(ledger, rows)
    assert left.second.blur == FocusState.USABLE.blur
    assert (left.second.placed, left.error) == (Point(103.0, 0.0), Point(0.0, 0.0))
    assert (right.measured, right.reason) == (None, "never measured")


def test_a_tile_that_was_not_captured_or_not_placed_has_no_neighbours(ledger: Ledger) -> None:
    assert joints(ledger, [row(0, 1, (0, 0), 0.0), row(1, 1, (0, 1), None)]) == ()


def test_the_direction_is_that_of_the_last_move(ledger: Ledger) -> None:
    order = [(0, 0), (0, 1), (1, 1), (1, 0)]
    rows = [row(k, 1, cell, 100.0 * cell[1], 100.0 * cell[0]) for k, cell in enumerate(order)]
    directions = {j.second.name: j.second.direction.x for j in joints(ledger, rows)}
    assert directions == {"1": 1.0, "2": 1.0, "3": -1.0}


def test_a_shifted_tile_is_found_as_the_worst() -> None:
    made = stitched(moved=((1, 1), Point(1.6, -1.2)))
    worst = worst_first(made.joints)[:4]
    assert {joint for joint in made.joints if joint.doubtful} == set(worst)
    assert all("4" in (joint.first.name, joint.second.name) for joint in worst)
    assert all(joint.size_px == pytest.approx(2.0) for joint in worst)
    assert DOUBT_PX < 2.0
