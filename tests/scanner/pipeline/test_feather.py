"""Does a border fade where tiles fit, and stay hard wherever fading would show a cell twice?"""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from scanner.model.geometry import Point
from scanner.model.tile import Pixels
from scanner.pipeline.feather import FADE_PX, Fits, Joined
from scanner.pipeline.lattice import Lattice
from scanner.pipeline.mosaic import Canvas, Mosaic
from scanner.pipeline.placement import Placed
from scanner.pipeline.registration import PairMeasurement
from tests.scanner.pipeline.conftest import as_pixels, cells_on_glass

TILE, STEP = 60, 48
CELLS = list(itertools.product(range(3), range(3)))
TURNED = Lattice(Point(4, 2), Point(STEP, 1.5), Point(-1.5, STEP), (TILE, TILE))
SPECIMEN = cells_on_glass(240, 240, seed=4)
Tiles = dict[int, Pixels]


def pair(dx: float, dy: float, accepted: bool = True) -> PairMeasurement:
    return PairMeasurement(dx, dy, 0.05, 0.9, 0.9, 0.1, accepted, "" if accepted else "no texture")


def grid(off: Point | None = None) -> list[Placed]:
    """Nine tiles at whole pixels; the one in the middle is placed ``off``."""
    found = []
    for k, (row, col) in enumerate(CELLS):
        at = TURNED.nominal(row, col)
        by = off if off and k == 4 else Point(0, 0)
        found.append(Placed(k, row, col, round(at.x) + by.x, round(at.y) + by.y, False, 0.05))
    return found


def measured(true: list[Placed]) -> Joined:
    """What registration says of tiles that truly lie so."""
    joined, at = Joined(), {(p.row, p.col): p for p in true}
    for p in true:
        near = [at[c] for c in ((p.row, p.col - 1), (p.row - 1, p.col)) if c in at]
        joined.learn(p.tile, [(n.tile, pair(p.x_px - n.x_px, p.y_px - n.y_px)) for n in near])
    return joined


def drawn(
    placed: list[Placed], tiles: Tiles, fits: Fits | None, block_px: int = 256, size: int = 150
) -> Pixels:
    dtype = tiles[0].dtype
    canvas = Canvas(size, size, 1, dtype, block_px)
    mosaic = Mosaic(canvas, TURNED, fits)
    blocks = [block for one in placed for block in mosaic.place(one)] + mosaic.settle()
    rows, cols = canvas.blocks
    image = np.full((rows * block_px, cols * block_px), canvas.fill, dtype)
    for row, col in blocks:
        shown = mosaic.draw((row, col), lambda tile: tiles[tile])
        if shown is not None:
            part = np.s_[row * block_px : (row + 1) * block_px, col * block_px : (col + 1) * block_px]
            image[part] = shown[0]
    return image[:size, :size]


def taken(placed: list[Placed], light: float = 0.0, sheet: NDArray[np.float32] = SPECIMEN) -> Tiles:
    """What a camera at those places sees; every other tile is brighter by ``light`` DN."""
    found: Tiles = {}
    for p in placed:
        y, x = int(p.y_px) + 20, int(p.x_px) + 20
        shown = sheet[y : y + TILE, x : x + TILE] * 0.9 + light * ((p.row + p.col) % 2)
        found[p.tile] = np.asarray(np.clip(shown, 0, 255), np.uint8)
    return found


@pytest.mark.parametrize("deep", [False, True])
def test_light_changes_over_eight_pixels_instead_of_one(deep: bool) -> None:
    placed, factor = grid(), 200 if deep else 1
    levels = [100 + 40 * (p.col % 2) for p in placed]
    tiles: Tiles = {
        k: as_pixels(np.full((TILE, TILE), level * factor), deep) for k, level in enumerate(levels)
    }
    line = drawn(placed, tiles, measured(placed))[30, 10:90].astype(float) / factor
    hard = drawn(placed, tiles, None)[30, 10:90].astype(float) / factor
    border = int(np.argmax(np.abs(np.diff(hard)))) + 1
    ramp = 100 + 40 * (np.arange(-FADE_PX, FADE_PX) + 0.5 + FADE_PX) / (2 * FADE_PX)
    assert np.allclose(line[border - FADE_PX : border + FADE_PX], ramp, atol=0.51)
    assert np.array_equal(line[border - 20 : border - FADE_PX], hard[border - 20 : border - FADE_PX])
    assert np.array_equal(line[border + FADE_PX : border + 20], hard[border + FADE_PX : border + 20])


def test_tiles_that_show_the_same_are_not_changed_by_fading() -> None:
    placed = grid()
    tiles = taken(placed)
    faded = drawn(placed, tiles, measured(placed))
    assert np.array_equal(faded, drawn(placed, tiles, None))
    there = (SPECIMEN[20:170, 20:170] * 0.9).astype(np.uint8)
    assert np.array_equal(faded[10:140, 10:140], there[10:140, 10:140])


@pytest.mark.parametrize("off", [Point(1, 0), Point(0, 1), Point(3, 0), Point(-3, 3)])
def test_a_tile_that_does_not_lie_as_measured_keeps_hard_borders_and_the_others_fade(off: Point) -> None:
    true, placed = grid(), grid(off)
    tiles = taken(true, light=12)
    hard, faded = drawn(placed, tiles, None), drawn(placed, tiles, measured(true))
    whose = drawn(placed, {p.tile: np.full((TILE, TILE), p.tile, np.uint8) for p in placed}, None)
    around = ndimage.maximum_filter((whose == 4).astype(np.uint8), size=2 * FADE_PX + 1) > 0
    changed = faded != hard
    assert not changed[whose == 4].any()
    in_middle = np.zeros_like(around)
    in_middle[50:100, 50:100] = True
    assert not (changed & around & in_middle & _far_from_others(whose)).any()
    assert changed[:40].any()


def _far_from_others(whose: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Pixels whose only near border is that with the tile in the middle."""
    rest = np.where(whose == 4, -1, whose).astype(int)
    low = ndimage.minimum_filter(np.where(rest < 0, 99, rest), size=2 * FADE_PX + 1)
    high = ndimage.maximum_filter(rest, size=2 * FADE_PX + 1)
    return np.asarray(low == high)


@pytest.mark.parametrize("off", [0.0, 0.4, 1.0, 3.0])
def test_a_cell_on_the_border_is_shown_once(off: float) -> None:
    """A dot of 5 px on the border of two tiles, one of which lies ``off`` along the border."""
    sheet = np.full((240, 240), 230, np.float32)
    true = grid()
    border = int(TURNED.nominal(1, 1).x + 6) + 20
    y, x = np.mgrid[:240, :240]
    sheet[(x - border) ** 2 + (y - 95) ** 2 <= 6] = 60
    tiles = taken(true, sheet=sheet)
    placed = [replace(p, y_px=p.y_px + (off if p.tile == 4 else 0.0)) for p in true]
    shown = drawn(placed, tiles, measured(true))
    _, dots = ndimage.label(shown < 150)
    assert dots == 1
    if off >= 1:
        assert np.array_equal(shown, drawn(placed, tiles, None))
    else:
        # as dark as it is, and nowhere half as dark beside it
        assert shown.min() < 70
        assert ((shown < 200) & (shown > 100)).sum() <= (0 if off == 0 else 14)


def test_what_fades_does_not_depend_on_the_blocks() -> None:
    placed = grid()
    tiles = taken(placed, light=20)
    joined = measured(placed)
    whole = drawn(placed, tiles, joined)
    assert (whole != drawn(placed, tiles, None)).any()
    for block_px in (16, 50, 54):
        assert np.array_equal(drawn(placed, tiles, joined, block_px), whole)


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(9)))
def test_what_fades_does_not_depend_on_the_order(order: list[int]) -> None:
    placed = grid()
    tiles, joined = taken(placed, light=20), measured(placed)
    shuffled = drawn([placed[k] for k in order], tiles, joined, 32)
    assert np.array_equal(shuffled, drawn(placed, tiles, joined, 32))


def test_only_an_accepted_measurement_joins_and_a_retake_voids_it() -> None:
    one, two = Placed(1, 0, 0, 10.0, 5.0, False, 0.1), Placed(2, 0, 1, 58.25, 6.0, False, 0.1)
    joined = Joined()
    assert not joined(one, two)
    joined.learn(2, [(1, pair(48.0, 1.0, accepted=False))])
    assert not joined(one, two)
    joined.learn(2, [(1, pair(48.0, 1.0))])
    assert joined(one, two)
    assert joined(two, one)
    assert not joined(one, replace(two, x_px=58.75))
    joined.learn(1, [])
    assert not joined(one, two)
    joined.learn(1, [(2, pair(-48.25, -1.0))])
    assert joined(one, two)
    joined.forget(2)
    assert not joined(one, two)
