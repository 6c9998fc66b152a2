"""Which cells are chosen to be taken again, and do the fields over them show them all?"""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detection.classes import CellClass, cell_class
from detection.detections import Detections
from scanner.model.geometry import Point, Rect
from scanner.model.layers import CellCapture
from scanner.model.plan import Plan, PlanReason, grid_over, scan_plan
from scanner.model.profile import Profile
from scanner.model.tile import FocusState, Tile, TileFocus
from scanner.pipeline.canvas import MosaicFrame, mosaic_frame
from scanner.pipeline.cell_choice import MARGIN_UM, Choice, choose_cells
from scanner.storage.profiles import read_profile

PROFILES = Path(__file__).parents[3] / "hardware_profiles"
CLASSES: tuple[CellClass, ...] = tuple(cell_class(name) for name in ("HSIL", "LSIL", "NILM"))
RIG = read_profile(PROFILES / "simulated.yaml")
FIELD_UM = (513.0, 513.0)
SIDE = 1024
Cell = tuple[float, float, float]
"""x, y of its middle in tile px, P(abnormal)."""


def profile(cells: int, **changes: object) -> Profile:
    capture = CellCapture(cells=cells, layers=5, layer_step_um=1.0)
    return RIG.model_copy(update={"capture_cells": capture, **changes})


def first_plan() -> Plan:
    grid, rows, cols = grid_over(Rect(43_000, 11_000, 1_300, 900), FIELD_UM, 0.1)
    cells = [(row, col) for row in range(rows) for col in range(cols)]
    return scan_plan("1-a", grid, cells[:-1], cells[-1:], growable=True)


def seen(plan: Plan, cells: dict[int, list[Cell]]) -> dict[int, tuple[Tile, Detections]]:
    return {number: (_tile(plan, number), _found(those)) for number, those in cells.items()}


def _tile(plan: Plan, number: int) -> Tile:
    planned = next(tile for tile in plan.tiles if tile.tile == number)
    focus = TileFocus(FocusState.SHARP, 3.0, 0.1, best_z_um=3.25)
    return Tile(planned, 1, 1, None, "", planned.x_um + 2.0, planned.y_um - 3.0, focus, 1)


def _found(cells: list[Cell]) -> Detections:
    boxes = np.array([(x - 20, y - 20, 40, 40) for x, y, _ in cells], float).reshape(-1, 4)
    scores = np.array([score for *_, score in cells], float)
    return Detections.rounded(
        boxes, np.zeros(len(cells)), np.full(len(cells), 0.9), scores, np.zeros(len(cells))
    )


def chosen(rig: Profile, plan: Plan, cells: dict[int, list[Cell]]) -> Choice:
    frame = mosaic_frame(rig, plan)
    return choose_cells(seen(plan, cells), CLASSES, frame, rig, rig.stage_to_slide(1).inverse(), [plan])


def places(choice: Choice, plan: Plan, frame: MosaicFrame) -> list[Point]:
    """Where the chosen cells lie, slide µm."""
    to_slide = frame.slide_to_mosaic.inverse()
    found = []
    for cell in choice.cells:
        tile = _tile(plan, cell.tile)
        corner = frame.corner(tile.reported_x_um, tile.reported_y_um)
        middle = Point(corner.x + cell.x_px + cell.w_px / 2, corner.y + cell.y_px + cell.h_px / 2)
        found.append(to_slide.apply(middle))
    return found


def test_the_best_cells_are_taken_and_no_more() -> None:
    plan, rig = first_plan(), profile(2)
    choice = chosen(rig, plan, {0: [(500, 500, 0.3), (700, 200, 0.9)], 2: [(300, 300, 0.6)]})
    assert [cell.score for cell in choice.cells] == [0.9, 0.6]
    assert choice.plan is not None
    assert (choice.plan.reason, choice.plan.number) == (PlanReason.CELLS, 2)
    assert choice.plan.layers_um == (-2.0, -1.0, 0.0, 1.0, 2.0)
    assert {tile.z_um for tile in choice.plan.tiles} == {3.25}
    used = {tile.tile for tile in plan.tiles} | {field.tile for field in plan.skipped}
    assert not used & {tile.tile for tile in choice.plan.tiles}


def test_a_lone_cell_lies_in_the_middle_of_its_field() -> None:
    plan, rig = first_plan(), profile(1)
    choice = chosen(rig, plan, {0: [(900, 100, 0.9)]})
    assert choice.plan is not None
    (tile,), (place,) = choice.plan.tiles, places(choice, plan, mosaic_frame(rig, plan))
    assert Point(tile.x_um, tile.y_um).distance(place) < 0.01


def test_near_cells_share_a_field_and_far_ones_do_not() -> None:
    plan, rig = first_plan(), profile(9)
    near = chosen(rig, plan, {0: [(200, 500, 0.9), (800, 600, 0.8), (500, 400, 0.7)]})
    far = chosen(rig, plan, {0: [(40, 40, 0.9), (990, 990, 0.8)]})
    assert near.plan is not None
    assert far.plan is not None
    assert (len(near.plan.tiles), len(far.plan.tiles)) == (1, 2)


def test_a_cell_that_two_tiles_show_is_taken_once() -> None:
    plan, rig = first_plan(), profile(9)
    step_px = plan.grid.step_um[0] / mosaic_frame(rig, plan).um_per_px
    choice = chosen(rig, plan, {0: [(step_px + 40, 500, 0.8)], 1: [(44, 500, 0.9)]})
    assert [(cell.tile, cell.score) for cell in choice.cells] == [(1, 0.9)]


def test_a_cut_view_is_left_to_the_tile_that_shows_its_place_whole() -> None:
    plan, rig = first_plan(), profile(9)
    step_px = plan.grid.step_um[0] / mosaic_frame(rig, plan).um_per_px
    assert step_px < 1024 - 40
    both = chosen(rig, plan, {0: [(500, 500, 0.3)], 1: [(4, 500, 0.9)]})
    assert [cell.score for cell in both.cells] == [0.3]
    alone = chosen(rig, plan, {1: [(4, 500, 0.9)]})
    assert [cell.score for cell in alone.cells] == [0.9]


def test_what_is_no_finding_is_not_taken_again() -> None:
    choice = chosen(profile(9), first_plan(), {0: [(500, 500, 0.009)], 1: []})
    assert choice == Choice((), None)


def test_a_field_stays_within_the_limits_and_still_shows_its_cell() -> None:
    rig = profile(1, limits=RIG.limits.model_copy(update={"x_um": (43_100.0, 75_000.0)}))
    plan = first_plan()
    choice = chosen(rig, plan, {0: [(60, 500, 0.9)]})
    assert choice.plan is not None
    (tile,), (place,) = choice.plan.tiles, places(choice, plan, mosaic_frame(rig, plan))
    assert tile.x_um >= 43_100.0 - 1e-6
    assert choice.plan.problems(rig.stage_to_slide(1).inverse(), rig.limits) == []
    assert abs(tile.x_um - place.x) < FIELD_UM[0] / 2


def test_a_stack_stays_within_the_limits_of_z() -> None:
    rig = profile(1, limits=RIG.limits.model_copy(update={"z_um": (-3_000.0, 4.0)}))
    choice = chosen(rig, first_plan(), {0: [(500, 500, 0.9)]})
    assert choice.plan is not None
    assert choice.plan.tiles[0].z_um == 2.0


cells_of = st.lists(
    st.tuples(st.floats(25, SIDE - 25), st.floats(25, SIDE - 25), st.floats(0.01, 1.0)), max_size=6
)


@given(st.dictionaries(st.integers(0, 4), cells_of, max_size=4), st.integers(1, 8))
def test_every_chosen_cell_lies_well_inside_its_own_field(cells: dict[int, list[Cell]], most: int) -> None:
    plan, rig = first_plan(), profile(most)
    frame = mosaic_frame(rig, plan)
    choice = chosen(rig, plan, cells)
    fields = {tile.tile: tile for tile in choice.plan.tiles} if choice.plan else {}
    assert len(fields) <= len(choice.cells) <= most
    assert set(fields) == {cell.field for cell in choice.cells}
    for cell, place in zip(choice.cells, places(choice, plan, frame), strict=True):
        at = fields[cell.field]
        assert abs(at.x_um - place.x) <= FIELD_UM[0] / 2 - MARGIN_UM
        assert abs(at.y_um - place.y) <= FIELD_UM[1] / 2 - MARGIN_UM


@pytest.mark.parametrize("most", [1, 3])
def test_the_choice_does_not_depend_on_the_order_of_the_answers(most: int) -> None:
    plan, rig = first_plan(), profile(most)
    cells = {0: [(500.0, 500.0, 0.5)], 1: [(300.0, 300.0, 0.5)], 2: [(600.0, 100.0, 0.5)]}
    assert chosen(rig, plan, cells) == chosen(rig, plan, dict(reversed(cells.items())))
