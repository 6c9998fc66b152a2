"""Is every level the exact mean of the one below, whatever the order, the memory and the interruptions?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.model.tile import Pixels
from scanner.pipeline.pyramid import Block, Pyramid
from scanner.storage.ngff import level_sizes
from tests.scanner.pipeline.conftest import as_pixels

SIDE = 512
Key = tuple[int, int, int]


class Kept:
    """What was stored: blocks by level, row and column."""

    def __init__(self) -> None:
        self.blocks: dict[Key, Block] = {}
        self.read_again = 0

    def has(self, level: int, row: int, col: int) -> bool:
        return (level, row, col) in self.blocks

    def block(self, level: int, row: int, col: int) -> Block:
        self.read_again += 1
        return self.blocks[level, row, col]


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
    _, h, w = sheet.shape
    pyramid = Pyramid(level_sizes(w, h), SIDE, int(np.iinfo(sheet.dtype).max), kept)
    written = []
    for row, col in order[:stop]:
        stored = kept.has(0, row, col)
        for made in pyramid.add(row, col, "stored" if stored else block_of(sheet, row, col)):
            key = (made.level, made.row, made.col)
            kept.blocks[key] = made.pixels.copy()
            written.append(key)
    return written


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
    sheet, kept = image(w, h, deep), Kept()
    build(sheet, blocks_of(w, h), kept)
    assert wrong_blocks(sheet, kept) == []


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(blocks_of(2300, 1700)), stop=st.integers(0, 20), lost=st.integers(0, 5))
def test_any_order_and_a_resume_after_any_block_give_the_same_image(
    order: list[tuple[int, int]], stop: int, lost: int
) -> None:
    sheet, kept = image(2300, 1700), Kept()
    written = build(sheet, order, kept, stop)
    for key in written[len(written) - min(lost, len(written)) :]:
        del kept.blocks[key]
    again = build(sheet, order, kept)
    assert len(again) == len(set(again))
    assert wrong_blocks(sheet, kept) == []


def test_parents_that_wait_too_long_are_read_back_and_come_out_the_same() -> None:
    sheet, kept = image(SIDE * 4, SIDE * 24), Kept()
    order = sorted(blocks_of(SIDE * 4, SIDE * 24), key=lambda cell: (cell[0] % 2, cell))
    build(sheet, order, kept)
    assert kept.read_again > 0
    assert wrong_blocks(sheet, kept) == []


def test_a_part_where_no_tile_shows_is_white_above_and_not_made_where_all_of_it_is_empty() -> None:
    sheet, kept = image(SIDE * 4, SIDE * 2), Kept()
    pyramid = Pyramid(level_sizes(SIDE * 4, SIDE * 2), SIDE, 255, kept)
    made = [
        (b.level, b.row, b.col, b.pixels)
        for row, col in blocks_of(SIDE * 4, SIDE * 2)
        for b in pyramid.add(row, col, block_of(sheet, 0, 0) if (row, col) == (1, 0) else None)
    ]
    assert [key[:3] for key in made] == [(0, 1, 0), (1, 0, 0), (2, 0, 0)]
    parent = made[1][3]
    assert (parent[:, : SIDE // 2] == 255).all()
    assert (parent[:, SIDE // 2 :, : SIDE // 2] != 255).any()
