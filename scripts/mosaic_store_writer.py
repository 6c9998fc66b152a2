"""How does an image grow that is killed, or looked at, while it does? One process writes it, and one reads it.

``write FOLDER CANVAS_PX PACE_S [wait]`` begins or goes on with FOLDER/image.ome.zarr and FOLDER/run.sqlite by the
product's own mosaic, sheet, pyramid, store and ledger; ``read FOLDER TRUTH MOST`` reads places at random through
zarr-python.
"""

import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from scanner.model.events import Kind
from scanner.pipeline.mosaic import BlockId, Mosaic
from scanner.pipeline.sheets import Sheet
from scanner.storage.ledger import Ledger
from scanner.storage.ngff import SHARD_PX
from scanner.storage.ome_zarr import PyramidStore
from scripts.mosaic_workload import Workload, grainy
from scripts.mosaic_writers import spec_of

SLIDE = "1-store"
BOOKED_EVERY = 4  # tiles
WINDOW_PX = 512
READY = "ready"
LOOKING = "looking"


def write(folder: Path, canvas_px: int, pace_s: float, watched: bool = False) -> None:
    """All tiles, or those that are missing; says ``ready`` before the first, and waits where a reader is to come."""
    load, path = grainy(canvas_px), folder / "image.ome.zarr"
    store = opened(path, load)
    with Ledger.open(folder / "run.sqlite", create=True) as ledger:
        mosaic = Mosaic(load.canvas, load.lattice)
        sheet = Sheet(
            store, lambda block, strokes: mosaic.paint(block, strokes, lambda t, y, x: load.pixels(t)[y, x])
        )

        def draw(blocks: list[BlockId]) -> None:
            sheet.draw((block, mosaic.strokes(block)) for block in blocks)

        print(READY, flush=True)
        while watched and not (folder / LOOKING).exists():
            time.sleep(0.05)
        rows, cols = (1 + max(at) for at in zip(*((p.row, p.col) for p in load.placed), strict=True))
        inside = set(itertools.product(range(rows), range(cols)))
        around = set(itertools.product(range(-2, rows + 2), range(-2, cols + 2)))
        draw(mosaic.void(sorted(around - inside)))
        for number, placed in enumerate(load.placed):
            time.sleep(pace_s)
            draw(mosaic.place(placed))
            if number % BOOKED_EVERY == 0:
                sheet.book(ledger, SLIDE)
        draw(mosaic.settle())
        sheet.book(ledger, SLIDE)
        sheet.book_found(ledger, SLIDE, [event.key for event in ledger.events(Kind.BLOCK, SLIDE)])
    store.complete({})


def opened(path: Path, load: Workload) -> PyramidStore:
    """The image, begun or gone on with."""
    if (path / "zarr.json").is_file():
        store = PyramidStore.open(path)
        store.sweep()
        return store
    return PyramidStore.create(path, spec_of(load))


def read(folder: Path, truth: Path, most: int) -> None:
    """Windows at random levels and places until the image is complete; prints what was seen of them."""
    group, whole = zarr.open_group(folder / "image.ome.zarr", mode="r"), zarr.open_group(truth, mode="r")
    levels: Any = len(list(group.array_keys()))
    (folder / LOOKING).touch()
    rng, seen = np.random.default_rng(), {"reads": 0, "errors": 0, "mixed": 0, "final": 0}
    while seen["reads"] < most and not _complete(folder / "image.ome.zarr"):
        level = str(rng.integers(levels))
        shape = group[level].shape  # type: ignore[union-attr]  # they are arrays
        y, x = (int(rng.integers(max(1, n - WINDOW_PX))) for n in shape[1:])
        part = np.s_[:, y : y + WINDOW_PX, x : x + WINDOW_PX]
        seen["reads"] += 1
        try:
            got, right = np.asarray(group[level][part]), np.asarray(whole[level][part])  # type: ignore[index]  # as above
        except Exception as error:  # noqa: BLE001 - whatever a reader may stumble over is what is counted
            print(f"level {level} at {y},{x}: {error!r}", file=sys.stderr)
            seen["errors"] += 1
            continue
        for rows, cols in itertools.product(_parts(y), _parts(x)):
            final = np.array_equal(got[:, rows, cols], right[:, rows, cols])
            seen["final"] += final
            seen["mixed"] += not final and bool((got[:, rows, cols] != 255).any())
    print(json.dumps(seen))


def _parts(start: int) -> list[slice]:
    """A window's lines, block by block."""
    border = SHARD_PX - start % SHARD_PX
    return [slice(0, border), slice(border, None)] if border < WINDOW_PX else [slice(None)]


def _complete(path: Path) -> bool:
    said: NDArray[Any] | Any = json.loads((path / "zarr.json").read_text(encoding="utf-8"))
    return bool(said["attributes"]["rackscan"]["complete"])


def main(what: str, folder: str, *said: str) -> None:
    """See the module."""
    if what == "write":
        write(Path(folder), int(said[0]), float(said[1]), watched="wait" in said)
    else:
        read(Path(folder), Path(said[0]), int(said[1]))


if __name__ == "__main__":
    main(*sys.argv[1:])
