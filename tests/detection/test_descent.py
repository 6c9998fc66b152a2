import pytest

pytest.importorskip("torch", reason="the extra 'torch' is not installed")

import torch

from detection.descent import Watch, descend


def test_a_descent_keeps_what_did_best_on_others_and_ends_when_nothing_gets_better() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(network.weight, 0.0)
    seen: list[float] = []

    def held_out(network: torch.nn.Module) -> torch.Tensor:
        seen.append(network.get_parameter("weight").item())
        loss: torch.Tensor = (network(torch.ones(1, 1)) - 0.2).square().mean()
        return loss

    steps: list[int] = []
    kept = descend(
        network,
        lambda network: (network(torch.ones(1, 1)) - 5.0).square().mean(),
        240,
        0.1,
        0.0,
        lambda done, *_: steps.append(done),
        Watch(held_out),
    )
    best = min(seen, key=lambda value: abs(value - 0.2))
    assert kept["weight"].item() == pytest.approx(best)
    assert len(steps) < 240
    assert steps[-1] == 240
