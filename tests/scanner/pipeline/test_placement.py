"""Does a tile get its true place, once, from nothing but recorded facts?"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.model.geometry import Point
from scanner.pipeline.placement import Placed, Placement
from scanner.pipeline.registration import ONLY_FAINT, PairMeasurement, register
from scanner.pipeline.stage_model import StagePrior
from tests.scanner.pipeline.conftest import SIDE, Grid

Pairs = Sequence[tuple[int, PairMeasurement]]
STEP = 900.0


class Stage:
    """A stage with known errors: a slightly turned axis, backlash by row and a normal error at every stop."""

    def __init__(self, rows: int, cols: int, seed: int, empty: float = 0.0) -> None:
        self.rng = np.random.default_rng(seed)
        self.order = [
            (row, col) for row in range(rows) for col in (range(cols) if row % 2 == 0 else range(cols)[::-1])
        ]
        self.prior = [Point(col * STEP, row * STEP) for row, col in self.order]
        self.true = [
            Point(
                p.x - 0.003 * p.y + 4.0 * (row % 2) + float(self.rng.normal(0, 3)),
                p.y + 0.003 * p.x + float(self.rng.normal(0, 3)),
            )
            for p, (row, _) in zip(self.prior, self.order, strict=True)
        ]
        self.empty = empty

    def pair(self, other: int, tile: int, expected: Point) -> PairMeasurement:
        d = self.true[tile] - self.true[other]
        if self.rng.random() < self.empty:
            return PairMeasurement(
                expected.x, expected.y, 1e6, 0.1, 0.0, 0.1, False, "no texture that matches"
            )
        dx, dy = d.x + float(self.rng.normal(0, 0.05)), d.y + float(self.rng.normal(0, 0.05))
        return PairMeasurement(dx, dy, 0.06, 0.9, 0.9, 0.2, True, "")


def scan(placement: Placement, stage: Stage) -> tuple[list[list[Placed]], list[Pairs]]:
    """What each tile froze, `finish` last, and the pairs that were measured."""
    steps: list[list[Placed]] = []
    facts: list[Pairs] = []
    for tile, ((row, col), prior) in enumerate(zip(stage.order, stage.prior, strict=True)):
        expected = placement.expect(row, col, prior)
        pairs = [(e.other, stage.pair(e.other, tile, e.offset)) for e in expected]
        facts.append(pairs)
        steps.append(placement.add(tile, row, col, prior, pairs))
    steps.append(placement.finish())
    return steps, facts


def new() -> Placement:
    return Placement((1000, 1000), StagePrior(matrix=5e-3))


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 1000), empty=st.sampled_from([0.0, 0.1, 0.35]))
def test_measured_seams_close_also_where_a_third_of_the_overlaps_is_empty(seed: int, empty: float) -> None:
    stage = Stage(8, 7, seed, empty)
    steps, facts = scan(new(), stage)
    at = {p.tile: Point(p.x_px, p.y_px) for step in steps for p in step}
    assert sorted(at) == list(range(56))
    errors = [
        (at[tile] - at[other] - (stage.true[tile] - stage.true[other])).distance(Point(0, 0))
        for tile, pairs in enumerate(facts)
        for other, pair in pairs
        if pair.accepted
    ]
    assert max(errors) < 1


def test_a_tile_is_frozen_once_and_at_the_latest_six_rows_later() -> None:
    stage = Stage(9, 6, seed=1)
    steps, _ = scan(new(), stage)
    frozen = [p.tile for step in steps for p in step]
    assert len(frozen) == len(set(frozen)) == 54
    late = [now - p.tile for now, step in enumerate(steps) for p in step]
    assert max(late) <= 6 * 6 + 8
    assert len(steps[-1]) <= 2 * 6 + 8


def test_the_last_row_is_frozen_while_it_is_taken_where_it_is_known_to_be_the_last() -> None:
    stage = Stage(5, 30, 3)
    told, untold = Placement((SIDE, SIDE), StagePrior()), Placement((SIDE, SIDE), StagePrior())
    told.comes(stage.order)
    steps, _ = scan(told, stage)
    assert len(steps[-1]) <= 20
    assert len(scan(untold, Stage(5, 30, 3))[0][-1]) > 30
    placed = {p.tile: p for step in steps for p in step}
    assert len(placed) == 150
    for tile, (row, col) in enumerate(stage.order):
        for other, cell in enumerate(stage.order):
            if cell in {(row, col + 1), (row + 1, col)}:
                seam = Point(placed[other].x_px - placed[tile].x_px, placed[other].y_px - placed[tile].y_px)
                assert seam.distance(stage.true[other] - stage.true[tile]) < 0.5


def test_the_same_facts_from_a_ledger_give_the_same_places_to_the_last_bit() -> None:
    stage = Stage(7, 6, seed=5, empty=0.3)
    steps, facts = scan(new(), stage)
    again = new()
    repeated = []
    for tile, ((row, col), prior) in enumerate(zip(stage.order, stage.prior, strict=True)):
        kept = json.loads(json.dumps([(other, asdict(pair)) for other, pair in facts[tile]]))
        repeated.append(
            again.add(tile, row, col, prior, [(other, PairMeasurement(**pair)) for other, pair in kept])
        )
    assert [*repeated, again.finish()] == steps


def test_the_model_learns_the_turn_and_narrows_the_search() -> None:
    stage = Stage(8, 8, seed=2)
    placement = new()
    scan(placement, stage)
    expected = placement.expect(8, 7, Point(7 * STEP, 8 * STEP))
    above = next(e for e in expected if e.other == stage.order.index((7, 7)))
    assert above.offset.x == pytest.approx(-0.003 * STEP, abs=2.5)
    assert above.search_px < StagePrior().search_px


def test_a_slide_of_one_tile_has_it_where_the_stage_put_it() -> None:
    placement = Placement((SIDE, SIDE), StagePrior())
    assert placement.add(7, 0, 0, Point(10.25, 12.0), []) == []
    (only,) = placement.finish()
    assert (only.tile, only.x_px, only.y_px, only.held) == (7, 10.25, 12.0, True)


def test_a_tile_without_any_match_is_held_where_the_stage_put_it() -> None:
    stage = Stage(5, 5, seed=3)
    placement = new()
    placed: list[Placed] = []
    for tile, ((row, col), prior) in enumerate(zip(stage.order, stage.prior, strict=True)):
        pairs = [(e.other, stage.pair(e.other, tile, e.offset)) for e in placement.expect(row, col, prior)]
        alone = [p for p in pairs if 12 not in (tile, p[0])]
        placed += placement.add(tile, row, col, prior, alone)
    placed += placement.finish()
    held = [p for p in placed if p.held]
    assert [p.tile for p in held] == [12]
    assert Point(held[0].x_px, held[0].y_px).distance(stage.true[12]) < 20
    assert held[0].sigma_px == StagePrior().position_px


def test_a_retake_is_placed_at_once_and_nothing_else_moves() -> None:
    stage = Stage(5, 5, seed=4)
    placement = new()
    scan(placement, stage)
    stage.true[7] = stage.true[7] + Point(2.5, -3.25)
    row, col = stage.order[7]
    expected = placement.expect(row, col, stage.prior[7])
    assert len(expected) == 4
    pairs = [(e.other, stage.pair(e.other, 7, e.offset)) for e in expected]
    (again,) = placement.add(7, row, col, stage.prior[7], pairs)
    assert placement.finish() == []
    assert (again.tile, again.row, again.col, again.held) == (7, row, col, False)


def test_a_further_plan_may_grow_the_grid_to_the_left_and_above() -> None:
    stage = Stage(4, 4, seed=6)
    placement = new()
    scan(placement, stage)
    stage.true.append(stage.true[0] + Point(0, -STEP))
    prior = Point(0, -STEP)
    expected = placement.expect(-1, 0, prior)
    assert [e.other for e in expected] == [0]
    placement.add(16, -1, 0, prior, [(0, stage.pair(0, 16, expected[0].offset))])
    (placed,) = placement.finish()
    assert (placed.tile, placed.row, placed.held) == (16, -1, False)


def test_tiles_of_a_specimen_are_placed_by_their_pixels(grid: Callable[[int, int, int], Grid]) -> None:
    taken = grid(4, 4, 11)
    placement = Placement((SIDE, SIDE), StagePrior(search_px=16))
    placed: list[Placed] = []
    for tile, (row, col) in enumerate(taken.cells):
        prior = taken.reported[tile]
        pairs = [
            (e.other, register(taken.tiles[e.other], taken.tiles[tile], e.offset, e.search_px, 2.0))
            for e in placement.expect(row, col, prior)
        ]
        placed += placement.add(tile, row, col, prior, pairs)
    placed += placement.finish()
    shift = [taken.true[p.tile] - Point(p.x_px, p.y_px) for p in placed]
    assert not any(p.held for p in placed)
    assert np.std([s.x for s in shift]) < 0.1
    assert np.std([s.y for s in shift]) < 0.1


def _pair(offset: Point, reason: str = "") -> PairMeasurement:
    return PairMeasurement(offset.x, offset.y, 0.1, 0.4, 0.4, 0.2, not reason, reason)


@pytest.mark.parametrize(("miss_px", "held"), [(0.2, False), (5.0, True)])
def test_two_faint_answers_count_where_they_close_a_loop(miss_px: float, held: bool) -> None:
    placement, right, down = new(), Point(903.0, 4.0), Point(-2.0, 905.0)
    cells = [(0, 0), (0, 1), (1, 1), (1, 0)]
    sure = [[], [(0, _pair(right))], [(1, _pair(down))]]
    for tile, pairs in enumerate(sure):
        row, col = cells[tile]
        placement.add(tile, row, col, Point(col * STEP, row * STEP), pairs)
    faint = [
        (2, _pair(Point(-right.x, -right.y), ONLY_FAINT)),
        (0, _pair(Point(down.x + miss_px, down.y), ONLY_FAINT)),
    ]
    placement.add(3, 1, 0, Point(0.0, STEP), faint)
    last = {p.tile: p for p in placement.finish()}[3]
    assert last.held == held
    assert placement.pairs_used == (2 if held else 4)


def test_the_first_tile_of_a_row_has_not_passed_the_other_end_of_the_row_before() -> None:
    stage = Stage(2, 12, seed=3)
    steps, _ = scan(new(), stage)
    assert all(not step for step in steps[:13])
    frozen = [p for step in steps[:-1] for p in step]
    assert frozen
    assert all(p.row == 0 for p in frozen)
