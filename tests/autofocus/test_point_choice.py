"""Are the focus points those that tell most about the fields to scan, on a short way?"""

import numpy as np
import pytest
from numpy.typing import NDArray

from autofocus.errors import FocusInputError
from autofocus.point_choice import choose_points, short_way
from autofocus.relief import Relief, covariance, trend

STEP_UM = 461.0
RELIEF = Relief()


def disc(radius: float = 12.0) -> NDArray[np.float64]:
    """The fields of a round deposit, row by row."""
    reach = range(-int(radius), int(radius) + 1)
    cells = [(c * STEP_UM, r * STEP_UM) for r in reach for c in reach if np.hypot(r, c) <= radius]
    return np.array(cells)


def doubt_um(
    places: NDArray[np.float64], chosen: NDArray[np.int64], relief: Relief = RELIEF
) -> NDArray[np.float64]:
    """How unsure the surface is at every field once the chosen ones are measured."""
    noisy = covariance(places[chosen], places[chosen], relief) + 0.26 * np.eye(len(chosen))
    towards = covariance(places, places[chosen], relief)
    before = np.sum(trend(places) ** 2, axis=1) + relief.relief_um**2
    left: NDArray[np.float64] = np.sqrt(
        before - np.einsum("ij,ji->i", towards, np.linalg.solve(noisy, towards.T))
    )
    return left


def test_the_points_tell_more_than_a_random_choice_of_as_many() -> None:
    places, rng = disc(), np.random.default_rng(1)
    ours = doubt_um(places, choose_points(places, np.ones(len(places)), 20, RELIEF))
    for _ in range(5):
        theirs = doubt_um(places, rng.choice(len(places), 20, replace=False))
        assert ours.mean() < theirs.mean()
        assert ours.max() < theirs.max()


def test_where_the_relief_is_longer_the_points_lie_farther_apart() -> None:
    places, long_in_x = disc(), Relief(1.0, 2500.0, 0.3, 5.0, 0.0)
    chosen = places[choose_points(places, np.ones(len(places)), 24, long_in_x)]
    assert len(np.unique(chosen[:, 1])) > len(np.unique(chosen[:, 0]))


def test_fields_without_sample_are_never_chosen_and_those_with_much_more_often() -> None:
    places = disc()
    weights = np.where(places[:, 0] < 0, 0.0, np.where(places[:, 1] < 0, 0.2, 1.0))
    chosen = places[choose_points(places, weights, 15, RELIEF)]
    assert (chosen[:, 0] >= 0).all()
    assert np.sum(chosen[:, 1] > 0) > np.sum(chosen[:, 1] < 0)


def test_no_field_is_chosen_twice_and_few_fields_are_all_chosen() -> None:
    places = disc(2.0)
    chosen = choose_points(places, np.ones(len(places)), 50, RELIEF)
    assert sorted(chosen.tolist()) == list(range(len(places)))


def test_the_way_begins_in_the_middle_or_where_the_stage_is() -> None:
    places, even = disc(), np.ones(len(disc()))
    middle, corner = (
        choose_points(places, even, 12, RELIEF),
        choose_points(places, even, 12, RELIEF, (9e3, 9e3)),
    )
    assert set(middle) == set(corner)
    assert np.hypot(*places[middle[0]]) == np.hypot(*places[middle].T).min()
    assert places[corner[0]].sum() > 0


def test_the_way_does_not_cross_itself_over_a_square() -> None:
    square = np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [2.0, 1.0], [2.0, 0.0]])
    order = square[short_way(square, np.array([0.0, 0.0]))]
    assert np.hypot(*np.diff(order, axis=0).T).sum() == pytest.approx(5.0)


def test_a_large_slide_is_looked_at_in_part() -> None:
    places = disc(40.0)
    chosen = choose_points(places, np.ones(len(places)), 80, RELIEF)
    assert len(set(chosen.tolist())) == 80
    assert np.hypot(*places[chosen].T).max() > 30 * STEP_UM


@pytest.mark.parametrize(
    ("places", "weights"),
    [
        (np.zeros((3, 2)), np.ones(2)),
        (np.zeros((3, 3)), np.ones(3)),
        (np.full((2, 2), np.nan), np.ones(2)),
        (np.zeros((2, 2)), np.array([1.0, -1.0])),
        (np.zeros((2, 2)), np.zeros(2)),
    ],
)
def test_places_and_weights_without_meaning_are_refused(
    places: NDArray[np.float64], weights: NDArray[np.float64]
) -> None:
    with pytest.raises(FocusInputError):
        choose_points(places, weights, 2, RELIEF)
