from dataclasses import replace
from pathlib import Path

import pytest

from scanner.model.geometry import Affine, Space
from scanner.model.plan import Grid, Plan, PlannedTile, PlanReason, scan_plan
from scanner.model.profile import Profile
from scanner.model.tile import EndOfPlan, FocusState, Judged, Tile, TileFocus
from scanner.pipeline.replan import PlanSettled, Replanner, settled
from scanner.storage.profiles import read_profile

PROFILES = Path(__file__).parents[3] / "hardware_profiles"
GRID = Grid(origin_um=(40_000.0, 10_000.0), step_um=(461.0, 461.0), field_um=(512.0, 512.0))
CELLS = [(row, col) for row in range(3) for col in range(3)]
TO_STAGE = Affine.identity(Space.SLIDE, Space.STAGE)
NOTHING = (False, False, False, False)


@pytest.fixture
def profile() -> Profile:
    return read_profile(PROFILES / "simulated.yaml")


def first_plan(growable: bool = True) -> Plan:
    return scan_plan("1-x", GRID, CELLS, [], growable)


def taken(
    tile: PlannedTile,
    state: FocusState = FocusState.SHARP,
    edges: tuple[bool, bool, bool, bool] = NOTHING,
    plan: int = 1,
    best_z_um: float | None = None,
) -> Judged:
    focus = TileFocus(state, 0.0, 0.1, best_z_um)
    return Judged(Tile(tile, plan, 1, None, "", tile.x_um, tile.y_um, focus, 2), None, 0.5, 0.3, edges)


def test_a_sharp_slide_needs_no_further_plan(profile: Profile) -> None:
    plan, replanner = first_plan(), Replanner(profile, TO_STAGE, growable=True)
    for tile in plan.tiles:
        replanner.add(taken(tile))
    assert replanner.next_plan([plan]) is None
    assert not replanner.border_left([plan])


def test_a_soft_tile_is_taken_again_once_at_the_height_it_asked_for(profile: Profile) -> None:
    plan, replanner = first_plan(), Replanner(profile, TO_STAGE, growable=True)
    for tile in plan.tiles:
        soft = tile.tile == 4
        replanner.add(
            taken(tile, FocusState.USABLE if soft else FocusState.SHARP, best_z_um=2.5 if soft else None)
        )
    second = replanner.next_plan([plan])
    assert second is not None
    assert (second.number, second.reason, [t.tile for t in second.tiles]) == (2, PlanReason.RETAKE, [4])
    assert second.tiles[0].z_um == 2.5
    replanner.add(taken(second.tiles[0], FocusState.UNREADABLE, plan=2))
    assert replanner.next_plan([plan, second]) is None


def test_sample_at_a_border_is_followed_before_anything_is_taken_again(profile: Profile) -> None:
    plan, replanner = first_plan(), Replanner(profile, TO_STAGE, growable=True)
    for tile in plan.tiles:
        right = (tile.row, tile.col) == (1, 2)
        state = FocusState.USABLE if tile.tile == 0 else FocusState.SHARP
        replanner.add(taken(tile, state, (False, False, right, False)))
    border = replanner.next_plan([plan])
    assert border is not None
    assert border.reason is PlanReason.BORDER
    assert [(t.row, t.col) for t in border.tiles] == [(1, 3)]
    assert border.tiles[0].tile not in {t.tile for t in plan.tiles}
    assert border.canvas_um == plan.canvas_um
    replanner.add(taken(border.tiles[0], plan=2))
    retake = replanner.next_plan([plan, border])
    assert retake is not None
    assert retake.reason is PlanReason.RETAKE


def test_a_fixed_region_does_not_grow_and_says_what_it_leaves(profile: Profile) -> None:
    plan, replanner = first_plan(growable=False), Replanner(profile, TO_STAGE, growable=False)
    for tile in plan.tiles:
        replanner.add(taken(tile, edges=(True, True, True, True)))
    assert replanner.next_plan([plan]) is None
    assert replanner.border_left([plan])


def test_the_stream_ends_with_the_last_plan_and_tells_each_next_one(profile: Profile) -> None:
    plan = first_plan()
    told: list[Plan | None] = []
    tiles = [taken(t, FocusState.USABLE if t.tile == 3 else FocusState.SHARP) for t in plan.tiles]
    again = replace(tiles[3], tile=replace(tiles[3].tile, plan=2))
    stream = [*tiles, EndOfPlan(1, None), again, EndOfPlan(2, None), "never read"]
    replanner = Replanner(profile, TO_STAGE, growable=True)
    items = list(settled(stream, replanner, plan, told.append))  # type: ignore[arg-type]  # the last item must not be met
    ends = [item for item in items if isinstance(item, PlanSettled)]
    assert [end.following is None for end in ends] == [False, True]
    assert [p.number if p else None for p in told] == [2, None]


def test_the_stage_hears_of_the_end_before_any_frame_may_go(profile: Profile) -> None:
    plan = first_plan()
    heard: list[Plan | None] = []
    stream: list[Judged | EndOfPlan] = [*(taken(tile) for tile in plan.tiles), EndOfPlan(1, None)]
    for item in settled(stream, Replanner(profile, TO_STAGE, growable=False), plan, heard.append):
        assert heard == ([None] if isinstance(item, PlanSettled) else [])
