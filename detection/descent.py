"""How does any network of ours go downhill? AdamW under a one-cycle schedule, the gradient clipped.

Where somebody watches, the weights that did best on held-out images are kept, and a descent that has done no better
for a while ends (early stopping; Prechelt, Neural Networks: Tricks of the Trade, 1998).
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from detection.detections import Floats

Progress = Callable[[int, int, str], None]
Judge = Callable[[nn.Module], Tensor]
LONGEST_GRADIENT = 5.0
LOOKS = 24
PATIENCE = 8


@dataclass
class Watch:
    """Keeps what did best on held-out batches; ``judge`` gives a network's loss on them."""

    judge: Judge
    best: float = float("inf")
    kept: dict[str, Tensor] | None = None
    since: int = 0

    def look(self, network: nn.Module) -> bool:
        """Judge the network; False once nothing was better for a while."""
        with at_rest(network):
            value = float(self.judge(network))
        self.since += 1
        if value < self.best:
            self.best, self.since = value, 0
            self.kept = copy.deepcopy(network.state_dict())
        return self.since < PATIENCE


@contextmanager
def at_rest(network: nn.Module) -> Iterator[None]:
    """The network as it is used, without gradients."""
    network.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        network.train()


def descend(
    network: nn.Module,
    next_loss: Judge,
    steps: int,
    rate: float,
    decay: float,
    progress: Progress,
    watch: Watch | None = None,
) -> dict[str, Floats]:
    """The weights, float32 by name, after ``steps`` steps, or those that ``watch`` kept.

    ``next_loss`` draws a batch and judges the network on it.
    """
    network.train()
    optimiser = torch.optim.AdamW(network.parameters(), rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps)
    mean_loss, pause = 0.0, max(1, steps // LOOKS)
    for step in range(steps):
        value = next_loss(network)
        optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]  # torch has no annotation here
        torch.nn.utils.clip_grad_norm_(network.parameters(), LONGEST_GRADIENT)
        optimiser.step()
        schedule.step()
        mean_loss = value.item() if step == 0 else 0.98 * mean_loss + 0.02 * value.item()
        progress(step + 1, steps, f"loss {mean_loss:.3f}")
        if watch and (step + 1) % pause == 0 and not watch.look(network):
            progress(steps, steps, f"held-out loss {watch.best:.3f}, no better for a third of the way")
            break
    return in_numbers(watch.kept if watch and watch.kept else network.state_dict())


def in_numbers(state: Mapping[str, Tensor]) -> dict[str, Floats]:
    """A network's state, float32 by name."""
    kept = (name for name in state if not name.endswith("num_batches_tracked"))
    return {name: state[name].float().cpu().numpy() for name in kept}


def begun(network: nn.Module, known: Mapping[str, Floats]) -> nn.Module:
    """The network with the weights ``known`` that fit, the others as they are."""
    fresh = network.state_dict()
    taken = {name: torch.from_numpy(np.array(values)) for name, values in known.items() if name in fresh}
    fitting = {name: values for name, values in taken.items() if values.shape == fresh[name].shape}
    network.load_state_dict(fresh | fitting)
    return network
