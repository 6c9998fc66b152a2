"""How true and how quick is the mosaic? Rows for ``scripts/bench mosaic [--json]``.

A block of fields of a simulated slide, taken by the default rig's mechanics (thread error, backlash, repeatability),
goes down the road from registration to the stored pyramid; the truth is where the stage really was.
"""

import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.devices.simulated.field import SIDE_PX, FieldCamera
from scanner.devices.simulated.motion import POSITION_SIGMA_UM, Parked, draw
from scanner.devices.simulated.slide import ProceduralSlide
from scanner.devices.simulated.specimen import CameraGrid
from scanner.model.geometry import Point
from scanner.model.plan import serpentine
from scanner.model.tile import Pixels
from scanner.pipeline.lattice import Cell, Lattice
from scanner.pipeline.mosaic import BlockId, Canvas, Mosaic
from scanner.pipeline.placement import Placed, Placement
from scanner.pipeline.pyramid import Pyramid
from scanner.pipeline.registration import PairMeasurement, noise_of, register
from scanner.pipeline.stage_model import StagePrior
from scanner.storage.ngff import SHARD_PX, ImageSpec
from scanner.storage.ome_zarr import PyramidStore

Row = dict[str, Any]
SEED, ROWS, COLS = 77, 12, 12
FIRST_UM, STEP_UM = (38_000.0, 8_000.0), 461.0
MARGIN_PX = 200
SEEN_OD = 0.03  # a person sees this much stain
LEAST_SEEN = 0.004  # of an overlap's pixels, for a seam that shows


@dataclass(frozen=True, slots=True)
class Taken:
    """A field: its cell, pixels, where the stage said and where it really was (top-left, mosaic px)."""

    cell: Cell
    pixels: Pixels
    said: Point
    true: Point
    stained: NDArray[np.bool_]


@dataclass(slots=True)
class Clock:
    """CPU seconds of each step."""

    seconds: dict[str, float] = field(default_factory=dict)

    def time(self, step: str, began: float) -> None:
        """Add what this thread used since ``began``."""
        self.seconds[step] = self.seconds.get(step, 0.0) + time.thread_time() - began


def take_fields() -> list[Taken]:
    """A serpentine over a simulated slide."""
    grid = CameraGrid()
    slide = ProceduralSlide((SEED, 0), {}, grid)
    camera = FieldCamera(SEED, grid)
    rng = draw("bench mosaic", SEED)
    parked, taken = Parked(FIRST_UM), []
    for index, (row, col) in enumerate(serpentine(itertools.product(range(ROWS), range(COLS)))):
        target = (FIRST_UM[0] + col * STEP_UM, FIRST_UM[1] + row * STEP_UM)
        parked = arrived(parked, target, rng)
        z_um = slide.surface.height(*target)
        pixels = camera.expose(slide, parked.true(), z_um, 5.0, index)
        od = np.zeros((3, SIDE_PX, SIDE_PX), np.float32)
        true = corner(grid, parked.true())
        slide.absorb(od, (round(true.x), round(true.y)), z_um)
        taken.append(Taken((row, col), pixels, corner(grid, target), true, od.max(axis=0) > SEEN_OD))
    return taken


def arrived(before: Parked, target: tuple[float, float], rng: np.random.Generator) -> Parked:
    """The stage after a move to ``target``."""
    moved = [t - m for t, m in zip(target, before.motor, strict=True)]
    direction = [float(np.sign(m)) if m else d for m, d in zip(moved, before.direction, strict=True)]
    error = rng.normal(0, POSITION_SIGMA_UM, 2)
    return Parked(target, (direction[0], direction[1]), (float(error[0]), float(error[1])))


def corner(grid: CameraGrid, centre_um: tuple[float, float]) -> Point:
    """Top-left of a field on the camera's pixel grid."""
    u, v = grid.from_slide(*centre_um)
    return Point(u - (SIDE_PX - 1) / 2, v - (SIDE_PX - 1) / 2)


class Road:
    """Registration to pyramid, timed step by step."""

    def __init__(self, taken: list[Taken], out: Path) -> None:
        low = Point(min(t.said.x for t in taken) - MARGIN_PX, min(t.said.y for t in taken) - MARGIN_PX)
        self.taken, self.low, self.clock = taken, low, Clock()
        at = {t.cell: t.said - low for t in taken}
        lattice = Lattice(at[0, 0], at[0, 1] - at[0, 0], at[1, 0] - at[0, 0], (SIDE_PX, SIDE_PX))
        width, height = (
            int(max(getattr(p, axis) for p in at.values())) + SIDE_PX + MARGIN_PX for axis in ("x", "y")
        )
        spec = ImageSpec(
            name="bench", width_px=width, height_px=height, dtype="uint8", channels=3, um_per_px=0.5
        )
        self.store = PyramidStore.create(out, spec)
        self.placement = Placement((SIDE_PX, SIDE_PX), StagePrior())
        self.mosaic = Mosaic(Canvas(width, height, 3, np.dtype(np.uint8)), lattice)
        self.pyramid = Pyramid(self.store.sizes, SHARD_PX, 255, self.store)
        self.pairs: dict[tuple[int, int], PairMeasurement] = {}
        self.placed: dict[int, Placed] = {}
        outside = set(itertools.product(range(-3, ROWS + 3), range(-3, COLS + 3))) - set(at)
        self.draw(self.mosaic.void(sorted(outside)))

    def run(self) -> float:
        """All fields; seconds from the last one to the finished image."""
        noise = noise_of(self.taken[0].pixels)
        for number, one in enumerate(self.taken):
            self.add(number, one, noise)
        began = time.perf_counter()
        self.take(self.placement.finish())
        self.draw(self.mosaic.settle())
        self.store.complete({})
        return time.perf_counter() - began

    def add(self, number: int, one: Taken, noise: float) -> None:
        """One field."""
        said, pairs = one.said - self.low, []
        for e in self.placement.expect(*one.cell, said):
            began = time.thread_time()
            pair = register(self.taken[e.other].pixels, one.pixels, e.offset, e.search_px, noise)
            self.clock.time("register", began)
            pairs.append((e.other, pair))
            self.pairs[e.other, number] = pair
        began = time.thread_time()
        placed = self.placement.add(number, *one.cell, said, pairs)
        self.clock.time("place", began)
        self.take(placed)

    def take(self, placed: Iterable[Placed]) -> None:
        """Frozen tiles."""
        for one in placed:
            self.placed[one.tile] = one
            began = time.thread_time()
            ready = self.mosaic.place(one)
            self.clock.time("place", began)
            self.draw(ready)

    def draw(self, blocks: Iterable[BlockId]) -> None:
        """Finished blocks."""
        for block in blocks:
            began = time.thread_time()
            shown = self.mosaic.draw(block, lambda tile: self.taken[tile].pixels)
            self.clock.time("draw", began)
            for made in self.pyramid.add(*block, shown):
                self.store.write(made.level, made.row, made.col, made.pixels)


def seam_errors(road: Road) -> tuple[list[float], list[float], int]:
    """Over pairs that show: errors of the seams and of the accepted measurements (px), and how many were refused."""
    seams, measured, refused = [], [], 0
    for (other, number), pair in road.pairs.items():
        a, b = road.taken[other], road.taken[number]
        true = b.true - a.true
        if pair.accepted:
            measured.append(Point(pair.dx_px, pair.dy_px).distance(true))
        if not shows(a, true):
            continue
        refused += not pair.accepted
        p, q = road.placed[other], road.placed[number]
        seams.append((Point(q.x_px, q.y_px) - Point(p.x_px, p.y_px)).distance(true))
    return seams, measured, refused


def shows(first: Taken, offset: Point) -> bool:
    """Is there anything in the overlap of a field with its neighbour that a person could see torn?"""
    dx, dy = round(offset.x), round(offset.y)
    part = first.stained[max(0, dy) : SIDE_PX + min(0, dy), max(0, dx) : SIDE_PX + min(0, dx)]
    return bool(part.mean() > LEAST_SEEN)


def levels_are_exact(store: PyramidStore) -> bool:
    """Is each level the rounded mean of four pixels of the one below, everywhere?"""
    below = store.read(0, 0, 0, store.sizes[0][1], store.sizes[0][0]).astype(np.uint16)
    for level, (w, h) in enumerate(store.sizes[1:], start=1):
        part = below[:, : 2 * h, : 2 * w]
        quads = part[:, ::2, ::2] + part[:, 1::2, ::2] + part[:, ::2, 1::2] + part[:, 1::2, 1::2]
        below = ((quads + 2) >> 2).astype(np.uint16)
        if not np.array_equal(below, store.read(level, 0, 0, h, w)):
            return False
    return True


def row(name: str, value: float, bar: float | None, met: bool | None) -> Row:
    """One line of the bench."""
    return {"name": name, "value": round(value, 3), "bar": bar, "met": met}


def at_most(name: str, value: float, bar: float) -> Row:
    """One line with an upper bar."""
    return row(name, value, bar, value <= bar)


def rows() -> list[Row]:
    """Everything that is measured."""
    taken = take_fields()
    with tempfile.TemporaryDirectory() as folder:
        road = Road(taken, Path(folder) / "bench.ome.zarr")
        began = time.process_time()
        tail_s = road.run()
        cpu_s = time.process_time() - began
        exact = levels_are_exact(road.store)
    seams, measured, refused = seam_errors(road)
    steps, tiles = road.clock.seconds, len(taken)
    encoded_s = cpu_s - sum(steps.values())
    megabytes = road.store.sizes[0][0] * road.store.sizes[0][1] * 3 / 1e6
    return [
        at_most("register: CPU ms a pair", 1000 * steps["register"] / len(road.pairs), 8.0),
        row("register: pairs measured", len(measured), None, None),
        at_most("register: accepted and wrong by more than 1 px", sum(e > 1 for e in measured), 0),
        at_most("register: error, 95th percentile, px", float(np.quantile(measured, 0.95)), 0.2),
        row("register: seams that show and were refused, %", 100 * refused / len(seams), None, None),
        at_most("place: CPU ms a tile", 1000 * steps["place"] / tiles, 10.0),
        at_most("place: seams that show and are off by more than 1 px, %", share_above(seams, 1), 0.3),
        at_most("place: seams that show and are off by more than 3 px, %", share_above(seams, 3), 0.0),
        row("place: worst seam that shows, px", max(seams), None, None),
        row("draw: CPU ms a tile", 1000 * steps["draw"] / tiles, None, None),
        row("halve, encode and store: MB of level 0 a CPU second", megabytes / encoded_s, None, None),
        row("levels that are exactly the mean of the one below", float(exact), 1.0, exact),
        at_most("last tile to complete image, s", tail_s, 2.0),
    ]


def share_above(errors: list[float], bar_px: float) -> float:
    """Percent of errors above a bar."""
    return 100 * float(np.mean(np.array(errors) > bar_px))


def main() -> int:
    """Print the rows; returns the exit code."""
    cv2.setNumThreads(1)
    found = rows()
    if "--json" in sys.argv[1:]:
        print(json.dumps({"rows": found}))
    else:
        for entry in found:
            print(f"{entry['name']}: {entry['value']} (bar {entry['bar']}, met {entry['met']})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
