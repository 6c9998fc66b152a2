from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pytest

from scanner.acquisition.locate import Located, border_plan, field_um, locate, plan_slide, sample_covered
from scanner.errors import BadInput
from scanner.model.geometry import Point, Rect, Space
from scanner.model.plan import Plan, PlanReason, grid_over
from scanner.model.profile import (
    CameraSpec,
    Devices,
    Limits,
    LoaderKind,
    LoaderSpec,
    Matrix,
    Measured,
    MeasuredValues,
    Objective,
    OverviewSpec,
    Profile,
    SlidePlace,
)
from scanner.model.slide import Preparation, Slide
from scanner.model.tile import Pixels

Draw = Callable[..., Pixels]
SLIDE = Slide(slot=1, slide_id="1-test")
DEPOSIT = Rect(35_000.0, 2_500.0, 20_000.0, 20_000.0)


def seen(picture: Pixels, margin_um: float = 0.0) -> Located:
    spec = OverviewSpec(camera="Overview", um_per_px=20.0, origin_um=(-margin_um, -margin_um))
    return locate(picture, spec, Preparation.THINPREP)


def rig(
    camera_to_stage: Matrix | None = ((0.5, 0.0), (0.0, 0.5)), x_um: tuple[float, float] = (0, 75e3)
) -> Profile:
    measured = MeasuredValues()
    if camera_to_stage is not None:
        value = Measured[Matrix](value=camera_to_stage, when=datetime(2026, 1, 1, tzinfo=UTC), how="given")
        measured = MeasuredValues(camera_to_stage=value)
    wide = (-1e5, 1e5)
    return Profile(
        name="rig",
        devices=Devices(cfg="x.cfg", camera="C", xy="XY", loader=LoaderSpec(kind=LoaderKind.MANUAL, slots=1)),
        limits=Limits(
            x_um=x_um, y_um=(0, 25e3), z_um=wide, travel_x_um=wide, travel_y_um=wide, travel_z_um=wide
        ),
        camera=CameraSpec(width_px=1024, height_px=512, exposure_ms=5),
        objectives=(
            Objective(name="20x", magnification=20, na=0.75, working_distance_um=1000, um_per_px=0.5),
        ),
        objective="20x",
        slide=SlidePlace(origins_stage_um=((0.0, 0.0),)),
        measured=measured,
    )


@pytest.fixture(scope="module")
def ordinary(overview: Draw) -> Located:
    return seen(overview(dust=40, cover_slip=Rect(26e3, 1e3, 40e3, 23e3), pen=Rect(60e3, 5e3, 1500, 9e3)))


def test_the_deposit_is_found_and_dust_pen_and_cover_slip_are_not(ordinary: Located) -> None:
    assert ordinary.bounds_um.grown(200).covers(DEPOSIT)
    assert DEPOSIT.grown(400).covers(ordinary.bounds_um)
    assert ordinary.sample_mm2 == pytest.approx(np.pi * 100, rel=0.02)


@pytest.mark.parametrize("od", [0.12, 0.05])
def test_a_faint_deposit_is_found_whole(overview: Draw, od: float) -> None:
    assert seen(overview(od=od)).sample_mm2 == pytest.approx(np.pi * 100, rel=0.05)


@pytest.mark.parametrize("dust", [0, 60])
def test_glass_without_sample_is_empty_whatever_dust_lies_on_it(overview: Draw, dust: int) -> None:
    located = seen(overview(deposit=None, dust=dust))
    assert located.empty
    assert plan_slide(located, rig(), SLIDE) is None


def test_sample_beside_the_deposit_is_found_too(overview: Draw) -> None:
    located = seen(overview(cells=4000, extra=((65e3, 20e3, 800.0),)))
    assert located.bounds_um.right == pytest.approx(65_800, abs=100)
    assert len(located.outline_um) == 2


def test_a_small_grey_field_where_sample_belongs_is_sample_and_beside_it_is_dust(overview: Draw) -> None:
    at_home = seen(overview(deposit=None, grey=((45e3, 12.5e3, 150.0),)))
    beside = seen(overview(deposit=None, grey=((68e3, 12.5e3, 150.0),)))
    assert at_home.bounds_um.centre.distance(Point(45e3, 12.5e3)) < 30
    assert beside.empty


def test_three_hundred_cells_are_all_seen(overview: Draw) -> None:
    located = seen(overview(cells=300))
    plan = plan_slide(located, rig(), SLIDE)
    assert plan is not None
    assert 250 < len(plan.tiles) < 600 < len(plan.skipped)


@pytest.mark.parametrize(
    ("shift", "margin_um"),
    [(Point(38, -24), 0), (Point(-46, 50), 0), (Point(-46, 50), 2000), (Point(0, 0), 2000)],
)
def test_the_seating_is_read_from_the_edges_of_the_glass(
    overview: Draw, shift: Point, margin_um: float
) -> None:
    located = seen(overview(seating_um=shift, margin_um=margin_um), margin_um)
    assert located.seating_um.distance(shift) < 5
    assert located.bounds_um.centre.distance(DEPOSIT.centre) < 60


def test_a_picture_that_shows_no_edge_tells_no_seating(ordinary: Located) -> None:
    assert ordinary.seating_um == Point(0, 0)


def test_an_overview_at_the_wrong_scale_is_refused() -> None:
    with pytest.raises(BadInput, match="overview"):
        seen(np.full((100, 300, 3), 240, np.uint8))


def test_the_plan_covers_the_whole_sample_and_skips_the_corners(ordinary: Located) -> None:
    plan = plan_slide(ordinary, rig(), SLIDE)
    assert plan is not None
    cells = [(t.row, t.col) for t in plan.tiles]
    assert sample_covered(ordinary, plan.grid, cells) == pytest.approx(1.0)
    assert len(plan.skipped) > 0.1 * len(plan.tiles)
    ids = [t.tile for t in (*plan.tiles,)] + [s.tile for s in plan.skipped]
    assert sorted(ids) == list(range(len(ids)))
    assert plan.canvas.covers(ordinary.bounds_um.grown(400))


def test_what_the_fields_do_not_show_lowers_the_covered_share(ordinary: Located) -> None:
    grid, rows, cols = grid_over(Rect(35e3, 2.5e3, 10e3, 20e3), (512.0, 512.0), 0.1)
    left_half = [(row, col) for row in range(rows) for col in range(cols)]
    assert sample_covered(ordinary, grid, left_half) == pytest.approx(0.5, abs=0.03)
    assert sample_covered(ordinary, grid, []) == 0


def test_a_region_is_covered_exactly_with_nothing_skipped_and_nothing_growing(ordinary: Located) -> None:
    region = Rect(43_000, 11_000, 2_000, 2_000)
    plan = plan_slide(ordinary, rig(), SLIDE, region)
    assert plan is not None
    assert not plan.skipped
    assert plan.canvas.covers(region)
    assert region.grown(600).covers(plan.canvas)


def test_a_rig_without_an_overview_needs_a_region() -> None:
    assert plan_slide(None, rig(), SLIDE, Rect(43_000, 11_000, 2_000, 2_000)) is not None
    with pytest.raises(BadInput, match="--region"):
        plan_slide(None, rig(), SLIDE)


def test_a_rig_that_was_not_measured_makes_no_plan(ordinary: Located) -> None:
    with pytest.raises(BadInput, match="profile measure"):
        plan_slide(ordinary, rig(None), SLIDE)


def test_the_field_follows_scale_rotation_and_quarter_turns() -> None:
    assert field_um(rig(((0.5, 0.0), (0.0, 0.5)))) == pytest.approx((512, 256))
    assert field_um(rig(((0.0, 0.5), (-0.5, 0.0)))) == pytest.approx((256, 512))
    turned = 0.5 * 1.002 * np.array([[np.cos(0.005), -np.sin(0.005)], [np.sin(0.005), np.cos(0.005)]])
    matrix = ((float(turned[0, 0]), float(turned[0, 1])), (float(turned[1, 0]), float(turned[1, 1])))
    assert field_um(rig(matrix)) == pytest.approx((512 * 1.002, 256 * 1.002))


def test_sample_beyond_the_limits_is_left_out_of_the_plan_and_counted(ordinary: Located) -> None:
    profile = rig(x_um=(0, 50e3))
    plan = plan_slide(ordinary, profile, SLIDE)
    assert plan is not None
    assert not plan.problems(profile.stage_to_slide(1).inverse(), profile.limits)
    assert sample_covered(ordinary, plan.grid, [(t.row, t.col) for t in plan.tiles]) < 0.85


def small_plan(located: Located) -> Plan:
    plan = plan_slide(located, rig(), SLIDE)
    assert plan is not None
    return plan


def test_a_border_tile_that_still_holds_sample_makes_a_further_plan(ordinary: Located) -> None:
    plan = small_plan(ordinary)
    profile = rig()
    to_stage = profile.stage_to_slide(1).inverse()
    lowest = max(t.row for t in plan.tiles)
    cell = next((t.row, t.col) for t in plan.tiles if t.row == lowest)
    further = border_plan([plan], {cell: (False, False, False, True)}, to_stage, profile.limits)
    assert further is not None
    assert further.reason is PlanReason.BORDER
    assert [(t.row, t.col) for t in further.tiles] == [(cell[0] + 1, cell[1])]
    assert further.tiles[0].tile > max(t.tile for t in plan.tiles)
    assert plan.canvas.covers(plan.grid.field(cell[0] + 1, cell[1]))


def test_borders_stop_at_the_declared_canvas_and_at_tiles_already_taken(ordinary: Located) -> None:
    profile, plans = rig(), [small_plan(ordinary)]
    to_stage = profile.stage_to_slide(1).inverse()
    for _ in range(100):
        everywhere = {(t.row, t.col): (True, True, True, True) for plan in plans for t in plan.tiles}
        further = border_plan(plans, everywhere, to_stage, profile.limits)
        if further is None:
            break
        plans.append(further)
    cells = [(t.row, t.col) for plan in plans for t in plan.tiles]
    assert 3 < len(plans) < 100
    assert len(set(cells)) == len(cells)
    assert all(plans[0].canvas.grown(0.01).covers(plans[0].grid.field(*cell)) for cell in cells)


def test_a_skipped_field_keeps_its_number_when_the_border_takes_it(ordinary: Located) -> None:
    plan = small_plan(ordinary)
    profile = rig()
    skipped = {(s.row, s.col): s.tile for s in plan.skipped}
    cell = next((t.row, t.col) for t in plan.tiles if (t.row, t.col - 1) in skipped)
    further = border_plan(
        [plan], {cell: (True, False, False, False)}, profile.stage_to_slide(1).inverse(), profile.limits
    )
    assert further is not None
    assert further.tiles[0].tile == skipped[cell[0], cell[1] - 1]


def test_sample_inside_the_plan_makes_no_further_plan(ordinary: Located) -> None:
    plan = small_plan(ordinary)
    profile = rig()
    assert (
        border_plan([plan], {(20, 20): (True,) * 4}, profile.stage_to_slide(1).inverse(), profile.limits)
        is None
    )
    assert profile.stage_to_slide(1).source is Space.STAGE
