"""Does a detector that was shown crops name cells anew, find them as before, and suspect no more than it can know?"""

from pathlib import Path

import numpy as np
import pytest

from detection.classes import CellClass, cell_class
from detection.crop_look import named_by_crops
from detection.decoding import Candidates
from detection.detections import Image
from detection.errors import PackageError
from detection.onnx_detector import OnnxDetector
from detection.package import (
    CROP_PREFIX,
    DetectorPackage,
    SecondCalibration,
    SecondLook,
    crop_trunk,
    weights_of,
)
from detection.second_look import all_told
from detection.targets import Cells
from detection.writing import write_package
from tests.detection.untrained import field

pytest.importorskip("torch", reason="the extra 'torch' is not installed")

from detection.learn_crops import with_crops
from detection.training import Example

WHITE = np.full(3, 230, np.float32)


def _crop(rng: np.random.Generator, label: int) -> Image:
    side = int(rng.integers(30, 160))
    image = rng.normal(230, 2, (side, side, 3))
    middle = slice(side // 3, -side // 3)
    image[middle, middle] = (60, 50, 90) if label == 0 else (190, 170, 150)
    return np.asarray(image.clip(0, 255).astype(np.uint8))


def _examples(count: int) -> list[Example]:
    rng = np.random.default_rng(4)
    box = np.zeros((1, 4), np.float32)
    return [
        Example(_crop(rng, label), Cells(box, np.array([label])), WHITE, 1.0)
        for label in (number % 2 for number in range(count))
    ]


def _taught(start: DetectorPackage, names: tuple[str, ...], out: Path) -> DetectorPackage:
    classes: list[CellClass] = [cell_class(name) for name in names]
    trained = with_crops(start, classes, _examples(16), lambda *_: None)
    return write_package(trained, field(256, 256), "# taught\n", out)


@pytest.mark.parametrize("kind", ["package", "package_of_two", "package_of_views"])
def test_new_classes_join_the_old_ones_and_cells_are_found_where_they_were(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    start: DetectorPackage = request.getfixturevalue(kind)
    taught = _taught(start, ("hsil", "candida"), tmp_path / "p")
    assert [entry.name for entry in taught.classes] == ["HSIL", "LSIL", "NILM", "leucocyte", "candida"]
    image = field(512, 512, 7)
    (before,), (after,) = (OnnxDetector(p).detect([image], 0.5) for p in (start, taught))
    assert len(after) == len(before) > 10
    assert (after.boxes == before.boxes).all()
    assert (after.scores == before.scores).all()


def test_beside_a_second_look_that_keeps_places_crops_stand_on_the_statistics_that_ship(
    package_of_places: DetectorPackage, tmp_path: Path
) -> None:
    taught = _taught(package_of_places, ("hsil", "candida"), tmp_path / "p")
    assert taught.config.rackscan.second_look == package_of_places.config.rackscan.second_look
    look = taught.config.rackscan.crop_look
    weights, network = crop_trunk()
    assert look is not None
    assert look.places == 0
    assert look.network == network
    own = weights_of(taught.weights, CROP_PREFIX)
    assert all((own[name] == values).all() for name, values in weights.items())
    (found,) = OnnxDetector(taught).detect([field(512, 512, 7)], 0.5)
    assert len(found) > 10


@pytest.mark.parametrize("kind", ["package", "package_of_two", "package_of_views"])
def test_crops_without_normal_cells_name_cells_and_do_not_change_how_abnormal_one_is(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    start: DetectorPackage = request.getfixturevalue(kind)
    taught = _taught(start, ("hsil", "lsil"), tmp_path / "p")
    image = field(512, 512, 7)
    (before,), (after,) = (OnnxDetector(p).detect([image], 0.5) for p in (start, taught))
    assert (after.abnormal == before.abnormal).all()
    assert (after.abnormal_classes != before.abnormal_classes).any()


def test_where_nothing_is_suspected_crops_name_nothing(
    package_of_views: DetectorPackage, tmp_path: Path
) -> None:
    extension = _taught(package_of_views, ("hsil", "nilm"), tmp_path / "p").config.rackscan
    look = extension.second_look
    assert look is not None
    shares = np.eye(len(extension.classes))[:2]
    seen = Candidates(np.array([[10.0, 10, 20, 20], [90, 90, 20, 20]]), np.ones(2), shares)
    answers = np.zeros((2, look.outputs), np.float32)
    nobody_asked = np.full((2, 1), np.nan, np.float32)
    (found,) = all_told([seen], extension, [np.arange(2)], answers, nobody_asked)
    (without,) = all_told([seen], extension, [np.arange(2)], answers)
    assert found.to_json() == without.to_json()


def test_torch_and_onnx_agree_on_what_crops_taught(package_of_views: DetectorPackage, tmp_path: Path) -> None:
    from detection.torch_detector import TorchDetector

    taught = _taught(package_of_views, ("hsil", "nilm"), tmp_path / "p")
    image = field(512, 512, 9)
    (a,), (b,) = (d(taught).detect([image], 0.5) for d in (OnnxDetector, TorchDetector))
    assert len(a) == len(b) > 10
    assert np.abs(a.abnormal - b.abnormal).max() <= 1e-3


def test_a_missing_or_changed_crop_network_is_refused(package: DetectorPackage, tmp_path: Path) -> None:
    taught = _taught(package, ("hsil", "lsil"), tmp_path / "p")
    (taught.path / "crops.onnx").write_bytes(b"")
    with pytest.raises(PackageError, match=r"crops\.onnx is not the file"):
        DetectorPackage.load(taught.path)


def test_crops_are_taught_anew_to_a_package_that_learnt_others(
    package_of_two: DetectorPackage, tmp_path: Path
) -> None:
    once = _taught(package_of_two, ("hsil", "candida"), tmp_path / "p")
    again = _taught(once, ("lsil", "candida"), tmp_path / "q")
    look = again.config.rackscan.crop_look
    assert look is not None
    assert look.class_names == ("LSIL", "candida")
    assert [entry.name for entry in again.classes] == [entry.name for entry in once.classes]


def test_a_class_in_general_gives_its_share_to_those_that_crops_know() -> None:
    entries = tuple(cell_class(name) for name in ("HSIL", "NILM", "organism", "candida", "leucocyte"))
    look = SecondLook(class_names=("HSIL", "candida"), calibration=SecondCalibration(second=0.0, first=1.0))
    classes = np.array([[0.3, 0.2, 0.4, 0.0, 0.1]])
    answers = np.array([[0.0, np.log(3.0), -30.0]])
    changed, abnormal = named_by_crops(classes, np.array([0.3]), answers, look, entries)
    assert changed[0] == pytest.approx([0.175, 0.2, 0.0, 0.525, 0.1])
    assert abnormal.tolist() == [0.3]


def test_crops_with_normal_cells_do(package: DetectorPackage, tmp_path: Path) -> None:
    taught = _taught(package, ("hsil", "nilm"), tmp_path / "p")
    image = field(512, 512, 7)
    (before,), (after,) = (OnnxDetector(p).detect([image], 0.5) for p in (package, taught))
    assert np.abs(after.abnormal - before.abnormal).max() > 0.02
