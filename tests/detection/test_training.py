import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from detection.assess import assess
from detection.detections import Image
from detection.labelled import read_data
from detection.opening import open_detector
from detection.targets import NONE, WIDE, Cells, cut, target

pytest.importorskip("torch", reason="the extra 'torch' is not installed")

from detection.learn import train_package
from detection.model_card import Statement
from detection.package import Network
from detection.training import TrainSettings, split

SMALL = TrainSettings(
    steps=60,
    batch=8,
    patch_px=96,
    held_out=0.2,
    network=Network(channels=(8, 12, 16), dilations=(1, 2)),
    second_steps=0,
)


def _scene(rng: np.random.Generator) -> tuple[Image, list[tuple[int, list[int]]]]:
    image = rng.normal(230, 3, (128, 128, 3))
    boxes = []
    for x, y in ((30, 30), (95, 35), (35, 95), (92, 92)):
        label = int(rng.integers(2))
        half = 12 if label else 7
        centre = rng.integers(-8, 9, 2) + np.array([x, y])
        image[centre[1] - half : centre[1] + half, centre[0] - half : centre[0] + half] = (
            (90, 40, 120) if label else (60, 150, 160)
        )
        boxes.append((label, [int(centre[0] - half), int(centre[1] - half), 2 * half, 2 * half]))
    return image.clip(0, 255).astype(np.uint8), boxes


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    rng = np.random.default_rng(3)
    images, annotations = [], []
    for number in range(24):
        image, boxes = _scene(rng)
        cv2.imwrite(str(folder / f"{number}.png"), image[:, :, ::-1])
        images.append({"id": number, "file_name": f"{number}.png", "width": 128, "height": 128})
        annotations += [{"image_id": number, "category_id": label, "bbox": box} for label, box in boxes]
    body = {
        "info": {"um_per_px": 0.5},
        "categories": [{"id": 0, "name": "NILM"}, {"id": 1, "name": "HSIL"}],
        "images": images,
        "annotations": annotations,
    }
    (folder / "boxes.json").write_text(json.dumps(body))
    return folder


def test_training_learns_to_find_and_tell_apart_what_it_was_shown(scenes: Path, tmp_path: Path) -> None:
    said: list[tuple[int, int, str]] = []
    learnt = train_package(
        scenes, tmp_path / "p", SMALL, Statement("t", "squares"), lambda *s: said.append(s)
    )
    detector = open_detector(tmp_path / "p", "onnx")
    assert said[59][:2] == (60, 60)
    assert learnt.held_out_images > 0
    data = read_data(scenes)
    figures = assess(detector, data, data.images, lambda *_: None).figures
    assert figures.cell.ap50_any is not None
    assert figures.cell.ap50_any > 0.6
    assert figures.cell.ap50 is not None
    assert figures.cell.ap50 > 0.6
    card = (tmp_path / "p" / "MODEL_CARD.md").read_text()
    assert "Not for diagnosis" in card
    assert "| HSIL | abnormal |" in card


def test_the_same_data_and_seed_give_the_same_package(scenes: Path, tmp_path: Path) -> None:
    few = SMALL.model_copy(update={"steps": 3, "second_steps": 1})
    hashes = [
        train_package(scenes, tmp_path / name, few, Statement("t", "squares"), lambda *_: None).package.hash
        for name in ("a", "b")
    ]
    assert hashes[0] == hashes[1]


def test_training_goes_on_from_a_package_with_both_its_looks(scenes: Path, tmp_path: Path) -> None:
    few = SMALL.model_copy(update={"steps": 30, "second_steps": 2})
    start = train_package(scenes, tmp_path / "p", few, Statement("t", "squares"), lambda *_: None).package
    look = start.config.rackscan.second_look
    assert look is not None
    assert set(look.class_names) == {"NILM", "HSIL"}
    still = few.model_copy(update={"steps": 1, "second_steps": 0, "learning_rate": 1e-12})
    after = train_package(scenes, tmp_path / "q", still, Statement("t", "squares"), lambda *_: None, start)
    assert after.package.config.rackscan.second_look is not None
    assert np.allclose(after.package.weights["head.weight"], start.weights["head.weight"], atol=1e-6)
    for name, values in start.weights.items():
        if name.startswith("second."):
            assert np.array_equal(after.package.weights[name], values), name


def test_crops_of_any_size_can_be_learnt_and_evaluated(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for name, colour in (("hsil", (60, 40, 90)), ("candida", (200, 170, 120))):
        (tmp_path / "crops" / name).mkdir(parents=True)
        for number in range(12):
            side = int(rng.integers(20, 200))
            image = np.full((side, side, 3), 230, np.uint8)
            image[side // 4 : -side // 4, side // 4 : -side // 4] = colour
            cv2.imwrite(str(tmp_path / "crops" / name / f"{number}.png"), image[:, :, ::-1])
    settings = SMALL.model_copy(update={"steps": 80, "patch_px": 128})
    train_package(tmp_path / "crops", tmp_path / "p", settings, Statement("t", "crops"), lambda *_: None)
    data = read_data(tmp_path / "crops")
    figures = assess(open_detector(tmp_path / "p", "onnx"), data, data.images, lambda *_: None).figures
    assert figures.crop.balanced_accuracy is not None
    assert figures.crop.balanced_accuracy > 0.8
    assert figures.crop.auc_abnormal is not None
    assert figures.crop.auc_abnormal > 0.9


def test_images_of_one_slide_are_never_on_both_sides(scenes: Path) -> None:
    data = read_data(scenes)
    training, held = split(data, SMALL)
    assert held
    assert {i.slide for i in training}.isdisjoint(i.slide for i in held)
    assert len(training) + len(held) == len(data.images)


@pytest.mark.parametrize("seed", range(6))
def test_boxes_follow_their_pixels_through_every_augmentation(seed: int) -> None:
    image = np.full((300, 300, 3), 240, np.uint8)
    image[140:160, 130:170] = 20
    cells = Cells(np.array([[130, 140, 40, 20]], np.float32), np.array([0]))
    how = NONE if seed == 0 else WIDE
    patch, moved = cut(image, cells, (150, 150), 1.0, how, 256, np.random.default_rng(seed))
    y, x = np.nonzero(patch[:, :, 0] < 130)
    seen = np.array([x.min(), y.min(), x.max() + 1 - x.min(), y.max() + 1 - y.min()])
    assert np.abs(moved.boxes[0, :2] + moved.boxes[0, 2:] / 2 - seen[:2] - seen[2:] / 2).max() < 1.5
    assert np.abs(moved.boxes[0, 2:] - seen[2:]).max() < (1.5 if how is NONE else 8)


def test_a_target_says_centre_size_and_class_where_the_cell_is() -> None:
    wanted = target(Cells(np.array([[40, 80, 16, 32], [500, 5, 9, 9]], np.float32), np.array([3, 1])), 128)
    row, col = np.unravel_index(wanted.heat.argmax(), wanted.heat.shape)
    assert (int(row), int(col)) == (12, 6)
    assert wanted.heat[row, col] == 1
    assert wanted.labels[row, col] == 3
    assert np.allclose(wanted.regression[:, row, col], [-0.5, -0.5, np.log(2), np.log(4)])
    assert set(wanted.labels.ravel().tolist()) == {-1, 3}
