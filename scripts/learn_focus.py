"""Would a network that sees two planes tell heights better than the measured curve? Trained on simulated slides alone.

    python scripts/learn_focus.py [--fields 100] [--rounds 8] [--one-rig]

Prints how far both are off on simulated slides that were not learned from, and on a recorded stack. Its planes are not
a known way apart, so that there each answer is first scaled and shifted to fit best. Needs the extra ``torch``; half
an hour on two cores.
"""

import argparse
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from scanner.storage.stacks import read_stack
from scripts.bench_stack import REAL
from scripts.learned_focus_set import APART_UM, Example, recorded, simulated

FloatArray = NDArray[np.float64]

LEARNED_FROM, HELD_OUT = (711, 712, 713, 714, 721, 722), (901, 902)
STACK, STACK_STEPS, STACK_SCALES = "B_isbi2014_zstack", (2, 3, 4), (0.37, 0.5)
GRID = np.arange(-6.0, 6.01, 0.2)
BATCH, RATE, WIDTHS = 128, 3e-3, (24, 40, 56, 80)
_GRAY_SHARE, _GAIN, _OFFSET, _NOISE, _ZOOM = 0.5, 0.35, 0.05, 0.04, (0.65, 1.3)
_TARGET_UM = 0.12


class TwoShot(nn.Module):
    """(b, 7, 64, 64) two planes and a mask to (b, 61) logits of heights from -6 to 6 µm: 0.1 M weights."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((7, *WIDTHS), WIDTHS, strict=False):
            kernel = 5 if before == 7 else 3
            layers += [
                nn.Conv2d(before, after, kernel, 2, kernel // 2),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        self.features = nn.Sequential(*layers)
        self.heights = nn.Sequential(nn.Linear(2 * WIDTHS[-1], 96), nn.ReLU(), nn.Linear(96, len(GRID)))

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        """Logits."""
        features = self.features(seen)
        logits: torch.Tensor = self.heights(torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1))
        return logits


def seen_in(examples: Sequence[Example]) -> torch.Tensor:
    """(n, 7, 64, 64) float16."""
    masks = np.stack([e.mask for e in examples]).repeat(2, 1).repeat(2, 2)[:, None]
    return torch.from_numpy(
        np.concatenate([np.stack([e.planes for e in examples]), masks], 1, dtype=np.float16)
    )


def targets_of(examples: Sequence[Example]) -> torch.Tensor:
    """(n, 61) a narrow bell at the true height."""
    true = np.clip([e.true for e in examples], GRID[0], GRID[-1])
    bell = np.exp(-0.5 * ((GRID - true[:, None]) / _TARGET_UM) ** 2)
    return torch.from_numpy((bell / bell.sum(1, keepdims=True)).astype(np.float32))


def varied(seen: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """As other stains, cameras and pixel sizes would show it; some of it gray."""
    count = len(seen)
    for axis in (2, 3):
        seen = seen.flip(axis) if rng.random() < 0.5 else seen
    seen = seen.transpose(2, 3) if rng.random() < 0.5 else seen
    planes, mask = seen[:, :6], seen[:, 6:]
    mix = torch.softmax(torch.randn(count, 3, 1, 1), 1)
    gray = [
        (plane * mix).sum(1, keepdim=True).expand(-1, 3, -1, -1) for plane in (planes[:, :3], planes[:, 3:])
    ]
    chosen = torch.rand(count, 1, 1, 1) < _GRAY_SHARE
    planes = torch.where(chosen, torch.cat(gray, 1), planes)
    planes = planes * torch.exp(_GAIN * torch.randn(count, 1, 1, 1)) + _OFFSET * torch.randn(count, 1, 1, 1)
    planes = planes + _NOISE * torch.rand(count, 1, 1, 1) * torch.randn_like(planes)
    zoom = float(np.exp(rng.uniform(*np.log(_ZOOM))))
    turn = torch.zeros(count, 2, 3)
    turn[:, 0, 0] = turn[:, 1, 1] = 1 / zoom
    both = torch.cat([planes, mask], 1)
    grid = nn.functional.affine_grid(turn, list(both.shape), align_corners=False)
    return nn.functional.grid_sample(both, grid, padding_mode="reflection", align_corners=False)


def trained(examples: Sequence[Example], rounds: int, one_rig: bool) -> TwoShot:
    """By cross-entropy, with a rate that rises and falls once; ``one_rig`` leaves the pictures as they are."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    seen, targets, net = seen_in(examples), targets_of(examples), TwoShot()
    steps = len(examples) // BATCH
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=1e-3)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=rounds * steps)
    for number in range(rounds):
        order, total = rng.permutation(len(examples)), 0.0
        for which in np.array_split(order[: steps * BATCH], steps):
            shown = seen[which].float()
            logits = net(shown if one_rig else varied(shown, rng))
            loss = -(targets[which] * logits.log_softmax(1)).sum(1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            plan.step()
            total += loss.item()
        print(f"round {number + 1} of {rounds}: {total / steps:.3f}", flush=True)
    return net.eval()


@torch.no_grad()
def told_by(net: TwoShot, examples: Sequence[Example]) -> FloatArray:
    """(n,) the mean of what each is believed to be, µm."""
    seen = seen_in(examples)
    parts = (seen[first : first + 512] for first in range(0, len(seen), 512))
    beliefs = np.concatenate([net(part.float()).softmax(1).numpy() for part in parts])
    heights: FloatArray = beliefs.astype(float) @ GRID
    return heights


def fitted(told: FloatArray, true: FloatArray) -> FloatArray:
    """Scaled and shifted so that two thirds of the answers lie as near the truth as they can."""
    shifts = np.linspace(-2, 2, 41)
    candidates = (told * scale + shift for scale in np.linspace(0.1, 15, 150) for shift in shifts)
    return min(candidates, key=lambda answer: float(np.quantile(np.abs(answer - true), 0.68)))


def lines(name: str, net: TwoShot, examples: Sequence[Example], fit: bool) -> Iterator[str]:
    """What the measured curve and the network reach on the same nuclei."""
    true = np.array([e.true for e in examples])
    answers = {"measured curve": np.array([e.measured for e in examples]), "network": told_by(net, examples)}
    for method, told in answers.items():
        off = np.abs((fitted(told, true) if fit else told) - true)
        share = ", ".join(f"{q:.0%} within {np.quantile(off, q):.2f}" for q in (0.5, 0.68, 0.95))
        alike = np.corrcoef(told, true)[0, 1]
        yield f"{name}, {len(true)} nuclei, {method}: {share}; correlation {alike:.2f}"


def main() -> None:
    """Learn, then judge."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fields", type=int, default=100, help="of each simulated slide")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--one-rig", action="store_true", help="learn the simulated rig's look alone")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    examples = [example for seed in LEARNED_FROM for example in simulated(seed, asked.fields)]
    print(f"{len(examples)} nuclei to learn from", flush=True)
    net = trained(examples, asked.rounds, asked.one_rig)
    held_out = [example for seed in HELD_OUT for example in simulated(seed, asked.fields // 3)]
    for line in lines(f"simulated, planes {APART_UM} µm apart, µm", net, held_out, fit=False):
        print(line)
    if not (REAL / STACK).is_dir():
        print(f"{STACK} is not here: nothing was judged on a real stack")
        return
    planes = read_stack(REAL / STACK).planes
    for scale in STACK_SCALES:
        small = [
            np.asarray(cv2.resize(p, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
            for p in planes
        ]
        for steps in STACK_STEPS:
            near = [e for e in recorded(small, steps) if abs(e.true) < 1.5 * steps]
            for line in lines(f"{STACK} at {scale}, planes {steps} apart, in planes", net, near, fit=True):
                print(line, flush=True)


if __name__ == "__main__":
    main()
