"""What must a device be able to do? Small protocols; every implementation passes the suite in tests/contracts/.

A move raises, never clips; it ends when the device is idle *and* the position was read back.
Only ``stop()`` may be called from another thread.
"""

from dataclasses import dataclass
from typing import Protocol

from scanner.model.geometry import Point
from scanner.model.tile import Pixels


@dataclass(frozen=True, slots=True)
class Arrival:
    """A finished XY move: the position read back (stage µm), seconds it took, and whether it was tried again."""

    position: Point
    seconds: float
    retried: bool = False


@dataclass(frozen=True, slots=True)
class ZArrival:
    """A finished z move: the height read back (µm), seconds it took, and whether it was tried again."""

    z_um: float
    seconds: float
    retried: bool = False


class Move(Protocol):
    """An XY move under way."""

    def wait(self) -> Arrival:
        """Until the stage is idle and its position was read back.

        A stage that is elsewhere gets one absolute retry.

        Raises:
            MoveFailed: it did not arrive before its deadline or after the retry.
            Stopped: ``stop()`` was called.
        """
        ...


class ZMove(Protocol):
    """A z move under way."""

    def wait(self) -> ZArrival:
        """As ``Move.wait``."""
        ...


class Stage(Protocol):
    """An XY stage; all coordinates are stage µm."""

    def start_move(self, target: Point) -> Move:
        """Set the stage going; returns at once.

        Raises:
            OutsideLimits: ``target`` leaves the soft limits; nothing moved.
        """
        ...

    def position(self) -> Point:
        """Where the stage reports to be."""
        ...

    def stop(self) -> None:
        """Halt now; may be called from any thread."""
        ...


class ZStage(Protocol):
    """The focus drive; z µm."""

    def start_move(self, target_um: float) -> ZMove:
        """As ``Stage.start_move``."""
        ...

    def position(self) -> float:
        """The height the drive reports."""
        ...

    def stop(self) -> None:
        """Halt now; may be called from any thread."""
        ...


@dataclass(frozen=True, slots=True)
class Picture:
    """Raw pixels of one exposure, its trigger and read times (``time.perf_counter`` seconds)."""

    pixels: Pixels
    triggered_s: float
    read_s: float


class Exposure(Protocol):
    """An exposure under way."""

    def exposed(self) -> None:
        """Until the sensor is no longer lit by this exposure: the stage may move from here on."""
        ...

    def read(self) -> Picture:
        """The frame of this exposure.

        Raises:
            CameraFault: no frame before the deadline, of another shape or format, all zero, a repeat of the last
                one, or saturated throughout.
        """
        ...


class Camera(Protocol):
    """A camera with a fixed frame format."""

    def start_exposure(self) -> Exposure:
        """Trigger one exposure; returns at once."""
        ...


class Light(Protocol):
    """The lamp."""

    def switch(self, on: bool) -> None:
        """On or off; returns when the lamp says so."""
        ...


class Loader(Protocol):
    """Brings slides onto the stage."""

    @property
    def slots(self) -> int:
        """How many slots the loader holds."""
        ...

    def occupied(self, slot: int) -> bool | None:
        """Does the slot hold a slide? None where the loader cannot tell before it loads."""
        ...

    def load(self, slot: int) -> None:
        """Bring the slide of ``slot`` (1-based) onto the stage; z must be retracted before.

        Raises:
            LoaderFault: it jammed or the slot is empty; the stage holds no slide.
        """
        ...

    def unload(self) -> None:
        """Put the slide back into its slot; nothing happens when none is loaded."""
        ...

    def loaded(self) -> int | None:
        """The slot whose slide is on the stage, None for none."""
        ...


class Overview(Protocol):
    """A second camera that sees glass and label."""

    def picture(self) -> Pixels:
        """(h, w, 3) uint8 of the slide on the stage, label to the left, at the profile's overview scale."""
        ...
