"""What is left of an image whose writer is killed, and what does a reader see of one that grows?

``python -m scripts.mosaic_store_rows [--quick]``
"""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaozarrs
import zarr
from ome_zarr_models.v05.image import Image

from scanner.model.events import Kind
from scanner.storage.ledger import Ledger
from scanner.storage.ome_zarr import PyramidStore
from scripts.mosaic_store_writer import READY, SLIDE
from scripts.mosaic_workload import grainy
from scripts.rows import Row, at_least, at_most, row, tell

ROOT = Path(__file__).parents[1]
CANVAS_PX, PACE_S = 6144, 0.002
KILLS, READS = 50, 1000
LOOKING_PACE_S = 0.2  # a tile: slower than the reader, so that it sees every state of the image
STRICT = """
import json, sys
import ngff_zarr
attributes = json.load(open(sys.argv[1] + "/zarr.json"))["attributes"]
ngff_zarr.validate(attributes, version="0.5", strict=True)
ngff_zarr.from_ngff_zarr(sys.argv[1], validate=True, version="0.5")
"""


@dataclass(slots=True)
class Kills:
    """What was found after each kill, added up."""

    kills: int = 0
    torn: int = 0
    lost: int = 0
    invalid: int = 0
    unlike: int = 0
    finished: int = 0
    shards: int = 0
    refused_strictly: int | None = None
    notes: list[str] = field(default_factory=list)


def rows(full: bool = True) -> list[Row]:
    """Everything that is measured; with less than ``full``, a fifth of the kills and of the reads."""
    kills, reads = (KILLS, READS) if full else (KILLS // 5, READS // 5)
    with tempfile.TemporaryDirectory() as folder:
        truth = finished(Path(folder) / "truth", CANVAS_PX)
        found = killed(Path(folder), truth, kills, CANVAS_PX)
        seen = looked_at(Path(folder), truth, reads, CANVAS_PX, LOOKING_PACE_S)
    strict = found.refused_strictly
    return [
        at_least("kill: kills at random moments", found.kills, KILLS),
        at_most(f"kill: torn of {found.shards} shards", found.torn, 0),
        at_most("kill: shards that were in the ledger and are gone", found.lost, 0),
        at_most("kill: images that yaozarrs or ome-zarr-models refuse", found.invalid, 0),
        at_most("kill: images that ngff-zarr refuses, strictly", strict, 0),
        at_most(f"kill: of {found.finished} resumed to their end, unlike one never killed", found.unlike, 0),
        at_least("reader: reads while the image grew", seen["reads"], READS),
        at_most("reader: errors", seen["errors"], 0),
        at_most("reader: blocks neither empty nor final", seen["mixed"], 0),
        row("reader: blocks seen final", seen["final"]),
    ]


def finished(folder: Path, canvas_px: int) -> Path:
    """An image that nobody killed, its finest level held against what its tiles show."""
    folder.mkdir()
    _started(folder, canvas_px, 0.0).wait()
    image = folder / "image.ome.zarr"
    store = PyramidStore.open(image)
    whole = store.read(0, 0, 0, canvas_px, canvas_px)
    if not store.facts["complete"] or not np.array_equal(whole, grainy(canvas_px).truth()):
        raise AssertionError("the image that was not killed does not show its tiles")
    return image


def killed(scratch: Path, truth: Path, kills: int, canvas_px: int, seed: int = 1) -> Kills:
    """Writers killed at random moments and gone on with, until there were so many kills."""
    rng, found, number = np.random.default_rng(seed), Kills(), 0
    lasts_s = _seconds(scratch / "timed", canvas_px)
    while found.kills < kills:
        folder, number = scratch / f"killed-{number}", number + 1
        folder.mkdir()
        while True:
            writer = _started(folder, canvas_px, PACE_S)
            time.sleep(float(rng.uniform(0, lasts_s)))
            if writer.poll() is not None or found.kills >= kills:
                writer.wait()
                break
            os.kill(writer.pid, signal.SIGKILL)
            writer.wait()
            found.kills += 1
            _look(folder, truth, found)
        found.finished += 1
        found.unlike += _bytes(folder / "image.ome.zarr") != _bytes(truth)
    return found


def _seconds(folder: Path, canvas_px: int) -> float:
    folder.mkdir()
    writer, began = _started(folder, canvas_px, PACE_S), time.perf_counter()
    writer.wait()
    return time.perf_counter() - began


def _started(folder: Path, canvas_px: int, pace_s: float, *how: str) -> "subprocess.Popen[str]":
    """A writer that is about to begin."""
    asked = [
        sys.executable,
        "-m",
        "scripts.mosaic_store_writer",
        "write",
        str(folder),
        str(canvas_px),
        str(pace_s),
        *how,
    ]
    writer = subprocess.Popen(asked, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    if writer.stdout.readline().strip() != READY:
        raise AssertionError("the writer did not begin")
    writer.stdout.close()
    return writer


def _look(folder: Path, truth: Path, found: Kills) -> None:
    """At an image just after a kill, before anything mends it."""
    image, right = folder / "image.ome.zarr", _bytes(truth)
    there = _bytes(image)
    found.shards += len(there)
    found.torn += sum(right.get(name) != content for name, content in there.items())
    with Ledger.read(folder / "run.sqlite") as ledger:
        booked = [
            "{level}/c/0/{row}/{col}".format(**event.body) for event in ledger.events(Kind.BLOCK, SLIDE)
        ]
    found.lost += len(set(booked) - set(there))
    try:
        yaozarrs.validate_zarr_store(str(image))
        Image.from_zarr(zarr.open_group(image, mode="r"))
    except Exception as error:  # noqa: BLE001 - whatever a validator says is counted
        found.invalid += 1
        found.notes.append(repr(error))
    if found.kills % 10 == 1:
        strict = strictly_refused(image)
        if strict is not None:
            found.refused_strictly = (found.refused_strictly or 0) + strict


def _bytes(image: Path) -> dict[str, bytes]:
    """Every shard of an image, by its place."""
    shards = (path for path in image.glob("*/c/0/*/*") if path.name.isdigit())
    return {path.relative_to(image).as_posix(): path.read_bytes() for path in shards}


def strictly_refused(image: Path) -> bool | None:
    """Does ngff-zarr refuse it? None where it is not installed; NGFF_ZARR_PYTHON names the Python that has it."""
    python = os.environ.get("NGFF_ZARR_PYTHON")
    if python is None and importlib.util.find_spec("ngff_zarr") is None:
        return None
    done = subprocess.run(
        [python or sys.executable, "-c", STRICT, str(image)], capture_output=True, check=False
    )
    return done.returncode != 0


def looked_at(scratch: Path, truth: Path, reads: int, canvas_px: int, pace_s: float) -> dict[str, int]:
    """Images that are read from beside while they are written, until there were so many reads."""
    total = {"reads": 0, "errors": 0, "mixed": 0, "final": 0}
    number = 0
    while total["reads"] < reads:
        folder, number = scratch / f"read-{number}", number + 1
        folder.mkdir()
        writer = _started(folder, canvas_px, pace_s, "wait")
        asked = [
            "-m",
            "scripts.mosaic_store_writer",
            "read",
            str(folder),
            str(truth),
            str(reads - total["reads"]),
        ]
        told = subprocess.run(
            [sys.executable, *asked], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
        )
        for name, count in json.loads(told.stdout).items():
            total[name] += count
        writer.kill()
        writer.wait()
    return total


if __name__ == "__main__":
    tell(rows("--quick" not in sys.argv[1:]))
