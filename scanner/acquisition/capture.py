"""What happens to one slide on the stage: label, sample, plan, focus, then every plan tile by tile into the spool?

A tile is acknowledged when its frame is in the spool and its fact in the ledger; from then on it is never lost, and
never taken again by the same plan.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from scanner.acquisition.acquire import Captured, Missed, Session, acquire
from scanner.acquisition.earlier import Earlier
from scanner.acquisition.floor import FloorClock, watched
from scanner.acquisition.focus import TileFocusing, begin_focus
from scanner.acquisition.layers import StackFocusing, layered
from scanner.acquisition.locate import Located
from scanner.devices.rig import Rig
from scanner.model.events import Body, Kind
from scanner.model.geometry import Affine, Point
from scanner.model.plan import Plan
from scanner.model.slide import Slide
from scanner.model.tile import EndOfPlan, Frame, Layer, Tile
from scanner.storage.facts import TileFailedFact, plan_key, plan_to_body, tile_key, tile_to_body
from scanner.storage.ledger import Ledger
from scanner.storage.spool import Spool


@dataclass(frozen=True, slots=True)
class OnStage:
    """A slide that lies on the stage. ``stage_to_slide`` includes its seating, ``plan`` is its first."""

    slide: Slide
    located: Located | None
    stage_to_slide: Affine
    plan: Plan
    earlier: Earlier


@dataclass(frozen=True, slots=True)
class Books:
    """Where the control thread writes what it did."""

    ledger: Ledger
    spool: Spool


@dataclass(frozen=True, slots=True)
class Begun:
    """A scan that began: how the image's tiles are taken, and how cells are taken again at heights of their own."""

    session: Session
    focusing: TileFocusing

    def of(self, plan: Plan) -> Session:
        """How the tiles of a plan are taken."""
        if plan.of_image:
            return self.session
        stacking = StackFocusing(self.focusing, self.session.rig.profile, plan.layers_um)
        return replace(self.session, focusing=stacking, layered=True)


def capture(
    begun: Begun, books: Books, on_stage: OnStage, next_plan: Callable[[], Plan | None]
) -> Iterator[Tile | EndOfPlan]:
    """Every tile of every plan in order, those of an earlier session first; ends when no further plan is needed.

    Raises:
        DeviceFault, Stopped: everything acknowledged until then is kept.
    """
    name = on_stage.slide.slide_id
    plan: Plan | None = on_stage.plan
    while plan is not None:
        session = begun.of(plan)
        books.ledger.append(Kind.PLAN, name, plan_key(plan.number), plan_to_body(plan))
        yield from _recalled(session, books, on_stage, plan)
        yield from _take(session, books, on_stage, plan)
        books.ledger.append(Kind.PLAN_CAPTURED, name, plan_key(plan.number), _times(session))
        yield EndOfPlan(plan.number, time.perf_counter())
        plan = next_plan()


def begin_scan(rig: Rig, books: Books, on_stage: OnStage) -> Begun:
    """The plan saved, light on, the first heights found; the scan begins with the first survey move.

    Raises:
        FocusRefused: there is sample, and no height that could be trusted.
        DeviceFault, Stopped: from the rig.
    """
    name, plan = on_stage.slide.slide_id, on_stage.plan
    books.ledger.append(Kind.PLAN, name, plan_key(plan.number), plan_to_body(plan))
    if rig.light is not None:
        rig.light.switch(True)
    clock = FloorClock(rig.profile)
    steerable = rig if rig.profile.measured.z_sign is not None else replace(rig, z=None)
    seen = watched(steerable, clock)
    started_s, cpu_started_s = time.perf_counter(), time.thread_time()
    slide_to_stage = on_stage.stage_to_slide.inverse()
    with clock.focusing():
        focusing = begin_focus(
            seen, clock, books.ledger, on_stage.slide, on_stage.plan, slide_to_stage, on_stage.earlier
        )
    kept = layered(focusing, rig.profile, plan)
    keeps = rig.profile.focus.layered
    return Begun(Session(seen, slide_to_stage, kept, clock, started_s, cpu_started_s, keeps), focusing)


def _recalled(session: Session, books: Books, on_stage: OnStage, plan: Plan) -> Iterator[Tile]:
    """The tiles of an earlier session; reading them again is no scanning."""
    begun_s = time.perf_counter()
    yield from on_stage.earlier.recalled(plan, books.spool)
    session.clock.excuse(time.perf_counter() - begun_s)


def _take(session: Session, books: Books, on_stage: OnStage, plan: Plan) -> Iterator[Tile]:
    taken = on_stage.earlier.tiles
    todo = [tile for tile in plan.tiles if tile_key(tile.tile, plan.number) not in taken]
    for result in acquire(session, todo):
        if isinstance(result, Missed):
            _record_missed(books, on_stage.slide, plan, result)
        else:
            yield _acknowledge(books, on_stage, plan, result)


def _acknowledge(books: Books, on_stage: OnStage, plan: Plan, captured: Captured) -> Tile:
    frame, slide_id = captured.frame, on_stage.slide.slide_id
    at = on_stage.stage_to_slide.apply(Point(frame.x_um, frame.y_um))

    def put(kept: Frame, layer: int | None) -> str:
        name = (slide_id, captured.planned.tile, plan.number, captured.attempt)
        return books.spool.put(*name, kept.pixels, {"x_um": at.x, "y_um": at.y, "z_um": kept.z_um}, layer)

    layers = tuple(
        Layer(each.z_um, each.t_trigger_s, each.t_read_s, put(each, n))
        for n, each in enumerate(captured.layers)
    )
    chosen = next((n for n, each in enumerate(captured.layers) if each is frame), None)
    content = put(frame, None) if chosen is None else layers[chosen].content
    tile = Tile(
        planned=captured.planned,
        plan=plan.number,
        attempt=captured.attempt,
        frame=frame,
        content=content,
        reported_x_um=at.x,
        reported_y_um=at.y,
        focus=captured.focus,
        frames=captured.frames,
        layers=layers,
    )
    key = tile_key(captured.planned.tile, plan.number)
    books.ledger.append(Kind.TILE, slide_id, key, tile_to_body(tile))
    return tile


def _record_missed(books: Books, slide: Slide, plan: Plan, missed: Missed) -> None:
    tile = missed.planned.tile
    fact = TileFailedFact(tile=tile, plan=plan.number, attempt=missed.attempt, reason=missed.reason)
    books.ledger.append(Kind.TILE_FAILED, slide.slide_id, tile_key(tile, plan.number), fact.body())


def _times(session: Session) -> Body:
    clock = session.clock
    scan_s = time.perf_counter() - session.started_s - clock.excused_s
    cpu_s = time.thread_time() - session.cpu_started_s
    return {
        "cpu_s": cpu_s,
        "scan_s": scan_s,
        "floor_s": clock.total_s,
        "focus_s": clock.focus_s,
        "frames": clock.frames,
    }
