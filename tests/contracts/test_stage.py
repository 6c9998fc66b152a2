import threading
import time

import pytest

from scanner.devices.rig import Rig
from scanner.errors import OutsideLimits, Stopped
from scanner.model.geometry import Point


def middle(rig: Rig) -> Point:
    limits = rig.profile.limits
    return Point(sum(limits.x_um) / 2, sum(limits.y_um) / 2)


def test_a_move_ends_where_it_was_asked_to_and_the_position_is_read_back(rig: Rig) -> None:
    target = middle(rig) + Point(300.0, -200.0)
    arrival = rig.stage.start_move(target).wait()
    tolerance = rig.profile.acquisition.arrival_tolerance_um
    assert arrival.position.distance(target) <= tolerance
    assert rig.stage.position().distance(target) <= tolerance
    assert arrival.seconds > 0
    assert not arrival.retried


def test_waiting_twice_gives_the_same_arrival(rig: Rig) -> None:
    move = rig.stage.start_move(middle(rig))
    assert move.wait() == move.wait()


def test_a_second_move_to_the_same_place_ends_there_too(rig: Rig) -> None:
    target = middle(rig)
    rig.stage.start_move(target).wait()
    arrival = rig.stage.start_move(target).wait()
    assert arrival.position.distance(target) <= rig.profile.acquisition.arrival_tolerance_um


@pytest.mark.parametrize("axis", ["x", "y"])
@pytest.mark.parametrize("side", [0, 1])
def test_a_move_beyond_the_soft_limits_is_refused_and_nothing_moves(rig: Rig, axis: str, side: int) -> None:
    rig.stage.start_move(middle(rig)).wait()
    before = rig.stage.position()
    edge = getattr(rig.profile.limits, f"{axis}_um")[side] + (side - 0.5)
    target = Point(edge, before.y) if axis == "x" else Point(before.x, edge)
    with pytest.raises(OutsideLimits, match=axis):
        rig.stage.start_move(target)
    assert rig.stage.position().distance(before) < 3.0


def test_stop_from_another_thread_halts_the_stage_on_its_way(rig: Rig) -> None:
    start = middle(rig)
    rig.stage.start_move(start).wait()
    target = start + Point(9_000.0, 0.0)
    move = rig.stage.start_move(target)
    stopper = threading.Timer(0.05, rig.stage.stop)
    stopper.start()
    with pytest.raises(Stopped):
        move.wait()
    stopper.join()
    halted = rig.stage.position()
    time.sleep(0.05)
    assert rig.stage.position().distance(halted) < 3.0
    assert halted.distance(target) > 100.0


def test_a_stage_that_was_halted_can_move_again(rig: Rig) -> None:
    target = middle(rig)
    move = rig.stage.start_move(target)
    rig.stage.stop()
    with pytest.raises(Stopped):
        move.wait()
    arrival = rig.stage.start_move(target).wait()
    assert arrival.position.distance(target) <= rig.profile.acquisition.arrival_tolerance_um


def test_after_the_rig_was_stopped_nothing_moves_any_more(rig: Rig) -> None:
    rig.stop()
    with pytest.raises(Stopped):
        rig.stage.start_move(middle(rig))
    with pytest.raises(Stopped):
        rig.camera.start_exposure()
    assert rig.z is not None
    with pytest.raises(Stopped):
        rig.z.start_move(rig.profile.focus.start_um)


def test_stopping_the_rig_from_another_thread_halts_it_and_turns_the_light_off(rig: Rig) -> None:
    start, spec = middle(rig), rig.profile.devices.light
    rig.stage.start_move(start).wait()
    move = rig.stage.start_move(start + Point(9_000.0, 0.0))
    stopper = threading.Timer(0.05, rig.stop)
    stopper.start()
    with pytest.raises(Stopped, match="resume"):
        move.wait()
    stopper.join()
    assert rig.stage.position().distance(start) < 8_900.0
    assert spec is not None
    assert float(rig.mm.get(spec.device, spec.property)) == float(spec.off)


def test_stopping_during_an_exposure_ends_the_wait_for_its_frame(rig: Rig) -> None:
    exposure = rig.camera.start_exposure()
    rig.stop()
    with pytest.raises(Stopped):
        exposure.read()
