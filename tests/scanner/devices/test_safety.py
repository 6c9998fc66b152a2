from collections.abc import Callable
from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.devices.rig import Rig
from scanner.devices.safety import Envelope
from scanner.errors import OutsideLimits
from scanner.model.geometry import Point
from scanner.model.profile import Limits, MeasuredValues, Profile

NEAR, FAR = Point(20_000.0, 10_000.0), Point(40_000.0, 10_000.0)


def height(rig: Rig) -> float:
    assert rig.z is not None
    return rig.z.position()


def go_to_height(rig: Rig, z_um: float) -> None:
    assert rig.z is not None
    rig.z.start_move(z_um).wait()


@pytest.fixture
def rig(open_stock: Callable[..., Rig]) -> Rig:
    opened = open_stock()
    go_to_height(opened, 250.0)
    opened.stage.start_move(NEAR).wait()
    go_to_height(opened, 10.0)
    return opened


def test_the_objective_is_up_during_a_long_move_and_back_down_after_it(rig: Rig) -> None:
    move = rig.stage.start_move(FAR)
    assert height(rig) == 200.0
    move.wait()
    assert height(rig) == 10.0
    assert rig.stage.position().distance(FAR) < 1.0


def test_a_height_asked_for_during_a_long_move_waits_for_its_end_and_counts(rig: Rig) -> None:
    assert rig.z is not None
    move = rig.stage.start_move(FAR)
    lowering = rig.z.start_move(-5.0)
    assert rig.stage.position().distance(FAR) < 1.0
    lowering.wait()
    move.wait()
    assert height(rig) == -5.0


def test_a_short_move_leaves_the_objective_where_it_is(rig: Rig) -> None:
    move = rig.stage.start_move(NEAR + Point(500.0, 0.0))
    assert height(rig) == 10.0
    move.wait()
    assert height(rig) == 10.0


def test_the_objective_is_up_before_the_loader_moves(rig: Rig) -> None:
    rig.loader.load(2)
    assert height(rig) == 200.0


def test_z_never_goes_nearer_to_the_slide_than_the_working_distance(rig: Rig) -> None:
    with pytest.raises(OutsideLimits, match="working distance"):
        go_to_height(rig, -101.0)
    assert height(rig) == 10.0


def test_with_an_unknown_direction_z_does_not_move(open_stock: Callable[..., Rig]) -> None:
    rig = open_stock(measured=MeasuredValues())
    with pytest.raises(OutsideLimits, match="which way is up"):
        go_to_height(rig, 1.0)
    rig.stage.start_move(FAR).wait()
    rig.loader.load(1)
    assert height(rig) == 0.0


def test_a_drive_that_counts_downwards_is_lifted_the_other_way(
    open_stock: Callable[..., Rig], stock_profile: Profile
) -> None:
    sign = stock_profile.measured.z_sign
    assert sign is not None
    rig = open_stock(
        measured=MeasuredValues(z_sign=sign.model_copy(update={"value": -1})),
        limits=stock_profile.limits.model_copy(update={"z_safe_um": -200.0}),
    )
    rig.loader.load(1)
    assert height(rig) == -200.0
    with pytest.raises(OutsideLimits, match="working distance"):
        go_to_height(rig, 101.0)


LIMITS = Limits(
    x_um=(0, 75_000),
    y_um=(0, 25_000),
    z_um=(-300, 300),
    travel_x_um=(-1, 75_001),
    travel_y_um=(-1, 25_001),
    travel_z_um=(-301, 301),
)
ANYWHERE = st.floats(-1e5, 1e5)


@given(x=ANYWHERE, y=ANYWHERE)
def test_exactly_the_places_within_the_limits_are_allowed(x: float, y: float) -> None:
    envelope = Envelope(LIMITS, z_sign=1, focus_um=0.0, working_distance_um=100.0)
    inside = 0 <= x <= 75_000 and 0 <= y <= 25_000
    with nullcontext() if inside else pytest.raises(OutsideLimits):
        envelope.check_xy("XY", Point(x, y))


@given(z=st.floats(-500, 500), sign=st.sampled_from([1, -1]), focus=st.floats(-50, 50))
def test_a_height_is_allowed_within_the_limits_and_above_the_glass(z: float, sign: int, focus: float) -> None:
    envelope = Envelope(LIMITS, sign, focus, working_distance_um=100.0)
    allowed = -300 <= z <= 300 and sign * (z - focus) >= -100
    with nullcontext() if allowed else pytest.raises(OutsideLimits):
        envelope.check_z("Z", z)
