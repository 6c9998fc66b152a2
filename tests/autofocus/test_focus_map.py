"""Is the map right between its points, sure where it may be, and unmoved by a wrong one?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from autofocus.errors import FocusInputError
from autofocus.focus_map import FocusMap, FocusPoint, Relief, next_points


def surface(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """A tilted, bowed and slightly wavy glass, µm."""
    x, y = (places / 1000).T
    heights: NDArray[np.float64] = 12 + 0.4 * x - 0.2 * y + 0.03 * (x * x + y * y) + 0.3 * np.sin(x)
    return heights


def points(count: int, scatter_um: float, seed: int = 0) -> list[FocusPoint]:
    """Measured points on the surface."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(-8000, 8000, (count, 2))
    heights = surface(places) + rng.normal(0, scatter_um, count) if scatter_um else surface(places)
    return [FocusPoint(float(x), float(y), float(z), 0.1) for (x, y), z in zip(places, heights, strict=True)]


def test_between_sixty_points_the_surface_is_right() -> None:
    focus_map = FocusMap.of(points(60, 0.5))
    wanted = np.random.default_rng(1).uniform(-7000, 7000, (200, 2))
    z_um, _ = focus_map.predict_many(wanted)
    assert np.sqrt(np.mean((z_um - surface(wanted)) ** 2)) < 0.4


def test_the_stated_uncertainty_covers_about_two_thirds_of_the_fields() -> None:
    rng = np.random.default_rng(2)
    hits = []
    for seed in range(5):
        wanted = rng.uniform(-7000, 7000, (100, 2))
        z_um, sigma_um = FocusMap.of(points(50, 0.6, seed)).predict_many(wanted)
        hits.append(np.abs(z_um - surface(wanted) - rng.normal(0, 0.6, 100)) < sigma_um)
    assert 0.55 < np.mean(hits) < 0.8


def test_one_wrong_point_moves_the_map_by_less_than_half_a_micrometre() -> None:
    good = points(40, 0.2)
    place = good[5]
    wrong = [*good[:5], FocusPoint(place.x_um, place.y_um, place.z_um + 12, 0.1), *good[6:]]
    z_um, _ = FocusMap.of(wrong).predict(place.x_um, place.y_um)
    assert z_um == pytest.approx(float(surface(np.array([[place.x_um, place.y_um]]))[0]), abs=0.5)


def test_one_wrong_point_in_six_cannot_hide_another() -> None:
    good = points(60, 0.4)
    wrong = [FocusPoint(p.x_um, p.y_um, p.z_um + (6 if n % 6 == 0 else 0), 0.1) for n, p in enumerate(good)]
    wanted = np.random.default_rng(1).uniform(-7000, 7000, (100, 2))
    z_um, _ = FocusMap.of(wrong).predict_many(wanted)
    assert np.sqrt(np.mean((z_um - surface(wanted)) ** 2)) < 0.5


def test_far_from_every_point_the_map_is_less_sure() -> None:
    focus_map = FocusMap.of(points(12, 0.3))
    assert focus_map.predict(40_000, 0)[1] > 2 * focus_map.predict(0, 0)[1]


def test_a_single_point_gives_its_own_height_nearby() -> None:
    assert FocusMap.of([FocusPoint(0, 0, 7.5, 0.1)]).predict(100, 0)[0] == pytest.approx(7.5, abs=0.1)


def test_a_map_with_hundreds_of_points_predicts_like_one_with_its_neighbours() -> None:
    few, many = FocusMap.of(points(50, 0.3)), FocusMap.of(points(50, 0.3)).with_points(points(200, 0.3, 9))
    assert len(many.points) == 250
    assert many.predict(1000, 1000)[0] == pytest.approx(few.predict(1000, 1000)[0], abs=0.6)
    assert many.predict(1000, 1000)[1] <= few.predict(1000, 1000)[1]


def test_points_can_be_dropped_but_not_all_of_them() -> None:
    focus_map = FocusMap.of([FocusPoint(0, 0, 1, 0.1), FocusPoint(5000, 0, 2, 0.1)])
    assert len(focus_map.without(0, 0, 10).points) == 1
    with pytest.raises(FocusInputError, match="at least one"):
        focus_map.without(0, 0, 10_000)


def test_a_point_can_be_moved_even_the_only_one() -> None:
    focus_map = FocusMap.of([FocusPoint(0, 0, 1, 0.1)]).moved(10, 0, FocusPoint(5000, 0, 4, 0.1))
    assert focus_map.points == (FocusPoint(5000, 0, 4, 0.1),)
    assert focus_map.predict(5000, 0)[0] == pytest.approx(4, abs=0.1)


def test_a_moved_point_leaves_the_others_as_they_were() -> None:
    before = points(30, 0.3)
    new = FocusPoint(100, 100, float(surface(np.array([[100.0, 100.0]]))[0]), 0.1)
    after = FocusMap.of(before).moved(before[3].x_um, before[3].y_um, new).points
    assert {(p.x_um, p.y_um) for p in after} == {(p.x_um, p.y_um) for p in [*before[:3], *before[4:], new]}


def test_the_uncertainty_is_that_of_the_surface_and_the_scatter_of_a_field() -> None:
    focus_map = FocusMap.of(points(60, 0.8))
    z_um, sigma_um = focus_map.predict(500, 500)
    same_um, surface_um, scatter_um = focus_map.predict_parts(500, 500)
    assert z_um == same_um
    assert sigma_um == pytest.approx(np.hypot(surface_um, scatter_um))
    assert 0.6 < scatter_um < 1.1
    assert surface_um < 0.6


def test_a_relief_that_reaches_farther_along_one_direction_is_seen() -> None:
    rng = np.random.default_rng(4)
    places = rng.uniform(-8000, 8000, (120, 2))
    turned = places @ [np.cos(0.5), np.sin(0.5)], places @ [-np.sin(0.5), np.cos(0.5)]
    heights = np.sin(turned[0] / 6000) + np.sin(turned[1] / 1000) + rng.normal(0, 0.1, 120)
    rows = np.column_stack([places, heights, np.full(120, 0.1)]).tolist()
    relief = FocusMap.of([FocusPoint(*row) for row in rows]).relief
    assert relief.stretch > 2
    assert np.cos(2 * (relief.heading_rad - 0.5)) > 0.9
    assert relief.reaches_um[0] > 2 * relief.reaches_um[1]


def test_a_wrong_point_that_comes_while_scanning_hardly_moves_the_map() -> None:
    focus_map = FocusMap.of(points(60, 0.2))
    lied = focus_map.with_points([FocusPoint(0, 0, focus_map.predict(0, 0)[0] + 8, 0.1)])
    assert lied.predict(0, 0)[0] == pytest.approx(focus_map.predict(0, 0)[0], abs=0.1)
    assert lied.points[-1].sigma_um > 7


def test_a_step_that_many_points_show_is_believed_once_the_map_is_fitted_anew() -> None:
    focus_map = FocusMap.of([p for p in points(60, 0.2) if p.x_um < 2000])
    raised = [FocusPoint(p.x_um, p.y_um, p.z_um + 6, 0.1) for p in points(80, 0.2, 3) if p.x_um > 2000]
    z_um, _ = focus_map.with_points(raised).refitted().predict(6000, 0)
    assert z_um == pytest.approx(float(surface(np.array([[6000.0, 0.0]]))[0]) + 6, abs=0.7)


def test_a_map_is_stale_when_it_knows_twice_what_its_relief_was_learned_from() -> None:
    focus_map = FocusMap.of(points(20, 0.3))
    assert not focus_map.stale
    grown = focus_map.with_points(points(20, 0.3, 5))
    assert grown.stale
    assert not grown.refitted().stale


def test_neighbouring_fields_tell_the_scatter_that_a_lattice_cannot_tell_from_a_short_relief() -> None:
    rng = np.random.default_rng(8)
    lattice = np.stack(np.meshgrid(np.arange(9.0), np.arange(9.0)), axis=-1).reshape(-1, 2) * 1800
    tiles = np.stack(np.meshgrid(np.arange(20.0), np.arange(10.0)), axis=-1).reshape(-1, 2) * 460
    places = np.concatenate([lattice, tiles])
    rows = np.column_stack(
        [places, surface(places) + rng.normal(0, 0.5, len(places)), np.full(len(places), 0.1)]
    )
    taken = [FocusPoint(*row) for row in rows.tolist()]
    scanned = FocusMap.of(taken[:81]).with_points(taken[81:])
    assert scanned.stale
    assert scanned.refitted().relief.scatter_um == pytest.approx(0.5, abs=0.08)


def test_thousands_of_points_are_fitted_in_parts() -> None:
    focus_map = FocusMap.of(points(1500, 0.4))
    wanted = np.random.default_rng(1).uniform(-7000, 7000, (50, 2))
    z_um, _ = focus_map.predict_many(wanted)
    assert np.sqrt(np.mean((z_um - surface(wanted)) ** 2)) < 0.2
    assert len(focus_map.points) == 1500


def test_the_next_points_are_spread_and_never_the_same() -> None:
    focus_map = FocusMap.of([FocusPoint(0, 0, 1, 0.1)])
    line = np.stack([np.linspace(0, 10_000, 11), np.zeros(11)], axis=1)
    chosen = next_points(focus_map, line, 3)
    assert chosen[0] in (7, 8, 9)  # not the end, whose far side nobody will look at
    assert len(set(chosen.tolist())) == 3


@settings(max_examples=25, deadline=None)
@given(shift=st.floats(-4000, 4000), x=st.floats(-5e4, 5e4))
def test_where_the_stage_counts_from_changes_nothing(shift: float, x: float) -> None:
    measured = points(5, 0.2)
    here = FocusMap.of(measured, Relief())
    there = FocusMap.of(
        [FocusPoint(p.x_um + x, p.y_um, p.z_um + shift, p.sigma_um) for p in measured], Relief()
    )
    assert there.predict(x, 0)[0] - shift == pytest.approx(here.predict(0, 0)[0], abs=1e-3)


@pytest.mark.parametrize("bad", [FocusPoint(0, 0, float("nan"), 0.1), FocusPoint(0, 0, 1, 0.0)])
def test_points_without_meaning_are_refused(bad: FocusPoint) -> None:
    with pytest.raises(FocusInputError, match="finite"):
        FocusMap.of([bad])
