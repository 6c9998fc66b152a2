"""What does writing a mosaic with all its levels cost, beside the writers one would take instead?

Each writer runs in a process of its own on the same tiles, turn by turn; a row is the median over the rounds of the
ratio to ours in the same round. ``python -m scripts.mosaic_writer_rows [--quick]``
"""

import importlib.util
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from scripts.mosaic_workload import square
from scripts.mosaic_writers import WRITERS, halved, load_of
from scripts.rows import Row, at_least, at_most, row, spread, tell

Figures = dict[str, float]
ROOT = Path(__file__).parents[1]
SQUARE_PX, LARGE_PX = 16_384, 32_768
STRIPS = ("20x5", "20x50")
NEEDS = {"acquire-zarr": "acquire_zarr"}
OURS, NAIVE, ZARR, ACQUIRE, TIFF = WRITERS


def rows(full: bool = True) -> list[Row]:
    """Everything that is measured; with less than ``full``, one round and no canvas of 32k²."""
    for canvas in (str(SQUARE_PX), *STRIPS):
        load_of(canvas)  # made before any clock runs
    rounds = [_round(SQUARE_PX) for _ in range(5 if full else 1)]
    return [
        *_compared(rounds),
        at_most("write: memory of 20 × 50 tiles against 20 × 5, relative", _growth(), 0.10),
        at_most("write: levels, largest error", _largest_error(), 0),
        *(_large() if full else []),
    ]


def _compared(rounds: list[dict[str, Figures]]) -> list[Row]:
    """Of some rounds the median, the least and the most."""
    cpu_s = [r[OURS]["cpu_s"] for r in rounds]
    return [
        spread(row("write: CPU s of ours", statistics.median(cpu_s)), cpu_s),
        _ratio(rounds, "CPU of naive tensorstore", NAIVE, "cpu_s", 2.0),
        _ratio(rounds, "CPU of naive zarr-python", ZARR, "cpu_s", 4.0),
        _ratio(rounds, "CPU of acquire-zarr", ACQUIRE, "cpu_s", 3.0),
        _ratio(rounds, "CPU of a lossy tifffile JPEG", TIFF, "cpu_s"),
        _ratio(rounds, "tail of naive tensorstore", NAIVE, "tail_s", 5.0),
        _ratio(rounds, "peak memory of tifffile", TIFF, "peak_mb", 2.0),
    ]


def _growth() -> float:
    low, high = (_measured(OURS, canvas)["peak_mb"] for canvas in STRIPS)
    return abs(high / low - 1)


def _round(canvas: int) -> dict[str, Figures]:
    """Every writer that is installed, once."""
    return {name: _measured(name, str(canvas)) for name in WRITERS if _installed(name)}


def _installed(name: str) -> bool:
    return name not in NEEDS or importlib.util.find_spec(NEEDS[name]) is not None


def _measured(name: str, canvas: str) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        asked = [
            sys.executable,
            "-m",
            "scripts.mosaic_writers",
            name,
            canvas,
            str(Path(folder) / "image.ome.zarr"),
        ]
        told = subprocess.run(asked, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    figures: Figures = json.loads(told.splitlines()[-1])
    return figures


def _ratio(
    rounds: list[dict[str, Figures]], said: str, name: str, what: str, bar: float | None = None
) -> Row:
    """What another writer needs over what ours does, in the same round."""
    said = f"write: {said} over ours"
    if not all(name in r for r in rounds):
        return row(said, None, bar)
    found = [r[name][what] / r[OURS][what] for r in rounds]
    median = statistics.median(found)
    return spread(row(said, median) if bar is None else at_least(said, median, bar), found)


def _large() -> list[Row]:
    load_of(str(LARGE_PX))
    seen = _measured(OURS, str(LARGE_PX))
    return [
        at_most("write: tail at 32k², s", seen["tail_s"], 1.0),
        row("write: peak memory at 32k², MB", seen["peak_mb"]),
    ]


def _largest_error() -> float:
    """Of every pixel of every level, against what the tiles show, through zarr-python."""
    load, worst = square(SQUARE_PX), 0
    folder = Path(tempfile.mkdtemp())
    try:
        WRITERS[OURS](folder / "image.ome.zarr", load, iter(load.placed))
        group, right = zarr.open_group(folder / "image.ome.zarr", mode="r"), load.truth()
        for level in range(len(list(group.array_keys()))):
            for y in range(0, right.shape[1], 2048):
                lines = np.asarray(group[f"{level}"][:, y : y + 2048])  # type: ignore[index]  # an array
                worst = max(worst, int(_difference(lines, right[:, y : y + 2048])))
            right = halved(right)
    finally:
        shutil.rmtree(folder)
    return worst


def _difference(one: "np.ndarray[Any, Any]", other: "np.ndarray[Any, Any]") -> int:
    """The largest difference of two uint8 images."""
    return int(np.abs(one.astype(np.int16) - other).max())


if __name__ == "__main__":
    tell(rows("--quick" not in sys.argv[1:]))
