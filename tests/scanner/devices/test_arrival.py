import time

import pytest

from scanner.devices.arrival import ArrivalRules, Driven, StopLatch
from scanner.errors import DeviceFault, MoveFailed, Stopped

MOVE_S = 0.02


class Slide:
    """A one-axis drive with a speed, and with the faults that real ones have."""

    label = "Slide"

    def __init__(
        self, lost: int = 0, busy_says: bool | None = None, error_um: float = 0.0, refused: int = 0
    ) -> None:
        self.lost, self.busy_says, self.error_um, self.refused = lost, busy_says, error_um, refused
        self.commands = 0
        self._from = self._to = 0.0
        self._began_s = -1.0
        self.halted = False

    def command(self, target: float) -> None:
        self.commands += 1
        if self.commands <= self.refused:
            raise DeviceFault(self.label, "serial time-out")
        if self.commands > self.lost:
            self._from, self._to, self._began_s = self.position(), target + self.error_um, time.perf_counter()

    def busy(self) -> bool:
        moving = time.perf_counter() < self._began_s + MOVE_S
        return moving if self.busy_says is None else self.busy_says

    def position(self) -> float:
        share = min(1.0, (time.perf_counter() - self._began_s) / MOVE_S)
        return self._from + share * (self._to - self._from)

    def halt(self) -> None:
        self.halted = True
        self._from = self._to = self.position()

    def distance(self, a: float, b: float) -> float:
        return abs(a - b)


def driven(drive: Slide, expected: bool = True, deadline_s: float = 2.0) -> Driven[float]:
    rules = ArrivalRules(deadline_s, 0.5, (lambda um: MOVE_S if um > 0 else 0.0) if expected else None)
    return Driven(drive, rules, StopLatch())


def test_a_lost_command_is_repeated_once_and_the_arrival_says_so() -> None:
    drive = Slide(lost=1)
    landing = driven(drive).start(100.0).finish()
    assert landing.retried
    assert abs(landing.position - 100.0) < 0.5
    assert drive.commands == 2


@pytest.mark.parametrize("expected", [True, False])
def test_a_drive_that_never_arrives_raises_after_one_retry_and_names_itself(expected: bool) -> None:
    drive = Slide(lost=99)
    with pytest.raises(MoveFailed, match=r"Slide: asked twice to go to 100\.00 µm, it reports 0\.00"):
        driven(drive, expected).start(100.0).finish()
    assert drive.commands == 2


def test_a_drive_that_stops_beside_its_target_is_not_believed() -> None:
    with pytest.raises(MoveFailed):
        driven(Slide(error_um=3.0)).start(100.0).finish()


@pytest.mark.parametrize("expected", [True, False])
def test_a_drive_that_says_idle_while_it_moves_is_waited_for(expected: bool) -> None:
    drive = Slide(busy_says=False)
    landing = driven(drive, expected).start(100.0).finish()
    assert abs(landing.position - 100.0) < 0.5
    assert drive.commands == 1


def test_a_drive_that_stays_busy_is_halted_at_its_deadline() -> None:
    drive = Slide(busy_says=True)
    with pytest.raises(MoveFailed, match="deadline"):
        driven(drive, deadline_s=0.05).start(100.0).finish()
    assert drive.halted


def test_a_drive_that_arrived_long_ago_is_not_at_fault_when_we_come_late_to_ask() -> None:
    drive = Slide()
    travel = driven(drive, deadline_s=0.05).start(100.0)
    time.sleep(0.05 + 2 * MOVE_S)
    assert travel.finish().position == pytest.approx(100.0)
    assert not drive.halted


def test_a_command_the_driver_refuses_once_is_repeated() -> None:
    landing = driven(Slide(refused=1)).start(100.0).finish()
    assert landing.retried
    assert abs(landing.position - 100.0) < 0.5


def test_a_driver_that_refuses_twice_is_a_fault_with_its_own_words() -> None:
    with pytest.raises(DeviceFault, match="serial time-out"):
        driven(Slide(refused=2)).start(100.0).finish()


def test_a_failed_move_fails_again_without_moving_anything() -> None:
    drive = Slide(lost=99)
    travel = driven(drive).start(100.0)
    for _ in range(2):
        with pytest.raises(MoveFailed):
            travel.finish()
    assert drive.commands == 2


def test_a_drive_at_its_target_is_not_commanded_again() -> None:
    drive = Slide()
    axis = driven(drive)
    axis.start(100.0).finish()
    assert axis.start(100.0).finish().position == pytest.approx(100.0)
    assert drive.commands == 1


def test_a_drive_that_was_pushed_away_is_commanded_again() -> None:
    drive = Slide()
    axis = driven(drive)
    axis.start(100.0).finish()
    drive.command(90.0)
    time.sleep(MOVE_S)
    assert axis.start(100.0).finish().position == pytest.approx(100.0)
    assert drive.commands == 3


def test_a_latched_stop_ends_a_move_under_way_and_refuses_the_next() -> None:
    latch = StopLatch()
    axis = Driven(Slide(busy_says=True), ArrivalRules(2.0, 0.5, None), latch)
    travel = axis.start(100.0)
    latch.requested = True
    with pytest.raises(Stopped, match="resume"):
        travel.finish()
    with pytest.raises(Stopped):
        axis.start(0.0)
