"""Do tied tiles find their places, whatever one of the ties says?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.pipeline.network import Stage, Ties, solve

CORNERS = {0, 3, 12, 15}


def lattice(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places (n², 2) and the ties' ends of an n × n grid of tiles."""
    index = np.arange(n * n).reshape(n, n)
    start = np.concatenate([index[:, :-1].ravel(), index[:-1].ravel()])
    end = np.concatenate([index[:, 1:].ravel(), index[1:].ravel()])
    y, x = np.divmod(np.arange(n * n), n)
    return np.column_stack([x, y]) * 900.0, start, end


TWICE_CHECKED = [
    k for k, ends in enumerate(zip(*lattice(4)[1:], strict=True)) if not CORNERS & {*map(int, ends)}
]


NOTHING = Ties.of([])


def stage(said: np.ndarray, sigma_px: float) -> Stage:
    """Each axis may be shifted, turned and scaled."""
    design = np.column_stack([said / 1000, np.ones(len(said))])
    return Stage(said, design, sigma_px**-2, np.diag([0.04, 0.04, 1e-4]), np.zeros((3, 2)))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), wrong=st.sampled_from(TWICE_CHECKED), off=st.floats(8, 30))
def test_one_wrong_tie_is_convicted_where_its_tiles_have_others(seed: int, wrong: int, off: float) -> None:
    rng = np.random.default_rng(seed)
    said, start, end = lattice(4)
    true = said + rng.normal(0, 4, said.shape)
    offset = true[end] - true[start] + rng.normal(0, 0.05, (len(start), 2))
    offset[wrong] += off
    ties = Ties(start, end, offset, np.full(len(start), 0.06**-2))
    found = solve(said, np.full(len(said), True), ties, NOTHING, stage(said, 4.5))
    seams = (found.at[end] - found.at[start]) - (true[end] - true[start])
    assert found.trust[wrong] == 0
    assert np.abs(seams).max() < 0.5


def test_fixed_tiles_stay_where_they_are_to_the_last_bit() -> None:
    said, start, end = lattice(3)
    at = said + 0.123
    free = np.array([False] * 4 + [True] * 5)
    ties = Ties(start, end, said[end] - said[start] + 1.0, np.full(len(start), 100.0))
    found = solve(at, free, ties, NOTHING, stage(said[free], 4.5))
    assert np.array_equal(found.at[~free], at[~free])
    assert not np.array_equal(found.at[free], at[free])


def test_what_a_stage_does_to_a_whole_grid_is_found_from_tied_tiles_and_places_the_others() -> None:
    said, start, end = lattice(8)
    true = said @ np.array([[1.002, 0.005], [-0.005, 1.002]])
    tied = (start % 8 < 4) & (end % 8 < 4)
    start, end = start[tied], end[tied]
    ties = Ties(start, end, true[end] - true[start], np.full(len(start), 100.0))
    found = solve(said, np.full(64, True), ties, NOTHING, stage(said, 4.5))
    seams = np.diff((found.at - true).reshape(8, 8, 2), axis=1)
    assert found.habits[:2] == pytest.approx(np.array([[2.0, 5.0], [-5.0, 2.0]]), abs=0.2)
    assert np.abs(seams).max() < 0.5
