"""How does the second look learn? From what the first one found on the training images, rightly or not.

What the first look finds hard is what the second is shown most: its own false alarms are the negatives. Later it is
shown most what it takes for abnormal itself (hard negatives; Shrivastava et al., CVPR 2016).
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

from detection.architectures import device_here
from detection.descent import Progress, at_rest, begun, descend
from detection.detections import Detections, Floats
from detection.evaluation import SAME_CELL_IOU, iou, unasked
from detection.package import BOX, SecondLook
from detection.second_look import BOX_SIDE_PX, BOX_STEP_PX, FARTHEST, box_of
from detection.second_networks import second_network
from detection.targets import CLOSE, NONE, Augmentation, Cells, cut, seen
from detection.training import Example

BOX_WEIGHT = 4.0
"""A box off by a few px costs little beside a wrong class: without weight the network would not learn to see edges."""
APART_WEIGHT = 1.0
LEAST_SUSPICION = 0.02
"""How suspicious a normal cell counts that the first look passed over."""


class SecondSettings(BaseModel):
    """How long and on how much at a time; ``jitter_px`` is how far a candidate's middle may be off.

    ``rounds`` are the parts of the training before each of which but the first the normal cells are weighed anew.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    steps: int = Field(default=3000, ge=1)
    batch: int = Field(default=64, ge=2)
    learning_rate: float = Field(default=2e-3, gt=0)
    jitter_px: float = Field(default=3.0, ge=0)
    rounds: int = Field(default=2, ge=1)


@dataclass(frozen=True, slots=True)
class Suspects:
    """Places to look at twice: which example, where (x, y px of its image), and what it truly is.

    ``labels`` are indices of the look's classes, one more than the last means none of them; ``boxes`` (n, 4) px are
    the cells' own, those of false alarms as the first look drew them; ``suspicion`` is its P(abnormal), 0 where it
    found nothing.
    """

    examples: NDArray[np.int64]
    centres: NDArray[np.float64]
    labels: NDArray[np.int64]
    boxes: NDArray[np.float64]
    suspicion: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.labels)


def suspects(
    found: Sequence[Detections],
    examples: Sequence[Example],
    classes: int,
    floor: float,
    abnormal: Sequence[int] = (),
) -> Suspects:
    """Every labelled cell, where the first look saw it if it did, and every detection that is none.

    A detection in the box of an abnormal cell that hits no other is that cell's: one nucleus of a group is no false
    alarm.

    Args:
        found: the first look's answers on the examples' images, uncalibrated.
        examples: the labelled images.
        classes: how many there are; a detection that belongs to no labelled cell gets this label.
        floor: least P(abnormal) of a detection that counts.
        abnormal: which classes are abnormal.
    """
    parts = [
        _suspects_of(answer.take(answer.abnormal >= floor), example, classes, abnormal)
        for answer, example in zip(found, examples, strict=True)
    ]
    owners = [np.full(len(part[0]), index) for index, part in enumerate(parts)]
    centres, labels, boxes, suspicion = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Suspects(np.concatenate(owners), centres, labels, boxes, suspicion)


def _suspects_of(
    found: Detections, example: Example, classes: int, abnormal: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Centres, labels, boxes and suspicion of one example."""
    cells = example.cells.named
    own = _owners(found.boxes, cells, abnormal)
    false = (own < 0) & ~unasked(found.boxes, cells.boxes, example.cells.unknown)
    asked, seen_at = found.take((own >= 0) | false), own[(own >= 0) | false]
    unseen = np.setdiff1d(np.arange(len(cells.labels)), own)
    if not len(cells.labels):
        labels, boxes = np.full(len(asked), classes), asked.boxes
    else:
        labels = np.where(seen_at >= 0, cells.labels[seen_at], classes)
        boxes = np.where(seen_at[:, None] >= 0, cells.boxes[seen_at], asked.boxes)
    middles = np.concatenate([_centres(asked.boxes), _centres(cells.boxes[unseen])])
    suspicion = np.concatenate([asked.abnormal, np.zeros(len(unseen))])
    return (
        middles.astype(np.float64),
        np.concatenate([labels, cells.labels[unseen]]).astype(np.int64),
        np.concatenate([boxes, cells.boxes[unseen]]).astype(np.float64),
        suspicion.astype(np.float64),
    )


def _owners(boxes: Floats, cells: Cells, abnormal: Sequence[int]) -> NDArray[np.int64]:
    """(n,) which labelled cell each box belongs to, -1 for none."""
    if not len(cells.labels):
        return np.full(len(boxes), -1)
    overlap = iou(boxes, cells.boxes)
    nearest = np.where(overlap.max(axis=1) >= SAME_CELL_IOU, overlap.argmax(axis=1), -1)
    low, high = cells.boxes[:, :2], cells.boxes[:, :2] + cells.boxes[:, 2:]
    middles = _centres(boxes)[:, None]
    inside = np.all((middles >= low) & (middles <= high), axis=2) & np.isin(cells.labels, list(abnormal))
    return np.where((nearest < 0) & inside.any(axis=1), inside.argmax(axis=1), nearest).astype(np.int64)


def _centres(boxes: Floats) -> Floats:
    return np.asarray(boxes[:, :2] + boxes[:, 2:] / 2, np.float32)


class PatchSampler:
    """Draws patches: half of them abnormal ones, each class as often; half others, the more suspicious the more often.

    Where nothing is abnormal, or everything, all of them are drawn as the one half is.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        given: Suspects,
        look: SecondLook,
        settings: SecondSettings,
        seed: int,
        abnormal: Sequence[int] = (),
    ) -> None:
        self._examples, self._given, self._look, self._settings = examples, given, look, settings
        self._abnormal = list(abnormal)
        self._rng = np.random.default_rng((seed, 11))
        self._cumulated = np.cumsum(_chances(given, abnormal))

    def batch(self) -> tuple[Floats, NDArray[np.int64], Floats]:
        """(n, 3, p, p) densities, (n,) labels and (n, 4) what is to be said of the boxes."""
        at = self._rng.random(self._settings.batch) * self._cumulated[-1]
        drawn = np.minimum(np.searchsorted(self._cumulated, at), len(self._given) - 1)
        shown = [self._patch(int(index), CLOSE) for index in drawn]
        boxes = np.concatenate([box for _, box in shown])
        middle = np.full((len(boxes), 2), self._look.seen_px / 2)
        wanted = box_of(middle, boxes).astype(np.float32)
        return np.stack([density for density, _ in shown]), self._given.labels[drawn], wanted

    def weigh(self, suspicion: Callable[[Floats], NDArray[np.float64]]) -> None:
        """From now on draw normal cells by what ``suspicion`` says of them: (n, 3, s, s) densities to (n,) chances."""
        normal = np.flatnonzero(~np.isin(self._given.labels, self._abnormal))
        found = self._given.suspicion.copy()
        for start in range(0, len(normal), self._settings.batch):
            part = normal[start : start + self._settings.batch]
            found[part] = suspicion(np.stack([self._patch(int(index), NONE)[0] for index in part]))
        self._cumulated = np.cumsum(_chances(replace(self._given, suspicion=found), self._abnormal))

    def _patch(self, index: int, how: Augmentation) -> tuple[Floats, NDArray[np.float64]]:
        given, example = self._given, self._examples[int(self._given.examples[index])]
        off = self._rng.normal(0, self._settings.jitter_px, 2) / example.zoom if how.turns else 0.0
        x, y = given.centres[index] + off
        place, side = (float(x), float(y)), self._look.seen_px
        own = Cells(given.boxes[index][None].astype(np.float32), given.labels[index][None])
        patch, moved = cut(example.image, own, place, example.zoom, how, side, self._rng)
        return seen(patch, example.white, how, self._rng), moved.boxes.astype(np.float64)


def _chances(given: Suspects, abnormal: Sequence[int]) -> NDArray[np.float64]:
    """(n,) how often each suspect is drawn, in proportion."""
    chances = np.zeros(len(given))
    kinds = [own for label in abnormal if (own := given.labels == label).any()]
    for own in kinds:
        chances[own] = 0.5 / len(kinds) / own.sum()
    others = ~np.isin(given.labels, list(abnormal))
    weight = given.suspicion[others] + LEAST_SUSPICION
    chances[others] = 0.5 * weight / max(weight.sum(), 1e-9)
    return chances


def fit_second(
    sampler: PatchSampler,
    look: SecondLook,
    settings: SecondSettings,
    seed: int,
    trunk: dict[str, Floats],
    progress: Progress,
    abnormal: Sequence[int] = (),
) -> dict[str, Floats]:
    """The weights after ``settings.steps`` steps of AdamW under a one-cycle schedule.

    Judged are the class, whether it is an abnormal one, and, where the look says boxes, the box.

    Args:
        sampler: what it is shown.
        look: the network and its classes.
        settings: how long it learns.
        seed: of its fresh weights.
        trunk: weights to go on from, such as the first look's; those of other shapes are not taken.
        progress: told (steps done, steps in all, the mean loss).
        abnormal: which classes are abnormal.
    """
    device = device_here()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = begun(second_network(look), trunk).to(device)

    def suspicion(densities: Floats) -> NDArray[np.float64]:
        with at_rest(network):
            given = torch.from_numpy(densities).to(device, memory_format=torch.channels_last)
            chances = functional.softmax(network(given)[:, : len(look.class_names) + 1], 1)
            return np.asarray(chances[:, list(abnormal)].sum(1).cpu().numpy(), np.float64)

    numbers, round_steps = itertools.count(), -(-settings.steps // settings.rounds)

    def next_loss(network: torch.nn.Module) -> Tensor:
        number = next(numbers)
        if abnormal and number and number % round_steps == 0:
            sampler.weigh(suspicion)
        densities, labels, boxes = sampler.batch()
        given = torch.from_numpy(densities).to(device, memory_format=torch.channels_last)
        answers = network(given)
        said = torch.from_numpy(boxes).to(device) if look.places else None
        return answers_loss(answers, torch.from_numpy(labels).to(device), said, abnormal)

    return descend(network, next_loss, settings.steps, settings.learning_rate, 1e-2, progress)


def answers_loss(answers: Tensor, labels: Tensor, boxes: Tensor | None, abnormal: Sequence[int]) -> Tensor:
    """Cross entropy of the class and of its being abnormal; of labelled cells how far off the boxes are.

    That is smooth L1 of their numbers, and how little they overlap (Yu et al., UnitBox, 2016).

    Args:
        answers: (n, k + 1), or (n, k + 5) of a look that says boxes.
        labels: (n,) classes, k for none.
        boxes: (n, 4) as ``second_look.box_of`` has them, if the look says boxes.
        abnormal: which classes are.
    """
    logits = answers if boxes is None else answers[:, :-BOX]
    total = functional.cross_entropy(logits, labels)
    none = logits.shape[1] - 1
    rest = [index for index in range(none + 1) if index not in abnormal]
    if abnormal and len(rest) > 1:
        odds = torch.logsumexp(logits[:, list(abnormal)], 1) - torch.logsumexp(logits[:, rest], 1)
        yes = torch.isin(labels, torch.tensor(list(abnormal), device=labels.device)).to(odds.dtype)
        total = total + functional.binary_cross_entropy_with_logits(odds, yes)
    if boxes is not None:
        said = answers[:, -BOX:]
        off = functional.smooth_l1_loss(said, boxes, reduction="none").mean(1)
        apart = 1 - _overlap(said, boxes)
        total = total + ((BOX_WEIGHT * off + APART_WEIGHT * apart) * (labels != none)).mean()
    return total


def _overlap(said: Tensor, boxes: Tensor) -> Tensor:
    """(n,) intersection over union of (n, 4) boxes, each as ``second_look.box_of`` has it."""
    low, high = zip(*(_corners(each) for each in (said.clamp(-FARTHEST, FARTHEST), boxes)), strict=True)
    shared = (torch.minimum(*high) - torch.maximum(*low)).clamp(min=0).prod(1)
    areas = [(up - down).prod(1) for down, up in zip(low, high, strict=True)]
    overlap: Tensor = shared / (areas[0] + areas[1] - shared).clamp(min=1e-9)
    return overlap


def _corners(said: Tensor) -> tuple[Tensor, Tensor]:
    """Lowest and highest x, y in px around the patch's middle."""
    middle, half = said[:, :2] * BOX_STEP_PX, torch.exp(said[:, 2:]) * BOX_SIDE_PX / 2
    return middle - half, middle + half
