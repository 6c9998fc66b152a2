"""A finished run of the default rig made of known places: 4 × 4 fields of cells, one of them put wrongly."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scanner.model.events import Kind
from scanner.model.geometry import Point, Rect
from scanner.model.plan import Plan, grid_over, scan_plan
from scanner.model.report import Outcome, SlideReport, Verdict
from scanner.model.tile import FocusState, Frame, Pixels, Tile, TileFocus
from scanner.pipeline.canvas import MosaicFrame, mosaic_frame
from scanner.pipeline.mosaic import Mosaic
from scanner.pipeline.pair_facts import pairs_to_body
from scanner.pipeline.placement import Placed
from scanner.pipeline.pyramid import Pyramid
from scanner.pipeline.registration import PairMeasurement
from scanner.storage.atomic import write_atomic
from scanner.storage.facts import PlacedFact, plan_key, plan_to_body, tile_key, tile_to_body
from scanner.storage.ledger import Ledger
from scanner.storage.ngff import SHARD_PX, ImageSpec
from scanner.storage.ome_zarr import PyramidStore
from scanner.storage.profiles import read_profile
from scanner.storage.run_folder import FrozenFile, RunFolder, RunSettings
from scanner.storage.tables import tiles_table, write_table
from tests.scanner.pipeline.conftest import cells_on_glass

PROFILE = Path(__file__).parents[3] / "hardware_profiles" / "simulated.yaml"
SLIDE = "1-run-1"
SIDE = 1024
MOVED = (1, 2)
BACKLASH_UM = 3.0


def scanned(root: Path, shift: Point) -> RunFolder:
    """A finished run of the default rig with backlash along x; one field is put ``shift`` px off."""
    settings = RunSettings(run="run-1", begun=datetime.now(UTC), profile=FrozenFile.of(PROFILE))
    folder = RunFolder.create(root, settings)
    grid, rows, cols = grid_over(Rect(44_000, 12_000, 1400, 1400), (513.0, 513.0), 0.1)
    plan = scan_plan(SLIDE, grid, [(r, c) for r in range(rows) for c in range(cols)], [], growable=False)
    frame = mosaic_frame(read_profile(PROFILE), plan)
    true = dict(slipped(frame, plan))
    middle = next(t.tile for t in plan.tiles if (t.row, t.col) == MOVED)
    placed = {k: p + shift if k == middle else p for k, p in true.items()}
    with Ledger.open(folder.ledger, create=True) as ledger:
        tell(ledger, plan, true, placed)
        draw(folder, frame, plan, true, placed)
        finish(folder, ledger, frame, plan)
    return folder


def slipped(frame: MosaicFrame, plan: Plan) -> Iterator[tuple[int, Point]]:
    """Where each field really is, whole mosaic px: a stage that came from the right is off."""
    before, slack = plan.tiles[0], 0.0
    for t in plan.tiles:
        slack = slack if t.col == before.col else BACKLASH_UM if t.col < before.col else 0.0
        before = t
        at = frame.corner(t.x_um + slack, t.y_um)
        yield t.tile, Point(round(at.x), round(at.y))


def tell(ledger: Ledger, plan: Plan, true: dict[int, Point], placed: dict[int, Point]) -> None:
    ledger.append(Kind.SLIDE_LOADED, SLIDE, "1", {"slot": 1})
    ledger.append(Kind.PLAN, SLIDE, plan_key(1), plan_to_body(plan))
    cells = {(t.row, t.col): t.tile for t in plan.tiles}
    for n, t in enumerate(plan.tiles):
        frame = Frame(np.zeros((1, 1, 3), np.uint8), t.x_um, t.y_um, 1.0, 0.1 * n, 0.1 * n + 0.05)
        focus = TileFocus(FocusState.SHARP, 1.0, 0.1)
        tile = Tile(t, 1, 1, frame, "0" * 64, t.x_um, t.y_um, focus, 2)
        ledger.append(Kind.TILE, SLIDE, tile_key(t.tile, 1), tile_to_body(tile))
        near = [cells.get((t.row, t.col - 1)), cells.get((t.row - 1, t.col))]
        pairs = [(k, measured(true[t.tile] - true[k])) for k in near if k is not None]
        ledger.append(Kind.PAIRS, SLIDE, tile_key(t.tile, 1), pairs_to_body(pairs))
        at = placed[t.tile]
        fact = PlacedFact(tile=t.tile, plan=1, x_px=at.x, y_px=at.y, held=False, sigma_px=0.05)
        ledger.append(Kind.PLACED, SLIDE, tile_key(t.tile, 1), fact.body())


def measured(offset: Point) -> PairMeasurement:
    return PairMeasurement(offset.x, offset.y, 0.05, 0.9, 0.9, 0.2, accepted=True, reason="")


def draw(
    folder: RunFolder, frame: MosaicFrame, plan: Plan, true: dict[int, Point], placed: dict[int, Point]
) -> None:
    canvas = frame.canvas
    sheet = cells_on_glass(canvas.height_px, canvas.width_px, 5)
    spec = ImageSpec(
        name=SLIDE,
        width_px=canvas.width_px,
        height_px=canvas.height_px,
        dtype="uint8",
        channels=3,
        um_per_px=frame.um_per_px,
        origin_um=plan.canvas_um[:2],
    )
    store = PyramidStore.create(folder.slide(SLIDE).image, spec)
    pyramid, mosaic = Pyramid(store.sizes, SHARD_PX, 255, store), Mosaic(canvas, frame.lattice)
    ready = []
    for t in plan.tiles:
        at = placed[t.tile]
        ready += mosaic.place(Placed(t.tile, t.row, t.col, at.x, at.y, held=False, sigma_px=0.05))
    for block in ready + mosaic.settle():
        pyramid.add(*block, mosaic.draw(block, lambda tile: field(sheet, true[tile])))
    store.complete({})


def field(sheet: NDArray[np.float32], at: Point) -> Pixels:
    """(SIDE, SIDE, 3) of a sheet, which goes on beyond its rim."""
    x, y = (
        np.clip(np.arange(SIDE) + round(start), 0, size - 1)
        for start, size in zip((at.x, at.y), sheet.shape[::-1], strict=True)
    )
    noise = np.random.default_rng(round(at.x + 7 * at.y)).normal(0.5, 1.0, (SIDE, SIDE))
    return np.dstack([np.clip(sheet[np.ix_(y, x)] + noise, 0, 255).astype(np.uint8)] * 3)


def finish(folder: RunFolder, ledger: Ledger, frame: MosaicFrame, plan: Plan) -> None:
    paths = folder.slide(SLIDE)
    write_table(paths.tiles, tiles_table(ledger, SLIDE))
    report = SlideReport(
        slot=1,
        slide_id=SLIDE,
        outcome=Outcome.DONE,
        verdict=Verdict.REVIEW,
        image=folder.relative(paths.image),
        um_per_px=frame.um_per_px,
        canvas_um=plan.canvas_um,
    )
    write_atomic(paths.report, report.model_dump_json())
