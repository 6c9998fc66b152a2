"""Stations, joints and whole small mosaics with known errors, for whoever judges mosaics."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scanner.model.geometry import Point
from scanner.pipeline.joints import Joint, Station, joined
from scanner.pipeline.lattice import Box, Lattice
from scanner.pipeline.mosaic import Canvas, Mosaic
from scanner.pipeline.placement import Placed
from tests.scanner.pipeline.conftest import cells_on_glass, cut_tile

Cell = tuple[int, int]
STEP_UM = 461.0
UM_PER_PX = 0.5


def stage_joints(
    rows: int, cols: int, true_um: Callable[[Point, Point], Point], seed: int = 0, position_um: float = 0.0
) -> tuple[Joint, ...]:
    """A serpentine whose pairs are all measured; ``true_um`` (reported, direction): where the stage really is."""
    rng = np.random.default_rng(seed)
    stations: dict[Cell, tuple[int, Station]] = {}
    for row, col in itertools.product(range(rows), range(cols)):
        said = Point(40_000 + STEP_UM * col, 9_000 + STEP_UM * row)
        direction = Point(1.0 if row % 2 == 0 else -1.0, 1.0)
        error = Point(*(float(e) for e in rng.normal(0, position_um, 2)))
        true = true_um(said, direction) + error
        placed = Point(true.x / UM_PER_PX, true.y / UM_PER_PX)
        number = row * cols + col
        stations[row, col] = number, Station(str(number), row, col, placed, said, direction, held=False)
    return joined(stations, all_measured(stations))


def all_measured(
    stations: Mapping[Cell, tuple[int, Station]], true: Mapping[int, Point] | None = None
) -> dict[tuple[int, int], tuple[Point | None, str]]:
    """What perfect registration says of all neighbours: from the places, or from the ``true`` ones."""
    at = {number: station.placed for number, station in stations.values()} | dict(true or {})
    return {
        (stations[cell][0], stations[near][0]): (at[stations[near][0]] - at[stations[cell][0]], "")
        for cell in stations
        for near in ((cell[0], cell[1] + 1), (cell[0] + 1, cell[1]))
        if near in stations
    }


@dataclass(frozen=True)
class Stitched:
    """A finished mosaic of grey tiles: (h, w) uint8, who owns what, the places and all joints."""

    image: NDArray[np.uint8]
    lattice: Lattice
    placed: dict[Cell, Placed]
    joints: tuple[Joint, ...]

    def look(self, box: Box) -> NDArray[np.uint8]:
        return self.image[box.y0 : box.y1, box.x0 : box.x1]

    def of(self, tile: int) -> set[int]:
        """Indices of the joints that a tile has a part in."""
        return {
            k for k, joint in enumerate(self.joints) if str(tile) in (joint.first.name, joint.second.name)
        }


def stitched(
    rows: int = 3,
    cols: int = 3,
    seed: int = 1,
    side: int = 512,
    moved: tuple[Cell, Point] | None = None,
    gain: float = 0.0,
    sheet: NDArray[np.float32] | None = None,
) -> Stitched:
    """Tiles cut from one sheet and put together where they belong, but for one that is ``moved`` (cell, px).

    ``gain``: tiles differ in brightness by this share, like the fields of a chessboard.
    """
    rng, step = np.random.default_rng(seed), 0.88 * side
    size = int(max(rows, cols) * step) + side
    cells = cells_on_glass(size, size, seed) if sheet is None else sheet
    lattice = Lattice(Point(30, 30), Point(step, 1.5), Point(-1.5, step), (side, side))
    placed: dict[Cell, Placed] = {}
    tiles: dict[int, NDArray[np.uint8]] = {}
    true: dict[int, Point] = {}
    for row, col in itertools.product(range(rows), range(cols)):
        number, nominal = row * cols + col, lattice.nominal(row, col)
        at = true[number] = nominal + Point(*(float(e) for e in np.round(rng.normal(0, 2, 2) * 32) / 32))
        light = 1 + gain * (0.5 if (row + col) % 2 else -0.5)
        taken = cut_tile(cells, at.x, at.y, seed + number, side).astype(np.float64)
        tiles[number] = np.clip(taken * light, 0, 255).astype(np.uint8)
        put = at + moved[1] if moved and moved[0] == (row, col) else at
        placed[row, col] = Placed(number, row, col, put.x, put.y, False, 0.05)
    stations = {
        cell: (
            p.tile,
            Station(str(p.tile), *cell, Point(p.x_px, p.y_px), true[p.tile], Point(1, 1), held=False),
        )
        for cell, p in placed.items()
    }
    return Stitched(
        drawn(placed, lattice, tiles, size), lattice, placed, joined(stations, all_measured(stations, true))
    )


def drawn(
    placed: Mapping[Cell, Placed], lattice: Lattice, tiles: Mapping[int, NDArray[np.uint8]], size: int
) -> NDArray[np.uint8]:
    """The mosaic as the road draws it."""
    canvas = Canvas(size, size, 1, np.dtype(np.uint8))
    mosaic = Mosaic(canvas, lattice)
    for one in placed.values():
        mosaic.place(one)
    mosaic.settle()
    rows, cols = canvas.blocks
    image = np.full((rows * canvas.block_px, cols * canvas.block_px), 255, np.uint8)
    for block in itertools.product(range(rows), range(cols)):
        shown = mosaic.draw(block, lambda tile: tiles[tile])
        if shown is not None:
            y, x = (index * canvas.block_px for index in block)
            image[y : y + canvas.block_px, x : x + canvas.block_px] = shown[0]
    return image[:size, :size]
