"""Is the overlap of a soft tile shown by neighbours that are sharper, and by nobody else?"""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from scanner.model.geometry import Point
from scanner.model.tile import FocusState, Pixels
from scanner.pipeline.lattice import Lattice
from scanner.pipeline.mosaic import BlockId, Canvas, Mosaic
from scanner.pipeline.placement import Placed

TILE, STEP, SIDE = 40, 30, 64
ROWS, COLS = 5, 6
CANVAS = Canvas(170, 150, 1, np.dtype(np.uint8), SIDE)
LATTICE = Lattice(Point(0, 0), Point(STEP, 0), Point(0, STEP), (TILE, TILE))
ORDER = list(itertools.product(range(ROWS), range(COLS)))
SOFT = (2, 2)
MIDDLE = 2 * STEP + TILE // 2
SHARP, USABLE, UNREADABLE = FocusState.SHARP, FocusState.USABLE, FocusState.UNREADABLE
NO_SAMPLE, UNMEASURED = FocusState.NO_SAMPLE, FocusState.UNMEASURED
States = dict[tuple[int, int], FocusState]


def number(cell: tuple[int, int]) -> int:
    return cell[0] * COLS + cell[1]


def placed(cell: tuple[int, int]) -> Placed:
    at = LATTICE.nominal(*cell)
    return Placed(number(cell), *cell, at.x, at.y, False, 0.1)


class Drawn:
    """Tiles that show their own numbers, drawn as they come; a tile that was let go is never asked for again."""

    def __init__(self) -> None:
        self.mosaic = Mosaic(CANVAS, LATTICE)
        self.image = np.full((3 * SIDE, 3 * SIDE), 255, np.uint8)
        self.gone: list[int] = []
        self.finished: list[BlockId] = []
        beyond = itertools.product(range(-2, ROWS + 2), range(-2, COLS + 2))
        self.draw(self.mosaic.void(set(beyond) - set(ORDER)))

    def place(self, cell: tuple[int, int], state: FocusState = SHARP, hold: bool = False) -> None:
        self.draw(self.mosaic.place(placed(cell), hold, state))

    def draw(self, blocks: list[BlockId]) -> None:
        for row, col in blocks:
            shown = self.mosaic.draw((row, col), self.pixels)
            assert shown is not None
            self.image[row * SIDE : (row + 1) * SIDE, col * SIDE : (col + 1) * SIDE] = shown[0]
        self.finished += blocks
        self.gone += self.mosaic.unneeded()

    def pixels(self, tile: int) -> Pixels:
        assert tile not in self.gone
        return np.full((TILE, TILE), tile, np.uint8)

    @property
    def canvas(self) -> NDArray[np.uint8]:
        return self.image[: CANVAS.height_px, : CANVAS.width_px]


def whole(states: States, order: list[tuple[int, int]] = ORDER) -> Drawn:
    drawn = Drawn()
    for cell in order:
        drawn.place(cell, states.get(cell, SHARP))
    drawn.draw(drawn.mosaic.settle())
    return drawn


@pytest.mark.parametrize("state", [USABLE, UNREADABLE, UNMEASURED])
def test_a_soft_tile_shows_only_what_no_sharp_neighbour_reaches(state: FocusState) -> None:
    image = whole({SOFT: state}).canvas
    own = np.argwhere(image == number(SOFT))
    assert own.min(axis=0).tolist() == [70, 70]
    assert own.max(axis=0).tolist() == [89, 89]
    assert len(own) == 20 * 20
    assert image[MIDDLE, 69] == number((2, 1))
    assert image[MIDDLE, 90] == number((2, 3))
    assert image[69, MIDDLE] == number((1, 2))
    assert image[90, MIDDLE] == number((3, 2))


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (SHARP, SHARP),
        (SHARP, NO_SAMPLE),
        (NO_SAMPLE, SHARP),
        (NO_SAMPLE, UNREADABLE),
        (USABLE, USABLE),
        (USABLE, UNMEASURED),
        (USABLE, UNREADABLE),
        (UNREADABLE, UNREADABLE),
    ],
)
def test_among_equals_the_border_is_where_it_was_planned(mine: FocusState, theirs: FocusState) -> None:
    image = whole(dict.fromkeys(ORDER, theirs) | {SOFT: mine}).canvas
    own = np.argwhere(image == number(SOFT))
    gained = 10 if mine.blur < theirs.blur else 0
    assert own.min(axis=0).tolist() == [65 - gained // 2] * 2
    assert own.max(axis=0).tolist() == [94 + gained // 2] * 2


def test_of_two_neighbours_the_sharper_one_shows_the_corner() -> None:
    states = dict.fromkeys(ORDER, UNREADABLE) | {(1, 2): USABLE, (2, 1): SHARP}
    image = whole(states).canvas
    assert image[67, 67] == number((2, 1))
    assert image[67, MIDDLE] == number((1, 2))


def test_a_hole_is_filled_by_the_sharpest_that_reaches() -> None:
    drawn = Drawn()
    drawn.draw(drawn.mosaic.void([SOFT]))
    for cell in ORDER:
        if cell != SOFT:
            drawn.place(cell, USABLE if cell == (2, 1) else SHARP)
    drawn.draw(drawn.mosaic.settle())
    assert drawn.canvas[67, 67] == number((1, 2))
    assert drawn.canvas[MIDDLE, 67] == number((2, 1))


def test_a_retake_that_is_sharp_shows_its_own_and_one_that_is_not_leaves_it_to_the_neighbours() -> None:
    shown = {}
    for second in (SHARP, USABLE):
        drawn = Drawn()
        for cell in ORDER:
            drawn.place(cell, USABLE if cell == SOFT else SHARP, hold=cell == SOFT)
        assert (1, 1) not in drawn.finished
        drawn.place(SOFT, second)
        drawn.draw(drawn.mosaic.settle())
        shown[second] = int((drawn.canvas == number(SOFT)).sum())
    assert shown == {SHARP: 30 * 30, USABLE: 20 * 20}


def test_a_soft_tile_waits_for_the_retake_of_its_neighbour() -> None:
    drawn = Drawn()
    for cell in ORDER:
        # (2, 3) owns pixels from x = 95, the block (1, 1) ends at 128; (2, 4) owns none of it
        drawn.place(cell, USABLE if cell in ((2, 3), (2, 4)) else SHARP, hold=cell == (2, 4))
    assert (1, 1) not in drawn.finished
    drawn.place((2, 4), SHARP)
    assert (1, 1) in drawn.finished
    assert drawn.canvas[MIDDLE, 121] == number((2, 4))


STATES = st.lists(st.sampled_from(list(FocusState)), min_size=len(ORDER), max_size=len(ORDER))


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(ORDER), states=STATES)
def test_neither_the_image_nor_what_is_let_go_depends_on_the_order(
    order: list[tuple[int, int]], states: list[FocusState]
) -> None:
    of = dict(zip(ORDER, states, strict=True))
    one, other = whole(of), whole(of, order)
    assert np.array_equal(one.image, other.image)
    assert sorted(one.finished) == sorted(other.finished) == sorted(set(one.finished))
    assert sorted(one.gone) == sorted(other.gone) == sorted(map(number, ORDER))


@settings(max_examples=25, deadline=None)
@given(states=STATES, missing=st.sampled_from(ORDER))
def test_a_place_is_of_the_tile_whose_pixels_are_drawn_there(
    states: list[FocusState], missing: tuple[int, int]
) -> None:
    drawn = Drawn()
    drawn.draw(drawn.mosaic.void([missing]))
    for cell, state in zip(ORDER, states, strict=True):
        if cell != missing:
            drawn.place(cell, state)
    drawn.draw(drawn.mosaic.settle())
    y, x = np.mgrid[: CANVAS.height_px, : CANVAS.width_px]
    places = np.column_stack([x.ravel(), y.ravel()]) + np.random.default_rng(1).uniform(0, 1, (x.size, 2))
    told = drawn.mosaic.shown_at(places).reshape(x.shape)
    assert np.array_equal(np.where(told < 0, 255, told), drawn.canvas)
    assert drawn.mosaic.shown_at(np.zeros((0, 2))).shape == (0,)
