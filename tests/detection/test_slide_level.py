import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detection.evaluation import at_sensitivity
from detection.slide_level import (
    SAFE,
    Rule,
    Slides,
    control_notes,
    controls,
    on_unseen,
    roc_band,
    slide_figures,
    slides_of,
)
from tests.detection.seen_by_hand import ABNORMAL, NORMAL, field


def slides(abnormal: list[float], normal: list[float], density: list[float] | None = None) -> Slides:
    n = len(abnormal) + len(normal)
    dark = np.array(density or [0.1] * n)
    return Slides(
        names=tuple(f"s{k}" for k in range(n)),
        scores=np.array([*abnormal, *normal]),
        truth=np.arange(n) < len(abnormal),
        density=dark,
        dark_share=dark,
    )


def test_the_point_for_a_sensitivity_is_the_highest_that_reaches_it() -> None:
    scores, truth = np.arange(1, 21) / 20, np.arange(20) >= 10
    assert at_sensitivity(scores, truth, 0.9).threshold == pytest.approx(0.6)
    assert at_sensitivity(scores, truth, 0.91).threshold == pytest.approx(0.55)
    assert at_sensitivity(scores, truth, 1.0).sensitivity == 1.0
    assert at_sensitivity(scores, truth, 0.9).excluded == 1.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.01, 1))
def test_no_higher_threshold_reaches_the_sensitivity(scores: list[float], wanted: float) -> None:
    values, truth = np.array(scores), np.ones(len(scores), bool)
    point = at_sensitivity(values, truth, wanted)
    assert point.sensitivity >= wanted - 1e-9
    higher = np.nextafter(point.threshold, 2.0)
    assert (values >= higher).mean() < wanted


def test_figures_at_a_chosen_point_have_exact_intervals() -> None:
    found = slide_figures(slides([0.9] * 18 + [0.2] * 2, [0.1] * 15 + [0.5] * 5), Rule(sensitivity=0.9))
    assert (found.threshold, found.sensitivity, found.excluded) == (0.9, 0.9, 1.0)
    assert found.sensitivity_ci95 == pytest.approx((0.68302, 0.98765), abs=1e-4)
    assert found.excluded_ci95 == pytest.approx((0.83157, 1.0), abs=1e-4)
    assert found.excluded_after_second_reading == pytest.approx(0.9)
    assert found.auc == pytest.approx((18 * 20 + 2 * 15) / 400)


def test_a_given_point_is_taken_as_it_is() -> None:
    found = slide_figures(slides([0.9, 0.3], [0.1, 0.4]), Rule(threshold=0.35))
    assert (found.threshold, found.sensitivity, found.excluded) == (0.35, 0.5, 0.5)
    assert found.excluded_after_second_reading == pytest.approx(0.45)
    assert found.unseen is None
    assert not any("chosen on these very slides" in note for note in found.notes)


def test_the_default_point_lies_below_every_abnormal_slide() -> None:
    found = slide_figures(slides([0.9, 0.3], [0.1, 0.4]), SAFE)
    assert found.threshold is not None
    assert 0.22 < found.threshold < 0.3
    assert (found.sensitivity, found.excluded) == (1.0, 0.5)


def test_without_normal_slides_sensitivity_alone_is_given_and_said() -> None:
    found = slide_figures(slides([0.9, 0.8], []), SAFE)
    assert (found.auc, found.excluded, found.sensitivity) == (None, None, 1.0)
    assert found.controls == ()
    assert "no normal slide: no AUC and no exclusion rate can be given" in found.notes


def test_without_abnormal_slides_only_a_given_point_tells_the_exclusion() -> None:
    none = slide_figures(slides([], [0.1, 0.6]), SAFE)
    assert (none.threshold, none.sensitivity, none.excluded) == (None, None, None)
    assert any("no operating point can be chosen" in note for note in none.notes)
    given_one = slide_figures(slides([], [0.1, 0.6]), Rule(threshold=0.5))
    assert (given_one.sensitivity, given_one.excluded) == (None, 0.5)


def test_a_point_chosen_on_few_slides_is_worse_on_others() -> None:
    scores = np.concatenate([np.arange(10) / 20 + 0.5, np.arange(10) / 20])
    unseen = on_unseen(scores, np.arange(20) < 10, SAFE)
    assert unseen is not None
    # The lowest of ten is left out of a draw with (9/10)¹⁰ = 0.35; then at least one of the left-out is missed.
    assert 0.8 < unseen.sensitivity < 0.97
    assert unseen.sensitivity_ci95 is not None
    assert unseen.sensitivity_ci95[0] < unseen.sensitivity < unseen.sensitivity_ci95[1]


def test_equal_slides_left_out_are_like_those_drawn() -> None:
    unseen = on_unseen(np.array([0.9] * 4 + [0.1] * 4), np.arange(8) < 4, SAFE)
    assert unseen is not None
    assert (unseen.sensitivity, unseen.excluded) == (1.0, 1.0)
    assert unseen.sensitivity_ci95 is None


def test_fields_are_put_together_by_slide() -> None:
    seen = [
        field("a", [(0, NORMAL)], [(0, NORMAL, 0.2)]),
        field("b", [(0, NORMAL)], [(0, NORMAL, 0.1)]),
        field("a", [(0, ABNORMAL)], [(0, ABNORMAL, 0.9), (50, NORMAL, 0.8)]),
    ]
    found = slides_of(seen, [ABNORMAL])
    assert found.names == ("a", "b")
    assert found.truth.tolist() == [True, False]
    assert found.scores[0] > found.scores[1]


def test_darkness_that_ranks_as_well_is_said_in_either_direction() -> None:
    truth = np.array([True, True, False, False])
    scores = np.array([0.9, 0.3, 0.4, 0.1])
    lighter = controls(truth, scores, np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.3, 0.1, 0.2, 0.1]))
    assert [c.auc for c in lighter] == [0.0, 0.625]
    assert [c.ahead for c in lighter] == [-0.25, 0.125]
    first, second = control_notes(0.75, lighter)
    assert "mean optical density alone" in first
    assert "1.000 (lighter is abnormal)" in first
    # Ahead by 0.125, but on four slides: the draws do not show it.
    assert second.startswith("share of dark area alone")


def test_a_detector_that_is_shown_to_be_better_than_darkness_gets_no_warning() -> None:
    rng = np.random.default_rng(4)
    truth = np.arange(80) < 40
    (density, dark) = controls(
        truth, rng.normal(truth * 3.0, 1.0), rng.normal(truth * 0.5, 1.0), rng.random(80)
    )
    assert density.ahead_ci95 is not None
    assert 0 < density.ahead_ci95[0] < density.ahead < density.ahead_ci95[1]
    assert control_notes(0.98, [density, dark]) == []
    assert controls(np.ones(3, bool), np.ones(3), np.ones(3), np.ones(3)) == ()


def test_the_band_holds_the_curve_and_closes_at_its_end() -> None:
    rng = np.random.default_rng(1)
    truth = np.arange(60) < 30
    low, high = roc_band(rng.normal(truth * 1.5, 1.0), truth, np.array([0.1, 0.5, 1.0]))
    assert (low <= high).all()
    assert low[0] < 0.6 < high[0] + 0.3
    assert (low[2], high[2]) == (1.0, 1.0)
