"""Does every pixel have one owner, and the right one?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.model.geometry import Point
from scanner.pipeline.lattice import Box, Lattice, hull

small = st.floats(-0.08, 0.08)
boxes = st.builds(
    lambda x, y, w, h: Box(x, y, x + w, y + h),
    st.integers(-90, 90),
    st.integers(-90, 90),
    st.integers(1, 80),
    st.integers(1, 80),
)


@settings(max_examples=60, deadline=None)
@given(turn=small, shear=small, x=st.floats(-30, 30), y=st.floats(-30, 30), box=boxes)
def test_every_pixel_belongs_to_exactly_the_cell_whose_middle_is_nearest(
    turn: float, shear: float, x: float, y: float, box: Box
) -> None:
    across, down = Point(37.3, 37.3 * turn), Point(-29.1 * shear, 29.1)
    lattice = Lattice(Point(x, y), across, down, (33, 41))
    owners = np.full((box.y1 - box.y0, box.x1 - box.x0, 2), -999)
    for cell in lattice.cells_over(box):
        for part in lattice.owned(cell, box):
            here = owners[part.y0 - box.y0 : part.y1 - box.y0, part.x0 - box.x0 : part.x1 - box.x0]
            assert (here == -999).all()
            here[:] = cell
    v, u = np.mgrid[box.y0 : box.y1, box.x0 : box.x1] + 0.5
    steps = np.array([[across.x, down.x], [across.y, down.y]])
    middle = np.array([x + 41 / 2, y + 33 / 2])
    col, row = np.tensordot(np.linalg.inv(steps), np.stack([u - middle[0], v - middle[1]]), 1)
    assert (np.abs(owners[..., 1] - col) <= 0.5 + 1e-6).all()
    assert (np.abs(owners[..., 0] - row) <= 0.5 + 1e-6).all()


@given(box=boxes, hole=boxes)
def test_a_box_without_another_and_what_they_share_make_the_box(box: Box, hole: Box) -> None:
    sheet = np.zeros((300, 300), int)
    shared = box.cut(hole)
    for part in [*box.without(hole), *([] if shared.empty else [shared])]:
        sheet[part.y0 + 95 : part.y1 + 95, part.x0 + 95 : part.x1 + 95] += 1
    assert sheet.max() == 1
    assert sheet.sum() == (box.x1 - box.x0) * (box.y1 - box.y0)


def test_an_upright_lattice_cuts_in_the_middle_of_the_overlap() -> None:
    lattice = Lattice(Point(0, 0), Point(90, 0), Point(0, 90), (100, 100))
    whole = hull(lattice.owned((0, 0), Box(-50, -50, 300, 300)))
    assert whole == Box(5, 5, 95, 95)


def test_a_lattice_that_lies_on_its_side_is_refused() -> None:
    with pytest.raises(ValueError, match="points right"):
        Lattice(Point(0, 0), Point(0, 90), Point(90, 0), (100, 100))
