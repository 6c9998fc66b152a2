"""How does a network go downhill for so many seconds? AdamW whose rate follows the time that is over.

The rate rises for a seventh of the time, then falls as half a cosine.
"""

import math
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from detection.descent import LONGEST_GRADIENT
from detection.detections import Floats

RISE, BEGIN, END = 0.15, 0.04, 1e-4
Weights = dict[str, Floats]


class Descent:
    """Steps of a network for ``seconds``, the highest rate being ``rate``."""

    def __init__(self, network: nn.Module, rate: float, decay: float, seconds: float) -> None:
        self._network, self._rate, self._seconds = network, rate, seconds
        on_cuda = next(network.parameters()).is_cuda
        self._optimiser = torch.optim.AdamW(network.parameters(), rate, weight_decay=decay, fused=on_cuda)
        self._mean: Tensor | None = None
        self.steps = 0

    def shares(self) -> Iterator[float]:
        """The share of the time that is over, until all of it is."""
        begun = time.monotonic()
        while (share := (time.monotonic() - begun) / self._seconds) < 1:
            yield share

    def step(self, value: Tensor, share: float) -> None:
        """Go down by the gradient of the loss ``value``."""
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate * _factor(share)
        self._optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]  # torch has no annotation here
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), LONGEST_GRADIENT)
        self._optimiser.step()
        self._mean = value.detach() if self._mean is None else 0.98 * self._mean + 0.02 * value.detach()
        self.steps += 1

    def __str__(self) -> str:
        loss = float("nan") if self._mean is None else float(self._mean)
        return f"step {self.steps}, loss {loss:.3f}"


def _factor(share: float) -> float:
    if share < RISE:
        return BEGIN + (1 - BEGIN) * (1 - math.cos(math.pi * share / RISE)) / 2
    return END + (1 + math.cos(math.pi * (share - RISE) / (1 - RISE))) / 2


def half(device: torch.device) -> torch.autocast:
    """Convolutions of 8 bits where there is a device for them."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


Say = Callable[[str], None]
