from hypothesis import given
from hypothesis import strategies as st

from scanner.model.plan import Grid, Plan, PlanReason, canvas_over, planned
from scanner.pipeline.frontier import ALL_EDGES, Frontier

GRID = Grid(origin_um=(30_000.0, 5_000.0), step_um=(461.0, 461.0), field_um=(512.0, 512.0))
EMPTY = (False, False, False, False)
CELLS = [(row, col) for row in range(3) for col in range(3)]
AROUND = [(row, col) for row in range(-4, 7) for col in range(-4, 7)]


def plan_of(cells: list[tuple[int, int]], number: int = 1) -> Plan:
    return Plan(
        slide_id="1-x",
        number=number,
        reason=PlanReason.SCAN,
        grid=GRID,
        canvas_um=canvas_over(GRID, CELLS, 2),
        tiles=tuple(planned(GRID, n, cell) for n, cell in enumerate(cells)),
    )


def begun(growable: bool = True) -> Frontier:
    frontier = Frontier(AROUND, growable)
    frontier.plan(plan_of(CELLS))
    return frontier


def test_a_fixed_region_leaves_nothing_beside_it_open() -> None:
    assert set(begun(growable=False).never()) == set(AROUND) - set(CELLS)


def test_fields_beyond_the_canvas_are_never_taken() -> None:
    never = set(begun().never())
    assert (-3, 0) in never
    assert (-2, 0) not in never


def test_a_side_without_sample_closes_when_it_is_judged() -> None:
    frontier = begun()
    frontier.never()
    for cell in CELLS:
        frontier.judged(cell, EMPTY)
    gone = set(frontier.never())
    assert {(-1, 0), (-2, 0), (1, 3), (3, 1)} <= gone
    assert not frontier.never()


def test_sample_at_an_edge_keeps_the_fields_beyond_it_open() -> None:
    frontier = begun()
    frontier.never()
    for cell in CELLS:
        frontier.judged(cell, (False, True, False, False) if cell == (0, 1) else EMPTY)
    gone = set(frontier.never())
    assert (-1, 1) not in gone
    assert (3, 1) not in gone  # it may be reached around the corner through other possible fields


def test_planned_fields_are_never_told() -> None:
    frontier = begun()
    told = set(frontier.never())
    for cell in CELLS:
        frontier.judged(cell, EMPTY)
    assert not (told | set(frontier.never())) & set(CELLS)


@given(st.lists(st.tuples(st.sampled_from(CELLS), st.tuples(*[st.booleans()] * 4)), max_size=9))
def test_each_field_is_told_once_and_an_open_edge_is_never_closed(
    seen: list[tuple[tuple[int, int], tuple[bool, bool, bool, bool]]],
) -> None:
    frontier = begun()
    told = frontier.never()
    for cell, edges in seen:
        frontier.judged(cell, edges)
        told += frontier.never()
    assert len(told) == len(set(told))
    edges_of = dict.fromkeys(CELLS, ALL_EDGES) | dict(seen)
    if edges_of[0, 0][1] and not any(cell == (0, 0) and not edges[1] for cell, edges in seen):
        assert (-1, 0) not in told
