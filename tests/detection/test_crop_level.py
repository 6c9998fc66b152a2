import numpy as np
import pytest

from detection.crop_level import balanced_interval, crop_figures
from tests.detection.seen_by_hand import ABNORMAL, NORMAL, crops

NAMES = ["HSIL", "NILM", "organism"]


def test_figures_of_crops_written_down_by_hand() -> None:
    seen = crops([0.9, 0.8, 0.4, 0.6, 0.2], [ABNORMAL, ABNORMAL, ABNORMAL, NORMAL, NORMAL])
    found = crop_figures(seen, [ABNORMAL], NAMES)
    assert found.confusion == ((2, 1, 0), (1, 1, 0), (0, 0, 0))
    assert found.balanced_accuracy == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found.auc_abnormal == pytest.approx(5 / 6)
    assert found.recall_of == pytest.approx({"HSIL": 2 / 3, "NILM": 1 / 2})
    assert found.recall_of_ci95["NILM"] == pytest.approx((0.01258, 0.98742), abs=1e-4)
    assert [c.name for c in found.controls] == ["mean optical density", "share of dark area"]
    assert [c.auc for c in found.controls] == [0.5, 0.5]


def test_the_interval_of_the_balanced_accuracy_is_that_of_two_binomials() -> None:
    counts = np.array([[60, 40], [30, 70]])
    wanted = 1.96 * np.sqrt(0.6 * 0.4 / 100 + 0.7 * 0.3 / 100) / 2
    assert balanced_interval(counts) == pytest.approx((0.65 - wanted, 0.65 + wanted), abs=0.01)
    assert balanced_interval(np.array([[5, 0], [0, 5]])) is None


def test_a_control_as_good_as_the_detector_is_said() -> None:
    dark_abnormal = crops([0.9, 0.7, 0.8, 0.1], [ABNORMAL, ABNORMAL, NORMAL, NORMAL], [0.5, 0.4, 0.2, 0.1])
    found = crop_figures(dark_abnormal, [ABNORMAL], NAMES)
    assert found.controls[0].auc == 1.0
    assert any("mean optical density alone, which knows no cells" in note for note in found.notes)


@pytest.mark.parametrize(("label", "missing"), [(ABNORMAL, "normal"), (NORMAL, "abnormal")])
def test_one_kind_alone_gives_no_auc_and_says_so(label: int, missing: str) -> None:
    found = crop_figures(crops([0.9, 0.3], [label, label]), [ABNORMAL], NAMES)
    assert found.auc_abnormal is None
    assert found.controls == ()
    assert found.notes == (f"no {missing} crop: no AUC can be given",)
