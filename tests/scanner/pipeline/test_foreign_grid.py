"""Are rows and columns found in a layout that lists places only?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.model.geometry import Point
from scanner.pipeline.foreign_grid import cells_of, fit_lattice


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 7),
    cols=st.integers(1, 7),
    turn=st.floats(-0.03, 0.03),
    overlap=st.floats(0.03, 0.45),
    seed=st.integers(0, 999),
)
def test_a_shuffled_turned_jittered_grid_with_holes_is_recognised(
    rows: int, cols: int, turn: float, overlap: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    true = [(row, col) for row in range(rows) for col in range(cols)]
    if min(rows, cols) > 2:
        true.remove((1, 1))
    rng.shuffle(true)
    step = 1000 * (1 - overlap)
    jitter = rng.normal(0, 8, (len(true), 2))
    places = [
        Point(
            5000 + step * (col - turn * row) + float(j[0]),
            -300 + step * (row + turn * col) + float(j[1]),
        )
        for (row, col), j in zip(true, jitter, strict=True)
    ]
    found = cells_of(places, (1000, 1000))
    low = min(row for row, _ in true), min(col for _, col in true)
    assert found == [(row - low[0], col - low[1]) for row, col in true]


def test_two_tiles_at_one_place_are_named() -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  its arguments are the answer
        cells_of([Point(0, 0), Point(90, 0), Point(91, 1)], (100, 100))
    assert caught.value.args == (1, 2)


def test_the_lattice_goes_through_the_places() -> None:
    cells = [(row, col) for row in range(4) for col in range(5)]
    places = [Point(7 + 90 * col - 2 * row, 3 + 80 * row + col) for row, col in cells]
    lattice = fit_lattice(places, cells, (88, 98))
    for (row, col), place in zip(cells, places, strict=True):
        assert lattice.nominal(row, col).distance(place) < 1e-6


def test_one_row_one_column_and_one_tile_have_a_lattice_too() -> None:
    row = fit_lattice([Point(0, 0), Point(90, 3)], [(0, 0), (0, 1)], (100, 100))
    assert row.down.distance(Point(-3, 90)) < 1e-9
    column = fit_lattice([Point(0, 0), Point(3, 90)], [(0, 0), (1, 0)], (100, 100))
    assert column.across.distance(Point(90, -3)) < 1e-9
    one = fit_lattice([Point(5, 6)], [(0, 0)], (80, 100))
    assert (one.origin, one.across, one.down) == (Point(5, 6), Point(100, 0), Point(0, 80))
