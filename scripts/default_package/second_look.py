"""How does the second look learn on a device? From what the first one suspects, as ``second_training`` shows it."""

from pathlib import Path

import torch
from torch import Tensor, nn

from detection.architectures import build
from detection.classes import Role, cell_class, indices
from detection.descent import begun, in_numbers
from detection.learn import second_look_of
from detection.package import BOX, CANDIDATE_FLOOR
from detection.second_look import BOX_SIDE_PX, BOX_STEP_PX
from detection.second_networks import second_network
from detection.second_training import LEAST_SUSPICION, SecondSettings, answers_loss
from detection.targets import CLOSE, NONE
from detection.training import ARCHITECTURE, TrainSettings
from scripts.default_package.bank import Bank, placed, shown
from scripts.default_package.descent import Descent, Say, Weights, half
from scripts.default_package.first_look import NETWORK
from scripts.default_package.suspects import Suspected, suspected
from scripts.make_training_set import LABELS

WINDOW_PX, BATCH = 208, 512
DECAY = 1e-2
JITTER_PX = SecondSettings().jitter_px
CENTRED = 0.3
"""Of so many cells a patch lies around the true box instead of what the first look found: see ``second_views``."""
REFRESHES = (0.3, 0.55, 0.75)
"""At these shares of the time more fields are looked for and normal places are weighed anew."""
JUDGED_TOGETHER = 2048
LOOK = second_look_of(tuple(LABELS), TrainSettings())
ABNORMAL = indices([cell_class(name) for name in LABELS], Role.ABNORMAL)
FLOORS = CANDIDATE_FLOOR, LOOK.floor
"""The least objectness and P(abnormal) of a place that is looked at twice."""


def learn_second(
    bank: Bank, shards: Path, known: tuple[Weights, Weights], seconds: float, rate: float, say: Say
) -> Weights:
    """The weights after so long; ``known`` are the first look's, and the second's to go on from as far as they fit."""
    first = begun(build(ARCHITECTURE, NETWORK, len(LABELS)), known[0]).to(bank.device)
    network = begun(second_network(LOOK), known[1])
    network = network.to(bank.device, memory_format=torch.channels_last).train()
    abnormal = torch.tensor(ABNORMAL, device=bank.device)
    bank.take(shards)
    whole = suspected(first, bank, range(bank.count), abnormal, FLOORS)
    places, refreshes = _Places(whole, abnormal), list(REFRESHES)
    descent = Descent(network, rate, DECAY, seconds)
    for share in descent.shares():
        if refreshes and share > refreshes[0]:
            refreshes.pop(0)
            if new := bank.take(shards):
                whole = Suspected.joined([whole, suspected(first, bank, new, abnormal, FLOORS)])
            places = _Places(whole, abnormal)
            places.weigh(_judged(network, bank, whole, places.normal, abnormal))
            say(f"second look: {descent}, {len(whole)} places, {int((~places.normal).sum())} abnormal")
        density, label, said = _batch(bank, whole, places.draw(BATCH))
        with half(bank.device):
            answers = network(density)
        descent.step(answers_loss(answers.float(), label, said, ABNORMAL), share)
    say(f"second look: {descent}")
    return in_numbers(network.state_dict())


class _Places:
    """Draws places: half abnormal, each class as often; half others, the more suspicious the more often."""

    def __init__(self, given: Suspected, abnormal: Tensor) -> None:
        self._given, self._classes = given, len(abnormal)
        self.normal = ~torch.isin(given.label, abnormal)
        self.weigh(given.suspicion)

    def weigh(self, suspicion: Tensor) -> None:
        """Draw normal ones by this (n,) suspicion."""
        counts = torch.bincount(self._given.label, minlength=len(LABELS) + 1).double()
        other = (suspicion + LEAST_SUSPICION).double() * self.normal
        even = 0.5 / self._classes / counts[self._given.label].clamp(min=1)
        self._cumulated = torch.cumsum(torch.where(self.normal, 0.5 * other / other.sum(), even), 0)

    def draw(self, much: int) -> Tensor:
        """(b,) indices."""
        at = torch.rand(much, device=self._cumulated.device, dtype=torch.float64) * self._cumulated[-1]
        return torch.searchsorted(self._cumulated, at).clamp(max=len(self._given) - 1)


def _batch(bank: Bank, whole: Suspected, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(b, 3, s, s) densities, (b,) labels, (b, 4) what is to be said of the boxes."""
    field, box = whole.field[index], whole.box[index]
    off = torch.randn((len(index), 2), device=bank.device) * JITTER_PX / bank.zoom[field][:, None]
    centred = torch.rand((len(index), 1), device=bank.device) < CENTRED
    middle = torch.where(centred, box[:, :2] + box[:, 2:] / 2, whole.centre[index])
    place = placed(middle + off, bank.zoom[field], CLOSE, LOOK.seen_px)
    density = shown(bank, field, place, CLOSE, WINDOW_PX).contiguous(memory_format=torch.channels_last)
    moved = place.boxes(box[:, None])[:, 0]
    away = (moved[:, :2] + moved[:, 2:] / 2 - LOOK.seen_px / 2) / BOX_STEP_PX
    return density, whole.label[index], torch.cat([away, (moved[:, 2:].clamp(min=1) / BOX_SIDE_PX).log()], 1)


@torch.inference_mode()
def _judged(network: nn.Module, bank: Bank, whole: Suspected, normal: Tensor, abnormal: Tensor) -> Tensor:
    """(n,) suspicion: what the network says of the normal places that the first look found, as they are."""
    network.eval()
    suspicion = whole.suspicion.clone()
    for own in (normal & (whole.suspicion > 0)).nonzero()[:, 0].split(JUDGED_TOGETHER):
        field = whole.field[own]
        place = placed(whole.centre[own], bank.zoom[field], NONE, LOOK.seen_px)
        density = shown(bank, field, place, NONE, WINDOW_PX).contiguous(memory_format=torch.channels_last)
        with half(bank.device):
            logits = network(density)[:, :-BOX]
        suspicion[own] = torch.softmax(logits.float(), 1)[:, abnormal].sum(1)
    network.train()
    return suspicion
