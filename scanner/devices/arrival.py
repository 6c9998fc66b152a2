"""When has a move ended, and what if the drive did not arrive?

A drive is believed when it is idle *and* its position was read back, and never before physics allows it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from scanner.errors import DeviceFault, MoveFailed, RackscanError, Stopped

P = TypeVar("P")

POLL_S = 0.0005
# Around the time a measured move should end the poll is finer: 0.27 ms late becomes 0.1 ms.
FINE_POLL_S = 0.0001
FINE_WITHIN_S = 0.002
# Without a measured speed a drive may still be on its way when it says idle for the first time.
PATIENCE_S = 0.1
# A drive that says idle in less than this share of its measured time has not understood the command.
EARLIEST_SHARE = 0.8


def nap(due_s: float | None) -> None:
    """Sleep until the next poll; around the moment something is due (``time.perf_counter``) for less long."""
    due = due_s is not None and abs(time.perf_counter() - due_s) < FINE_WITHIN_S
    time.sleep(FINE_POLL_S if due else POLL_S)


class StopLatch:
    """Has someone asked to stop? Set from any thread, never taken back; one for all devices of a rig."""

    __slots__ = ("requested",)

    def __init__(self) -> None:
        self.requested = False

    def check(self) -> None:
        """Raise where a stop was requested.

        Raises:
            Stopped: always, once requested.
        """
        if self.requested:
            raise Stopped(
                "stopped by the operator; everything captured is kept: go on with `rackscan resume`"
            )


class Drive(Protocol[P]):
    """What a stage or a focus drive does at the lowest level; nothing here waits."""

    @property
    def label(self) -> str:
        """The Micro-Manager label."""
        ...

    def command(self, target: P) -> None:
        """Set it going towards an absolute target."""
        ...

    def busy(self) -> bool:
        """Does the device say that it moves?"""
        ...

    def position(self) -> P:
        """Where it reports to be."""
        ...

    def halt(self) -> None:
        """Stop it now; any thread."""
        ...

    def distance(self, a: P, b: P) -> float:
        """µm between two positions."""
        ...


@dataclass(frozen=True, slots=True)
class ArrivalRules:
    """``expected_s`` gives the measured time of a move over a distance in µm, None where never measured."""

    deadline_s: float
    tolerance_um: float
    expected_s: Callable[[float], float] | None


@dataclass(frozen=True, slots=True)
class Landing(Generic[P]):
    """Where a move ended (read back), how long it took, whether the command was repeated."""

    position: P
    seconds: float
    retried: bool


class Travel(Generic[P]):
    """One move; a drive that stands at its target already need not be set going."""

    def __init__(self, drive: Drive[P], start: P, target: P, rules: ArrivalRules, latch: StopLatch) -> None:
        self._drive, self._start, self.target = drive, start, target
        self._rules, self._latch = rules, latch
        self._halted = False
        self._landing: Landing[P] | None = None
        self._failure: RackscanError | None = None
        self._refused = False
        self._began_s = time.perf_counter()

    def set_going(self) -> None:
        """Command the drive; the clock runs from here. A driver that refuses is asked again by ``finish``."""
        self._began_s = time.perf_counter()
        try:
            self._drive.command(self.target)
        except DeviceFault:
            self._refused = True

    @property
    def landing(self) -> Landing[P] | None:
        """Where it ended, once ``finish`` has returned."""
        return self._landing

    def halt(self) -> None:
        """Break the move off; ``finish`` raises. Any thread."""
        self._halted = True
        self._drive.halt()

    def finish(self) -> Landing[P]:
        """Wait until the drive is idle where it should be; one absolute retry. A second call gives the same answer.

        Raises:
            MoveFailed: past the deadline, or elsewhere after the retry.
            DeviceFault: the driver refused the command twice, or cannot be asked.
            Stopped: the move was halted.
        """
        if self._failure is not None:
            raise self._failure
        if self._landing is None:
            try:
                self._landing = self._land()
            except RackscanError as failure:
                self._failure = failure
                raise
        return self._landing

    def _land(self) -> Landing[P]:
        at = self._start if self._refused else self._settle(self._start, self._began_s)
        if not self._refused and self._near(at):
            return Landing(at, time.perf_counter() - self._began_s, retried=False)
        again_s = time.perf_counter()
        self._drive.command(self.target)
        at = self._settle(at, again_s)
        if self._near(at):
            return Landing(at, time.perf_counter() - self._began_s, retried=True)
        raise MoveFailed(
            self._drive.label,
            f"asked twice to go to {_words(self.target)}, it reports {_words(at)}; nothing was captured there. "
            "Look for a blocked or disconnected axis, then resume",
        )

    def _near(self, at: P) -> bool:
        return self._drive.distance(at, self.target) <= self._rules.tolerance_um

    def _settle(self, start: P, began_s: float) -> P:
        """The position once the drive is idle and had the time to get there."""
        expected_s = self._expected_s(start)
        deadline_s = began_s + self._rules.deadline_s + expected_s
        earliest_s = began_s + EARLIEST_SHARE * expected_s
        patient_s = began_s + max(PATIENCE_S, 1.5 * expected_s)
        while True:
            self._go_on()
            asked_s = time.perf_counter()
            busy = self._drive.busy()
            if not busy and time.perf_counter() >= earliest_s:
                at = self._drive.position()
                if self._near(at) or time.perf_counter() >= patient_s:
                    return at
            if busy and asked_s > deadline_s:
                self._give_up()
            nap(began_s + expected_s if expected_s > 0 else None)

    def _expected_s(self, start: P) -> float:
        if self._rules.expected_s is None:
            return 0.0
        return self._rules.expected_s(self._drive.distance(start, self.target))

    def _go_on(self) -> None:
        self._latch.check()
        if self._halted:
            raise Stopped(f"{self._drive.label}: the move was halted")

    def _give_up(self) -> None:
        """It was busy when asked past its deadline; that a busy program asks late is no fault of a drive at rest."""
        self._drive.halt()
        raise MoveFailed(
            self._drive.label,
            f"still moving towards {_words(self.target)} after its deadline of {self._rules.deadline_s:g} s; "
            "it was halted",
        )


class Driven(Generic[P]):
    """A drive with its arrival rules: the part that stages and focus drives share."""

    def __init__(self, drive: Drive[P], rules: ArrivalRules, latch: StopLatch) -> None:
        self._drive, self._rules, self._latch = drive, rules, latch
        self._travel: Travel[P] | None = None

    def start(self, target: P) -> Travel[P]:
        """Set the drive going; returns at once.

        Raises:
            Stopped: a stop was requested before; nothing moved.
        """
        self._latch.check()
        there = self._stands_at(target)
        start = target if there else self._start()
        self._travel = Travel(self._drive, start, target, self._rules, self._latch)
        if not there:
            self._travel.set_going()
        return self._travel

    def _start(self) -> P:
        """Where the move begins: reading it from a serial stage costs 10 ms, the last landing nothing."""
        landing = self._travel.landing if self._travel else None
        return landing.position if landing else self._drive.position()

    def _stands_at(self, target: P) -> bool:
        """A drive that reports to be exactly where it is to go needs no command: no distance, no time."""
        before = self._travel
        if before is None or before.landing is None or before.target != target:
            return False
        return self._drive.distance(self._drive.position(), target) <= self._rules.tolerance_um

    def position(self) -> P:
        """Where the drive reports to be."""
        return self._drive.position()

    def stop(self) -> None:
        """Halt now; the move under way raises ``Stopped`` from its wait. Any thread."""
        travel = self._travel
        if travel is None:
            self._drive.halt()
        else:
            travel.halt()


def _words(position: object) -> str:
    x, y = getattr(position, "x", None), getattr(position, "y", None)
    if isinstance(x, float) and isinstance(y, float):
        return f"{x:.1f}, {y:.1f} µm"
    return f"{position:.2f} µm" if isinstance(position, float) else str(position)
