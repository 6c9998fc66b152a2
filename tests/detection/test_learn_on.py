"""Does a package that goes on learning keep what it is not shown, and learn nothing from what nobody knows?"""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from detection.classes import cell_class
from detection.detections import Detections
from detection.evaluation import unasked
from detection.labelled import DataSet, Kind, Labelled
from detection.learn_on import second_of, with_classes
from detection.package import DetectorPackage
from detection.seen import look
from detection.targets import IGNORED_LABEL, NONE, Cells, cut, target

SIDE = 128


def boxes(*given: tuple[float, float, float, float]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.array(given, np.float32).reshape(-1, 4)


def test_where_nobody_knows_the_object_map_is_not_asked_for_except_at_a_named_cell() -> None:
    cells = Cells(boxes((0, 0, 64, 64), (16, 16, 16, 16)), np.array([IGNORED_LABEL, 2]))
    wanted = target(cells, SIDE)
    assert wanted.heat[3, 3] == 1
    assert wanted.asked[3, 3] == 1
    assert wanted.asked[6, 6] == 0
    assert wanted.asked[:, 8:].all()
    assert wanted.asked[8:].all()
    assert set(wanted.labels.ravel().tolist()) == {-1, 2}
    _, moved = cut(
        np.zeros((SIDE, SIDE, 3), np.uint8), cells, (64, 64), 1.0, NONE, SIDE, np.random.default_rng(0)
    )
    assert moved.unknown.tolist() == [[0, 0, 64, 64]]


def test_the_loss_does_not_move_with_what_is_said_where_nobody_knows() -> None:
    torch = pytest.importorskip("torch", reason="the extra 'torch' is not installed")
    from detection.training import loss

    wanted = target(Cells(boxes((0, 0, 64, 64), (90, 90, 16, 16)), np.array([IGNORED_LABEL, 0])), SIDE)
    maps = torch.zeros(1, 7, SIDE // 8, SIDE // 8)
    there, elsewhere = maps.clone(), maps.clone()
    there[0, 0, 2, 2], elsewhere[0, 0, 2, 12] = 4, 4
    quiet, inside, outside = (float(loss(m, [wanted], torch.ones(2))) for m in (maps, there, elsewhere))
    assert inside == quiet
    assert outside > quiet + 1


def test_a_detection_that_nobody_can_judge_is_neither_right_nor_wrong() -> None:
    found = boxes((10, 10, 20, 20), (60, 10, 20, 20), (12, 60, 20, 20))
    unknown, truth = boxes((0, 0, 40, 100)), boxes((10, 10, 20, 20))
    assert unasked(found, truth, unknown).tolist() == [False, False, True]
    assert not unasked(found, truth, boxes()).any()


def test_evaluation_leaves_out_what_nobody_can_judge(package: DetectorPackage, tmp_path: Path) -> None:
    file = tmp_path / "field.png"
    cv2.imwrite(str(file), np.full((64, 64, 3), 230, np.uint8))
    labelled = Labelled(file, boxes(), np.zeros(0, np.int64), "s", 0.5)
    data = DataSet(tmp_path, Kind.FIELDS, package.classes, (labelled,))

    class Says:
        """Two cells, whatever it is shown."""

        def __init__(self) -> None:
            self.package, self.provider = package, "none"

        def detect(self, images: object, um_per_px: float) -> list[Detections]:
            two = boxes((4, 4, 20, 20), (40, 40, 20, 20))
            return [Detections.rounded(two, np.zeros(2), np.ones(2), np.ones(2), np.zeros(2))]

    assert len(look(Says(), data, [labelled], lambda *_: None)[0].found) == 2
    unsure = replace(labelled, ignored=boxes((0, 0, 30, 30)))
    (seen,) = look(Says(), data, [unsure], lambda *_: None)
    assert seen.found.boxes.tolist() == [[40, 40, 20, 20]]


def test_the_packages_classes_come_first_and_new_ones_join(package: DetectorPackage) -> None:
    image = Labelled(Path("a.png"), boxes((0, 0, 9, 9), (9, 9, 9, 9)), np.array([1, 0]), "s", 0.5)
    data = DataSet(Path(), Kind.FIELDS, (cell_class("candida"), cell_class("nilm")), (image,))
    joined = with_classes(data, package.classes)
    names = [entry.name for entry in joined.classes]
    assert names == [*(entry.name for entry in package.classes), "candida"]
    assert [names[label] for label in joined.images[0].labels] == ["NILM", "candida"]


def test_a_second_look_keeps_what_it_says_of_the_classes_it_knows(package_of_two: DetectorPackage) -> None:
    before = package_of_two.config.rackscan.second_look
    assert before is not None
    known = second_of(package_of_two, (cell_class("candida"), *package_of_two.classes))
    assert known is not None
    look_now, weights = known
    names = ["candida", *(entry.name for entry in package_of_two.classes)]
    assert list(look_now.class_names) == names
    head = package_of_two.weights["second.head.weight"]
    for row, name in enumerate(before.class_names):
        assert np.array_equal(weights["head.weight"][names.index(name)], head[row])
    assert np.array_equal(weights["head.weight"][-1], head[-1])
    assert look_now.calibration == before.calibration


def test_a_package_with_one_look_gets_no_second_one(package: DetectorPackage) -> None:
    assert second_of(package, package.classes) is None
