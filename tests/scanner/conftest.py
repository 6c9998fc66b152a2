"""A small run folder with everything a finished run leaves, made by the storage's own writers."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from scanner.export.ome_findings import write_ome_findings
from scanner.model.events import Body, Kind
from scanner.model.geometry import Rect
from scanner.model.plan import Plan, PlanReason, grid_over, scan_plan
from scanner.model.report import Outcome, RunResult, SlideReport, SlideResult, Verdict
from scanner.model.tile import FocusState, Frame, Judged, Pixels, Tile, TileFocus
from scanner.storage.atomic import write_atomic
from scanner.storage.facts import (
    BlockFact,
    PlacedFact,
    TileFact,
    TileFailedFact,
    block_key,
    finished_to_body,
    plan_key,
    plan_to_body,
    tile_key,
    tile_to_body,
)
from scanner.storage.hashes import file_hash
from scanner.storage.ledger import Ledger
from scanner.storage.ngff import ImageSpec
from scanner.storage.ome_zarr import PyramidStore
from scanner.storage.reader import tile_counts
from scanner.storage.run_folder import RunFolder, RunSettings
from scanner.storage.spool import Spool
from scanner.storage.tables import findings_table, tiles_table, write_table

FIELD_PX = 64
UM_PER_PX = 0.5
SLIDE = "2-run-1"


@dataclass(frozen=True)
class WrittenRun:
    """A run folder as it was written: 5 fields captured, one of them twice, one failed, one skipped."""

    folder: RunFolder
    plans: tuple[Plan, ...]
    tiles: tuple[Tile, ...]

    @property
    def root(self) -> Path:
        return self.folder.root


@pytest.fixture
def finished_run(tmp_path: Path) -> WrittenRun:
    run = _begin(tmp_path / "run")
    with Ledger.open(run.folder.ledger, create=True) as ledger:
        _capture(run, ledger)
        _finish(run, ledger)
    return run


@pytest.fixture
def broken_off_run(tmp_path: Path) -> WrittenRun:
    """The same run, ended in the middle of its first plan."""
    run = _begin(tmp_path / "run")
    with Ledger.open(run.folder.ledger, create=True) as ledger:
        _start(run, ledger)
        for tile in run.tiles[:2]:
            _take(run, ledger, tile)
        _image(run, ledger, complete=False)
    return run


def _begin(root: Path) -> WrittenRun:
    settings = RunSettings(run="run-1", begun=datetime.now(UTC), keep_tiles=True)
    plans = _plans()
    taken = [(plans[0], planned) for planned in plans[0].tiles[:-1]] + [(plans[1], plans[1].tiles[0])]
    tiles = tuple(_tile(n, plan, planned.tile) for n, (plan, planned) in enumerate(taken))
    return WrittenRun(RunFolder.create(root, settings), plans, tiles)


def _plans() -> tuple[Plan, Plan]:
    field_um = (FIELD_PX * UM_PER_PX, FIELD_PX * UM_PER_PX)
    grid, rows, cols = grid_over(Rect(40_000, 10_000, 100, 60), field_um, 0.1)
    cells = [(row, col) for row in range(rows) for col in range(cols)]
    first = scan_plan(SLIDE, grid, cells[:6], cells[6:7], growable=False)
    changes = {"number": 2, "reason": PlanReason.RETAKE, "tiles": first.tiles[1:2], "skipped": ()}
    return first, first.model_copy(update=changes)


def _tile(n: int, plan: Plan, number: int) -> Tile:
    planned = next(tile for tile in plan.tiles if tile.tile == number)
    pixels = np.random.default_rng(n).integers(0, 256, (FIELD_PX, FIELD_PX, 3), dtype=np.uint8)
    frame = Frame(pixels, planned.x_um + 0.3, planned.y_um - 0.2, 1.25, n + 0.1, n + 0.2)
    soft = plan.number == 1 and number == 1
    focus = TileFocus(FocusState.UNREADABLE if soft else FocusState.SHARP, 1.25, 0.1)
    return Tile(planned, plan.number, 1, frame, "", frame.x_um, frame.y_um, focus, 2)


def _capture(run: WrittenRun, ledger: Ledger) -> None:
    _start(run, ledger)
    failed = TileFailedFact(tile=run.plans[0].tiles[-1].tile, plan=1, attempt=2, reason="no frame came")
    for plan in run.plans:
        if plan.number > 1:
            ledger.append(Kind.PLAN, SLIDE, plan_key(plan.number), plan_to_body(plan))
        for tile in run.tiles:
            if tile.plan == plan.number:
                _take(run, ledger, tile)
        if plan.number == 1:
            ledger.append(Kind.TILE_FAILED, SLIDE, tile_key(failed.tile, 1), failed.body())
        ledger.append(Kind.PLAN_CAPTURED, SLIDE, plan_key(plan.number), {})
    for tile in run.tiles:
        _settle(ledger, tile)


def _start(run: WrittenRun, ledger: Ledger) -> None:
    ledger.append(Kind.RUN_STARTED, "", "", {})
    ledger.append(Kind.SLIDE_LOADED, SLIDE, "", {"slot": 2})
    ledger.append(Kind.PLAN, SLIDE, plan_key(1), plan_to_body(run.plans[0]))
    place: Body = {"x_um": 45_000.0, "y_um": 12_000.0, "z_um": 1.2, "sigma_um": 0.1}
    ledger.append(Kind.FOCUS_POINT, SLIDE, "", {**place, "state": "found", "frames": 4})


def _take(run: WrittenRun, ledger: Ledger, tile: Tile) -> None:
    assert tile.frame is not None
    number = tile.planned.tile
    spool = Spool(run.folder.frames, keep=True)
    content = spool.put(SLIDE, number, tile.plan, tile.attempt, tile.frame.pixels, {"z_um": tile.frame.z_um})
    fact = TileFact.from_body(tile_to_body(tile)).model_copy(update={"content": content})
    ledger.append(Kind.TILE, SLIDE, tile_key(number, tile.plan), fact.body())


def _settle(ledger: Ledger, tile: Tile) -> None:
    number, plan = tile.key
    x_px, y_px = tile.planned.col * FIELD_PX * 0.9, tile.planned.row * FIELD_PX * 0.9
    placed = PlacedFact(tile=number, plan=plan, x_px=x_px, y_px=y_px, held=False, sigma_px=0.1)
    ledger.append(Kind.PLACED, SLIDE, tile_key(number, plan), placed.body())
    ledger.append(Kind.DETECTED, SLIDE, tile_key(number, plan), {"tile": number, "plan": plan, "cells": {}})
    judged = Judged(tile, None, 0.8, 0.9, (False, False, False, True))
    ledger.append(Kind.TILE_FINISHED, SLIDE, tile_key(number, plan), finished_to_body(judged))


def _image(run: WrittenRun, ledger: Ledger, complete: bool) -> None:
    spec = ImageSpec(name=SLIDE, width_px=300, height_px=200, dtype="uint8", channels=3, um_per_px=UM_PER_PX)
    path = run.folder.slide(SLIDE).image
    store = PyramidStore.create(path, spec)
    block: Pixels = np.random.default_rng(0).integers(0, 256, (3, 2048, 2048), dtype=np.uint8)
    store.write(0, 0, 0, block)
    fact = BlockFact(level=0, row=0, col=0, sha256=file_hash(path / "0" / "c" / "0" / "0" / "0"))
    ledger.append(Kind.BLOCK, SLIDE, block_key(0, 0, 0), fact.body())
    if complete:
        store.complete({"findings": 2})


def _finish(run: WrittenRun, ledger: Ledger) -> None:
    _image(run, ledger, complete=True)
    paths = run.folder.slide(SLIDE)
    write_table(paths.tiles, tiles_table(ledger, SLIDE))
    write_table(paths.findings, findings_table(_findings()))
    write_ome_findings(PyramidStore.open(paths.image), findings_table(_findings()))
    report = _report(run)
    write_atomic(paths.report, report.model_dump_json())
    ledger.append(Kind.SLIDE_FINISHED, SLIDE, "", {"outcome": report.outcome, "verdict": report.verdict})
    slide = SlideResult.model_validate({name: getattr(report, name) for name in SlideResult.model_fields})
    write_atomic(run.folder.report, RunResult(run="run-1", slides=(slide,)).model_dump_json())
    ledger.append(Kind.RUN_FINISHED, "", "", {})


def _findings() -> dict[str, list[int] | list[float] | list[str]]:
    places = {name: [10.0, 90.0] for name in ("x_px", "y_px", "w_px", "h_px", "x_um", "y_um")}
    return {
        "slide_id": [SLIDE, SLIDE],
        "tile": [0, 1],
        "rank": [1, 2],
        "class": ["HSIL", "LSIL"],
        "score": [0.9, 0.2],
        **places,
    }


def _report(run: WrittenRun) -> SlideReport:
    facts = tuple(TileFact.from_body(tile_to_body(tile)) for tile in run.tiles)
    failed = TileFailedFact(tile=run.plans[0].tiles[-1].tile, plan=1, attempt=2, reason="no frame came")
    return SlideReport(
        slot=2,
        slide_id=SLIDE,
        outcome=Outcome.DONE,
        verdict=Verdict.REVIEW,
        image=run.folder.relative(run.folder.slide(SLIDE).image),
        tiles=tile_counts(run.plans, facts, (failed,)),
        um_per_px=UM_PER_PX,
        detector="default",
    )
