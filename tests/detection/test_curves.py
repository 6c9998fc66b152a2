import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detection.curves import (
    calibration_error,
    cumulative,
    falling,
    froc_curve,
    precision_recall,
    reliability,
    rising,
    roc,
)
from detection.evaluation import auc, average_precision, froc

SCORES = np.array([0.9, 0.8, 0.8, 0.4, 0.1])
HITS = np.array([True, True, False, False, True])


def test_equal_scores_are_one_step() -> None:
    found, false = cumulative(SCORES, HITS)
    assert found.tolist() == [0, 1, 2, 2, 3]
    assert false.tolist() == [0, 0, 1, 2, 2]
    assert [side.tolist() for side in cumulative(np.zeros(0), np.zeros(0, bool))] == [[0], [0]]


def test_curves_of_a_known_ranking() -> None:
    false_rate, true_rate = roc(SCORES, HITS)
    assert false_rate.tolist() == [0, 0, 0.5, 1, 1]
    assert true_rate == pytest.approx([0, 1 / 3, 2 / 3, 2 / 3, 1])
    recall, precision = precision_recall(SCORES, HITS, 4)
    assert recall.tolist() == [0.25, 0.5, 0.5, 0.75]
    assert precision == pytest.approx([1, 2 / 3, 3 / 5, 3 / 5])
    false, found = froc_curve(SCORES, HITS, 4, area_mm2=0.5)
    assert false.tolist() == [0, 0, 2, 4, 4]
    assert found.tolist() == [0, 0.25, 0.5, 0.5, 0.75]


def test_curves_are_read_at_places_of_a_grid() -> None:
    grid = np.array([0.0, 0.4, 0.5, 1.0])
    assert rising(grid, np.array([0, 0, 0.5, 1]), np.array([0, 0.3, 0.6, 1])).tolist() == [0.3, 0.3, 0.6, 1]
    assert falling(grid, np.array([0.25, 0.5]), np.array([1.0, 0.5])).tolist() == [1, 0.5, 0.5, 0]


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_the_area_under_the_roc_curve_is_the_share_of_pairs_in_order(pairs: list[tuple[int, bool]]) -> None:
    scores, truth = np.array([s for s, _ in pairs], float), np.array([t for _, t in pairs])
    if truth.any() and not truth.all():
        false, true = roc(scores, truth)
        assert np.trapezoid(true, false) == pytest.approx(auc(scores, truth))


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.integers(0, 3)), min_size=1, max_size=20),
    st.integers(0, 5),
)
def test_a_weight_counts_like_a_repetition(drawn: list[tuple[float, bool, int]], missed: int) -> None:
    scores, hits = np.array([s for s, _, _ in drawn]), np.array([h for _, h, _ in drawn])
    weight = np.array([w for _, _, w in drawn])
    again_scores, again_hits = np.repeat(scores, weight), np.repeat(hits, weight)
    truths = int(again_hits.sum()) + missed
    assert froc(scores, hits, truths, 0.1, weight) == froc(again_scores, again_hits, truths, 0.1)
    if len(set(scores.tolist())) == len(scores):
        weighted, repeated = (
            average_precision(scores, hits, truths, weight),
            average_precision(again_scores, again_hits, truths),
        )
        assert weighted == pytest.approx(repeated)


def test_reliability_of_what_was_said() -> None:
    said = np.array([0.05, 0.05, 0.15, 0.95, 1.0])
    bins = reliability(said, np.array([False, True, False, True, True]))
    assert [(b.low, b.n) for b in bins] == [(0.0, 2), (0.1, 1), (pytest.approx(0.9), 2)]
    assert [b.found for b in bins] == [0.5, 0.0, 1.0]
    assert bins[0].found_ci95 == pytest.approx((0.01258, 0.98742), abs=1e-4)
    # (2 × 0.45 + 1 × 0.15 + 2 × 0.025) / 5
    assert calibration_error(bins) == pytest.approx(0.22)
    assert calibration_error([]) is None
