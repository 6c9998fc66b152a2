"""How does any network of ours go downhill? AdamW under a one-cycle schedule, the gradient clipped."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from detection.detections import Floats

Progress = Callable[[int, int, str], None]
LONGEST_GRADIENT = 5.0


def descend(
    network: nn.Module,
    next_loss: Callable[[nn.Module], Tensor],
    steps: int,
    rate: float,
    decay: float,
    progress: Progress,
) -> dict[str, Floats]:
    """The weights, float32 by name, after ``steps`` steps; ``next_loss`` draws a batch and judges the network on it."""
    network.train()
    optimiser = torch.optim.AdamW(network.parameters(), rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps)
    mean_loss = 0.0
    for step in range(steps):
        value = next_loss(network)
        optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]  # torch has no annotation here
        torch.nn.utils.clip_grad_norm_(network.parameters(), LONGEST_GRADIENT)
        optimiser.step()
        schedule.step()
        mean_loss = value.item() if step == 0 else 0.98 * mean_loss + 0.02 * value.item()
        progress(step + 1, steps, f"loss {mean_loss:.3f}")
    state = network.state_dict()
    return {
        name: value.cpu().numpy() for name, value in state.items() if not name.endswith("num_batches_tracked")
    }
