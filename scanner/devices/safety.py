"""Which moves may never start? Our own soft limits, checked at every move; the whole plan is checked before its first.

Nothing here clips: a move that leaves the limits raises, and nothing has moved.
"""

from collections.abc import Callable
from dataclasses import dataclass

from scanner.devices.protocols import Arrival, Loader, Move, Stage, ZArrival, ZMove, ZStage
from scanner.errors import OutsideLimits
from scanner.model.geometry import Point
from scanner.model.profile import Limits, Profile


@dataclass(frozen=True, slots=True)
class Envelope:
    """Where the rig may go.

    ``z_sign`` +1: a larger device z is further from the stage; None: unknown, z does not move. ``focus_um`` is the
    height at which the slide is in focus, so that ``working_distance_um`` below it is the glass.
    """

    limits: Limits
    z_sign: int | None
    focus_um: float
    working_distance_um: float

    @classmethod
    def of(cls, profile: Profile) -> "Envelope":
        """The envelope a profile describes."""
        sign = profile.measured.z_sign
        return cls(
            profile.limits,
            None if sign is None else sign.value,
            profile.focus.start_um,
            profile.active_objective.working_distance_um,
        )

    def check_xy(self, device: str, target: Point) -> None:
        """Raise where the stage may not go.

        Raises:
            OutsideLimits: ``target`` (stage µm) leaves the soft limits.
        """
        for axis, value, (low, high) in (
            ("x", target.x, self.limits.x_um),
            ("y", target.y, self.limits.y_um),
        ):
            if not low <= value <= high:
                raise OutsideLimits(
                    device, f"{axis} = {value:.1f} µm lies outside {low:g}..{high:g}; nothing moved"
                )

    def check_z(self, device: str, target_um: float) -> None:
        """Raise where the focus drive may not go.

        Raises:
            OutsideLimits: outside the soft limits, nearer to the slide than the working distance, or up is unknown.
        """
        if self.z_sign is None:
            raise OutsideLimits(
                device,
                "the profile does not say which way is up (measured.z_sign); z does not move until it is known",
            )
        low, high = self.limits.z_um
        if not low <= target_um <= high:
            raise OutsideLimits(
                device, f"z = {target_um:.2f} µm lies outside {low:g}..{high:g}; nothing moved"
            )
        if self.z_sign * (target_um - self.focus_um) < -self.working_distance_um:
            raise OutsideLimits(
                device,
                f"z = {target_um:.2f} µm is more than the working distance of {self.working_distance_um:g} µm "
                "below the focus: the objective would touch the slide; nothing moved",
            )

    def retracted(self, z_um: float) -> bool:
        """Is the objective at its safe height or above?"""
        return self.z_sign is not None and self.z_sign * (z_um - self.limits.z_safe_um) >= -0.5


class _LongMove:
    """A move with the objective up: it comes down again when the stage has arrived."""

    def __init__(self, move: Move, z: "SafeZStage", back_um: float) -> None:
        self._move, self._z, self._back_um = move, z, back_um

    def wait(self) -> Arrival:
        arrival = self._move.wait()
        self._z.lower_after(self, self._back_um)
        return arrival

    def across(self) -> None:
        """Only the stage's part."""
        self._move.wait()


class SafeZStage:
    """A focus drive with limits; while a long XY move is under way it stays up."""

    def __init__(self, z: ZStage, label: str, envelope: Envelope) -> None:
        self._z, self._label, self._envelope = z, label, envelope
        self._long: _LongMove | None = None

    def start_move(self, target_um: float) -> ZMove:
        """See ``protocols.ZStage.start_move``; waits for a long XY move before it goes down."""
        self._envelope.check_z(self._label, target_um)
        long, self._long = self._long, None
        if long is not None:
            long.across()
        return self._z.start_move(target_um)

    def position(self) -> float:
        """The height the drive reports."""
        return self._z.position()

    def stop(self) -> None:
        """Halt now; any thread."""
        self._z.stop()

    def retract(self) -> ZArrival | None:
        """Up to the safe height; None where it is there already, or up is unknown."""
        if self._envelope.z_sign is None or self._envelope.retracted(self._z.position()):
            return None
        return self._z.start_move(self._envelope.limits.z_safe_um).wait()

    def stay_up_during(self, move: Move, back_um: float) -> Move:
        """Lock z until ``move`` has ended, then go back to ``back_um`` unless something else was asked for."""
        self._long = _LongMove(move, self, back_um)
        return self._long

    def lower_after(self, move: _LongMove, back_um: float) -> None:
        """The end of a long move; a height that was asked for meanwhile counts more."""
        if self._long is move:
            self._long = None
            self._z.start_move(back_um).wait()


class _Watched:
    """A move that tells where it ended: only a position read back counts as the start of the next."""

    def __init__(self, move: Move, arrived: Callable[[Point], None]) -> None:
        self._move, self._arrived = move, arrived

    def wait(self) -> Arrival:
        arrival = self._move.wait()
        self._arrived(arrival.position)
        return arrival


class SafeStage:
    """A stage with limits that lifts the objective for long moves."""

    def __init__(self, stage: Stage, label: str, envelope: Envelope, z: SafeZStage | None) -> None:
        self._stage, self._label, self._envelope, self._z = stage, label, envelope, z
        self._at: Point | None = None

    def start_move(self, target: Point) -> Move:
        """See ``protocols.Stage.start_move``; returns later where the objective has to be lifted first."""
        self._envelope.check_xy(self._label, target)
        start, self._at = self._at or self._stage.position(), None
        far = target.distance(start) > self._envelope.limits.retract_beyond_um
        if far and self._z is not None:
            return _Watched(self._start_with_z_up(target, self._z), self._arrived)
        return _Watched(self._stage.start_move(target), self._arrived)

    def _arrived(self, at: Point) -> None:
        self._at = at

    def _start_with_z_up(self, target: Point, z: SafeZStage) -> Move:
        before_um = z.position()
        lifted = z.retract()
        move = self._stage.start_move(target)
        return move if lifted is None else z.stay_up_during(move, before_um)

    def position(self) -> Point:
        """Where the stage reports to be."""
        return self._stage.position()

    def stop(self) -> None:
        """Halt now; any thread."""
        self._stage.stop()


class SafeLoader:
    """A loader that moves only with the objective up."""

    def __init__(self, loader: Loader, z: SafeZStage | None) -> None:
        self._loader, self._z = loader, z

    @property
    def slots(self) -> int:
        """How many slots the loader holds."""
        return self._loader.slots

    def occupied(self, slot: int) -> bool | None:
        """See ``protocols.Loader.occupied``."""
        return self._loader.occupied(slot)

    def load(self, slot: int) -> None:
        """See ``protocols.Loader.load``."""
        self._retract()
        self._loader.load(slot)

    def unload(self) -> None:
        """See ``protocols.Loader.unload``."""
        self._retract()
        self._loader.unload()

    def loaded(self) -> int | None:
        """See ``protocols.Loader.loaded``."""
        return self._loader.loaded()

    def _retract(self) -> None:
        if self._z is not None:
            self._z.retract()
