"""Do tied tiles find their places, whatever one of the ties says?"""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.pipeline.network import Ties, solve

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


def grounded(places: np.ndarray, sigma_px: float) -> Ties:
    n = len(places)
    weight = np.full(n, sigma_px**-2)
    return Ties(np.full(n, n, np.intp), np.arange(n), places, weight)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), wrong=st.sampled_from(TWICE_CHECKED), off=st.floats(8, 30))
def test_one_wrong_tie_is_convicted_where_its_tiles_have_others(seed: int, wrong: int, off: float) -> None:
    rng = np.random.default_rng(seed)
    said, start, end = lattice(4)
    true = said + rng.normal(0, 4, said.shape)
    offset = true[end] - true[start] + rng.normal(0, 0.05, (len(start), 2))
    offset[wrong] += off
    at = np.vstack([said, [[0.0, 0.0]]])
    free = np.arange(len(at)) < len(said)
    ties = Ties(start, end, offset, np.full(len(start), 0.06**-2))
    places, trust = solve(at, free, ties, grounded(said, 4.5))
    seams = (places[:-1][end] - places[:-1][start]) - (true[end] - true[start])
    assert trust[wrong] == 0
    assert np.abs(seams).max() < 0.5


def test_fixed_tiles_stay_where_they_are_to_the_last_bit() -> None:
    said, start, end = lattice(3)
    at = np.vstack([said + 0.123, [[0.0, 0.0]]])
    free = np.array([False] * 4 + [True] * 5 + [False])
    ties = Ties(start, end, said[end] - said[start] + 1.0, np.full(len(start), 100.0))
    places, _ = solve(at, free, ties, grounded(said, 4.5))
    assert np.array_equal(places[~free], at[~free])
    assert not np.array_equal(places[free], at[free])
