"""How is a plan captured? Move, settle, expose, move on while the frame is read out; no doubtful frame is handed on.

The stage heads for the next tile as soon as the last exposure of this one ends. A frame that the camera lost or
that fails its checks is taken again at once; a tile that fails twice is named as failed and the scan goes on,
unless several fail in a row: then the rig is at fault and the run stops.
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from autofocus.answers import Look
from scanner.acquisition.floor import FloorClock
from scanner.devices.protocols import Exposure, Move, ZMove
from scanner.devices.rig import Rig
from scanner.errors import CameraFault
from scanner.model.geometry import Affine, Point
from scanner.model.plan import PlannedTile
from scanner.model.tile import Frame, Pixels, TileFocus

log = logging.getLogger("scanner.acquire")

ATTEMPTS = 2
FAILURES_IN_A_ROW = 3


class Focusing(Protocol):
    """How tiles get their heights, and what is believed of them afterwards."""

    def planes(self, tile: PlannedTile) -> Sequence[float]:
        """The heights (z µm) to expose, in order; at least one."""
        ...

    def more(self, tile: PlannedTile, looks: Sequence[Look]) -> float | None:
        """Another height to expose after what was seen, or None: the stage may leave."""
        ...

    def judged(self, tile: PlannedTile, looks: Sequence[Look]) -> tuple[int, TileFocus]:
        """Which of the planes to keep, and the tile's own focus answer."""
        ...


@dataclass(frozen=True, slots=True)
class Captured:
    """A tile with the frame that is kept; ``frames`` counts the exposures it took.

    ``layers`` are all frames of a stack, bottom to top; none where one plane is kept.
    """

    planned: PlannedTile
    attempt: int
    frame: Frame
    focus: TileFocus
    frames: int
    layers: tuple[Frame, ...] = ()


@dataclass(frozen=True, slots=True)
class Missed:
    """A tile without a trustworthy frame, and why."""

    planned: PlannedTile
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class Session:
    """What the loop works with: a watched rig, where the slide lies, who focuses, and when its scan began.

    ``started_s`` is the ``time.perf_counter`` reading that the frames' times count from, ``cpu_started_s`` the control
    thread's CPU clock then. ``layered``: all planes of a tile are kept; else they are taken to find the sharpest.
    """

    rig: Rig
    slide_to_stage: Affine
    focusing: Focusing
    clock: FloorClock
    started_s: float
    cpu_started_s: float
    layered: bool = False


@dataclass(frozen=True, slots=True)
class _Heading:
    """The stage under way to a tile; ``planes`` are the heights to expose there."""

    tile: PlannedTile
    planes: tuple[float, ...]
    xy: Move
    z: ZMove | None

    def arrive(self) -> tuple[Point, float]:
        """The reported place (stage µm) and height."""
        arrival = self.xy.wait()
        if arrival.retried:
            log.warning(
                "retry: the stage was not where it should be for tile %d and was sent again", self.tile.tile
            )
        return arrival.position, _height(self.z, self.planes[0])


def acquire(session: Session, tiles: Sequence[PlannedTile]) -> Iterator[Captured | Missed]:
    """Every tile of a plan in order, captured or missed.

    Raises:
        MoveFailed, OutsideLimits, Stopped: from the stage.
        CameraFault: several tiles in a row had no trustworthy frame.
    """
    failures = 0
    heading = _head_for(session, tiles[0]) if tiles else None
    for number, tile in enumerate(tiles):
        following = tiles[number + 1] if number + 1 < len(tiles) else None
        result, heading = _visit(session, heading or _head_for(session, tile), following)
        failures = failures + 1 if isinstance(result, Missed) else 0
        yield result
        if failures >= FAILURES_IN_A_ROW and isinstance(result, Missed):
            raise CameraFault(
                session.rig.profile.devices.camera, f"{failures} tiles in a row failed: {result.reason}"
            )
    session.clock.settle()


def _visit(
    session: Session, heading: _Heading, following: PlannedTile | None
) -> tuple[Captured | Missed, _Heading | None]:
    onward: _Heading | None = None
    course = _course_to(session, following) if following else None
    place, z_um = heading.arrive()
    try:
        shots = _expose_planes(session, heading, place, z_um)
        onward = _set_off(session, course) if course else None
        return _kept(session, heading.tile, 1, shots), onward
    except CameraFault as fault:
        log.warning("retry: tile %d is taken again: %s", heading.tile.tile, fault)
        if onward is not None:
            onward.arrive()
        return _again(session, heading.tile, fault), None


def _again(session: Session, tile: PlannedTile, fault: CameraFault) -> Captured | Missed:
    """Back to a tile whose frame failed, without looking ahead."""
    for attempt in range(2, ATTEMPTS + 1):
        heading = _head_for(session, tile)
        place, z_um = heading.arrive()
        try:
            return _kept(session, tile, attempt, _expose_planes(session, heading, place, z_um))
        except CameraFault as again:
            log.warning("tile %d failed again: %s", tile.tile, again)
            fault = again
    return Missed(tile, ATTEMPTS, str(fault))


@dataclass(frozen=True, slots=True)
class _Course:
    """Where the stage will go next: worked out while it still travels, so that it need not wait for that."""

    tile: PlannedTile
    planes: tuple[float, ...]
    target: Point


def _course_to(session: Session, tile: PlannedTile) -> _Course:
    target = session.slide_to_stage.apply(Point(tile.x_um, tile.y_um))
    return _Course(tile, tuple(session.focusing.planes(tile)), target)


def _set_off(session: Session, course: _Course) -> _Heading:
    xy = session.rig.stage.start_move(course.target)
    z = session.rig.z.start_move(course.planes[0]) if session.rig.z is not None else None
    return _Heading(course.tile, course.planes, xy, z)


def _head_for(session: Session, tile: PlannedTile) -> _Heading:
    return _set_off(session, _course_to(session, tile))


class _Shot(Look):
    """An exposure that is over; its frame is read once, when somebody asks for it."""

    def __init__(self, session: Session, exposure: Exposure, place: Point, z_um: float) -> None:
        super().__init__(z_um, self._pixels, session.rig.profile.active_objective.um_per_px)
        self._exposure, self._place, self._started_s = exposure, place, session.started_s

    @cached_property
    def frame(self) -> Frame:
        """Waits until it is read out."""
        picture = self._exposure.read()
        begun, ended = (t - self._started_s for t in (picture.triggered_s, picture.read_s))
        return Frame(picture.pixels, self._place.x, self._place.y, self.z_um, begun, ended)

    @property
    def is_read(self) -> bool:
        """Does the next move wait for nothing?"""
        return "frame" in self.__dict__

    def _pixels(self) -> Pixels:
        return self.frame.pixels


def _expose_planes(session: Session, heading: _Heading, place: Point, z_um: float) -> list[_Shot]:
    """All planes of a tile, the last one perhaps not yet read: the stage may move on."""
    shots = [_expose(session, place, z_um, None)]
    waiting = list(heading.planes[1:])
    while waiting:
        shots.append(_next_plane(session, place, waiting.pop(0), shots[-1]))
        if not waiting:
            waiting = _more(session, heading.tile, shots)
    return shots


def _more(session: Session, tile: PlannedTile, shots: Sequence[_Shot]) -> list[float]:
    """Another plane where what was seen asks for one; the time until that is known is spent on focusing."""
    with session.clock.focusing():
        following = session.focusing.more(tile, shots)
        if shots[-1].is_read and following is None:
            session.clock.settle()
    return [] if following is None else [following]


def _next_plane(session: Session, place: Point, z_um: float, last: _Shot) -> _Shot:
    with contextlib.nullcontext() if session.layered else session.clock.focusing():
        move = session.rig.z.start_move(z_um) if session.rig.z is not None else None
        _ = last.frame
        glanced_at = None if session.layered else last
        return _expose(session, place, _height(move, z_um), glanced_at)


def _expose(session: Session, place: Point, z_um: float, last: _Shot | None) -> _Shot:
    """Meanwhile the frame before is glanced at."""
    exposure = session.rig.camera.start_exposure()
    if last is not None:
        _ = last.view.sample_share
    exposure.exposed()
    return _Shot(session, exposure, place, z_um)


def _height(move: ZMove | None, planned_um: float) -> float:
    """The reported height; on a rig without z, the planned one."""
    return planned_um if move is None else move.wait().z_um


def _kept(session: Session, tile: PlannedTile, attempt: int, shots: Sequence[_Shot]) -> Captured:
    frames = [shot.frame for shot in shots]
    best, focus = session.focusing.judged(tile, shots)
    layers = tuple(frames) if session.layered else ()
    return Captured(tile, attempt, frames[best], focus, len(frames) * attempt, layers)
