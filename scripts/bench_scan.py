"""How near does a scan come to what its hardware allows? Rows for ``scripts/bench scan [--json]``.

All on the default simulated rig, each ratio from runs of one call. The table of CPU milliseconds walks the kept tiles
of a run through the road's own steps, one after the other, so that nothing else is counted.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from detection.opening import open_detector
from scanner.devices.simulated.field import FieldCamera
from scanner.devices.simulated.slide import ProceduralSlide
from scanner.devices.simulated.specimen import CameraGrid
from scanner.model.events import Body, Event, Kind
from scanner.model.plan import Plan
from scanner.model.tile import Judged, Pixels, Tile
from scanner.pipeline.canvas import mosaic_frame
from scanner.pipeline.flat_field import Correction
from scanner.pipeline.frames import RecentFrames
from scanner.pipeline.image_branch import ImageBranch, ImageWork
from scanner.pipeline.mosaic import BlockId
from scanner.pipeline.quality import look
from scanner.pipeline.searching import as_rgb8
from scanner.session.reading import open_image
from scanner.session.request import DEFAULT_PACKAGE
from scanner.storage.facts import frame_from_body, tile_from_body, tile_key, tile_to_body
from scanner.storage.ledger import Ledger
from scanner.storage.profiles import read_profile
from scanner.storage.reader import RunReader
from scanner.storage.spool import Spool

ROOT = Path(__file__).resolve().parents[1]
PROFILE = ROOT / "hardware_profiles" / "simulated.yaml"
REGION = "42,10,5,5"
COLUMN_MM = 0.4612
ROUNDS = 3
Row = dict[str, Any]


def row(name: str, value: float, bar: float | None) -> Row:
    """One line; a bar is met from below."""
    return {"name": name, "value": round(value, 4), "bar": bar, "met": None if bar is None else value <= bar}


def scan(out: Path, region: str, *options: str) -> dict[str, Any]:
    """One slide by the command line: its entry of ``--json``."""
    command = [
        sys.executable,
        "-m",
        "scanner.cli",
        "run",
        "--profile",
        str(PROFILE),
        "--slides",
        "1",
        "--json",
    ]
    done = subprocess.run(
        [*command, "--region", region, "--out", str(out), *options],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr[-2000:])
    slide: dict[str, Any] = json.loads(done.stdout)["slides"][0]
    return slide


def pace_rows(folder: Path) -> Iterator[Row]:
    """Scan time against the floor and against a scan that nobody reads; what is left to do afterwards."""
    read = [scan(folder / f"read{n}", REGION, "--seed", str(n)) for n in range(ROUNDS)]
    unread = [
        scan(folder / f"bare{n}", REGION, "--seed", str(n), "--detector", "none") for n in range(ROUNDS)
    ]
    ratios = [slide["seconds"]["scan"] / slide["seconds"]["floor"] for slide in read]
    costs = [a["seconds"]["scan"] / b["seconds"]["scan"] for a, b in zip(read, unread, strict=True)]
    yield row("scan / hardware floor, analysis running (median)", statistics.median(ratios), 1.03)
    yield row("scan with analysis / without a detector (median)", statistics.median(costs), 1.05)
    yield row("last frame to everything complete, s (worst)", max(s["seconds"]["tail"] for s in read), 2.0)
    share = [slide["seconds"]["focus"] / slide["seconds"]["floor"] for slide in read]
    yield row("share of the floor that focusing needs (median)", statistics.median(share), None)
    yield row("frames a tile (median)", statistics.median(s["frames_per_tile"] for s in read), None)


def memory_rows(folder: Path) -> Iterator[Row]:
    """Twenty columns by five and by fifty rows: the same memory, and the same tail."""
    peaks, tails = [], []
    for rows in (5, 50):
        x, y = 45.0 - 10 * COLUMN_MM, 12.5 - rows * COLUMN_MM / 2
        region = f"{x},{y},{20 * COLUMN_MM - 0.01},{rows * COLUMN_MM - 0.01}"
        slide = scan(folder / f"rows{rows}", region)
        peaks.append(slide["peak_bytes"])
        tails.append(slide["seconds"]["tail"])
    yield row("peak memory of 20 x 5 tiles, MB", peaks[0] / 1e6, None)
    yield row("peak memory of 20 x 50 tiles / of 20 x 5", peaks[1] / peaks[0], 1.10)
    yield row("last frame to everything complete at 1,000 tiles, s", tails[1], 2.0)


class StepClock:
    """CPU seconds by step; a step inside another is not counted twice."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inner = [0.0]

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """What the block costs, all threads of the process included."""
        self._inner.append(0.0)
        begun = time.process_time()
        try:
            yield
        finally:
            whole = time.process_time() - begun
            self.seconds[name] += whole - self._inner.pop()
            self._inner[-1] += whole


class TimedLedger(Ledger):
    """A ledger whose facts are timed."""

    clock: StepClock

    def append(self, kind: Kind, slide_id: str, key: str, body: Body) -> Event:
        """See ``Ledger.append``."""
        with self.clock.step("ledger"):
            return super().append(kind, slide_id, key, body)


class TimedBranch(ImageBranch):
    """The image branch, its two halves timed."""

    clock: StepClock

    def add(self, judged: Judged) -> None:
        """See ``ImageBranch.add``."""
        with self.clock.step("place"):
            super().add(judged)

    def _draw(self, blocks: Iterable[BlockId]) -> None:
        with self.clock.step("encode"):
            super()._draw(blocks)

    def _book_blocks(self) -> None:
        with self.clock.step("encode"):
            super()._book_blocks()


def step_rows(folder: Path) -> Iterator[Row]:
    """CPU milliseconds a tile and step."""
    scan(folder / "kept", REGION, "--keep-tiles")
    clock = StepClock()
    TimedLedger.clock = TimedBranch.clock = clock
    with RunReader.open(folder / "kept") as reader:
        (name,) = reader.slides()
        plan = reader.plans(name)[0]
        tiles = [_tile(event.body, reader.spool, name) for event in reader.ledger.events(Kind.TILE, name)]
    _render(clock, len(tiles))
    _walk(clock, folder / "walk", name, tiles, plan)
    total = 0.0
    for step in ("render", "spool", "ledger", "correct", "judge", "place", "encode", "detect"):
        value = 1000 * clock.seconds[step] / len(tiles)
        total += value
        yield row(f"CPU ms a tile: {step}", value, {"render": 20.0, "detect": 80.0}.get(step))
    yield row("CPU ms a tile: all steps", total, None)


def _tile(body: Body, spool: Spool, name: str) -> Tile:
    bare = tile_from_body(body)
    pixels = spool.get(name, bare.planned.tile, bare.plan, bare.attempt)
    return tile_from_body(body, frame_from_body(body, pixels))


def _render(clock: StepClock, times: int) -> None:
    """What the simulated camera spends in its readout: no part of a real rig."""
    camera, specimen = FieldCamera(1, CameraGrid()), ProceduralSlide((1, 1), {}, CameraGrid())
    for n in range(times + 3):
        place = (42_500.0 + 461.0 * (n % 10), 10_500.0 + 461.0 * (n // 10 % 10))
        step = "render" if n >= 3 else "warming up"
        with clock.step(step):
            camera.expose(specimen, place, 0.0, 5.0, n)


def _walk(clock: StepClock, folder: Path, name: str, tiles: list[Tile], plan: Plan) -> None:
    """Every tile through every step of the road, in this thread."""
    profile = read_profile(PROFILE)
    folder.mkdir()
    frame, spool = mosaic_frame(profile, plan), Spool(folder / "spool", keep=False)
    detector, correction = open_detector(DEFAULT_PACKAGE, "onnx"), Correction.of(profile)
    with TimedLedger.open(folder / "run.sqlite", create=True) as ledger:
        store = open_image(folder / "image.ome.zarr", frame, name)
        frames = RecentFrames(spool, name, lambda: correction, 4 * 20)
        retakes = profile.acquisition.retakes
        branch = TimedBranch(
            ImageWork(name, frame, store, frames, ledger, spool, False, retakes, lambda _: True)
        )
        branch.begin(plan)
        for tile in tiles:
            raw = _kept(clock, ledger, spool, name, tile)
            with clock.step("correct"):
                pixels = correction(raw)
            with clock.step("judge"):
                seen = look(pixels)
            with clock.step("detect"):
                detector.detect([as_rgb8(pixels)], frame.um_per_px)
            branch.add(Judged(tile, pixels, seen.quality, seen.sample_share, seen.sample_edges))
        branch.finish()


def _kept(clock: StepClock, ledger: Ledger, spool: Spool, name: str, tile: Tile) -> Pixels:
    """The raw frame, acknowledged as in a run."""
    if tile.frame is None:
        raise ValueError("a kept tile has its frame")
    with clock.step("spool"):
        spool.put(name, tile.planned.tile, tile.plan, tile.attempt, tile.frame.pixels, {})
    ledger.append(Kind.TILE, name, tile_key(tile.planned.tile, tile.plan), tile_to_body(tile))
    return tile.frame.pixels


def main() -> None:
    """Print the rows, as a table or (``--json``) as one object."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for source in (step_rows, pace_rows, memory_rows):
            for line in source(Path(folder)):
                rows.append(line)
                mark = {True: "  met", False: "  NOT MET", None: ""}[line["met"]]
                bar = "" if line["bar"] is None else f"  (bar {line['bar']})"
                print(f"{line['name']}: {line['value']}{bar}{mark}", file=sys.stderr)
    if "--json" in sys.argv[1:]:
        print(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main()
