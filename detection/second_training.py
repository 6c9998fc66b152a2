"""How does the second look learn? From what the first one found on the training images, rightly or not.

What the first look finds hard is what the second is shown most: its own false alarms are the negatives.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from detection.architectures import CropNet, device_here
from detection.descent import Progress, descend
from detection.detections import Detections, Floats
from detection.evaluation import SAME_CELL_IOU, iou, unasked
from detection.package import SecondLook
from detection.targets import WIDE, Cells, cut, seen
from detection.training import Example

NOTHING = Cells(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))


class SecondSettings(BaseModel):
    """How long and on how much at a time; ``jitter_px`` is how far a candidate's middle may be off."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    steps: int = Field(default=3000, ge=1)
    batch: int = Field(default=48, ge=2)
    learning_rate: float = Field(default=2e-3, gt=0)
    smoothing: float = Field(default=0.05, ge=0, lt=0.5)
    jitter_px: float = Field(default=3.0, ge=0)


@dataclass(frozen=True, slots=True)
class Suspects:
    """Places to look at twice: which example, where (x, y px of its image), and what it truly is.

    ``labels`` are indices of the look's classes; one more than the last means none of them.
    """

    examples: NDArray[np.int64]
    centres: NDArray[np.float64]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


def suspects(
    found: Sequence[Detections], examples: Sequence[Example], classes: int, floor: float
) -> Suspects:
    """Every labelled cell, and every detection at or over ``floor`` that is none as far as anybody knows.

    Args:
        found: the first look's answers on the examples' images, uncalibrated.
        examples: the labelled images.
        classes: how many there are; a detection that hits no labelled cell gets this label.
        floor: least P(abnormal) of a false alarm.
    """
    owners, centres, labels = [], [], []
    for index, (answer, example) in enumerate(zip(found, examples, strict=True)):
        cells, false = example.cells.named, answer.take(answer.abnormal >= floor)
        overlap = iou(false.boxes, cells.boxes)
        wrong = overlap.max(axis=1, initial=0.0) < SAME_CELL_IOU
        missed = false.boxes[wrong & ~unasked(false.boxes, cells.boxes, example.cells.unknown)]
        boxes = np.concatenate([cells.boxes, missed]).astype(np.float64)
        centres.append(boxes[:, :2] + boxes[:, 2:] / 2)
        labels.append(np.concatenate([cells.labels, np.full(len(missed), classes)]))
        owners.append(np.full(len(boxes), index))
    return Suspects(np.concatenate(owners), np.concatenate(centres), np.concatenate(labels).astype(np.int64))


class PatchSampler:
    """Draws patches: half of them of a class drawn evenly, half as often as the suspects are."""

    def __init__(
        self,
        examples: Sequence[Example],
        given: Suspects,
        look: SecondLook,
        settings: SecondSettings,
        seed: int,
    ) -> None:
        self._examples, self._given, self._look, self._settings = examples, given, look, settings
        self._rng = np.random.default_rng((seed, 11))
        self._of_class = [np.nonzero(given.labels == label)[0] for label in np.unique(given.labels)]

    def batch(self) -> tuple[Floats, NDArray[np.int64]]:
        """(n, 3, p, p) densities and (n,) labels."""
        drawn = [self._draw(place % 2 == 0) for place in range(self._settings.batch)]
        return np.stack([self._patch(index) for index in drawn]), self._given.labels[drawn]

    def _draw(self, evenly: bool) -> int:
        if not evenly:
            return int(self._rng.integers(len(self._given)))
        choices = self._of_class[int(self._rng.integers(len(self._of_class)))]
        return int(choices[int(self._rng.integers(len(choices)))])

    def _patch(self, index: int) -> Floats:
        example = self._examples[int(self._given.examples[index])]
        off = self._rng.normal(0, self._settings.jitter_px, 2) / example.zoom
        x, y = self._given.centres[index] + off
        place = (float(x), float(y))
        patch, _ = cut(example.image, NOTHING, place, example.zoom, WIDE, self._look.patch_px, self._rng)
        return seen(patch, example.white, WIDE, self._rng)


def fit_second(
    sampler: PatchSampler,
    look: SecondLook,
    settings: SecondSettings,
    seed: int,
    trunk: dict[str, Floats],
    progress: Progress,
) -> dict[str, Floats]:
    """The weights after ``settings.steps`` steps of AdamW under a one-cycle schedule.

    Args:
        sampler: what it is shown.
        look: the network and its classes.
        settings: how long it learns.
        seed: of its fresh weights.
        trunk: weights to go on from, such as the first look's; those of other shapes are not taken.
        progress: told (steps done, steps in all, the mean loss).
    """
    device = device_here()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = CropNet(look)
    fresh = network.state_dict()
    known = {name: torch.from_numpy(np.array(values)) for name, values in trunk.items() if name in fresh}
    taken = {name: values for name, values in known.items() if values.shape == fresh[name].shape}
    network.load_state_dict(fresh | taken)

    def next_loss(network: torch.nn.Module) -> Tensor:
        densities, labels = sampler.batch()
        given = torch.from_numpy(densities).to(device, memory_format=torch.channels_last)
        wanted = torch.from_numpy(labels).to(device)
        return torch.nn.functional.cross_entropy(network(given), wanted, label_smoothing=settings.smoothing)

    return descend(network.to(device), next_loss, settings.steps, settings.learning_rate, 1e-2, progress)
