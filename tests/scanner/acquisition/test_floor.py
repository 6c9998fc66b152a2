from datetime import UTC, datetime
from pathlib import Path

import pytest

from scanner.acquisition.floor import FloorClock
from scanner.model.profile import Measured, MeasuredValues, Profile, XYKinematics, ZKinematics
from scanner.storage.profiles import read_profile

PROFILES = Path(__file__).parents[3] / "hardware_profiles"
WHEN = datetime(2026, 1, 1, tzinfo=UTC)


def measured(value: object) -> Measured[object]:
    return Measured(value=value, when=WHEN, how="by hand")


@pytest.fixture
def clock() -> FloorClock:
    """5 ms exposures, 25 ms readouts, 100 ms for every XY move, 20 ms for every z move."""
    profile: Profile = read_profile(PROFILES / "simulated.yaml")
    values = MeasuredValues.model_validate(
        {
            "xy_kinematics": measured(
                XYKinematics(settle_ms=100, accel_um_s2=1e12, speed_um_s=1e12)
            ).model_dump(),
            "z_kinematics": measured(ZKinematics(step_ms=20, step_um=5, ms_per_um=1)).model_dump(),
            "readout_ms": measured(25.0).model_dump(),
        }
    )
    return FloorClock(profile.model_copy(update={"measured": values}))


def test_a_tile_costs_its_exposure_and_the_longest_of_move_and_readout(clock: FloorClock) -> None:
    for _ in range(10):
        clock.exposure_started()
        clock.move_started(461, 0)
        clock.move_started(0, 2)
        clock.frame_read()
        clock.move_ended()
        clock.move_ended()
    clock.settle()
    assert clock.total_s == pytest.approx(10 * 0.105, rel=1e-3)
    assert clock.frames == 10


def test_a_decision_waits_for_the_readout_before_the_move(clock: FloorClock) -> None:
    clock.exposure_started()
    clock.frame_read()
    clock.move_started(0, 2)
    clock.move_ended()
    clock.settle()
    assert clock.total_s == pytest.approx(0.005 + 0.025 + 0.020)


def test_a_second_plane_costs_no_more_than_the_readout_it_hides_behind(clock: FloorClock) -> None:
    clock.exposure_started()
    clock.move_started(0, 2)
    clock.frame_read()
    clock.move_ended()
    clock.exposure_started()
    clock.move_started(461, 0)
    clock.frame_read()
    clock.move_ended()
    clock.settle()
    assert clock.total_s == pytest.approx(0.005 + 0.025 + 0.005 + 0.100, rel=1e-3)


def test_a_move_that_follows_a_finished_move_adds_to_it(clock: FloorClock) -> None:
    for _ in range(2):
        clock.move_started(461, 0)
        clock.move_ended()
    clock.settle()
    assert clock.total_s == pytest.approx(0.200, rel=1e-3)


def test_only_what_focusing_needs_counts_as_focus(clock: FloorClock) -> None:
    clock.exposure_started()
    clock.settle()
    with clock.focusing():
        clock.exposure_started()
        clock.settle()
    assert clock.focus_s == pytest.approx(0.030)
    assert clock.total_s == pytest.approx(0.060)
