import numpy as np
import pytest
from scipy.stats import binom

from detection.appearance import Appearance
from detection.cell_level import calibration, cell_figures, groups_of, ranking
from detection.evaluation import average_precision, matched
from tests.detection.seen_by_hand import ABNORMAL, NORMAL, field

CLASSES = {"HSIL": ABNORMAL, "NILM": NORMAL}


def test_average_precision_of_fields_written_down_by_hand() -> None:
    seen = [
        field("a", [(0, ABNORMAL), (100, NORMAL)], [(0, ABNORMAL, 0.9), (100, NORMAL, 0.8)]),
        field("b", [(0, ABNORMAL)], [(2, ABNORMAL, 0.7), (300, ABNORMAL, 0.1)]),
        field("c", [(0, ABNORMAL)], []),
    ]
    found = cell_figures(seen, [ABNORMAL], CLASSES)
    # ranked: hit, miss, hit, miss; 3 true cells: (1 + 2/3) / 3
    assert found.ap50 == pytest.approx((1 + 2 / 3) / 3)
    assert found.boxes_of == {"HSIL": 3, "NILM": 1}
    assert found.ap50_of["NILM"] == 1.0
    assert found.area_mm2 == pytest.approx(0.3)
    # 1 false on 0.3 mm² is 3.3 on one: allowed at 5, not at 1.
    assert found.froc == pytest.approx({"1": 1 / 3, "5": 2 / 3, "20": 2 / 3, "60": 2 / 3})
    assert found.ap50_ci95 is None
    assert any("fewer than 5 slides" in note for note in found.notes)


def test_the_interval_is_drawn_by_slide_and_not_by_cell() -> None:
    # Each slide is found wholly or not at all: cells of one slide are no independent witnesses.
    good = [
        field(f"g{k}", [(0, ABNORMAL), (50, ABNORMAL)], [(0, ABNORMAL, 0.9), (50, ABNORMAL, 0.9)])
        for k in range(6)
    ]
    lost = [field(f"l{k}", [(0, ABNORMAL), (50, ABNORMAL)], []) for k in range(6)]
    found = cell_figures([*good, *lost], [ABNORMAL], {"HSIL": ABNORMAL})
    assert found.ap50 == 0.5
    assert found.ap50_ci95 is not None
    # Twelve slides, half of them found: binomial with n = 12.
    assert found.ap50_ci95 == pytest.approx((3 / 12, 9 / 12), abs=0.01)
    assert found.froc_ci95["1"] == pytest.approx((3 / 12, 9 / 12), abs=0.01)


def test_a_ranking_is_sorted_and_scores_like_the_plain_figure() -> None:
    rng = np.random.default_rng(2)
    seen = [
        field(
            f"s{k}",
            [(float(x), ABNORMAL) for x in range(0, 200, 50)],
            [(float(x), ABNORMAL, float(rng.random())) for x in range(0, 300, 25)],
        )
        for k in range(8)
    ]
    found = ranking(seen, [ABNORMAL], "abnormal")
    hits = np.concatenate([matched(s.found.boxes, s.found.abnormal, s.truth) for s in seen])
    scores = np.concatenate([s.found.abnormal for s in seen]).astype(float)
    assert (np.diff(found.scores) <= 0).all()
    assert found.precision() == average_precision(scores, hits, 32)
    assert found.precision(np.ones(8, np.int64)) == found.precision()
    interval = found.precision_interval()
    assert interval is not None
    assert interval[0] < (found.precision() or 0) < interval[1]


def test_groups_are_those_of_the_file_where_it_names_them() -> None:
    seen = [
        field("a", [(0, ABNORMAL)], [(0, ABNORMAL, 0.9)], group="lab 1"),
        field("b", [(0, ABNORMAL)], [(90, ABNORMAL, 0.9)], group="lab 2"),
        field("c", [], [], group=""),
    ]
    found = cell_figures(seen, [ABNORMAL], {"HSIL": ABNORMAL})
    assert [(g.by, g.name, g.images, g.abnormal, g.ap50) for g in found.groups] == [
        ("group", "not said", 1, 0, None),
        ("group", "lab 1", 1, 1, 1.0),
        ("group", "lab 2", 1, 1, 0.0),
    ]
    assert [g.calibration_error for g in found.groups] == pytest.approx([None, 0.1, 0.9])


def test_groups_are_measured_where_the_file_says_nothing() -> None:
    looks = [Appearance(white, 0.1, 0.0, 220.0) for white in (180.0, 200.0, 220.0, 240.0, 250.0, 255.0)]
    seen = [field(f"s{k}", [], [], looks=look) for k, look in enumerate(looks)]
    ((by, parts),) = groups_of(seen)
    assert by == "white level"
    assert [int(mask.sum()) for _, mask in parts] == [2, 2, 2]


def test_calibration_counts_how_often_a_box_is_an_abnormal_cell() -> None:
    seen = [
        field("a", [(0, ABNORMAL), (50, ABNORMAL)], [(0, ABNORMAL, 0.95), (50, ABNORMAL, 0.95)]),
        field("b", [], [(0, ABNORMAL, 0.95), (50, ABNORMAL, 0.95), (90, NORMAL, 0.05)]),
    ]
    found = calibration(seen, [ABNORMAL])
    assert [(b.n, b.found) for b in found.bins] == [(1, 0.0), (4, 0.5)]
    assert found.error == pytest.approx((0.05 + 4 * 0.45) / 5)


def test_fields_without_abnormal_cells_say_what_cannot_be_given() -> None:
    found = cell_figures([field("a", [(0, NORMAL)], [])], [ABNORMAL], {"NILM": NORMAL})
    assert (found.ap50, found.calibration.error) == (None, None)
    assert "no abnormal cell is labelled: no average precision and no FROC can be given" in found.notes


def test_where_an_interval_is_given_it_covers_the_truth_as_often_as_it_says() -> None:
    # Slides found wholly or not at all, the worst case: every outcome of 12 slides, weighed by its chance.
    chance, slides = 0.6, 12
    given, covered = 0.0, 0.0
    for found in range(slides + 1):
        seen = [
            field(f"{k:02d}", [(0, ABNORMAL)], [(0, ABNORMAL, 0.9)] if k < found else [])
            for k in range(slides)
        ]
        interval = ranking(seen, [ABNORMAL], "abnormal").precision_interval()
        if interval is not None:
            weight = float(binom.pmf(found, slides, chance))
            given += weight
            covered += weight * (interval[0] <= chance <= interval[1])
    assert given > 0.99
    assert 0.9 < covered / given < 1.0
