"""Does a detector that was shown crops name cells anew, find them as before, and suspect no more than it can know?"""

from pathlib import Path

import numpy as np
import pytest

from detection.classes import CellClass, cell_class
from detection.detections import Image
from detection.onnx_detector import OnnxDetector
from detection.package import DetectorPackage, crop_trunk, second_weights
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


@pytest.mark.parametrize("twice", [False, True])
def test_new_classes_join_the_old_ones_and_cells_are_found_where_they_were(
    package: DetectorPackage, package_of_two: DetectorPackage, tmp_path: Path, twice: bool
) -> None:
    start = package_of_two if twice else package
    taught = _taught(start, ("hsil", "candida"), tmp_path / "p")
    assert [entry.name for entry in taught.classes] == ["HSIL", "LSIL", "NILM", "leucocyte", "candida"]
    image = field(512, 512, 7)
    (before,), (after,) = (OnnxDetector(p).detect([image], 0.5) for p in (start, taught))
    assert len(after) == len(before) > 10
    assert (after.boxes == before.boxes).all()
    assert (after.scores == before.scores).all()


def test_a_second_look_that_keeps_places_gives_way_to_the_statistics_that_ship(
    package_of_places: DetectorPackage, tmp_path: Path
) -> None:
    taught = _taught(package_of_places, ("hsil", "candida"), tmp_path / "p")
    look = taught.config.rackscan.second_look
    weights, network = crop_trunk()
    assert look is not None
    assert look.places == 0
    assert look.network == network
    own = second_weights(taught.weights)
    assert all((own[name] == values).all() for name, values in weights.items())
    (found,) = OnnxDetector(taught).detect([field(512, 512, 7)], 0.5)
    assert len(found) > 10


def test_crops_without_normal_cells_do_not_change_how_abnormal_a_cell_is(
    package: DetectorPackage, tmp_path: Path
) -> None:
    taught = _taught(package, ("hsil", "lsil"), tmp_path / "p")
    image = field(512, 512, 7)
    (before,), (after,) = (OnnxDetector(p).detect([image], 0.5) for p in (package, taught))
    assert np.abs(after.abnormal - before.abnormal).max() <= 2e-4


def test_crops_with_normal_cells_do(package: DetectorPackage, tmp_path: Path) -> None:
    taught = _taught(package, ("hsil", "nilm"), tmp_path / "p")
    image = field(512, 512, 7)
    (before,), (after,) = (OnnxDetector(p).detect([image], 0.5) for p in (package, taught))
    assert np.abs(after.abnormal - before.abnormal).max() > 0.02
