"""How fast could this hardware alone have done it? Sums the profile's kinematics over every executed move and exposure.

The overlap rule: XY and z start together when an exposure ends; a readout costs only what outlasts them, or all of
itself where the next move waited for its frame. ``watched`` puts the clock between the caller and the devices,
so that nothing that moves or exposes can be forgotten.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from scanner.devices.protocols import Arrival, Camera, Exposure, Move, Picture, Stage, ZArrival, ZMove, ZStage
from scanner.devices.rig import Rig
from scanner.model.geometry import Point
from scanner.model.profile import Profile


class FloorClock:
    """Adds up the floor of one slide, seconds; ``focus_s`` is the part that only focusing needs.

    ``frames`` counts every exposure. A resumed slide goes on from what its ledger says.
    """

    def __init__(self, profile: Profile, total_s: float = 0.0, focus_s: float = 0.0, frames: int = 0) -> None:
        measured = profile.measured
        self._exposure_s = profile.camera.exposure_ms / 1000
        readout_ms = measured.readout_ms.value if measured.readout_ms else profile.camera.readout_ms
        self._readout_s = readout_ms / 1000
        self._xy = measured.xy_kinematics.value if measured.xy_kinematics else None
        self._z = measured.z_kinematics.value if measured.z_kinematics else None
        self.total_s, self.focus_s, self.frames = total_s, focus_s, frames
        self.excused_s = 0.0
        self._focusing = False
        self._under_way_s = 0.0
        self._moving = 0
        self._unread = self._decided = False

    @contextmanager
    def focusing(self) -> Iterator[None]:
        """What happens inside is needed only for focusing."""
        before, self._focusing = self._focusing, True
        try:
            yield
        finally:
            self._focusing = before

    def move_started(self, xy_um: float, z_um: float) -> None:
        """Both axes may be under way at once; a move that begins after a finished one follows it."""
        if self._moving == 0 and (self._decided or self._under_way_s > 0):
            self.settle()
        xy_s = self._xy.seconds(xy_um) if self._xy else 0.0
        z_s = self._z.seconds(z_um) if self._z else 0.0
        self._under_way_s = max(self._under_way_s, xy_s, z_s)
        self._moving += 1

    def move_ended(self) -> None:
        """The caller waited for a move."""
        self._moving -= 1

    def exposure_started(self) -> None:
        """Everything before is over; the shutter opens."""
        self.settle()
        self._add(self._exposure_s)
        self._unread, self._decided = True, False
        self.frames += 1

    def frame_read(self) -> None:
        """The caller has the frame; a move that begins now waited for it."""
        self._decided = self._moving == 0

    def excuse(self, seconds: float) -> None:
        """Time in which the rig had nothing to do: it is no part of the scan."""
        self.excused_s += seconds

    def settle(self) -> None:
        """Book what happened since the last exposure; call it after the last frame."""
        readout_s = self._readout_s if self._unread else 0.0
        self._add(readout_s + self._under_way_s if self._decided else max(readout_s, self._under_way_s))
        self._under_way_s = 0.0
        self._unread = self._decided = False

    def _add(self, seconds: float) -> None:
        self.total_s += seconds
        if self._focusing:
            self.focus_s += seconds


def watched(rig: Rig, clock: FloorClock) -> Rig:
    """The same rig, its moves and exposures counted by ``clock``."""
    return replace(
        rig,
        stage=_WatchedStage(rig.stage, clock),
        z=_WatchedZ(rig.z, clock) if rig.z is not None else None,
        camera=_WatchedCamera(rig.camera, clock),
    )


@dataclass(frozen=True, slots=True)
class _WatchedMove:
    move: Move
    clock: FloorClock

    def wait(self) -> Arrival:
        arrival = self.move.wait()
        self.clock.move_ended()
        return arrival


@dataclass(slots=True)
class _WatchedStage:
    stage: Stage
    clock: FloorClock
    _at: Point | None = None

    def start_move(self, target: Point) -> Move:
        start = self._at or self.stage.position()
        move = self.stage.start_move(target)
        self.clock.move_started(start.distance(target), 0.0)
        self._at = target
        return _WatchedMove(move, self.clock)

    def position(self) -> Point:
        return self.stage.position()

    def stop(self) -> None:
        self.stage.stop()


@dataclass(frozen=True, slots=True)
class _WatchedZMove:
    move: ZMove
    clock: FloorClock

    def wait(self) -> ZArrival:
        arrival = self.move.wait()
        self.clock.move_ended()
        return arrival


@dataclass(slots=True)
class _WatchedZ:
    z: ZStage
    clock: FloorClock
    _at_um: float | None = None

    def start_move(self, target_um: float) -> ZMove:
        start = self.z.position() if self._at_um is None else self._at_um
        move = self.z.start_move(target_um)
        self.clock.move_started(0.0, abs(target_um - start))
        self._at_um = target_um
        return _WatchedZMove(move, self.clock)

    def position(self) -> float:
        return self.z.position()

    def stop(self) -> None:
        self.z.stop()


@dataclass(frozen=True, slots=True)
class _WatchedExposure:
    exposure: Exposure
    clock: FloorClock

    def exposed(self) -> None:
        self.exposure.exposed()

    def read(self) -> Picture:
        picture = self.exposure.read()
        self.clock.frame_read()
        return picture


@dataclass(frozen=True, slots=True)
class _WatchedCamera:
    camera: Camera
    clock: FloorClock

    def start_exposure(self) -> Exposure:
        self.clock.exposure_started()
        return _WatchedExposure(self.camera.start_exposure(), self.clock)
