import numpy as np
import pytest

from detection.evaluation import auc_interval
from detection.intervals import band, bootstrap, draws, exact_interval, percentiles


@pytest.mark.parametrize(
    ("found", "of", "low", "high"),
    [(0, 10, 0.0, 0.30850), (10, 10, 0.69150, 1.0), (5, 10, 0.18709, 0.81291), (81, 263, 0.25270, 0.36762)],
)
def test_exact_intervals_are_those_of_clopper_and_pearson(
    found: int, of: int, low: float, high: float
) -> None:
    assert exact_interval(found, of) == pytest.approx((low, high), abs=1e-4)


def test_nothing_counted_has_no_interval() -> None:
    assert exact_interval(0, 0) is None
    assert bootstrap(lambda drawn: 1.0, 1) is None
    assert band(lambda drawn: np.zeros(3), 1) is None
    assert band(lambda drawn: None, 4) is None


def test_draws_that_all_agree_are_no_certainty() -> None:
    assert percentiles([]) is None
    assert percentiles([1.0, 1.0, 1.0]) is None
    assert percentiles([0.0, 1.0]) == pytest.approx((0.025, 0.975))


def test_every_draw_has_as_many_slides_as_there_are() -> None:
    drawn = np.array(list(draws(7)))
    assert (drawn.sum(axis=1) == 7).all()
    assert drawn.mean(axis=0) == pytest.approx(np.ones(7), abs=0.1)


def test_the_bootstrap_of_a_mean_is_as_wide_as_its_standard_error_says() -> None:
    values = np.random.default_rng(3).normal(5.0, 2.0, 200)
    interval = bootstrap(lambda drawn: float(drawn @ values / 200), 200)
    wanted = 1.96 * values.std() / np.sqrt(200)
    assert interval == pytest.approx((values.mean() - wanted, values.mean() + wanted), abs=0.1 * wanted)


def test_draws_without_the_figure_do_not_count() -> None:
    interval = bootstrap(lambda drawn: float(drawn[0]) if drawn[0] else None, 3)
    assert interval is not None
    assert interval[0] == 1.0


def test_a_perfect_auc_of_few_slides_is_not_called_certain() -> None:
    # 5 independent pairs, all right: the AUC could be as low as the fifth root of 0.025.
    scores, truth = np.arange(12.0), np.arange(12) >= 7
    assert auc_interval(scores, truth) == pytest.approx((0.025**0.2, 1.0))
    assert auc_interval(-scores, truth) == pytest.approx((0.0, 1 - 0.025**0.2))
