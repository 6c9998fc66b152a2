"""Does the second look learn from the first one's mistakes, and does a package with both get better?"""

import numpy as np
import pytest
from numpy.typing import NDArray

from detection.classes import cell_class
from detection.detections import Detections, Floats
from detection.evaluation import iou
from detection.package import Network, SecondLook
from detection.targets import Cells
from tests.detection.untrained import field, untrained

pytest.importorskip("torch", reason="the extra 'torch' is not installed")

from detection.learn_twice import with_second_look
from detection.second_training import PatchSampler, SecondSettings, suspects
from detection.training import Example

LOOK = SecondLook(
    class_names=("HSIL", "NILM"),
    network=Network(channels=(8, 8, 16), dilations=(1,)),
    patch_px=32,
    floor=0.001,
)
WHITE = np.full(3, 235, np.float32)


def _discs(seed: int) -> Example:
    """Dark discs are HSIL, pale ones NILM."""
    rng = np.random.default_rng(seed)
    image = rng.normal(235, 2, (256, 256, 3))
    y, x = np.mgrid[0:256, 0:256]
    boxes, labels = [], []
    for cy in range(32, 256, 48):
        for cx in range(32, 256, 48):
            dark = rng.random() < 0.5
            image[(y - cy) ** 2 + (x - cx) ** 2 < 8**2] *= 0.35 if dark else 0.75
            boxes.append((cx - 8, cy - 8, 16, 16))
            labels.append(0 if dark else 1)
    pixels = image.clip(0, 255).astype(np.uint8)
    return Example(pixels, Cells(np.array(boxes, np.float32), np.array(labels)), WHITE, 1.0)


def test_false_alarms_are_shown_beside_the_labelled_cells() -> None:
    example = _discs(1)
    truth = example.cells.boxes
    boxes = np.concatenate([truth[:2], [[5, 5, 10, 10], [200, 5, 10, 10]]])
    found = Detections.rounded(boxes, np.zeros(4), np.ones(4), np.array([0.9, 0.9, 0.5, 0.0001]), np.zeros(4))
    given = suspects([found], [example], 2, 0.01)
    assert len(given) == len(truth) + 1
    assert sorted(given.labels.tolist()) == sorted([*example.cells.labels.tolist(), 2])
    assert given.centres[given.labels == 2].tolist() == [[10, 10]]


def test_a_nucleus_of_an_abnormal_group_is_no_false_alarm() -> None:
    group = np.array([[20, 20, 80, 60], [150, 20, 80, 60]], np.float32)
    example = Example(np.full((256, 256, 3), 235, np.uint8), Cells(group, np.array([0, 1])), WHITE, 1.0)
    boxes = np.array([[30, 30, 14, 14], [160, 30, 14, 14], [22, 18, 78, 62]])
    found = Detections.rounded(boxes, np.zeros(3), np.ones(3), np.array([0.5, 0.6, 0.9]), np.zeros(3))
    given = suspects([found], [example], 2, 0.01, abnormal=[0])
    assert given.labels.tolist() == [0, 2, 0, 1]
    assert given.boxes[0].tolist() == group[0].tolist()
    assert given.suspicion.tolist() == pytest.approx([0.5, 0.6, 0.9, 0.0])
    assert given.centres[2].tolist() == [61, 49]


def test_half_of_what_is_shown_is_abnormal_and_the_rest_what_the_first_look_took_for_it() -> None:
    example = _discs(1)
    cells = Cells(example.cells.boxes, np.where(np.arange(len(example.cells.labels)) == 0, 0, 1))
    rare = Example(example.image, cells, example.white, 1.0)
    alarm = np.array([[200, 5, 10, 10]])
    found = Detections.rounded(alarm, np.zeros(1), np.ones(1), np.array([0.9]), np.zeros(1))
    given = suspects([found], [rare], 2, 0.01, abnormal=[0])
    sampler = PatchSampler([rare], given, LOOK, SecondSettings(batch=200), 1, abnormal=[0])
    densities, labels, boxes = sampler.batch()
    assert densities.shape == (200, 3, 32, 32)
    assert boxes.shape == (200, 4)
    assert 75 <= (labels == 0).sum() <= 125
    assert 35 <= (labels == 2).sum() <= 85


@pytest.mark.parametrize("places", [0, 8])
def test_a_second_look_tells_apart_what_the_first_cannot(places: int) -> None:
    examples = [_discs(seed) for seed in range(6)]
    trained = untrained(names=("HSIL", "NILM"))
    settings = SecondSettings(steps=60, batch=32, learning_rate=5e-3)
    how = LOOK.model_copy(update={"places": places})
    twice = with_second_look(trained, how, examples[:4], examples[4:], settings, 1, {}, lambda *_: None)
    look = twice.config.rackscan.second_look
    assert look is not None
    detector = twice.opened(field(64, 64))
    centres = examples[5].cells.boxes.astype(float)
    from detection.normalisation import optical_density
    from detection.second_look import patches, placed

    answers = detector.second(patches(optical_density(examples[5].image, WHITE), centres, look))
    if places:
        boxes = placed(centres, answers[:, -4:]).astype(np.float32)
        assert np.diag(iou(boxes, examples[5].cells.boxes)).mean() > 0.45
    assert (answers[:, :2].argmax(1) == examples[5].cells.labels).mean() > 0.9
    assert cell_class("HSIL") in twice.config.rackscan.classes


def test_normal_cells_are_weighed_anew_by_what_is_suspected_of_them() -> None:
    plain = _discs(1)
    first = np.flatnonzero(plain.cells.labels == 1)[0]
    x, y, w, h = plain.cells.boxes[first].astype(int)
    pixels = plain.image.copy()
    pixels[y : y + h, x : x + w] = 10
    example = Example(pixels, plain.cells, plain.white, 1.0)
    given = suspects([Detections.none()], [example], 2, 0.01, abnormal=[0])
    sampler = PatchSampler([example], given, LOOK, SecondSettings(batch=100), 1, abnormal=[0])

    def dark(densities: Floats) -> NDArray[np.bool_]:
        return np.asarray(densities.mean(axis=(1, 2, 3)) > 0.2)

    def share() -> float:
        densities, labels, _ = sampler.batch()
        return float(dark(densities[labels == 1]).mean())

    before = share()
    sampler.weigh(lambda densities: dark(densities).astype(float))
    assert before < 0.3
    assert share() > 0.5
