"""Does a profile refuse what would hurt a rig, and do its kinematics tell true times?"""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from scanner.model.geometry import Point, Space
from scanner.model.profile import (
    CameraSpec,
    Limits,
    Matrix,
    Objective,
    Profile,
    SlidePlace,
    XYKinematics,
    ZKinematics,
)

positive = st.floats(0.1, 1e6)
distances = st.floats(0, 1e5)
kinematics = st.builds(XYKinematics, settle_ms=st.floats(0, 500), accel_um_s2=positive, speed_um_s=positive)
z_kinematics = st.builds(
    ZKinematics, step_ms=st.floats(0, 100), step_um=st.floats(0, 10), ms_per_um=st.floats(0, 10)
)
ranges = st.tuples(st.floats(-1e5, 1e5), st.floats(-1e5, 1e5))


def limits(x_um: tuple[float, float], travel_um: tuple[float, float]) -> Limits:
    wide = (-1e6, 1e6)
    return Limits(
        x_um=x_um, y_um=(0, 1), z_um=(0, 1), travel_x_um=travel_um, travel_y_um=wide, travel_z_um=wide
    )


def profile(**changes: object) -> Profile:
    values: dict[str, object] = {
        "name": "bench-1",
        "devices": {
            "cfg": "rig.cfg",
            "camera": "Cam",
            "xy": "XY",
            "loader": {"kind": "insert", "slots": 2},
        },
        "limits": limits((0, 10), (0, 10)),
        "camera": {"width_px": 1024, "height_px": 768, "exposure_ms": 5},
        "objectives": [
            {"name": "10x", "magnification": 10, "na": 0.45, "working_distance_um": 4000, "um_per_px": 0.65},
            {"name": "20x", "magnification": 20, "na": 0.75, "working_distance_um": 1000, "um_per_px": 0.325},
        ],
        "objective": "20x",
        "slide": {"origins_stage_um": [[100, 200], [100, 40_200]]},
    }
    return Profile.model_validate(values | changes)


@given(soft=ranges, travel=ranges)
def test_soft_limits_are_taken_only_in_order_and_within_the_travel(
    soft: tuple[float, float], travel: tuple[float, float]
) -> None:
    if soft[0] < soft[1] and travel[0] <= soft[0] and soft[1] <= travel[1]:
        assert limits(soft, travel).x_um == soft
    else:
        with pytest.raises(ValidationError, match="x_um"):
            limits(soft, travel)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_limit_that_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(ValidationError):
        limits((0, bad), (-1e9, 1e9))


@given(rig=kinematics, a=distances, b=distances)
def test_a_longer_move_never_takes_less_time(rig: XYKinematics, a: float, b: float) -> None:
    near, far = sorted((a, b))
    assert rig.seconds(near) <= rig.seconds(far) * (1 + 1e-12)
    assert rig.seconds(far) <= rig.seconds(near) + rig.seconds(far - near) + 1e-9


@given(rig=kinematics)
def test_the_ramp_and_the_cruise_meet_where_full_speed_is_reached(rig: XYKinematics) -> None:
    ramp_um = rig.speed_um_s**2 / rig.accel_um_s2
    assert rig.seconds(ramp_um * (1 - 1e-9)) == pytest.approx(rig.seconds(ramp_um * (1 + 1e-9)), rel=1e-6)


@given(rig=kinematics, z=z_kinematics)
def test_no_move_takes_no_time(rig: XYKinematics, z: ZKinematics) -> None:
    assert rig.seconds(0) == z.seconds(0) == 0


@given(z=z_kinematics, a=st.floats(0.001, 1e3), b=st.floats(0.001, 1e3))
def test_a_longer_z_move_never_takes_less_time(z: ZKinematics, a: float, b: float) -> None:
    near, far = sorted((a, b))
    assert z.step_ms / 1000 <= z.seconds(near) <= z.seconds(far)


def test_the_depth_of_field_is_that_of_the_textbook() -> None:
    def lens(na: float) -> Objective:
        return Objective(name="o", magnification=20, na=na, working_distance_um=1000, um_per_px=0.5)

    assert [round(lens(na).depth_of_field_um(), 2) for na in (0.75, 0.45, 0.95)] == [0.98, 2.72, 0.61]


@pytest.mark.parametrize(("channels", "bits"), [(2, 8), (4, 8), (3, 12), (1, 32)])
def test_a_pixel_format_that_no_step_knows_is_refused(channels: int, bits: int) -> None:
    with pytest.raises(ValidationError, match="1 or 3 channels of 8 or 16 bits"):
        CameraSpec(width_px=64, height_px=64, exposure_ms=5, channels=channels, bits=bits)


def test_the_objective_that_scans_must_be_one_of_the_listed() -> None:
    assert profile().active_objective.name == "20x"
    with pytest.raises(ValidationError, match="objective 63x is not among 10x, 20x"):
        profile(objective="63x")


@pytest.mark.parametrize("name", ["", "../rig", "a b", "-x"])
def test_a_profile_has_a_name_that_is_safe_everywhere(name: str) -> None:
    with pytest.raises(ValidationError):
        profile(name=name)


def test_a_profile_comes_back_from_json() -> None:
    rig = profile()
    assert Profile.model_validate_json(rig.model_dump_json()) == rig


@pytest.mark.parametrize(("slot", "origin"), [(1, Point(100, 200)), (2, Point(100, 40_200))])
def test_each_slot_of_an_insert_has_its_own_origin(slot: int, origin: Point) -> None:
    to_slide = profile().stage_to_slide(slot)
    assert (to_slide.source, to_slide.target) == (Space.STAGE, Space.SLIDE)
    assert to_slide.apply(origin).distance(Point(0, 0)) < 1e-9
    assert to_slide.apply(origin + Point(7, 5)).distance(Point(7, 5)) < 1e-9


@pytest.mark.parametrize("axes", [((-1.0, 0.0), (0.0, 1.0)), ((0.0, 1.0), (-1.0, 0.0))])
def test_a_loader_with_one_place_has_one_origin_for_every_slot(axes: Matrix) -> None:
    place = SlidePlace(axes=axes, origins_stage_um=((10.0, 20.0),))
    rig = profile(slide=place.model_dump())
    assert rig.stage_to_slide(1) == rig.stage_to_slide(9)
    moved = rig.stage_to_slide(1).apply(Point(13, 20))
    assert moved.distance(Point(3 * axes[0][0], 3 * axes[1][0])) < 1e-9
