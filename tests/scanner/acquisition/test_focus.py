"""Do tiles get their heights from what they show themselves, and never a height that nobody can trust?"""

import itertools
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autofocus.answers import Look
from autofocus.evidence import moved_between
from autofocus.template import FocusTemplate
from scanner.acquisition.earlier import Earlier
from scanner.acquisition.floor import FloorClock, watched
from scanner.acquisition.focus import TileFocusing, begin_focus
from scanner.acquisition.focus_places import unreachable
from scanner.acquisition.focus_survey import Survey, survey, survey_places
from scanner.devices.rig import Rig, open_rig
from scanner.devices.simulated.field import FieldCamera
from scanner.devices.simulated.rack import SimulatedRack
from scanner.devices.simulated.specimen import CameraGrid
from scanner.errors import CameraFault, DeviceFault, FocusRefused
from scanner.model.events import Kind
from scanner.model.geometry import Affine, Point, Rect
from scanner.model.plan import Plan, PlannedTile, grid_over, scan_plan
from scanner.model.profile import FocusStrategy, Profile
from scanner.model.report import FocusPointFact
from scanner.model.slide import Slide
from scanner.model.tile import FocusState, Frame, TileFocus
from scanner.storage.ledger import Ledger
from scanner.storage.profiles import read_profile
from tests.autofocus.fields import Field, cells

PROFILES = Path(__file__).parents[3] / "hardware_profiles"
CURVE = FocusTemplate.from_optics(0.98)
SLOPE_UM_PER_MM = 0.5


@pytest.fixture(scope="session")
def profile() -> Profile:
    """The shipped simulated rig's."""
    return read_profile(PROFILES / "simulated.yaml")


def tilted(count: int = 5) -> Survey:
    """A survey of a glass that rises with x and lies at 3 µm where x is 0."""
    places = [(1000.0 * (n % 3), 1000.0 * (n // 3)) for n in range(count)]
    points = tuple(
        FocusPointFact(x_um=x, y_um=y, z_um=3 + SLOPE_UM_PER_MM * x / 1000, sigma_um=0.1, state="found")
        for x, y in places
    )
    return Survey(points, CURVE)


def planned(tile: int = 0, x_um: float = 1000.0, z_um: float | None = None) -> PlannedTile:
    """A tile in the middle of the survey."""
    return PlannedTile(tile=tile, row=0, col=tile, x_um=x_um, y_um=500.0, z_um=z_um)


def frames(field: Field, heights: tuple[float, ...] | list[float]) -> list[Frame]:
    """What the camera gives of a field at these heights."""
    return [Frame(field.image(z), 0.0, 0.0, z, 0.0, 0.0) for z in heights]


def take(focusing: TileFocusing, tile: PlannedTile, field: Field) -> tuple[int, TileFocus]:
    """Expose what is asked for, and answer."""
    heights = list(focusing.planes(tile))
    while (z_um := focusing.more(tile, [field.look(z) for z in heights])) is not None:
        heights.append(z_um)
    return focusing.answer(tile, frames(field, heights))


def with_strategy(profile: Profile, strategy: FocusStrategy) -> Profile:
    """The same rig with another strategy."""
    return profile.model_copy(update={"focus": profile.focus.model_copy(update={"strategy": strategy})})


def test_planes_lie_around_the_surface_a_little_more_than_a_depth_of_field_apart(profile: Profile) -> None:
    planes = TileFocusing(profile, tilted()).planes(planned(x_um=2000.0))
    assert np.mean(planes) == pytest.approx(4.0, abs=0.2)
    assert np.diff(planes) == pytest.approx([1.3])


def test_another_plane_is_asked_for_only_where_what_was_seen_lies_elsewhere(profile: Profile) -> None:
    focusing = TileFocusing(profile, tilted())
    heights = focusing.planes(planned())
    empty, far = cells(0, seed=8), cells(2, 6.0, 0.0, seed=8)
    assert focusing.more(planned(), [empty.look(z) for z in heights]) is None
    assert focusing.more(planned(), [far.look(z) for z in heights]) == pytest.approx(6.0, abs=0.4)


def test_a_tile_at_the_expected_height_is_sharp_and_its_nearest_plane_is_kept(profile: Profile) -> None:
    focusing = TileFocusing(profile, tilted())
    index, focus = take(focusing, planned(), cells(12, 3.4, 0.3, seed=1))
    assert focus.state is FocusState.SHARP
    assert focus.best_z_um is not None
    assert abs(focus.best_z_um - focus.z_um) <= 0.5
    assert index in (0, 1, 2)


def test_a_tile_far_from_the_surface_is_soft_and_says_where_it_would_be_sharp(profile: Profile) -> None:
    focusing = TileFocusing(profile, tilted())
    field = cells(12, 6.0, 0.2, seed=2)
    _, focus = focusing.answer(planned(), frames(field, list(focusing.planes(planned()))))
    assert focus.state.soft
    assert focus.best_z_um is not None
    again = planned(z_um=focus.best_z_um)
    _, second = take(focusing, again, field)
    assert second.state is FocusState.SHARP
    assert second.z_um == pytest.approx(field.true_peak_um(), abs=0.6)


def test_an_empty_tile_is_no_sample_and_moves_nothing(profile: Profile) -> None:
    focusing = TileFocusing(profile, tilted())
    before = focusing.predict(planned(1))
    _, focus = take(focusing, planned(), cells(0, seed=3))
    assert (focus.state, focus.best_z_um) == (FocusState.NO_SAMPLE, None)
    assert focusing.predict(planned(1)) == before


def test_tiles_that_all_lie_higher_lift_the_prediction_for_the_next(profile: Profile) -> None:
    focusing = TileFocusing(profile, tilted())
    for tile in range(12):
        focusing.learn(planned(tile, 100.0 * tile), TileFocus(FocusState.SHARP, 4.0, 0.2, 4.2, "", 4.2, 0.3))
    z_um, sigma_um = focusing.predict(planned(12, 1200.0))
    assert z_um == pytest.approx(4.2, abs=0.3)
    assert sigma_um < TileFocusing(profile, tilted()).predict(planned(12, 1200.0))[1]


def test_a_focus_that_runs_away_stops_the_scan_and_one_that_is_mended_is_followed_back(
    profile: Profile,
) -> None:
    focusing = TileFocusing(profile, tilted())

    def run_away() -> None:
        for tile in range(60):
            take(focusing, planned(tile), cells(12, 3.5 + 0.4 * tile, 0.3, seed=tile))

    with pytest.raises(DeviceFault, match="slipping focus drive"):
        run_away()
    for tile in range(60, 80):
        settled = TileFocus(FocusState.SHARP, 3.5, 0.1, None, "", 3.5, 0.2)
        focusing.learn(planned(tile), settled)
    assert focusing.predict(planned(80))[0] == pytest.approx(3.5, abs=0.5)
    take(focusing, planned(81), cells(12, 3.5, 0.3, seed=81))


def test_a_retake_follows_the_drift_since_its_tile_was_measured(profile: Profile) -> None:
    focusing = TileFocusing(profile, tilted())
    soft = planned(0)
    focusing.learn(soft, TileFocus(FocusState.USABLE, 3.0, 0.1, 4.0, "", 3.6, 0.3))
    for tile in range(1, 60):
        focusing.learn(planned(tile), TileFocus(FocusState.SHARP, 4.0, 0.1, None, "", 3.5 + 0.02 * tile, 0.2))
    z_um, _ = focusing.predict(planned(0, z_um=4.0))
    assert 4.2 < z_um < 5.4


def test_what_a_killed_run_knew_is_rebuilt_from_its_facts(profile: Profile) -> None:
    first, again = TileFocusing(profile, tilted()), TileFocusing(profile, tilted())
    for tile in range(4):
        _, focus = take(first, planned(tile, 300.0 * tile), cells(10, 3.6, 0.5, seed=10 + tile))
        again.learn(planned(tile, 300.0 * tile), focus)
    assert again.predict(planned(5)) == first.predict(planned(5))


def test_a_tile_without_an_answer_is_soft_once_then_looked_at_more_widely_and_said_unmeasured(
    profile: Profile,
) -> None:
    focusing = TileFocusing(profile, tilted())
    black = [
        Frame(np.zeros((128, 128, 3), np.uint8), 0.0, 0.0, z, 0.0, 0.0) for z in focusing.planes(planned())
    ]
    for frame in black:
        frame.pixels[40:80, 40:80] = 3
    _, focus = focusing.answer(planned(), black)
    assert focus.state.soft
    assert focus.best_z_um is None
    assert len(focusing.planes(planned())) > 4
    _, second = focusing.answer(planned(), black)
    assert second.state is FocusState.UNMEASURED
    assert "light" in second.reason


def test_the_map_strategy_takes_one_plane_and_sees_where_the_map_is_wrong(profile: Profile) -> None:
    focusing = TileFocusing(with_strategy(profile, FocusStrategy.MAP), tilted())
    assert len(focusing.planes(planned())) == 1
    _, focus = take(focusing, planned(), cells(12, 3.5, 0.1, seed=4))
    assert focus.state is FocusState.SHARP
    assert focus.level_um is None
    _, wrong = take(focusing, planned(1), cells(12, 6.5, 0.1, seed=4))
    assert wrong.state is not FocusState.SHARP


def test_a_rig_without_focus_exposes_once_where_the_profile_says(profile: Profile) -> None:
    focusing = TileFocusing(with_strategy(profile, FocusStrategy.FIXED), None)
    assert focusing.planes(planned()) == (profile.focus.start_um,)
    _, focus = take(focusing, planned(), cells(12, seed=5))
    assert focus.state is FocusState.UNMEASURED
    assert math.isinf(focus.sigma_um)


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (2, 3), (5, 20), (40, 40)])
def test_survey_places_are_few_spread_and_start_in_the_middle(rows: int, cols: int) -> None:
    plan = plan_over(Rect(0, 0, cols * 460.0, rows * 460.0))
    places = survey_places(plan.tiles, 4.0)
    assert len({place.tile for place in places}) == len(places)
    assert min(rows * cols, 5) <= len(places) <= 110
    first = places[0]
    assert abs(first.row - (rows - 1) / 2) <= max(1.0, 0.2 * rows)
    assert abs(first.col - (cols - 1) / 2) <= max(1.0, 0.2 * cols)


def test_what_a_survey_found_comes_back_from_the_ledger_bit_by_bit() -> None:
    known = tilted()
    bodies = [point.model_dump(mode="json") for point in known.points]
    assert Survey.of_bodies(bodies, known.map_body()) == known


def plan_over(region: Rect) -> Plan:
    """Every field of a region."""
    grid, rows, cols = grid_over(region, (513.0, 513.0), 0.10)
    return scan_plan("1-r-1", grid, [(r, c) for r in range(rows) for c in range(cols)], [], growable=False)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, profile: Profile) -> Iterator[Rig]:
    """The simulated rig with its first slide on the stage."""
    folder = tmp_path_factory.mktemp("rig")
    shutil.copy(PROFILES / "simulated.cfg", folder)
    with open_rig(profile, folder, {}) as opened:
        assert opened.z is not None
        assert opened.light is not None
        opened.z.start_move(profile.limits.z_safe_um).wait()
        opened.loader.load(1)
        opened.light.switch(True)
        yield opened


@pytest.fixture(scope="module")
def to_stage(profile: Profile) -> Affine:
    """Slide µm to stage µm."""
    return profile.stage_to_slide(1).inverse()


def test_on_the_rig_a_slide_is_surveyed_once_and_taken_up_again_without_a_move(
    rig: Rig, to_stage: Affine, tmp_path: Path
) -> None:
    plan = plan_over(Rect(44_000, 12_000, 1500, 900))
    slide = Slide(slide_id="1-r-1", slot=1)
    clock = FloorClock(rig.profile)
    with Ledger.open(tmp_path / "run.sqlite", create=True) as ledger:
        nothing = Earlier.of(ledger, slide.slide_id)
        seen = watched(rig, clock)
        focusing = begin_focus(seen, clock, ledger, slide, plan, to_stage, nothing)
        exposures = clock.frames
        again = begin_focus(seen, clock, ledger, slide, plan, to_stage, nothing)
        points = list(ledger.events(Kind.FOCUS_POINT, slide.slide_id))
    assert clock.frames == exposures
    assert 19 < exposures <= 120
    assert len(points) >= 5
    assert [again.predict(t) for t in plan.tiles] == [focusing.predict(t) for t in plan.tiles]
    found = [(e.body["x_um"], e.body["y_um"]) for e in points if e.body["state"] == "found"]
    tile = next(tile for tile in plan.tiles if (tile.x_um, tile.y_um) == found[0])
    rig.stage.start_move(to_stage.apply(Point(tile.x_um, tile.y_um))).wait()
    _, focus = focusing.answer(tile, _exposed(rig, focusing.planes(tile)))
    assert focus.state in (FocusState.SHARP, FocusState.USABLE)


def test_the_places_that_a_person_gave_are_focused_and_no_others(
    rig: Rig, to_stage: Affine, tmp_path: Path
) -> None:
    given = (Point(44_500.0, 12_100.0), Point(45_300.0, 12_800.0), Point(44_123.0, 12_654.0))
    slide = Slide(slide_id="1-r-2", slot=1, focus_points_um=given)
    clock = FloorClock(rig.profile)
    with Ledger.open(tmp_path / "run.sqlite", create=True) as ledger:
        nothing = Earlier.of(ledger, slide.slide_id)
        plan = plan_over(Rect(44_000, 12_000, 1500, 900))
        begin_focus(watched(rig, clock), clock, ledger, slide, plan, to_stage, nothing)
        points = [event.body for event in ledger.events(Kind.FOCUS_POINT, slide.slide_id)]
    assert [(point["x_um"], point["y_um"]) for point in points] == [(p.x, p.y) for p in given]


def test_given_places_that_the_stage_may_not_reach_are_named_before_a_move(
    profile: Profile, to_stage: Affine
) -> None:
    good, bad = Point(45_000.0, 12_500.0), Point(45_000.0, 90_000.0)
    assert unreachable((good,), to_stage, profile.limits) == []
    assert unreachable(None, to_stage, profile.limits) == []
    (problem,) = unreachable((good, bad), to_stage, profile.limits)
    assert "45.000, 90.000 mm" in problem.problem


def _exposed(rig: Rig, heights: Sequence[float]) -> list[Frame]:
    assert rig.z is not None
    taken = []
    for z_um in heights:
        reported_um = rig.z.start_move(z_um).wait().z_um
        picture = rig.camera.start_exposure().read()
        taken.append(Frame(picture.pixels, 0.0, 0.0, reported_um, picture.triggered_s, picture.read_s))
    return taken


def test_on_bare_glass_nothing_is_focused_and_no_height_is_claimed(rig: Rig, to_stage: Affine) -> None:
    found = survey(rig, to_stage, plan_over(Rect(68_000, 12_000, 900, 900)))
    assert {point.state for point in found.points} == {"no-sample"}
    assert found.focus_map is None
    assert len(TileFocusing(rig.profile, found).planes(planned())) == 1


def test_sample_out_of_the_searched_range_is_refused_before_the_first_tile(
    rig: Rig, to_stage: Affine
) -> None:
    focus = rig.profile.focus.model_copy(update={"start_um": -40.0, "range_um": 6.0})
    lost = watched(rig, FloorClock(rig.profile))
    profile = rig.profile.model_copy(update={"focus": focus})
    with pytest.raises(FocusRefused, match="no height could be trusted"):
        survey(replace(lost, profile=profile), to_stage, plan_over(Rect(45_000, 12_000, 900, 460)))


def test_a_camera_that_gives_no_frames_stops_the_run_and_costs_no_slide(rig: Rig, to_stage: Affine) -> None:
    plan = plan_over(Rect(45_000, 12_000, 1_300, 1_300))
    rig.mm.set("Faults", "Plan", ";".join(f"dropped-frame@{n}" for n in range(1, 2_000)))
    with pytest.raises(CameraFault, match=r"3 focus points in a row failed: .*dropped"):
        survey(rig, to_stage, plan)
    rig.mm.set("Faults", "Plan", "")
    assert survey(rig, to_stage, plan).focus_map is not None


def test_an_almost_empty_field_is_not_taken_for_a_shaken_one() -> None:
    grid, place = CameraGrid(), (48_688.0, 4_202.0)
    slide, camera = SimulatedRack(901, 1).specimen(1, grid), FieldCamera(901, grid)
    looks = [
        Look.known(z_um, camera.expose(slide, place, z_um, 5.0, number))
        for number, z_um in enumerate(6 * [0.39, 1.63])
    ]
    assert looks[0].view.nuclei.any()
    assert all(moved_between(pair) is None for pair in itertools.pairwise(looks))
