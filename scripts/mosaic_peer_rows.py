"""How do register, solve and the road to a finished pyramid compare with ashlar on the same tiles in the same run?

ashlar lives in an environment of its own, because it brings another OpenCV; RACKSCAN_PEERS names its Python, and
without it these rows are null. Both write colour losslessly: ashlar deflate in OME-TIFF, rackscan zstd in OME-Zarr.
"""

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from scanner.model.profile import StorageCodec
from scripts.mosaic_grids import TileGrid, take_grid
from scripts.mosaic_place_rows import above
from scripts.mosaic_road import MosaicRoad
from scripts.rows import Row, at_least, at_most, row

PEER = Path(__file__).with_name("peer_ashlar.py")
KINDS, SIDE, SEED = ("sparse", "dense"), 8, 901


def rows(full: bool = True) -> list[Row]:
    """Both kinds of grid; with less than ``full``, the sparse one."""
    found: list[Row] = []
    for kind in KINDS if full else KINDS[:1]:
        with tempfile.TemporaryDirectory() as folder:
            found += _compared(take_grid(Path(folder), kind, SIDE, SEED), Path(folder))
    return found


def _compared(grid: TileGrid, folder: Path) -> list[Row]:
    name = f"{grid.kind} {SIDE} × {SIDE}"
    road = MosaicRoad(grid, folder / "ours.ome.zarr", StorageCodec.ZSTD)
    began = time.process_time()
    tail_s = road.run()
    ours_s, steps = time.process_time() - began, road.clock.seconds
    solved_s = steps["register"] + steps["place"]
    ours_mb = sum(f.stat().st_size for f in road.store.path.rglob("*") if f.is_file()) / 1e6
    peer = _ashlar(grid, folder)
    return [
        row(f"{name}: ashlar's seams that show, off by more than 1 px, %", _off(grid, peer)),
        at_least(
            f"{name}: register and solve, CPU of ashlar over ours", _over(peer, "solve_cpu_s", solved_s), 15.0
        ),
        at_least(
            f"{name}: tiles on disk to pyramid, CPU of ashlar over ours", _over(peer, "cpu_s", ours_s), 8.0
        ),
        row(f"{name}: tiles on disk to pyramid, CPU s of ours", ours_s),
        row(f"{name}: size, ashlar over ours", _over(peer, "mb", ours_mb)),
        at_most(f"{name}: last tile to complete image, s", tail_s, 2.0),
        *(row(f"{name}: {step}, CPU ms a tile", 1000 * s / len(grid.taken)) for step, s in steps.items()),
    ]


def _ashlar(grid: TileGrid, folder: Path) -> dict[str, Any] | None:
    python = os.environ.get("RACKSCAN_PEERS")
    if not python:
        return None
    listed = [{"file": str(t.file), "x_px": t.said.x, "y_px": t.said.y} for t in grid.taken]
    out = folder / "peer.ome.tif"
    (folder / "grid.json").write_text(json.dumps(listed))
    asked = [python, str(PEER), str(folder / "grid.json"), str(out)]
    told = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    found: dict[str, Any] = json.loads(told.strip().splitlines()[-1])
    return {**found, "mb": out.stat().st_size / 1e6}


def _over(peer: dict[str, Any] | None, key: str, ours: float) -> float | None:
    return None if peer is None else float(peer[key]) / ours


def _off(grid: TileGrid, peer: dict[str, Any] | None) -> float | None:
    if peer is None:
        return None
    at = np.array(peer["places"])
    errors = []
    for a, b in grid.seams():
        true = grid.taken[b].true - grid.taken[a].true
        errors.append(float(np.hypot(*(at[b] - at[a] - (true.x, true.y)))))
    return above(errors, 1)
