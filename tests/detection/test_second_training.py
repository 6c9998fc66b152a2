"""Does the second look learn from the first one's mistakes, and does a package with both get better?"""

import numpy as np
import pytest

from detection.classes import cell_class
from detection.detections import Detections
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
    assert given.labels.tolist() == [*example.cells.labels.tolist(), 2]
    assert given.centres[-1].tolist() == [10, 10]


def test_half_of_what_is_shown_is_drawn_evenly_by_class() -> None:
    example = _discs(1)
    cells = Cells(example.cells.boxes, np.where(np.arange(len(example.cells.labels)) == 0, 0, 1))
    rare = Example(example.image, cells, example.white, 1.0)
    given = suspects([Detections.none()], [rare], 2, 0.01)
    sampler = PatchSampler([rare], given, LOOK, SecondSettings(batch=200), 1)
    densities, labels = sampler.batch()
    assert densities.shape == (200, 3, 32, 32)
    assert 30 <= (labels == 0).sum() <= 75


def test_a_second_look_tells_apart_what_the_first_cannot() -> None:
    examples = [_discs(seed) for seed in range(6)]
    trained = untrained(names=("HSIL", "NILM"))
    settings = SecondSettings(steps=60, batch=32, learning_rate=5e-3)
    twice = with_second_look(trained, LOOK, examples[:4], examples[4:], settings, 1, {}, lambda *_: None)
    look = twice.config.rackscan.second_look
    assert look is not None
    detector = twice.opened(field(64, 64))
    centres = examples[5].cells.boxes.astype(float)
    from detection.normalisation import optical_density
    from detection.second_look import patches

    logits = detector.second(patches(optical_density(examples[5].image, WHITE), centres, look))
    assert (logits[:, :2].argmax(1) == examples[5].cells.labels).mean() > 0.9
    assert cell_class("HSIL") in twice.config.rackscan.classes
