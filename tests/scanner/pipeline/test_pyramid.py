"""Is every level the exact mean of the one below, whatever the order, the memory and the interruptions?"""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.model.tile import Pixels
from scanner.pipeline.pyramid import Block, Pyramid
from scanner.storage.ngff import level_sizes
from tests.scanner.pipeline.conftest import as_pixels

SIDE, CHUNK = 256, 64
Key = tuple[int, int, int]


class Kept:
    """What was stored: blocks by level, row and column; a block of which parts came is there when it is finished."""

    def __init__(self, w: int, h: int) -> None:
        self.sizes = level_sizes(w, h)
        self.blocks: dict[Key, Block] = {}
        self.written: list[Key] = []
        self.unfinished: dict[Key, Block] = {}
        self.parts: set[tuple[int, ...]] = set()
        self.pixels_read = 0

    def has(self, level: int, row: int, col: int) -> bool:
        return (level, row, col) in self.blocks

    def read(self, level: int, y: int, x: int, h: int, w: int) -> Block:
        self.pixels_read += h * w
        key = (level, y // SIDE, x // SIDE)
        return self.blocks[key][:, y % SIDE : y % SIDE + h, x % SIDE : x % SIDE + w]

    def write(self, level: int, row: int, col: int, block: Block) -> None:
        assert not self.has(level, row, col)
        self.blocks[level, row, col] = block.copy()
        self.written.append((level, row, col))

    def write_part(self, level: int, row: int, col: int, y: int, x: int, part: Block) -> None:
        assert (level, row, col, y, x) not in self.parts
        self.parts.add((level, row, col, y, x))
        key = (level, row, col)
        white = 255 if part.dtype == np.uint8 else 65535
        block = self.unfinished.setdefault(key, np.full((len(part), SIDE, SIDE), white, part.dtype))
        block[:, y : y + part.shape[1], x : x + part.shape[2]] = part

    def finish(self, level: int, row: int, col: int) -> None:
        self.write(level, row, col, self.unfinished.pop((level, row, col)))

    def killed(self) -> None:
        """Nobody knows any more of what was not finished."""
        self.unfinished, self.parts = {}, set()


def image(w: int, h: int, deep: bool = False) -> Pixels:
    return as_pixels(np.random.default_rng(0).uniform(0, 65536 if deep else 256, (1, h, w)), deep)


def block_of(sheet: Block, row: int, col: int) -> Block:
    part = sheet[:, row * SIDE : (row + 1) * SIDE, col * SIDE : (col + 1) * SIDE]
    block = np.full((1, SIDE, SIDE), 65535 if sheet.dtype == np.uint16 else 255, sheet.dtype)
    block[:, : part.shape[1], : part.shape[2]] = part
    return block


def blocks_of(w: int, h: int) -> list[tuple[int, int]]:
    return [(row, col) for row in range(-(-h // SIDE)) for col in range(-(-w // SIDE))]


def build(sheet: Pixels, order: list[tuple[int, int]], kept: Kept, stop: int | None = None) -> list[Key]:
    pyramid = Pyramid(kept.sizes, SIDE, int(np.iinfo(sheet.dtype).max), kept, CHUNK)
    told: list[Key] = []
    for row, col in order[:stop]:
        before = len(kept.written)
        stored = kept.has(0, row, col)
        told += (now := pyramid.add(row, col, "stored" if stored else block_of(sheet, row, col)))
        assert now == kept.written[before:]
    return told


def wrong_blocks(sheet: Block, kept: Kept) -> list[Key]:
    """The kept blocks that are not what the finest level says they must be."""
    wrong = []
    _, h, w = sheet.shape
    for level, (width, height) in enumerate(level_sizes(w, h)):
        if level:
            wide = sheet[:, : 2 * height, : 2 * width].astype(np.uint32)
            quads = wide[:, ::2, ::2] + wide[:, 1::2, ::2] + wide[:, ::2, 1::2] + wide[:, 1::2, 1::2]
            sheet = as_pixels((quads + 2) // 4 * 1.0, sheet.dtype == np.uint16)
        for row, col in blocks_of(width, height):
            right = block_of(sheet, row, col)[:, : height - row * SIDE, : width - col * SIDE]
            shown = kept.blocks[level, row, col][:, : right.shape[1], : right.shape[2]]
            if not np.array_equal(shown, right):
                wrong.append((level, row, col))
    return wrong


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(("w", "h"), [(2048, 1536), (2501, 1303), (4097, 600), (300, 200), (1025, 513)])
def test_each_level_is_the_rounded_mean_of_four_pixels_of_the_one_below(w: int, h: int, deep: bool) -> None:
    sheet, kept = image(w, h, deep), Kept(w, h)
    build(sheet, blocks_of(w, h), kept)
    assert wrong_blocks(sheet, kept) == []
    assert kept.unfinished == {}


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(blocks_of(1500, 1100)), stop=st.integers(0, 30), lost=st.integers(0, 5))
def test_any_order_and_a_resume_after_any_block_give_the_same_image(
    order: list[tuple[int, int]], stop: int, lost: int
) -> None:
    sheet, kept = image(1500, 1100), Kept(1500, 1100)
    written = build(sheet, order, kept, stop)
    for key in written[len(written) - min(lost, len(written)) :]:
        del kept.blocks[key]
    kept.killed()
    again = build(sheet, order, kept)
    assert len(again) == len(set(again))
    assert wrong_blocks(sheet, kept) == []
    assert kept.unfinished == {}


def test_what_is_stored_with_all_that_stands_above_it_is_not_read_again() -> None:
    sheet, kept = image(SIDE * 16, SIDE * 16), Kept(SIDE * 16, SIDE * 16)
    build(sheet, blocks_of(SIDE * 16, SIDE * 16), kept)
    del kept.blocks[3, 0, 0]
    kept.killed()
    assert build(sheet, blocks_of(SIDE * 16, SIDE * 16), kept) == [(3, 0, 0)]
    assert kept.pixels_read == (SIDE * 2) ** 2
    assert wrong_blocks(sheet, kept) == []


class Nowhere(Kept):
    """It keeps nothing."""

    def write(self, level: int, row: int, col: int, block: Block) -> None:
        pass

    def write_part(self, level: int, row: int, col: int, y: int, x: int, part: Block) -> None:
        pass

    def finish(self, level: int, row: int, col: int) -> None:
        pass


@pytest.mark.parametrize("rows", [16, 64])
def test_what_waits_is_less_than_half_a_row_of_blocks_however_long_the_canvas(rows: int) -> None:
    w, h = SIDE * 8, SIDE * rows
    kept, shown = Nowhere(w, h), np.zeros((1, SIDE, SIDE), np.uint8)
    tracemalloc.start()
    pyramid = Pyramid(kept.sizes, SIDE, 255, kept, CHUNK)
    for row, col in blocks_of(w, h):
        pyramid.add(row, col, shown)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * SIDE**2 // 2


def test_a_part_where_no_tile_shows_is_white_above_and_not_made_where_all_of_it_is_empty() -> None:
    sheet, kept = image(SIDE * 8, SIDE * 2), Kept(SIDE * 8, SIDE * 2)
    pyramid = Pyramid(kept.sizes, SIDE, 255, kept, CHUNK)
    for row, col in blocks_of(SIDE * 8, SIDE * 2):
        pyramid.add(row, col, block_of(sheet, 0, 0) if (row, col) == (1, 0) else None)
    assert kept.written == [(0, 1, 0), (1, 0, 0), (2, 0, 0)]
    parent = kept.blocks[1, 0, 0]
    assert (parent[:, : SIDE // 2] == 255).all()
    assert (parent[:, SIDE // 2 :, : SIDE // 2] != 255).any()
