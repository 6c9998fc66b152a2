"""Is each block drawn once, when it cannot change any more, with every pixel from the right tile?"""

import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.model.geometry import Point
from scanner.model.tile import Pixels
from scanner.pipeline.lattice import Lattice
from scanner.pipeline.mosaic import Canvas, Mosaic
from scanner.pipeline.placement import Placed
from scanner.pipeline.pyramid import Block
from scanner.pipeline.sheets import PAINTED_AHEAD, Sheet
from scanner.storage.ngff import ImageSpec
from scanner.storage.ome_zarr import PyramidStore
from scanner.stream import Road
from tests.scanner.pipeline.conftest import as_pixels, cells_on_glass

TILE, STEP, SIDE = 40, 32, 64
ROWS, COLS = 5, 6
CANVAS = Canvas(208, 180, 1, np.dtype(np.uint8), SIDE)
SPECIMEN = cells_on_glass(220, 260, seed=1)
ORDER = [(row, col) for row in range(ROWS) for col in range(COLS)]


def lattice() -> Lattice:
    return Lattice(Point(2, 3), Point(STEP, 0.4), Point(-0.4, STEP), (TILE, TILE))


def mosaic(canvas: Canvas = CANVAS) -> Mosaic:
    return Mosaic(canvas, lattice())


def placed(row: int, col: int, off: Point | None = None) -> Placed:
    nominal = lattice().nominal(row, col)
    by = off or Point((row * 7 + col * 3) % 5 - 2, (row * 3 + col * 5) % 5 - 2)
    return Placed(row * COLS + col, row, col, round(nominal.x) + by.x, round(nominal.y) + by.y, False, 0.1)


def taken(at: Placed) -> Pixels:
    """What a camera at a whole-pixel place sees of the specimen."""
    y, x = int(at.y_px) + 20, int(at.x_px) + 20
    return SPECIMEN[y : y + TILE, x : x + TILE].astype(np.uint8)


def outside() -> list[tuple[int, int]]:
    return [(row, col) for row in range(-3, 9) for col in range(-3, 10) if (row, col) not in ORDER]


def drawn(
    m: Mosaic, blocks: Iterable[tuple[int, int]], tiles: dict[int, Placed]
) -> dict[tuple[int, int], bytes]:
    shown = {}
    for block in blocks:
        pixels = m.draw(block, lambda tile: taken(tiles[tile]))
        shown[block] = b"" if pixels is None else pixels.tobytes()
    return shown


def whole(m: Mosaic, order: Iterable[tuple[int, int]]) -> tuple[dict[tuple[int, int], bytes], Pixels]:
    tiles = {placed(*cell).tile: placed(*cell) for cell in order}
    blocks = drawn(m, m.void(outside()), tiles)
    for cell in order:
        blocks |= drawn(m, m.place(placed(*cell)), tiles)
    blocks |= drawn(m, m.settle(), tiles)
    sheet = np.full((192, 256), 255, np.uint8)
    for (row, col), pixels in blocks.items():
        if pixels:
            part = np.frombuffer(pixels, np.uint8).reshape(SIDE, SIDE)
            sheet[row * SIDE : (row + 1) * SIDE, col * SIDE : (col + 1) * SIDE] = part
    return blocks, sheet[:180, :208]


def test_tiles_at_whole_pixels_make_the_specimen_again_without_a_change() -> None:
    _, sheet = whole(mosaic(), ORDER)
    inner = (slice(8, ROWS * STEP - 2), slice(8, COLS * STEP - 2))
    assert np.array_equal(sheet[inner], SPECIMEN[20:200, 20:228].astype(np.uint8)[inner])


@settings(max_examples=15, deadline=None)
@given(st.permutations(ORDER))
def test_the_image_does_not_depend_on_the_order_of_the_tiles(order: list[tuple[int, int]]) -> None:
    assert whole(mosaic(), order)[0] == whole(mosaic(), ORDER)[0]


def test_every_block_of_the_canvas_is_finished_exactly_once() -> None:
    m = mosaic()
    finished = m.void(outside())
    for cell in ORDER:
        finished += m.place(placed(*cell))
    finished += m.settle()
    assert sorted(finished) == [(row, col) for row in range(3) for col in range(4)]


def test_blocks_are_finished_before_the_last_tile_and_need_no_settling() -> None:
    m = mosaic()
    finished = [len(m.void(outside()))] + [len(m.place(placed(*cell))) for cell in ORDER]
    assert sum(finished) == 12
    assert sum(finished[: len(ORDER) // 2]) > 0
    assert m.settle() == []


def test_a_held_tile_keeps_its_blocks_open_and_its_retake_is_what_they_show() -> None:
    m = mosaic()
    m.void(outside())
    finished = [block for cell in ORDER if cell != (2, 2) for block in m.place(placed(*cell))]
    assert m.place(placed(2, 2), hold=True) == []
    assert (1, 1) not in finished
    retake = placed(2, 2, Point(3, 1))
    late = m.place(retake)
    assert (1, 1) in late
    fetched: list[int] = []

    def fetch(tile: int) -> Pixels:
        fetched.append(tile)
        return np.full((TILE, TILE), tile, np.uint8)

    shown = m.draw((1, 1), fetch)
    assert shown is not None
    assert retake.tile in fetched
    assert shown[0, 80 - 64, 90 - 64] == retake.tile


def test_a_held_tile_without_a_retake_is_shown_when_all_is_settled() -> None:
    m = mosaic()
    m.void(outside())
    for cell in ORDER:
        m.place(placed(*cell), hold=cell == (2, 2))
    assert (1, 1) in m.settle()


def test_what_an_owner_does_not_reach_is_shown_by_its_neighbour() -> None:
    m = mosaic()
    m.void(outside())
    tiles = {placed(*cell).tile: placed(*cell, Point(0, 0)) for cell in ORDER}
    away = placed(2, 2, Point(7, 0))
    tiles[away.tile] = away
    blocks: list[tuple[int, int]] = []
    for cell in ORDER:
        blocks += m.place(tiles[placed(*cell).tile])
    shown = m.draw((1, 1), lambda tile: taken(tiles[tile]))
    assert shown is not None
    assert np.array_equal(shown[0], SPECIMEN[84:148, 84:148].astype(np.uint8))


def test_a_hole_in_the_grid_is_filled_as_far_as_neighbours_reach_and_white_beyond() -> None:
    m = mosaic()
    m.void([*outside(), (2, 2)])
    tiles = {placed(*cell).tile: placed(*cell, Point(0, 0)) for cell in ORDER if cell != (2, 2)}
    blocks = [block for at in tiles.values() for block in m.place(at)]
    assert (1, 1) in blocks
    shown = m.draw((1, 1), lambda tile: taken(tiles[tile]))
    assert shown is not None
    assert shown[0, 22, 22] == CANVAS.fill
    assert (shown == CANVAS.fill).sum() < STEP * STEP


def test_a_block_where_no_tile_shows_is_not_drawn() -> None:
    m = mosaic()
    assert len(m.void([(row, col) for row in range(-3, 9) for col in range(-3, 10)])) == 12
    assert m.draw((0, 0), lambda tile: taken(placed(0, tile))) is None


def test_a_tile_is_let_go_once_and_only_when_no_open_block_can_show_it() -> None:
    m = mosaic()
    m.void(outside())
    gone: list[int] = []
    for cell in ORDER:
        finished = m.place(placed(*cell))
        now = m.unneeded()
        assert not (now and not finished) or cell == ORDER[0]
        gone += now
    assert sorted(gone) == sorted(placed(*cell).tile for cell in ORDER)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("part", [0.25, 0.5, 0.71875])
def test_a_tile_between_pixels_is_drawn_there(deep: bool, part: float) -> None:
    dtype = np.dtype(np.uint16) if deep else np.dtype(np.uint8)
    m = Mosaic(
        Canvas(64, 64, 3, dtype, SIDE), Lattice(Point(0, 0), Point(TILE, 0), Point(0, TILE), (TILE, TILE))
    )
    at = Placed(0, 0, 0, 5 + part, 7 - part, False, 0.1)
    y, x = np.mgrid[:TILE, :TILE]
    scale = 20_000 if deep else 100
    wave = np.stack([scale * (1.1 + np.sin((x + k) / 4) * np.cos(y / 5)) for k in range(3)], -1)
    m.place(at)
    (block,) = m.settle()
    shown = m.draw(block, lambda _: as_pixels(wave, deep))
    assert shown is not None
    v, u = np.mgrid[10:38, 10:38]
    for k in range(3):
        right = scale * (1.1 + np.sin((u - at.x_px + k) / 4) * np.cos((v - at.y_px) / 5))
        assert np.abs(shown[k, 10:38, 10:38] - right).max() < 0.015 * scale


class SlowStore(PyramidStore):
    """Lets whoever paints run as far ahead as it ever may."""

    def write(self, level: int, row: int, col: int, block: Block, z: int = 0) -> None:
        time.sleep(0.02)
        super().write(level, row, col, block, z)


def test_blocks_painted_while_others_are_stored_are_what_they_are_one_by_one(tmp_path: Path) -> None:
    m, tiles = mosaic(), {placed(*cell).tile: placed(*cell) for cell in ORDER}
    ready = m.void(outside()) + [block for cell in ORDER for block in m.place(placed(*cell))] + m.settle()
    size = {"width_px": CANVAS.width_px, "height_px": CANVAS.height_px, "shard_px": SIDE}
    spec = ImageSpec(name="s", dtype="uint8", channels=1, um_per_px=0.5, **size)
    store = SlowStore.create(tmp_path / "image.ome.zarr", spec)
    sheet = Sheet(
        store, lambda block, strokes: m.paint(block, strokes, lambda n, y, x: taken(tiles[n])[y, x], None)
    )
    with Road() as road:
        ahead = partial(road.buffered, size=PAINTED_AHEAD, name="paint")
        sheet.draw([(block, m.strokes(block)) for block in ready], ahead)
    shown = store.read(0, 0, 0, CANVAS.height_px, CANVAS.width_px)[0]
    assert np.array_equal(shown, whole(mosaic(), ORDER)[1])
