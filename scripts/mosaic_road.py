"""How do tiles on disk become a mosaic, one by one in the order of their scan, and what does each step cost?"""

import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from scanner.devices.simulated.field import SIDE_PX
from scanner.model.geometry import Point
from scanner.model.profile import StorageCodec
from scanner.model.rounding import Stored
from scanner.model.tile import Pixels
from scanner.pipeline.lattice import Lattice
from scanner.pipeline.mosaic import BlockId, Canvas, Mosaic
from scanner.pipeline.placement import Expected, Placed, Placement
from scanner.pipeline.pyramid import Pyramid
from scanner.pipeline.registration import PairMeasurement, noise_of, register
from scanner.pipeline.stage_model import StagePrior
from scanner.storage.ngff import SHARD_PX, ImageSpec
from scanner.storage.ome_zarr import PyramidStore
from scripts.mosaic_grids import TileGrid

UNMEASURED = StagePrior(matrix=5e-3)
MARGIN_PX = 200
ROWS_KEPT = 6
Pairs = dict[tuple[int, int], PairMeasurement]
Bend = Callable[[PairMeasurement], PairMeasurement]


@dataclass(slots=True)
class Clock:
    """CPU seconds of each step, on the thread that does it."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Count what happens inside."""
        began = time.thread_time()
        yield
        self.seconds[step] = self.seconds.get(step, 0.0) + time.thread_time() - began


class Tiles:
    """The grid's pixels; those of some rows stay in memory."""

    def __init__(self, grid: TileGrid) -> None:
        self._grid, self._kept = grid, OrderedDict[int, Pixels]()

    def __call__(self, number: int) -> Pixels:
        """(1024, 1024, 3) uint8 of a field, by its number in the order of the scan."""
        if number not in self._kept:
            self._kept[number] = self._grid.taken[number].pixels()
            if len(self._kept) > ROWS_KEPT * self._grid.side:
                self._kept.popitem(last=False)
        return self._kept[number]


def measure(grid: TileGrid, clock: Clock, tiles: Tiles | None = None) -> tuple[Pairs, dict[int, Placed]]:
    """Every pair, and where placement puts the tiles as they come; nothing is known of the rig."""
    shown, placement = tiles or Tiles(grid), Placement((SIDE_PX, SIDE_PX), UNMEASURED)
    placement.comes(one.cell for one in grid.taken)
    pairs: Pairs = {}
    placed: list[Placed] = []
    for number, one in enumerate(grid.taken):
        with clock.timed("register"):
            found = _registered(number, shown, placement.expect(*one.cell, one.said))
        pairs |= {(other, number): pair for other, pair in found}
        with clock.timed("place"):
            placed += placement.add(number, *one.cell, one.said, found)
    with clock.timed("place"):
        placed += placement.finish()
    return pairs, {p.tile: p for p in placed}


def _registered(
    number: int, tiles: "Tiles", expected: Iterable[Expected]
) -> list[tuple[int, PairMeasurement]]:
    pixels = tiles(number)
    noise = noise_of(pixels)
    return [(e.other, register(tiles(e.other), pixels, e.offset, e.search_px, noise)) for e in expected]


def place(
    grid: TileGrid, pairs: Pairs, rows_later: int | None = 6, bend: Bend | None = None
) -> dict[int, Placed]:
    """The same pairs placed again, by another rule or with some of them bent; ``rows_later`` None: all at the end."""
    placement = Placement((SIDE_PX, SIDE_PX), UNMEASURED, rows_later)
    placement.comes(one.cell for one in grid.taken)
    placed: list[Placed] = []
    for number, one in enumerate(grid.taken):
        known = ((e.other, pairs[e.other, number]) for e in placement.expect(*one.cell, one.said))
        found = [(other, bend(pair) if bend and pair.accepted else pair) for other, pair in known]
        placed += placement.add(number, *one.cell, one.said, found)
    placed += placement.finish()
    return {p.tile: p for p in placed}


class MosaicRoad:
    """Registration to the stored pyramid, tile by tile; ``clock`` has every step."""

    def __init__(self, grid: TileGrid, out: Path, codec: StorageCodec = StorageCodec.LZ4) -> None:
        self.grid, self.tiles, self.clock = grid, Tiles(grid), Clock()
        said = {t.cell: t.said for t in grid.taken}
        low = Point(min(p.x for p in said.values()), min(p.y for p in said.values()))
        self.low = low - Point(MARGIN_PX, MARGIN_PX)
        at = {cell: p - self.low for cell, p in said.items()}
        lattice = Lattice(at[0, 0], at[0, 1] - at[0, 0], at[1, 0] - at[0, 0], (SIDE_PX, SIDE_PX))
        width, height = (
            int(max(getattr(p, axis) for p in at.values())) + SIDE_PX + MARGIN_PX for axis in ("x", "y")
        )
        spec = ImageSpec(
            name="bench",
            width_px=width,
            height_px=height,
            dtype="uint8",
            channels=3,
            um_per_px=0.5,
            storage=Stored(codec=codec),
        )
        self.store = PyramidStore.create(out, spec)
        self.placement = Placement((SIDE_PX, SIDE_PX), UNMEASURED)
        self.placement.comes(said)
        self.mosaic = Mosaic(Canvas(width, height, 3, np.dtype(np.uint8)), lattice)
        self.pyramid = Pyramid(self.store.sizes, SHARD_PX, 255, self.store)
        beside = range(-3, grid.side + 3)
        self._draw(self.mosaic.void(sorted(set(itertools.product(beside, beside)) - set(at))))

    def run(self) -> float:
        """All fields; seconds from the last one to the finished image."""
        for number, one in enumerate(self.grid.taken):
            said = one.said - self.low
            with self.clock.timed("register"):
                pairs = _registered(number, self.tiles, self.placement.expect(*one.cell, said))
            with self.clock.timed("place"):
                placed = self.placement.add(number, *one.cell, said, pairs)
            self._take(placed)
        began = time.perf_counter()
        self._take(self.placement.finish())
        self._draw(self.mosaic.settle())
        self.store.complete({})
        return time.perf_counter() - began

    def _take(self, placed: Iterable[Placed]) -> None:
        for one in placed:
            with self.clock.timed("place"):
                ready = self.mosaic.place(one)
            self._draw(ready)

    def _draw(self, blocks: Iterable[BlockId]) -> None:
        for block in blocks:
            with self.clock.timed("draw"):
                shown = self.mosaic.draw(block, self.tiles)
            with self.clock.timed("halve, encode and store"):
                self.pyramid.add(*block, shown)
