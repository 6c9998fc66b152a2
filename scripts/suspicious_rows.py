"""What does taking cells again cost and change, and how well is blood told? The figures of decisions 0091 and 0093.

python scripts/suspicious_rows.py cells|draw|blood
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from scanner.devices.simulated.field import FieldCamera
from scanner.devices.simulated.flaws import BloodySlide
from scanner.devices.simulated.slide import ProceduralSlide
from scanner.devices.simulated.specimen import DEPOSIT_CENTRE_UM, CameraGrid
from scanner.model.geometry import Rect
from scanner.model.plan import PlannedTile, PlanReason, grid_over, scan_plan
from scanner.model.report import SlideReport
from scanner.model.tile import FocusState, Pixels, Tile, TileFocus
from scanner.pipeline.blood import blood_share
from scanner.pipeline.canvas import mosaic_frame
from scanner.run import RunRequest, run_rack
from scanner.session.cells_image import CellsImage, Field, paint_cells
from scanner.storage.ledger import Ledger
from scanner.storage.profiles import read_profile
from scanner.storage.reader import RunReader
from scanner.storage.run_folder import SlidePaths

PROFILES = Path(__file__).parents[1] / "hardware_profiles"
REGION = Rect(43_000.0, 11_000.0, 2_000.0, 2_000.0)
SEED, CELLS, FIELDS, KEYS = 3, 8, 14, ((1, 1), (5, 2))


def cells(folder: Path) -> Iterator[str]:
    """The same region with and without: seconds and memory, then both scores of every cell."""
    for asked in (0, CELLS):
        report = _scanned(folder / str(asked), asked)
        s = report.seconds
        yield (
            f"{asked} cells: scan {s.scan:.1f} s (floor {s.floor:.1f}), tail {s.tail:.1f} s, "
            f"peak {report.peak_bytes / 1e9:.2f} GB"
        )
        again = report.cells_again
        if again is not None:
            planned = f"{again.fields_captured} of {again.fields_planned} fields"
            yield f"  {planned}, waited {again.waited_s:.2f} s, tiles without an answer {len(again.unanswered)}"
            yield from (
                f"  #{cell.rank}: {cell.score:.2f}, plane {cell.layer}: {cell.score_again}"
                for cell in again.cells
            )


def _scanned(folder: Path, asked: int) -> SlideReport:
    shutil.copytree(PROFILES, folder / "rig", ignore=shutil.ignore_patterns("*.state.json*"))
    profile, out = folder / "rig" / "simulated.yaml", folder / "run"
    run_rack(RunRequest(profile=profile, out=out, slides=1, region_um=REGION, seed=SEED, capture_cells=asked))
    with RunReader.open(out) as reader:
        report = reader.report(reader.slides()[0])
    assert report is not None
    return report


def draw(folder: Path) -> Iterator[str]:
    """Eight fields of nine planes, all over a whole slide."""
    profile = read_profile(PROFILES / "simulated.yaml")
    deposit = Rect(35_000.0, 2_500.0, 20_000.0, 20_000.0)
    grid, rows, cols = grid_over(deposit, (513.0, 513.0), 0.1)
    plan = scan_plan("1-a", grid, [(0, 0), (rows - 1, cols - 1)], [], growable=False)
    offsets = tuple(float(n) for n in range(-4, 5))
    plan = plan.model_copy(update={"reason": PlanReason.CELLS, "layers_um": offsets})
    shown, frame = _field(), mosaic_frame(profile, plan)
    places = np.random.default_rng(0).uniform(1_000, 38_000, (CELLS, 2))
    fields = [Field(_tile(n), float(x), float(y)) for n, (x, y) in enumerate(places)]
    with Ledger.open(folder / "run.sqlite", create=True) as ledger:
        made = CellsImage("1-a", SlidePaths(folder), frame, profile, plan, lambda *_: shown)
        begun_s = time.process_time()
        paint_cells(made, fields, ledger)
        took_s = time.process_time() - begun_s
    size = sum(file.stat().st_size for file in SlidePaths(folder).cells.rglob("*") if file.is_file())
    yield f"{len(fields)} fields of {len(offsets)} planes: {took_s:.1f} CPU s, {size / 1e6:.0f} MB"


def _tile(number: int) -> Tile:
    planned = PlannedTile(tile=number, row=0, col=number, x_um=0.0, y_um=0.0)
    return Tile(planned, 1, 1, None, "", 0.0, 0.0, TileFocus(FocusState.SHARP, 0.0, 0.1), 9)


def _field() -> Pixels:
    slide, camera = ProceduralSlide(KEYS[0], {}, CameraGrid()), FieldCamera(SEED, CameraGrid())
    return camera.expose(slide, DEPOSIT_CENTRE_UM, slide.surface.height(*DEPOSIT_CENTRE_UM), 5.0, 0)


def blood(_: Path) -> Iterator[str]:
    """Fields of clean slides and of the same ones under a film of blood."""
    grid = CameraGrid()
    for key in KEYS:
        clean = ProceduralSlide(key, {}, grid)
        for name, slide in (("clean", clean), ("bloody", BloodySlide(clean, key, grid))):
            rng, camera, seen = np.random.default_rng(7), FieldCamera(SEED, grid), []
            for n in range(FIELDS):
                x, y = (
                    float(c + v)
                    for c, v in zip(DEPOSIT_CENTRE_UM, rng.uniform(-6_000, 6_000, 2), strict=True)
                )
                seen.append(camera.expose(slide, (x, y), clean.surface.height(x, y), 5.0, n))
            small = [cv2.resize(picture, (32, 32), interpolation=cv2.INTER_AREA) for picture in seen]
            share = blood_share(np.concatenate(small).astype(np.uint8), 16.0, 236.0)
            yield f"slide {key}, {name}: blood on {100 * (share or 0.0):.1f} % of the sample"


def main() -> None:
    """One of the three tables."""
    parts = {"cells": cells, "draw": draw, "blood": blood}
    if sys.argv[1:] and sys.argv[1] in parts:
        with tempfile.TemporaryDirectory() as folder:
            for line in parts[sys.argv[1]](Path(folder)):
                print(line, flush=True)
    else:
        sys.exit(f"say which: {', '.join(parts)}")


if __name__ == "__main__":
    main()
