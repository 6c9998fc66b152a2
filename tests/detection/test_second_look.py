"""Is a candidate's second look the same wherever and with whomever it is looked at, and does it count?"""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detection.decoding import Candidates
from detection.detections import Detections, Floats
from detection.errors import PackageError
from detection.evaluation import iou
from detection.onnx_detector import OnnxDetector
from detection.opening import open_detector
from detection.package import DetectorPackage, Network, SecondLook
from detection.second_look import (
    BATCH,
    BOX_STEP_PX,
    MOST_PER_IMAGE,
    SAME_BOX_IOU,
    Numbers,
    all_told,
    batches,
    box_of,
    chosen,
    patches,
    placed,
)
from detection.second_views import answers_to
from tests.detection.untrained import field


def _candidates(raw: list[float]) -> Candidates:
    """With these P(abnormal): classes are HSIL, LSIL, NILM, leucocyte."""
    shares = np.zeros((len(raw), 4))
    shares[:, 0] = raw
    shares[:, 2] = 1 - shares[:, 0]
    boxes = np.tile([10.0, 10.0, 20.0, 20.0], (len(raw), 1))
    return Candidates(boxes, np.ones(len(raw)), shares)


def test_a_package_with_two_networks_is_read_as_it_was_written(package_of_two: DetectorPackage) -> None:
    assert package_of_two.second_twin is not None
    assert open_detector(package_of_two.path, "onnx").package.hash == package_of_two.hash


def test_a_second_network_that_is_missing_or_changed_is_refused(
    package_of_two: DetectorPackage, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(package_of_two.path, tmp_path / "copy"))
    (copy / "second.onnx").write_bytes(b"")
    with pytest.raises(PackageError, match=r"second\.onnx is not the file"):
        DetectorPackage.load(copy)
    (copy / "second.onnx").unlink()
    with pytest.raises(PackageError, match=r"second\.onnx is missing"):
        DetectorPackage.load(copy)


@pytest.mark.parametrize("kind", ["package_of_two", "package_of_places", "package_of_views"])
def test_torch_and_onnx_agree(kind: str, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("torch", reason="the extra 'torch' is not installed")
    from detection.torch_detector import TorchDetector

    package: DetectorPackage = request.getfixturevalue(kind)
    image = field(512, 512, 9)
    (a,), (b,) = (
        OnnxDetector(package).detect([image], 0.5),
        TorchDetector(package).detect([image], 0.5),
    )
    assert len(a) == len(b) > 10
    assert np.abs(a.boxes - b.boxes).max() <= 1
    assert np.abs(a.abnormal - b.abnormal).max() <= 1e-3
    assert len(np.unique(a.abnormal)) > 5


def test_the_second_look_changes_the_verdict_on_a_cell(package_of_two: DetectorPackage) -> None:
    extension = package_of_two.config.rackscan
    alone = extension.model_copy(update={"second_look": None})
    config = package_of_two.config.model_copy(update={"rackscan": alone})
    once = DetectorPackage(
        package_of_two.path,
        config,
        package_of_two.weights,
        package_of_two.twin,
        field(64, 64),
        Detections.none(),
        "",
    )
    image = field(512, 512, 9)
    (twice,), (single,) = (
        OnnxDetector(package_of_two).detect([image], 0.5),
        OnnxDetector(once).detect([image], 0.5),
    )
    assert (twice.boxes == single.boxes).all()
    assert np.abs(twice.abnormal - single.abnormal).max() > 0.01


def test_only_suspicious_candidates_are_looked_at_again(package_of_two: DetectorPackage) -> None:
    extension = package_of_two.config.rackscan
    assert chosen(_candidates([0.0, 0.5, 0.0009, 0.001]), extension).tolist() == [1, 3]


def test_a_crowd_is_looked_at_from_the_most_suspicious_down(package_of_two: DetectorPackage) -> None:
    raw = np.random.default_rng(1).uniform(0.01, 1, 3 * MOST_PER_IMAGE)
    picked = chosen(_candidates(raw.tolist()), package_of_two.config.rackscan)
    assert len(picked) == MOST_PER_IMAGE
    assert (np.diff(picked) > 0).all()
    assert raw[picked].min() >= np.sort(raw)[-MOST_PER_IMAGE]


def test_a_patch_is_the_picture_around_the_middle_and_mirrored_at_the_edge() -> None:
    look = SecondLook(class_names=("HSIL", "NILM"), patch_px=32)
    density = np.random.default_rng(2).random((3, 80, 100)).astype(np.float32)
    inside, corner = patches(density, np.array([[40.0, 30.0, 20.0, 20.0], [-4.0, -4.0, 8.0, 8.0]]), look)
    assert (inside == density[:, 24:56, 34:66]).all()
    wide = np.pad(density, ((0, 0), (16, 16), (16, 16)), mode="reflect")
    assert (corner == wide[:, :32, :32]).all()


def test_the_view_around_counts_but_only_a_patch_wide_twice_as_wide(
    package_of_views: DetectorPackage,
) -> None:
    look = package_of_views.config.rackscan.second_look
    assert look is not None
    assert (look.patch_px, look.seen_px) == (64, 128)
    detector = OnnxDetector(package_of_views)
    density = np.random.default_rng(5).random((3, 256, 256)).astype(np.float32)
    box = np.array([[118.0, 118.0, 20.0, 20.0]])
    before = detector.second(patches(density, box, look))
    density[:, 70:80, 100:140] += 1
    beside = detector.second(patches(density, box, look))
    assert np.abs(beside - before).max() > 1e-3
    density[:, :64] = density[:, 192:] = 0
    assert (detector.second(patches(density, box, look)) == beside).all()


def test_a_second_look_says_no_longer_whether_crops_taught_it() -> None:
    older = SecondLook(class_names=("HSIL", "NILM")).model_dump() | {"taught_by_crops": False}
    assert SecondLook.model_validate(older) == SecondLook(class_names=("HSIL", "NILM"))
    with pytest.raises(ValueError, match="rackscan train"):
        SecondLook.model_validate(older | {"taught_by_crops": True})


def test_a_view_around_without_places_is_refused() -> None:
    with pytest.raises(ValueError, match="keeps places"):
        SecondLook(class_names=("HSIL", "NILM"), around=Network())


def test_a_cell_gets_the_same_second_look_in_any_company(package_of_two: DetectorPackage) -> None:
    detector = OnnxDetector(package_of_two)
    given = np.random.default_rng(3).random((3 * BATCH + 3, 3, 64, 64)).astype(np.float32)
    together = detector.second(given)
    assert (together == np.concatenate([detector.second(one[None]) for one in given])).all()
    assert [count for _, count in batches(given)] == [BATCH, BATCH, BATCH, 3]


def test_a_box_that_is_learnt_is_the_box_that_is_read() -> None:
    seen = np.array([[10.0, 12.0, 20.0, 24.0], [40.2, 3.1, 31.0, 9.0]])
    truth = np.array([[8.0, 15.0, 30.0, 20.0], [47.0, -4.0, 20.0, 25.0]])
    middles = np.round(seen[:, :2] + seen[:, 2:] / 2)
    assert placed(seen, box_of(middles, truth)) == pytest.approx(truth)


def test_of_two_boxes_for_one_cell_the_more_suspicious_stays(package_of_places: DetectorPackage) -> None:
    extension = package_of_places.config.rackscan
    candidates = Candidates(
        np.array([[10.0, 10.0, 20.0, 20.0], [16.0, 10.0, 20.0, 20.0], [90.0, 90.0, 20.0, 20.0]]),
        np.array([0.9, 0.8, 0.7]),
        np.tile([0.5, 0.2, 0.3, 0.0], (3, 1)),
    )
    cell = np.array([[12.0, 9.0, 25.0, 24.0]])
    middles = np.array([[20.0, 20.0], [26.0, 20.0], [100.0, 100.0]])
    far = cell + np.array([70.0, 70.0, 0.0, 0.0])
    boxes = box_of(middles, np.concatenate([cell, cell, far]))
    logits = np.array([[1.0, 0, 0, 0], [3.0, 0, 0, 0], [0, 0, 2.0, 0]])
    said = np.hstack([logits, boxes]).astype(np.float32)
    (found,) = all_told([candidates], extension, [np.arange(3)], said)
    assert len(found) == 2
    assert found.boxes[0].tolist() == pytest.approx(cell[0].tolist(), abs=0.13)
    assert found.scores.tolist() == pytest.approx([0.8, 0.7])
    assert found.abnormal[0] > found.abnormal[1]


def test_boxes_of_the_second_look_do_not_double(package_of_places: DetectorPackage) -> None:
    package = package_of_places
    look = package.config.rackscan.second_look
    assert look is not None
    update = {"second_look": look.model_copy(update={"floor": 0.0})}
    everything = package.config.rackscan.model_copy(update=update)
    config = package.config.model_copy(update={"rackscan": everything})
    (found,) = OnnxDetector(replace(package, config=config)).detect([field(256, 256, 4)], 0.5)
    overlap = iou(found.boxes, found.boxes)
    assert len(found) > 3
    assert (overlap[~np.eye(len(found), dtype=bool)] < SAME_BOX_IOU + 0.05).all()


def side_by_side(look: SecondLook, cells: int) -> tuple[Floats, Numbers]:
    """Densities of as many squares below each other, as dense as their numbers, brighter on the right; boxes."""
    side = look.seen_px
    density = np.repeat(np.arange(cells, dtype=np.float32), side)[None, :, None] * np.ones(
        (3, 1, side), np.float32
    )
    density[:, :, side * 2 // 3 :] += 10
    middles = np.array([[side / 2, side * (number + 0.5)] for number in range(cells)])
    return density, np.hstack([middles - 16, np.full((cells, 2), 32.0)])


def test_what_is_suspected_is_judged_from_its_mirror_images_too(package_of_views: DetectorPackage) -> None:
    extension = package_of_views.config.rackscan
    assert extension.second_look is not None
    look = extension.second_look.model_copy(update={"mirrored_from": 0.5})
    asked = []

    def second(given: Floats) -> Floats:
        asked.append(len(given))
        answers = np.zeros((len(given), look.outputs), np.float32)
        answers[:, 0] = given[:, 0, 0, 0].round() % 10 - 2  # HSIL, from the second patch on abnormal
        answers[:, 2] = 1
        answers[:, -4] = np.where(given[:, 0, 0, -1] > given[:, 0, 0, 0], 0.5, -0.3)
        answers[:, -3] = 0.25
        return answers

    density, boxes = side_by_side(look, 5)
    around = [(density, boxes[:2]), (density, boxes[2:])]
    said = answers_to(second, around, extension, look)
    assert asked == [5, 2, 2, 2]
    alone = answers_to(second, around, extension, look.model_copy(update={"mirrored_from": None}))
    assert (said[:3] == alone[:3]).all()
    assert said[3:, -4] == pytest.approx([0.4, 0.4])
    assert said[3:, -3] == pytest.approx([0.0, 0.0])
    assert said[3:, 0] == pytest.approx(alone[3:, 0])


def test_what_is_suspected_is_seen_again_around_its_own_box(package_of_views: DetectorPackage) -> None:
    extension = package_of_views.config.rackscan
    assert extension.second_look is not None
    look = extension.second_look.model_copy(update={"mirrored_from": 0.5, "centred": True})
    density, boxes = side_by_side(look, 3)
    edge = look.seen_px * 2 // 3 + 2  # a bright line that the network finds wherever it is shown
    density[:] = 0
    density[:, :, edge] = 5

    def second(given: Floats) -> Floats:
        answers = np.zeros((len(given), look.outputs), np.float32)
        answers[:, 0] = 3
        answers[:, -4] = (
            (given[:, 0].sum(1).argmax(1) - look.seen_px / 2) / BOX_STEP_PX / 2
        )  # half the way there
        return answers

    said = placed(boxes, answers_to(second, [(density, boxes)], extension, look)[:, -4:])
    once = placed(boxes, second(patches(density, boxes, look))[:, -4:])
    true = edge - look.seen_px / 2
    assert (once[:, 0] + 16 - look.seen_px / 2) == pytest.approx(true / 2)
    assert (said[:, 0] + 16 - look.seen_px / 2) == pytest.approx(true * 3 / 4, abs=0.6)
    assert said[:, 1] == pytest.approx(boxes[:, 1], abs=0.6)


def test_only_boxes_that_it_says_can_be_seen_again() -> None:
    with pytest.raises(ValueError, match="says no boxes"):
        SecondLook(class_names=("HSIL", "NILM"), centred=True)


def test_classes_of_the_second_look_must_be_the_packages(package_of_two: DetectorPackage) -> None:
    config = package_of_two.config.model_dump()
    config["rackscan"]["second_look"]["class_names"] = ("HSIL", "unicorn")
    with pytest.raises(ValueError, match="does not have"):
        type(package_of_two.config).model_validate(config)
