"""Do the simulated axes move as motors, spindles and their controllers do?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.devices.simulated.motion import (
    BACKLASH_UM,
    THREAD_ERROR_UM,
    Parked,
    XYMove,
    ZMove,
    thread_error,
    xy_seconds,
    z_seconds,
)

distances = st.floats(0.1, 60_000)


def test_a_field_takes_a_tenth_of_a_second() -> None:
    assert xy_seconds(461.0) == pytest.approx(0.100)


def test_five_micrometres_of_focus_take_twenty_milliseconds() -> None:
    assert z_seconds(0.3) == z_seconds(5.0) == pytest.approx(0.020)
    assert z_seconds(15.0) == pytest.approx(0.021)


@given(distances, distances)
def test_a_longer_move_lasts_longer(a: float, b: float) -> None:
    short, long = sorted((a, b))
    assert xy_seconds(short) <= xy_seconds(long)
    assert z_seconds(short) <= z_seconds(long)


@given(st.floats(-1000, 60_000), st.floats(-1000, 60_000), st.floats(0, 1.5), st.floats(0, 1.5))
def test_the_encoder_runs_from_start_to_target_and_never_back(
    start: float, end: float, a: float, b: float
) -> None:
    move = XYMove(Parked((start, 0.0)), Parked((end, 0.0)), 10.0, max(xy_seconds(abs(end - start)), 0.001))
    first, second = sorted((a, b))
    way = [abs(move.motor(10.0 + share * move.lasts_s)[0] - start) for share in (first, second)]
    assert way[0] <= way[1] + 1e-9 <= abs(end - start) + 2e-9
    assert move.motor(10.0 + move.lasts_s)[0] == pytest.approx(end)
    assert move.motor(9.0)[0] == start


def test_coming_backwards_leaves_the_slack_of_the_spindle() -> None:
    forward, backward = Parked((5_000.0, 5_000.0)), Parked((5_000.0, 5_000.0), (-1.0, 1.0))
    assert backward.true()[0] - forward.true()[0] == pytest.approx(BACKLASH_UM)
    assert backward.true()[1] == forward.true()[1]


@given(st.floats(-5_000, 80_000))
def test_the_thread_errs_by_two_micrometres_at_most_and_by_the_turn(at_um: float) -> None:
    assert abs(thread_error(at_um)) <= THREAD_ERROR_UM
    assert thread_error(at_um) == pytest.approx(thread_error(at_um + 1_000.0), abs=1e-6)


def test_a_halted_move_stays_where_it_is() -> None:
    move = XYMove(Parked((0.0, 0.0)), Parked((1_000.0, 0.0)), 0.0, xy_seconds(1_000.0))
    halted = move.halted(0.05)
    assert 0 < halted.motor(99.0)[0] < 1_000
    assert halted.motor(99.0) == move.motor(0.05)
    z = ZMove(0.0, 900.0, 0.0, z_seconds(900.0), 0.0, 0.02).halted(0.05)
    assert 0 < z.encoder(99.0) < 900
    assert z.done(0.05)
