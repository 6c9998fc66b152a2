"""Does a plan cover what was asked, once, in an order a stage likes, and survive being saved?"""

from itertools import pairwise

import pytest
import useq
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from scanner.model.geometry import Affine, Point, Rect, Space
from scanner.model.plan import Grid, Plan, canvas_over, grid_over, planned, scan_plan, serpentine
from scanner.model.profile import Limits

IDENTITY = Affine.identity(Space.SLIDE, Space.STAGE)
LIMITS = Limits(
    x_um=(0, 75_000),
    y_um=(0, 25_000),
    z_um=(-50, 50),
    travel_x_um=(-1_000, 80_000),
    travel_y_um=(-1_000, 30_000),
    travel_z_um=(-100, 100),
)
fields = st.tuples(st.floats(100, 2_000), st.floats(100, 2_000))
overlaps = st.floats(0.02, 0.5)
regions = st.builds(
    Rect, st.floats(0, 60_000), st.floats(0, 20_000), st.floats(1, 8_000), st.floats(1, 8_000)
)
cells = st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=1, max_size=60, unique=True)


def all_cells(rows: int, cols: int) -> list[tuple[int, int]]:
    return [(row, col) for row in range(rows) for col in range(cols)]


@given(region=regions, field=fields, overlap=overlaps)
def test_a_grid_covers_its_region_without_a_gap(
    region: Rect, field: tuple[float, float], overlap: float
) -> None:
    grid, rows, cols = grid_over(region, field, overlap)
    whole = grid.cell(0, 0).union(grid.cell(rows - 1, cols - 1))
    assert whole.grown(1e-3).covers(region)
    for row, col in all_cells(min(rows, 3), min(cols, 3)):
        assert grid.cell(row, col).right == pytest.approx(grid.cell(row, col + 1).x)
        assert grid.cell(row, col).bottom == pytest.approx(grid.cell(row + 1, col).y)
        assert grid.field(row, col).grown(1e-6).covers(grid.cell(row, col))


@given(region=regions, field=fields, overlap=overlaps)
def test_a_grid_uses_no_row_or_column_more_than_it_needs(
    region: Rect, field: tuple[float, float], overlap: float
) -> None:
    grid, rows, cols = grid_over(region, field, overlap)
    assert (cols - 1) * grid.step_um[0] <= region.w + 1e-3
    assert (rows - 1) * grid.step_um[1] <= region.h + 1e-3
    assert grid.centre(0, 0).x + grid.centre(rows - 1, cols - 1).x == pytest.approx(2 * region.centre.x)
    assert grid.centre(0, 0).y + grid.centre(rows - 1, cols - 1).y == pytest.approx(2 * region.centre.y)


@given(region=regions, field=fields, overlap=overlaps)
def test_neighbouring_fields_share_the_overlap(
    region: Rect, field: tuple[float, float], overlap: float
) -> None:
    grid, _, _ = grid_over(region, field, overlap)
    assert grid.field(0, 0).right - grid.field(0, 1).x == pytest.approx(overlap * field[0], abs=1e-6)
    assert grid.field(0, 0).bottom - grid.field(1, 0).y == pytest.approx(overlap * field[1], abs=1e-6)


@given(chosen=cells)
def test_a_serpentine_visits_every_field_once(chosen: list[tuple[int, int]]) -> None:
    path = serpentine(chosen)
    assert sorted(path) == sorted(chosen)
    assert [row for row, _ in path] == sorted(row for row, _ in path)


@given(rows=st.integers(1, 8), cols=st.integers(1, 8))
def test_on_a_full_grid_every_move_of_a_serpentine_goes_to_a_neighbour(rows: int, cols: int) -> None:
    path = serpentine(all_cells(rows, cols))
    steps = [abs(b[0] - a[0]) + abs(b[1] - a[1]) for a, b in pairwise(path)]
    assert set(steps) <= {1}


@given(chosen=cells, share=st.integers(0, 59), growable=st.booleans())
def test_a_plan_numbers_every_field_once_and_captures_or_skips_it(
    chosen: list[tuple[int, int]], share: int, growable: bool
) -> None:
    kept, dropped = chosen[: share + 1], chosen[share + 1 :]
    grid = Grid(origin_um=(40_000, 12_000), step_um=(450, 450), field_um=(500, 500))
    plan = scan_plan("1-a", grid, kept, dropped, growable)
    numbers = [tile.tile for tile in plan.tiles] + [tile.tile for tile in plan.skipped]
    assert sorted(numbers) == list(range(len(chosen)))
    assert [(t.row, t.col) for t in plan.tiles] == serpentine(kept)
    assert {(t.row, t.col) for t in plan.skipped} == set(dropped)
    assert all(Point(t.x_um, t.y_um) == grid.centre(t.row, t.col) for t in plan.tiles)


@given(chosen=cells, margin=st.integers(0, 3))
def test_a_canvas_holds_every_field_and_its_margin(chosen: list[tuple[int, int]], margin: int) -> None:
    grid = Grid(origin_um=(0, 0), step_um=(450, 400), field_um=(500, 480))
    canvas = Rect(*canvas_over(grid, chosen, margin)).grown(1e-6)
    for row, col in chosen:
        assert canvas.covers(grid.field(row - margin, col - margin))
        assert canvas.covers(grid.field(row + margin, col + margin))


@given(chosen=cells, growable=st.booleans(), z=st.none() | st.floats(-50, 50))
def test_a_plan_comes_back_from_json_and_from_micro_managers_sequence(
    chosen: list[tuple[int, int]], growable: bool, z: float | None
) -> None:
    grid = Grid(origin_um=(40_000.1, 12_000 / 7), step_um=(450.3, 1000 / 3), field_um=(500, 500))
    plan = scan_plan("1-a", grid, chosen, [], growable)
    plan = plan.model_copy(update={"tiles": tuple(t.model_copy(update={"z_um": z}) for t in plan.tiles)})
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    text = plan.to_useq(IDENTITY).model_dump_json()
    assert Plan.from_useq(useq.MDASequence.model_validate_json(text)) == plan


@given(chosen=cells, dx=st.floats(-9_000, 9_000), dy=st.floats(-9_000, 9_000))
def test_a_sequence_visits_the_fields_in_order_in_stage_micrometres(
    chosen: list[tuple[int, int]], dx: float, dy: float
) -> None:
    grid = Grid(origin_um=(40_000, 12_000), step_um=(450, 450), field_um=(500, 500))
    plan = scan_plan("1-a", grid, chosen, [], growable=False)
    to_stage = Affine(Space.SLIDE, Space.STAGE, ((-1.0, 0.0), (0.0, 1.0)), (dx, dy))
    events = list(plan.to_useq(to_stage))
    assert len(events) == len(plan.tiles)
    for tile, event in zip(plan.tiles, events, strict=True):
        at = to_stage.apply(Point(tile.x_um, tile.y_um))
        assert (event.x_pos, event.y_pos, event.pos_name) == (at.x, at.y, f"tile{tile.tile}")


def test_a_sequence_that_was_not_ours_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="not made from a rackscan plan"):
        Plan.from_useq(useq.MDASequence())


@given(region=regions, dx=st.floats(-80_000, 80_000))
def test_a_plan_has_a_problem_exactly_where_a_field_leaves_the_limits(region: Rect, dx: float) -> None:
    grid, rows, cols = grid_over(region, (2_000, 2_000), 0.1)
    plan = scan_plan("1-a", grid, all_cells(rows, cols), [], growable=False)
    to_stage = IDENTITY.shifted(Point(dx, 0))
    at = [to_stage.apply(Point(t.x_um, t.y_um)) for t in plan.tiles]
    outside = sum(not (0 <= p.x <= 75_000 and 0 <= p.y <= 25_000) for p in at)
    problems = plan.problems(to_stage, LIMITS)
    assert bool(problems) == bool(outside)
    if outside:
        assert f"{outside} of {len(plan.tiles)} fields" in problems[0].problem


def test_a_plan_never_changes() -> None:
    grid = Grid(origin_um=(0, 0), step_um=(1, 1), field_um=(1, 1))
    plan = scan_plan("1-a", grid, [(0, 0)], [], growable=True)
    with pytest.raises(ValidationError, match="frozen"):
        plan.number = 2  # type: ignore[misc]  # that it cannot be set is what is tried
    assert planned(grid, 3, (1, 2), 4.5).model_dump() == {
        "tile": 3,
        "row": 1,
        "col": 2,
        "x_um": 2,
        "y_um": 1,
        "z_um": 4.5,
    }
