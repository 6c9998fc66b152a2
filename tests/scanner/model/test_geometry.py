"""Do places keep their meaning from one space to another?"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.model.geometry import Affine, Point, Rect, Space, quarter_turns_and_flips

um = st.floats(-1e5, 1e5)
points = st.builds(Point, um, um)
sizes = st.floats(0.01, 1e5)
rects = st.builds(Rect, um, um, sizes, sizes)
angles = st.floats(-math.pi, math.pi)
signs = st.sampled_from([-1.0, 1.0])


@st.composite
def affines(draw: st.DrawFn, source: Space = Space.STAGE, target: Space = Space.SLIDE) -> Affine:
    """A rotation, two scales and perhaps a flip: what a camera or a stage can be."""
    angle, x, y = draw(angles), draw(st.floats(0.01, 100)), draw(st.floats(0.01, 100)) * draw(signs)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return Affine.from_array(source, target, turn @ np.diag([x, y]), [draw(um), draw(um)])


def close(a: Point, b: Point, scale: float = 1.0) -> bool:
    return a.distance(b) <= 1e-6 * scale


@given(affine=affines(), point=points)
def test_there_and_back_is_the_same_place(affine: Affine, point: Point) -> None:
    there = affine.apply(point)
    back = affine.inverse()
    assert (back.source, back.target) == (affine.target, affine.source)
    assert close(back.apply(there), point, 1 + abs(there.x) + abs(there.y))


@given(first=affines(), second=affines(Space.SLIDE, Space.MOSAIC), point=points)
def test_two_maps_in_a_row_are_one_map(first: Affine, second: Affine, point: Point) -> None:
    whole = second.after(first)
    assert (whole.source, whole.target) == (Space.STAGE, Space.MOSAIC)
    size = 1 + abs(second.apply(first.apply(point)).x) + abs(second.apply(first.apply(point)).y)
    magnitude = size + 1e5 * second.scale * (1 + first.scale) * 100
    assert close(whole.apply(point), second.apply(first.apply(point)), magnitude)


@given(first=affines(), second=affines())
def test_maps_between_spaces_that_do_not_meet_are_not_chained(first: Affine, second: Affine) -> None:
    with pytest.raises(ValueError, match="cannot follow"):
        second.after(first)


@given(affine=affines(), a=points, b=points)
def test_a_displacement_does_not_depend_on_where_it_starts(affine: Affine, a: Point, b: Point) -> None:
    moved = affine.apply_vector(b - a)
    assert close(affine.apply(b) - affine.apply(a), moved, 1 + 1e5 * 100)


@given(affine=affines(), many=st.lists(points, min_size=1, max_size=20))
def test_many_places_are_mapped_like_one(affine: Affine, many: list[Point]) -> None:
    mapped = affine.apply_many([(p.x, p.y) for p in many])
    assert mapped.shape == (len(many), 2)
    for point, (x, y) in zip(many, mapped, strict=True):
        assert close(affine.apply(point), Point(float(x), float(y)), 1 + 1e5 * 100)


@given(affine=affines(), point=points, by=points)
def test_a_shifted_map_moves_every_place_alike(affine: Affine, point: Point, by: Point) -> None:
    assert close(affine.shifted(by).apply(point), affine.apply(point) + by, 1 + 1e5 * 100)


@given(angle=angles, scale=st.floats(0.01, 100), x_flip=signs)
def test_rotation_scale_and_mirror_are_read_off_a_map(angle: float, scale: float, x_flip: float) -> None:
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    affine = Affine.from_array(Space.CAMERA, Space.STAGE, turn @ np.diag([scale, scale * x_flip]))
    assert affine.scale == pytest.approx(scale)
    assert math.sin(affine.rotation - angle) == pytest.approx(0, abs=1e-9)
    assert math.copysign(1, affine.determinant) == x_flip


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_make_no_map_and_no_rectangle(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Affine(Space.STAGE, Space.SLIDE, ((bad, 0.0), (0.0, 1.0)))
    with pytest.raises(ValueError, match="finite"):
        Affine(Space.STAGE, Space.SLIDE, ((1.0, 0.0), (0.0, 1.0)), (0.0, bad))
    with pytest.raises(ValueError, match="finite"):
        Rect(bad, 0, 1, 1)


def test_a_matrix_that_cannot_be_undone_makes_no_map() -> None:
    with pytest.raises(ValueError, match="invertible"):
        Affine(Space.STAGE, Space.SLIDE, ((1.0, 2.0), (2.0, 4.0)))


@pytest.mark.parametrize("size", [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0)])
def test_a_rectangle_without_area_is_refused(size: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="positive"):
        Rect(0, 0, *size)


@given(a=rects, b=rects)
def test_a_union_covers_both_and_touches_no_further(a: Rect, b: Rect) -> None:
    whole = a.union(b)
    assert whole == b.union(a)
    assert whole.grown(1e-6).covers(a)
    assert whole.grown(1e-6).covers(b)
    assert whole.x == min(a.x, b.x)
    assert whole.bottom == pytest.approx(max(a.bottom, b.bottom))


@given(a=rects, b=rects)
def test_overlapping_is_mutual_and_follows_from_covering(a: Rect, b: Rect) -> None:
    assert a.overlaps(b) == b.overlaps(a)
    assert a.overlaps(a)
    if a.covers(b):
        assert a.overlaps(b)
        assert a.contains(b.centre)


@given(rect=rects, margin=st.floats(0, 1e4))
def test_a_grown_rectangle_keeps_its_middle_and_covers_the_old(rect: Rect, margin: float) -> None:
    grown = rect.grown(margin)
    assert grown.w == pytest.approx(rect.w + 2 * margin)
    assert close(grown.centre, rect.centre)
    assert grown.grown(1e-6).covers(rect)


@given(point=points, rect=rects)
def test_neighbours_that_only_touch_share_no_area(point: Point, rect: Rect) -> None:
    left = Rect(rect.x - 1.0, rect.y, 1.0, rect.h)
    assert not left.overlaps(Rect(left.right, rect.y, rect.w, rect.h))
    assert rect.contains(point) == (rect.x <= point.x <= rect.right and rect.y <= point.y <= rect.bottom)


@given(
    turn=st.integers(0, 3),
    flip=st.booleans(),
    off=st.floats(-0.5, 0.5),
    scale=st.floats(0.05, 20),
)
def test_flips_and_quarter_turns_are_found_through_a_small_rotation(
    turn: int, flip: bool, off: float, scale: float
) -> None:
    quarter = np.linalg.matrix_power(np.array([[0, -1], [1, 0]]), turn)
    exact = quarter @ np.diag([1, -1 if flip else 1])
    tilt = np.array([[math.cos(off), -math.sin(off)], [math.sin(off), math.cos(off)]])
    found = quarter_turns_and_flips((scale * tilt @ exact).tolist())
    assert found.dtype == np.int64
    assert np.array_equal(found, exact)
