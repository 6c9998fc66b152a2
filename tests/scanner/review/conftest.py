"""A run folder as the road leaves it: four slides with an image, tables and reports, small and made of known facts."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from scanner.model.events import Kind
from scanner.model.geometry import Rect
from scanner.model.plan import Plan, Skipped, grid_over, scan_plan
from scanner.model.report import (
    FocusPointFact,
    Outcome,
    Quality,
    Seconds,
    SlideReport,
    TileCounts,
    Verdict,
)
from scanner.storage.facts import plan_key
from scanner.storage.hashes import text_hash
from scanner.storage.ledger import Ledger
from scanner.storage.ngff import SHARD_PX, ImageSpec
from scanner.storage.ome_zarr import PyramidStore
from scanner.storage.run_folder import FrozenFile, RunFolder, RunSettings, slide_id
from scanner.storage.tables import TILE_COLUMNS, Row, findings_table, write_table

UM_PER_PX = 0.5
FIELD_PX = 1024
PROFILE = "devices: {overview: {camera: Overview, um_per_px: 100.0, origin_um: [-500.0, 0.0]}}"
RUN = "20260101-120000-abcd"
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Made:
    """A slide to make: its image (h, w, 3), how it ended, and its findings (x, y, side px, score, class)."""

    mosaic: Picture | None
    outcome: Outcome = Outcome.DONE
    verdict: Verdict = Verdict.REVIEW
    findings: tuple[tuple[float, float, float, float, str], ...] = ()
    accession: str | None = "CY26-000123"
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    cells: int = 20_112
    finished: bool = True


def spotted(side_px: int = 3000, seed: int = 0, spots: int = 300) -> Picture:
    """Dark round spots on light ground, (side, side, 3)."""
    rng = np.random.default_rng(seed)
    picture = np.full((side_px, side_px, 3), (236, 238, 242), np.uint8)
    for _ in range(spots):
        x, y = (int(v) for v in rng.integers(20, side_px - 20, 2))
        cv2.circle(picture, (x, y), int(rng.integers(24, 50)), (190, 215, 210), -1, cv2.LINE_AA)
        cv2.circle(picture, (x, y), int(rng.integers(6, 16)), (90, 60, 130), -1, cv2.LINE_AA)
    return picture


FOCUS_POINTS = (
    FocusPointFact(x_um=40_600, y_um=8_600, z_um=101.5, sigma_um=0.06, state="found"),
    FocusPointFact(x_um=40_900.4, y_um=8_700, z_um=101.75, sigma_um=0.11, state="found"),
    FocusPointFact(
        x_um=41_200, y_um=9_000, z_um=None, sigma_um=None, state="no-sample", reason="clear\nglass"
    ),
)


@pytest.fixture(scope="session")
def make_run() -> Callable[[Path, list[Made]], RunFolder]:
    return build


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    found = ((500.0, 700.0, 40.0, 0.93, "HSIL"), (2890.0, 2895.0, 60.0, 0.41, "LSIL"))
    slides = [
        Made(spotted(), verdict=Verdict.URGENT, findings=found, reasons=("one cell scored 0.93",)),
        Made(
            spotted(2500, 1), Outcome.RERUN, Verdict.INCOMPLETE, accession=None, warnings=("tile 7 <failed>",)
        ),
        Made(None, Outcome.EMPTY, Verdict.UNSATISFACTORY, accession=None, cells=0),
        Made(spotted(2200, 2), finished=False),
    ]
    return build(tmp_path_factory.mktemp("run") / "run", slides)


def build(out: Path, slides: list[Made]) -> RunFolder:
    begun = datetime(2026, 1, 1, 12, tzinfo=UTC)
    profile = FrozenFile(path="rigs/bench.yaml", text=PROFILE, sha256=text_hash(PROFILE))
    folder = RunFolder.create(out, RunSettings(run=RUN, begun=begun, profile=profile))
    ledger = Ledger.open(folder.ledger, create=True)
    for slot, slide in enumerate(slides, start=1):
        name = slide_id(slot, RUN)
        ledger.append(Kind.SLIDE_LOADED, name, "", {"slot": slot})
        _slide(folder, ledger, slot, slide)
    for number, point in enumerate(FOCUS_POINTS):
        ledger.append(Kind.FOCUS_POINT, slide_id(1, RUN), str(number), point.model_dump(mode="json"))
    ledger.close()
    return folder


def _slide(folder: RunFolder, ledger: Ledger, slot: int, slide: Made) -> None:
    name = slide_id(slot, RUN)
    paths = folder.slide(name)
    paths.folder.mkdir(parents=True)
    if slot == 1:
        cv2.imwrite(str(paths.folder / "overview.png"), np.full((250, 760, 3), 200, np.uint8))
    rows: list[Row] = []
    plan = None
    if slide.mosaic is not None:
        h, w = slide.mosaic.shape[:2]
        region = Rect(40_000.0, 8_000.0, w * UM_PER_PX, h * UM_PER_PX)
        plan = _plan(name, region)
        ledger.append(Kind.PLAN, name, plan_key(1), plan.model_dump(mode="json"))
        store = PyramidStore.create(paths.image, _spec(name, region, w, h))
        _write(store, slide.mosaic)
        if slide.finished:
            store.complete({})
        rows = _tiles(plan, region)
    write_table(paths.tiles, pa.Table.from_pylist(rows, schema=TILE_COLUMNS))
    _findings(folder, name, slide)
    if slide.finished:
        report = _report(name, slot, slide, plan, rows)
        paths.report.write_text(report.model_dump_json(), encoding="utf-8")


def _plan(name: str, region: Rect) -> Plan:
    grid, rows, cols = grid_over(region, (FIELD_PX * UM_PER_PX,) * 2, 0.1)
    cells = [(row, col) for row in range(rows) for col in range(cols)]
    return scan_plan(name, grid, cells[1:], cells[:1], growable=False)


def _spec(name: str, region: Rect, w: int, h: int) -> ImageSpec:
    return ImageSpec(
        name=name,
        width_px=w,
        height_px=h,
        dtype="uint8",
        channels=3,
        um_per_px=UM_PER_PX,
        origin_um=(region.x, region.y),
    )


def _write(store: PyramidStore, mosaic: Picture) -> None:
    level = mosaic
    for n, (w, h) in enumerate(store.sizes):
        level = level if n == 0 else cv2.resize(level, (w, h), interpolation=cv2.INTER_AREA).astype(np.uint8)
        for row in range(-(-h // SHARD_PX)):
            for col in range(-(-w // SHARD_PX)):
                block = np.full((3, SHARD_PX, SHARD_PX), 255, np.uint8)
                part = level[row * SHARD_PX : (row + 1) * SHARD_PX, col * SHARD_PX : (col + 1) * SHARD_PX]
                block[:, : part.shape[0], : part.shape[1]] = np.moveaxis(part, -1, 0)
                store.write(n, row, col, block)


def _tiles(plan: Plan, region: Rect) -> list[Row]:
    rng = np.random.default_rng(3)
    states = rng.choice(["sharp", "sharp", "sharp", "sharp", "sharp", "usable", "no-sample"], len(plan.tiles))
    rows: list[Row] = [
        {
            "tile": t.tile,
            "plan": 1,
            "attempt": 1,
            "row": t.row,
            "col": t.col,
            "x_um": t.x_um,
            "y_um": t.y_um,
            "reported_x_um": t.x_um + 0.2,
            "reported_y_um": t.y_um,
            "x_px": (t.x_um - region.x) / UM_PER_PX - FIELD_PX / 2,
            "y_px": (t.y_um - region.y) / UM_PER_PX - FIELD_PX / 2,
            "z_um": 100 + (t.x_um - 40_000) / 2_000 + ((t.y_um - 8_000) / 2_000) ** 2,
            "focus_state": str(state),
            "z_sigma_um": 0.05,
            "quality": 0.8,
            "t_trigger_s": 0.105 * i,
            "t_read_s": 0.105 * i + 0.03,
            "accepted": True,
            "reason": "",
        }
        for i, (t, state) in enumerate(zip(plan.tiles, states, strict=True))
    ]
    again: Row = dict(rows[-1]) | {"plan": 2, "attempt": 1, "focus_state": "sharp", "t_trigger_s": 1e3}
    return [*rows, again, *(_skipped(plan, s) for s in plan.skipped)]


def _skipped(plan: Plan, skipped: Skipped) -> Row:
    centre = plan.grid.centre(skipped.row, skipped.col)
    return {
        "tile": skipped.tile,
        "plan": 1,
        "attempt": 0,
        "row": skipped.row,
        "col": skipped.col,
        "x_um": centre.x,
        "y_um": centre.y,
        "accepted": False,
        "reason": skipped.reason,
    }


def _findings(folder: RunFolder, name: str, slide: Made) -> None:
    n = len(slide.findings)
    x, y, side, score = (np.array([f[i] for f in slide.findings], float) for i in range(4))
    table = findings_table(
        {
            "slide_id": [name] * n,
            "tile": np.zeros(n, np.int32),
            "rank": np.arange(1, n + 1, dtype=np.int32),
            "class": [f[4] for f in slide.findings],
            "score": score,
            "x_px": x - side / 2,
            "y_px": y - side / 2,
            "w_px": side,
            "h_px": side,
            "x_um": 40_000 + x * UM_PER_PX,
            "y_um": 8_000 + y * UM_PER_PX,
        }
    )
    write_table(folder.slide(name).findings, table)


def _states(rows: list[Row]) -> dict[str, int]:
    last = {r["tile"]: str(r["focus_state"]) for r in rows if r["accepted"]}
    return dict(Counter(last.values()))


def _report(name: str, slot: int, slide: Made, plan: Plan | None, rows: list[Row]) -> SlideReport:
    n = len(plan.tiles) if plan else 0
    points = [
        FocusPointFact.model_validate(
            {k: r[k] for k in ("x_um", "y_um", "z_um")} | {"sigma_um": 0.06, "state": "found"}
        )
        for r in rows[:-1:4]
        if r["accepted"]
    ]
    return SlideReport(
        slot=slot,
        slide_id=name,
        outcome=slide.outcome,
        verdict=slide.verdict,
        image=f"slides/{name}/image.ome.zarr" if plan else None,
        tiles=TileCounts(planned=n + 1, captured=n, skipped=1, retaken=1) if plan else TileCounts(),
        seconds=Seconds(scan=41.3, floor=40.6, focus=9.1, tail=0.84),
        frames_per_tile=2.1,
        sample_covered=0.998 if plan else None,
        cells=slide.cells,
        peak_bytes=812_000_000,
        accession=slide.accession,
        reasons=slide.reasons,
        warnings=slide.warnings,
        slide_score=max((f[3] for f in slide.findings), default=0.02) if plan else None,
        operating_point=0.35,
        detector="default-1",
        um_per_px=0.5012,
        canvas_um=plan.canvas_um if plan else None,
        quality=Quality(focus_states=_states(rows), pairs_measured=2 * n, pairs_held=3, tiles_held=1),
        focus_points=tuple(points),
        cpu_ms_per_tile={"correct": 6.1, "judge": 4.0, "detect": 72.4},
    )
