"""How does a network learn cells from labelled images? The same data and seed give the same package."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from detection.architectures import OUTPUTS_BEFORE_CLASSES, build, device_here
from detection.classes import CellClass
from detection.crops import centre_box, zoom_of
from detection.descent import Progress, Watch, descend
from detection.detections import Floats, Image
from detection.labelled import DataSet, Kind, Labelled, read_pixels
from detection.normalisation import white_level
from detection.package import DetectorPackage, Network
from detection.targets import IGNORED_LABEL, WIDE, Augmentation, Cells, Target, cut, seen, target

ARCHITECTURE = "cellnet-s8"
HELD_BATCHES = 4


class TrainSettings(BaseModel):
    """What a training run depends on besides its data."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    seed: int = 1
    steps: int = Field(default=2400, ge=0)
    """How long the first look learns; 0 keeps that of the package one goes on from."""
    batch: int = Field(default=16, ge=1)
    patch_px: int = Field(default=256, ge=64, multiple_of=8)
    learning_rate: float = Field(default=3e-3, gt=0)
    held_out: float = Field(default=0.1, ge=0, lt=0.5)
    spacing_um_px: float = Field(default=0.5, gt=0)
    network: Network = Network(channels=(16, 24, 64), dilations=(1, 2, 4, 4, 2, 1), separable=True)
    """The first look only has to suspect: separable blocks do at half the time."""
    second_steps: int = Field(default=2400, ge=0)
    """How long the second look learns; 0 keeps that of the package one goes on from, if it has one."""
    second_floor: float = Field(default=0.05, ge=0, lt=1)
    """First-look P(abnormal), uncalibrated, from which a candidate is looked at again."""
    stops_early: bool = True
    """Keep what did best on the held-out images; else learn to the end."""
    keeps_classes: bool = False
    """Going on from a package, also keep its classes of which the data have no example."""


@dataclass(frozen=True, slots=True)
class Example:
    """A labelled image in memory; ``zoom`` brings it to the package's scale."""

    image: Image
    cells: Cells
    white: Floats
    zoom: float


def split(data: DataSet, settings: TrainSettings) -> tuple[list[Labelled], list[Labelled]]:
    """(training, held out) by slide, chosen by a hash, so that no slide is on both sides.

    A class that would be lost from training keeps all its images there.
    """
    held = [image for image in data.images if _share(image.slide, settings.seed) < settings.held_out]
    kept = [image for image in data.images if _share(image.slide, settings.seed) >= settings.held_out]
    learnt = {int(label) for image in kept for label in image.labels}
    back = {image.slide for image in held if not learnt.issuperset(image.labels.tolist())}
    training = kept + [image for image in held if image.slide in back]
    return training, [image for image in held if image.slide not in back]


def _share(slide: str, seed: int) -> float:
    digest = hashlib.sha256(f"{seed}:{slide}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def read_example(labelled: Labelled, kind: Kind, settings: TrainSettings, um_per_px: float) -> Example:
    """The pixels of a labelled image; a crop is brought to one size, so that its size cannot give its class away."""
    image = read_pixels(labelled.file)
    if kind is Kind.CROPS:
        return Example(image, Cells(centre_box(image), labelled.labels), white_level(image), zoom_of(image))
    scale = labelled.um_per_px or um_per_px
    boxes = np.concatenate([labelled.boxes, labelled.ignored])
    labels = np.concatenate([labelled.labels, np.full(len(labelled.ignored), IGNORED_LABEL)])
    return Example(image, Cells(boxes, labels), white_level(image), scale / settings.spacing_um_px)


class Sampler:
    """Draws patches: half of them around a cell of a class drawn evenly, half anywhere."""

    def __init__(self, examples: Sequence[Example], settings: TrainSettings, how: Augmentation) -> None:
        self._examples, self._settings, self._how = examples, settings, how
        self._rng = np.random.default_rng((settings.seed, 7))
        self._by_class: dict[int, list[tuple[int, int]]] = {}
        for index, example in enumerate(examples):
            for place, label in enumerate(example.cells.labels):
                if label == IGNORED_LABEL:
                    continue
                self._by_class.setdefault(int(label), []).append((index, place))
        self._labels = sorted(self._by_class)

    def batch(self) -> tuple[Floats, list[Target]]:
        """(n, 3, p, p) densities and the wanted maps."""
        drawn = [self._one() for _ in range(self._settings.batch)]
        return np.stack([density for density, _ in drawn]), [wanted for _, wanted in drawn]

    def _one(self) -> tuple[Floats, Target]:
        example, centre = self._centre()
        size = self._settings.patch_px
        patch, cells = cut(example.image, example.cells, centre, example.zoom, self._how, size, self._rng)
        return seen(patch, example.white, self._how, self._rng), target(cells, size)

    def _centre(self) -> tuple[Example, tuple[float, float]]:
        if self._rng.random() < 0.5 and self._labels:
            choices = self._by_class[self._labels[int(self._rng.integers(len(self._labels)))]]
            index, place = choices[int(self._rng.integers(len(choices)))]
            box = self._examples[index].cells.boxes[place]
            spread = self._settings.patch_px / 3
            shift = self._rng.uniform(-spread, spread, 2) / self._examples[index].zoom
            return self._examples[index], (
                float(box[0] + box[2] / 2 + shift[0]),
                float(box[1] + box[3] / 2 + shift[1]),
            )
        example = self._examples[int(self._rng.integers(len(self._examples)))]
        height, width = example.image.shape[:2]
        return example, (float(self._rng.uniform(0, width)), float(self._rng.uniform(0, height)))


def loss(maps: Tensor, targets: Sequence[Target], class_weights: Tensor) -> Tensor:
    """``maps_loss`` of (n, 5 + k, h, w) maps, with the targets of each patch."""

    def together(name: str) -> Tensor:
        return torch.from_numpy(np.stack([getattr(target, name) for target in targets])).to(maps.device)

    wanted = Wanted(*(together(name) for name in ("heat", "regression", "labels", "weight", "asked")))
    return maps_loss(maps, wanted, class_weights)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a :class:`detection.targets.Target` holds, of n patches on the network's device."""

    heat: Tensor
    regression: Tensor
    labels: Tensor
    weight: Tensor
    asked: Tensor


def maps_loss(maps: Tensor, wanted: Wanted, class_weights: Tensor) -> Tensor:
    """Penalty-reduced focal loss on the object map, L1 on box, weighted cross entropy on class (Zhou et al. 2019)."""
    weight, much = wanted.weight, wanted.weight.sum().clamp(min=1.0)
    off = (maps[:, 1:OUTPUTS_BEFORE_CLASSES] - wanted.regression).abs()
    entropy = torch.nn.functional.cross_entropy(
        maps[:, OUTPUTS_BEFORE_CLASSES:],
        wanted.labels,
        class_weights,
        ignore_index=IGNORED_LABEL,
        reduction="none",
    )
    box, named = (off * weight[:, None]).sum() / much, (entropy * weight).sum() / much
    return _focal(maps[:, 0], wanted.heat, wanted.asked) + 0.5 * box + named


def _focal(logits: Tensor, heat: Tensor, asked: Tensor) -> Tensor:
    yes = (heat > 0.999).float()
    chance = torch.sigmoid(logits)
    hit = -((1 - chance) ** 2) * torch.nn.functional.logsigmoid(logits) * yes
    miss = -((1 - heat) ** 4) * chance**2 * torch.nn.functional.logsigmoid(-logits) * (1 - yes)
    return (hit + miss * asked).sum() / yes.sum().clamp(min=1.0)


def class_weights(examples: Sequence[Example], classes: Sequence[CellClass]) -> NDArray[np.float32]:
    """(k,) one over the root of each class's frequency, mean 1: rare classes count, without drowning the rest."""
    labels = np.concatenate([example.cells.named.labels for example in examples])
    counts = np.bincount(labels, minlength=len(classes)).astype(float)
    weights = 1 / np.sqrt(np.maximum(counts, 1.0))
    return np.asarray(weights / weights.mean(), dtype=np.float32)


def _taken_over(
    fresh: dict[str, Tensor], start: DetectorPackage, classes: Sequence[CellClass]
) -> dict[str, Tensor]:
    """Fresh weights with all that ``start`` knows: its network, and of its last layer the classes of the same name."""
    known = {
        name: torch.from_numpy(np.array(values)) for name, values in start.weights.items() if name in fresh
    }
    taken = fresh | {name: values for name, values in known.items() if not name.startswith("head.")}
    there = {entry.name: index for index, entry in enumerate(start.classes)}
    rows = [(i, there[entry.name]) for i, entry in enumerate(classes) if entry.name in there]
    for name in ("head.weight", "head.bias"):
        values = fresh[name].clone()
        values[:OUTPUTS_BEFORE_CLASSES] = known[name][:OUTPUTS_BEFORE_CLASSES]
        for here, row in rows:
            values[OUTPUTS_BEFORE_CLASSES + here] = known[name][OUTPUTS_BEFORE_CLASSES + row]
        taken[name] = values
    return taken


def fit(
    examples: Sequence[Example],
    classes: Sequence[CellClass],
    settings: TrainSettings,
    start: DetectorPackage | None,
    progress: Progress,
    held: Sequence[Example] = (),
) -> dict[str, Floats]:
    """The weights after ``settings.steps`` steps, or those that did best on ``held``.

    ``start`` is a package with the same network to go on from; without it, and for classes that it does not know,
    training starts from random weights.
    """
    device = device_here()
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        network = build(ARCHITECTURE, settings.network, len(classes))
    if start is not None:
        network.load_state_dict(_taken_over(network.state_dict(), start, classes))
    sampler = Sampler(examples, settings, WIDE)
    weights = torch.from_numpy(class_weights(examples, classes)).to(device)

    def judged(network: torch.nn.Module, batch: tuple[Floats, list[Target]]) -> Tensor:
        given = torch.from_numpy(batch[0]).to(device, memory_format=torch.channels_last)
        return loss(network(given), batch[1], weights)

    watch = None
    if any(len(example.cells.named.labels) for example in held):
        others = Sampler(held, settings, WIDE)
        batches = [others.batch() for _ in range(HELD_BATCHES)]
        watch = Watch(lambda network: torch.stack([judged(network, batch) for batch in batches]).mean())
    return descend(
        network.to(device),
        lambda network: judged(network, sampler.batch()),
        settings.steps,
        settings.learning_rate,
        1e-3,
        progress,
        watch,
    )
