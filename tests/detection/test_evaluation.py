import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detection.evaluation import (
    at_threshold,
    auc,
    auc_interval,
    average_precision,
    balanced_accuracy,
    confusion,
    froc,
    matched,
    platt,
    safe_point,
)
from detection.scoring import slide_score


def test_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    assert auc([0.1, 0.4, 0.35, 0.8], [False, False, True, True]) == 0.75
    assert auc([0.5, 0.5], [True, False]) == 0.5
    assert auc([0.5, 0.6], [True, True]) is None


def test_the_interval_holds_the_auc_and_narrows_with_more_slides() -> None:
    rng = np.random.default_rng(1)
    widths = []
    for n in (20, 400):
        truth = np.arange(n) % 2 == 0
        scores = rng.normal(truth * 1.0, 1.0)
        area, interval = auc(scores, truth), auc_interval(scores, truth)
        assert area is not None
        assert interval is not None
        assert interval[0] <= area <= interval[1]
        widths.append(interval[1] - interval[0])
    assert widths[1] < widths[0] / 2


@given(st.lists(st.tuples(st.floats(0.01, 0.99), st.booleans()), min_size=2, max_size=40))
def test_no_abnormal_slide_seen_lies_under_the_safe_point(slides: list[tuple[float, bool]]) -> None:
    scores, truth = np.array([s for s, _ in slides]), np.array([t for _, t in slides])
    point = safe_point(scores, truth)
    assert (scores[truth] >= point.threshold).all()
    assert point == at_threshold(scores, truth, point.threshold)


def test_a_true_box_is_hit_once_by_the_best_score() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 10, 10], [50, 50, 5, 5]], np.float32)
    hits = matched(boxes, np.array([0.5, 0.9, 0.8], np.float32), np.array([[0, 0, 10, 10]], np.float32))
    assert hits.tolist() == [False, True, False]


def test_average_precision_of_known_rankings() -> None:
    assert average_precision(np.array([0.9, 0.8]), np.array([True, True]), 2) == 1.0
    assert average_precision(np.array([0.9, 0.8]), np.array([False, True]), 1) == 0.5
    assert average_precision(np.array([0.9]), np.array([True]), 2) == 0.5
    assert average_precision(np.zeros(0), np.zeros(0, bool), 0) is None


def test_froc_counts_false_detections_on_the_area() -> None:
    scores, hits = np.array([0.9, 0.8, 0.7]), np.array([True, False, True])
    assert froc(scores, hits, 2, area_mm2=1.0)["1"] == 1.0
    assert froc(scores, hits, 2, area_mm2=0.1)["1"] == 0.5


def test_balanced_accuracy_does_not_care_how_many_crops_a_class_has() -> None:
    counts = confusion(np.array([0, 0, 0, 0, 1]), np.array([0, 0, 0, 0, 0]), 2)
    assert counts.tolist() == [[4, 0], [1, 0]]
    assert balanced_accuracy(counts) == 0.5


def test_platt_scaling_finds_the_frequency() -> None:
    rng = np.random.default_rng(2)
    raw = rng.uniform(0.02, 0.98, 4000)
    wanted = 1 / (1 + np.exp(-(2.0 * np.log(raw / (1 - raw)) - 1.0)))
    slope, offset = platt(raw, rng.random(4000) < wanted)
    assert slope == pytest.approx(2.0, abs=0.2)
    assert offset == pytest.approx(-1.0, abs=0.2)


def test_a_slide_is_as_suspicious_as_its_few_worst_cells() -> None:
    quiet = np.full(20_000, 0.01)
    assert slide_score(np.concatenate([quiet, np.full(5, 0.9)])) == pytest.approx(0.9)
    one = slide_score(np.concatenate([quiet, np.full(1, 0.9)]))
    assert 0.5 < one < 0.9
    assert one == pytest.approx((9 / 5**0.5) / (1 + 9 / 5**0.5), abs=1e-3)
    assert slide_score(np.zeros(0)) == pytest.approx(1e-4)


@given(st.lists(st.floats(0, 1), max_size=20), st.floats(0, 1))
def test_one_more_cell_never_makes_a_slide_less_suspicious(cells: list[float], more: float) -> None:
    assert slide_score(np.array([*cells, more])) >= slide_score(np.array(cells)) - 1e-12
