"""How does the first look learn on a device? Half of what it is shown lies around a cell of a class drawn evenly."""

from pathlib import Path

import torch
from torch import Tensor

from detection.architectures import build
from detection.descent import in_numbers
from detection.package import Network
from detection.targets import IGNORED_LABEL, WIDE
from detection.training import ARCHITECTURE, TrainSettings, maps_loss
from scripts.default_package.bank import Bank, placed, shown, wanted
from scripts.default_package.descent import Descent, Say, Weights, half
from scripts.default_package.stream import SIDE_PX
from scripts.make_training_set import LABELS

NETWORK: Network = TrainSettings().network
PATCH_PX, WINDOW_PX, BATCH = 256, 400, 96
RATE, DECAY = 4e-3, 1e-3
REFRESH = 0.12
"""After such a share of the time more fields are looked for."""
BEYOND_PX = 64


def learn_first(bank: Bank, shards: Path, seconds: float, say: Say) -> Weights:
    """The weights after so long, from random ones."""
    network = build(ARCHITECTURE, NETWORK, len(LABELS)).to(bank.device).train()
    descent, refreshed = Descent(network, RATE, DECAY, seconds), -1.0
    for share in descent.shares():
        if share - refreshed > REFRESH:
            bank.take(shards)
            drawing, refreshed = _Drawing(bank), share
            say(f"first look: {descent}, {bank.count} fields")
        index, centre = drawing.draw(BATCH)
        place = placed(centre, bank.zoom[index], WIDE, PATCH_PX)
        density = shown(bank, index, place, WIDE, WINDOW_PX)
        target = wanted(place.boxes(bank.boxes[index]), bank.labels[index], PATCH_PX)
        with half(bank.device):
            maps = network(density)
        descent.step(maps_loss(maps.float(), target, drawing.weights), share)
    say(f"first look: {descent}")
    return in_numbers(network.state_dict())


class _Drawing:
    """What is drawn: cells by class and anywhere; ``weights`` (k,) of the classes in the loss."""

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        self._field, self._place = (bank.labels[: bank.count] != IGNORED_LABEL).nonzero(as_tuple=True)
        label = bank.labels[self._field, self._place]
        counts = torch.bincount(label, minlength=len(LABELS)).float().clamp(min=1)
        self._cumulated = torch.cumsum((1 / counts)[label].double(), 0)
        self.weights = 1 / counts.sqrt()
        self.weights /= self.weights.mean()

    def draw(self, much: int) -> tuple[Tensor, Tensor]:
        """(b,) fields and (b, 2) centres px."""
        device, around = self._bank.device, much // 2
        at = torch.rand(around, device=device, dtype=torch.float64) * self._cumulated[-1]
        at = torch.searchsorted(self._cumulated, at).clamp(max=len(self._field) - 1)
        field = self._field[at]
        box = self._bank.boxes[field, self._place[at]]
        spread = PATCH_PX / 3 / self._bank.zoom[field][:, None]
        centre = box[:, :2] + box[:, 2:] / 2 + (2 * torch.rand((around, 2), device=device) - 1) * spread
        other = torch.randint(self._bank.count, (much - around,), device=device)
        anywhere = torch.rand((much - around, 2), device=device) * SIDE_PX
        near = centre.clamp(-BEYOND_PX, SIDE_PX + BEYOND_PX)
        return torch.cat([field, other]), torch.cat([near, anywhere])
