"""Read this first: how does a rack of glass slides become images, findings and a report?

    load → label, sample → plan → focus → capture      the control thread, in ``acquisition``
                                              ↓  tiles, each acknowledged by spool and ledger
           correct → judge ─┬→ place → mosaic → pyramid    ``pipeline``, while the stage moves
                      ↑     └→ detect → merge
      the next plan ──┘         ↓
                             verdict → report              when the last tile is read

A slide is read from the same stream whether its tiles come from the stage, from an earlier session or from a replay.
"""

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from scanner.acquisition.capture import Books
from scanner.acquisition.rack import Item, SlideBegun, SlideEnded, Task, capture_rack
from scanner.devices.rig import Rig, open_rig
from scanner.errors import DamagedRun, RackscanError, Stopped
from scanner.model.events import Body, Kind
from scanner.model.plan import Plan
from scanner.model.report import RunResult, SlideReport
from scanner.model.tile import EndOfPlan, Tile
from scanner.session.forecast import needed_bytes
from scanner.session.memory import share_one_arena
from scanner.session.reading import Desk, Watch, read_slide
from scanner.session.replaying import check_replayable, replayed_rack
from scanner.session.reporting import (
    fault_reports,
    finish_slide,
    finish_undecided,
    warm_up,
    withdraw_provisional,
    write_rack,
)
from scanner.session.request import LOCAL, Prepared, RunRequest, prepare, reopen
from scanner.session.telling import Show, Teller, listening, nobody
from scanner.session.workers import searching
from scanner.storage.facts import tile_from_body
from scanner.storage.fused import FusedSpool
from scanner.storage.ledger import Ledger
from scanner.storage.log import run_log
from scanner.storage.reader import RunReader
from scanner.storage.run_folder import RunFolder
from scanner.storage.spool import Spool
from scanner.stream import Mailbox, Road, terminations_interrupt

log = logging.getLogger("scanner.run")

FRAMES_AHEAD = 8
SWITCH_S = 0.0005  # the control thread must not wait 5 ms for its turn

__all__ = ["RunRequest", "replay_run", "resume_run", "run_rack"]


def run_rack(request: RunRequest, show: Show = nobody) -> RunResult:
    """Scan a rack.

    Raises:
        BadInput: with every problem; nothing was moved or written.
        DeviceFault, Stopped, StepFailed: what was captured is kept, and ``resume_run`` goes on.
    """
    with (
        searching(prepare(request), request.workers, request.out) as prepared,
        open_rig(prepared.profile, prepared.profile_path.parent, prepared.run_values) as rig,
    ):
        started = _started(rig, prepared)
        folder = RunFolder.create(request.out, prepared.settings, needed_bytes(prepared, request.out))
        with Ledger.open(folder.ledger, create=True) as ledger, run_log(folder.log):
            ledger.append(Kind.RUN_STARTED, "", "", started)
            return _scan(rig, prepared, folder, ledger, [], show)


def resume_run(run_dir: Path, show: Show = nobody, workers: str = LOCAL) -> RunResult:
    """Go on after a stop, a fault or a kill; a finished run gives its result again. ``workers`` as for a request.

    Raises:
        BadInput: no run, its profile or detector were changed, or there are no such workers.
        DeviceFault, Stopped, StepFailed: as ``run_rack``.
    """
    folder = RunFolder.open(run_dir)
    with Ledger.open(folder.ledger, create=True) as ledger:
        done = _finished_reports(folder)
        if ledger.latest(Kind.RUN_FINISHED) is not None:
            return write_rack(folder, done)
        with (
            searching(reopen(folder.settings, ledger), workers, folder.root) as prepared,
            open_rig(prepared.profile, prepared.profile_path.parent, prepared.run_values) as rig,
            run_log(folder.log),
        ):
            if ledger.latest(Kind.RUN_STARTED) is None:
                ledger.append(Kind.RUN_STARTED, "", "", _started(rig, prepared))
            ledger.append(Kind.RUN_RESUMED, "", "", {})
            _sweep(folder, ledger)
            withdraw_provisional(folder, ledger)
            return _scan(rig, prepared, folder, ledger, done, show)


def replay_run(run_dir: Path, out: Path, show: Show = nobody, workers: str = LOCAL) -> RunResult:
    """The road again from kept tiles, without hardware; ``workers`` as for a request.

    Raises:
        BadInput: the run kept no tiles, ``out`` is occupied, or there are no such workers.
        DamagedRun: a kept tile is not what was captured.
    """
    source = RunFolder.open(run_dir)
    check_replayable(source)
    with Ledger.read(source.ledger) as facts:
        again = reopen(source.settings, facts)
    with searching(again, workers, source.frames) as prepared:
        folder = RunFolder.create(out, source.settings.model_copy(update={"keep_tiles": False}))
        return _replay(prepared, source, folder, show)


def _replay(prepared: Prepared, source: RunFolder, folder: RunFolder, show: Show) -> RunResult:
    spool = Spool(source.frames, keep=True)
    with Ledger.open(folder.ledger, create=True) as ledger, run_log(folder.log), Road() as road:
        ledger.append(Kind.RUN_STARTED, "", "", {"replay": source.settings.run})
        plans: Mailbox[Plan | None] = Mailbox(road)
        items = road.buffered(
            replayed_rack(source, folder, prepared.profile, plans.take), FRAMES_AHEAD, "replay"
        )
        desk = _desk(prepared, folder, spool, plans, Teller(folder.settings.run, prepared.rack.slots, show))
        return _read_rack(desk, ledger, items, road, [])


def _started(rig: Rig, prepared: Prepared) -> Body:
    """What is so when a run begins: every property of every device, and which slides lie where."""
    devices: Body = {label: {**properties} for label, properties in rig.snapshot().items()}
    rack: Body = prepared.rack.model_dump(mode="json")
    return {"devices": devices, "rack": rack}


def _scan(
    rig: Rig, prepared: Prepared, folder: RunFolder, ledger: Ledger, done: list[SlideReport], show: Show
) -> RunResult:
    """The control thread captures while this thread reads; both end together, on every path."""
    spool = Spool(folder.frames, prepared.settings.keep_tiles)
    teller = Teller(folder.settings.run, prepared.rack.slots, show)
    sys.setswitchinterval(SWITCH_S)
    share_one_arena()
    with listening(teller), Road() as road, _stoppable(rig, ledger):
        plans: Mailbox[Plan | None] = Mailbox(road)
        captured = _control(rig, prepared, folder, spool, plans, teller)
        items = road.buffered(captured, FRAMES_AHEAD, "control")
        return _read_rack(_desk(prepared, folder, spool, plans, teller), ledger, items, road, done)


def _control(
    rig: Rig, prepared: Prepared, folder: RunFolder, spool: Spool, plans: Mailbox[Plan | None], teller: Teller
) -> Iterator[Item]:
    """Everything that touches hardware happens here, in one thread."""
    with Ledger.open(folder.ledger) as ledger:
        task = Task(rig, Books(ledger, spool), folder, prepared.region_um, plans.take, teller.phase)
        yield from capture_rack(task, prepared.rack.slots)


def _desk(
    prepared: Prepared, folder: RunFolder, spool: Spool, plans: Mailbox[Plan | None], teller: Teller
) -> Desk:
    return Desk(
        folder=folder,
        profile=prepared.profile,
        spool=spool,
        growable=prepared.region_um is None,
        search=prepared.search,
        cells=prepared.cells,
        tell=plans.put,
        teller=teller,
    )


def _read_rack(
    desk: Desk, ledger: Ledger, items: Iterator[Item], road: Road, done: list[SlideReport]
) -> RunResult:
    """Slide by slide; while one is finished, the next is already being loaded."""
    if desk.cells is not None:
        road.keep(desk.cells.workers)
    warm_up()
    reports = list(done)
    try:
        for begun in _begun(items):
            tiles = _tiles(items)
            reports.append(_read_one(desk, ledger, begun, tiles, road))
            desk.teller.finished(reports[-1])
            _until_it_left(begun, tiles)
    except RackscanError as error:
        log.error("stopped: %s", error)
        write_rack(desk.folder, [*reports, *fault_reports(desk.folder, ledger, str(error))])
        raise
    result = write_rack(desk.folder, reports)
    ledger.append(Kind.RUN_FINISHED, "", "", {})
    desk.teller.done()
    return result


def _read_one(
    desk: Desk, ledger: Ledger, begun: SlideBegun, tiles: Iterator[Tile | EndOfPlan], road: Road
) -> SlideReport:
    if begun.plan is None:
        return finish_undecided(desk.folder, ledger, begun)
    watch = Watch()
    reading = read_slide(desk, begun, begun.plan, desk.teller.passed(tiles), road, watch)
    return finish_slide(desk, ledger, reading, watch)


def _until_it_left(begun: SlideBegun, tiles: Iterator[Tile | EndOfPlan]) -> None:
    for _ in tiles:
        raise DamagedRun(f"slide {begun.slide.slide_id} went on after its last plan")


def _begun(items: Iterator[Item]) -> Iterator[SlideBegun]:
    for item in items:
        if isinstance(item, SlideBegun):
            yield item


def _tiles(items: Iterator[Item]) -> Iterator[Tile | EndOfPlan]:
    """What belongs to the slide that has begun."""
    for item in items:
        if isinstance(item, SlideEnded):
            return
        if isinstance(item, Tile | EndOfPlan):
            yield item


@contextlib.contextmanager
def _stoppable(rig: Rig, ledger: Ledger) -> Iterator[None]:
    """Ctrl-C or a termination signal stops the stage, turns the light off and keeps everything captured."""
    with terminations_interrupt():
        try:
            yield
        except KeyboardInterrupt as interrupt:
            rig.stop()
            ledger.append(Kind.RUN_STOPPED, "", "", {})
            raise Stopped(
                "stopped by the operator; everything captured is kept: rackscan resume goes on"
            ) from interrupt
        except BaseException:
            rig.stop()
            raise


def _finished_reports(folder: RunFolder) -> list[SlideReport]:
    """The reports of the slides that earlier sessions finished."""
    with RunReader.open(folder.root) as reader:
        finished = [event.slide_id for event in reader.ledger.events(Kind.SLIDE_FINISHED)]
        found = [reader.report(slide_id) for slide_id in dict.fromkeys(finished)]
    return [report for report in found if report is not None]


def _sweep(folder: RunFolder, ledger: Ledger) -> None:
    """What a kill left half-written goes; what the ledger acknowledged stays."""
    known = {
        (event.slide_id, tile.planned.tile, tile.plan, tile.attempt)
        for event in ledger.events(Kind.TILE)
        for tile in [tile_from_body(event.body)]
    }
    FusedSpool(folder.fused).sweep()
    for path in Spool(folder.frames, keep=True).sweep(known.__contains__):
        log.info("removed %s, which no fact acknowledges", path.name)
