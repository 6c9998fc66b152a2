"""Which stage of the detector's road on CUDA takes how long? Rows without bars: each stage alone."""

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from detection.architectures import ConvNorm
from detection.detections import Detections, Image
from detection.frames import Frame
from detection.package import SECOND_PREFIX, DetectorPackage
from detection.second_look import all_told, chosen
from detection.torch_density import densities, white_levels
from detection.torch_detector import FastTorchDetector
from detection.torch_graphs import Asked
from detection.torch_networks import channels_last, first_network, folded, halved, later_networks
from detection.torch_peaks import Peaks
from detection.torch_transfer import Lift
from scripts.rows import Row, row

ROUNDS = 10
PATCHES = 128


def took_us(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Microseconds of one call, all that it asked of the device included; the first is left out."""
    work()
    torch.cuda.synchronize()
    begun = time.perf_counter()
    for _ in range(rounds):
        work()
    torch.cuda.synchronize()
    return 1e6 * (time.perf_counter() - begun) / rounds


def stage_rows(
    detector: FastTorchDetector, asked_by_layers: FastTorchDetector, images: Sequence[Image]
) -> Iterator[Row]:
    """The stages of one full batch of images in pinned memory."""
    road, device = detector.road, torch.device("cuda")
    height, width, _ = images[0].shape
    batch = [Frame(n, 0, image, None) for n, image in enumerate(images[: road.together(height, width)])]
    mpx, lift, pixels = len(batch) * height * width / 1e6, Lift(device), [frame.pixels for frame in batch]
    frames = lift.frames(pixels, len(batch))
    density = road.density(batch)
    white = white_levels(frames)
    maps = road.maps(density)
    stages: dict[str, Callable[[], object]] = {
        "upload": lambda: lift.frames(pixels, len(batch)),
        "white level": lambda: white_levels(frames),
        "density": lambda: densities(frames, white),
        "first network as chosen": lambda: road.maps(density),
        "first network as chosen, without graphs": lambda: asked_by_layers.road.maps(density),
        "peaks": lambda: Peaks(maps, detector.package.config.rackscan),
    }
    for name, stage in stages.items():
        yield row(f"stage, µs a Mpx: {name}", took_us(stage) / mpx)
    yield from _network_rows(detector.package, density, mpx)
    yield from _later_rows(detector, batch, density, maps, mpx)


def _network_rows(package: DetectorPackage, density: Tensor, mpx: float) -> Iterator[Row]:
    """The first network in every way that it could be run."""
    network = first_network(package)
    for without_groups in (True, False):
        said = "as dense convolutions" if without_groups else "channel by channel"
        whole = channels_last(folded(network, without_groups).cuda())
        name = f"stage, µs a Mpx: first network {said}"
        yield _asked_row(f"{name}, half", halved(whole), density, mpx)
        yield _asked_row(f"{name}, full", whole, density, mpx)
        if without_groups:
            yield _asked_row(f"{name}, half, ReLU inside", _with_relu_inside(halved(whole)), density, mpx)


def _asked_row(name: str, network: nn.Module, given: Tensor, parts: float = 1.0) -> Row:
    """Microseconds of one replayed answer; not a number where cuDNN has no kernel for it."""
    try:
        return row(name, took_us(partial(Asked(network, replayed=True), given)) / parts)
    except RuntimeError as error:
        return row(f"{name}: {str(error)[:80]!r}", None)


def _later_rows(
    detector: FastTorchDetector, batch: Sequence[Frame], density: Tensor, maps: Tensor, mpx: float
) -> Iterator[Row]:
    """The second look at what the first suspects, and what is left to the host."""
    road, extension = detector.road, detector.package.config.rackscan
    look = extension.second_look
    assert look is not None
    peaks = Peaks(maps, extension)
    seen = peaks.candidates(batch)
    again = [chosen(candidates, extension) for candidates in seen]
    boxes = [candidates.boxes[own] for candidates, own in zip(seen, again, strict=True)]
    shown = road.patches(density, boxes, look)
    answers = road.asked(SECOND_PREFIX, shown).floats()
    yield row("candidates a Mpx", sum(map(len, seen)) / mpx)
    yield row("looked at again, a Mpx", len(shown) / mpx)
    yield row("stage, µs a Mpx: cutting patches", took_us(lambda: road.patches(density, boxes, look)) / mpx)
    yield row("stage, µs a Mpx: second network", took_us(lambda: road.asked(SECOND_PREFIX, shown)) / mpx)
    yield from _second_rows(detector.package, shown[:PATCHES])

    def on_host() -> None:
        found = peaks.candidates(batch)
        all_told(found, extension, [chosen(one, extension) for one in found], answers)

    yield row("stage, µs a Mpx: on the host", took_us(on_host) / mpx)


def _second_rows(package: DetectorPackage, shown: Tensor) -> Iterator[Row]:
    """The second network in every way that it could be run, for one batch of patches."""
    network = folded(later_networks(package)[SECOND_PREFIX]).cuda()
    name = f"µs for {len(shown)} patches: second network, channels"
    yield _asked_row(f"{name} first", network, shown)
    yield _asked_row(f"{name} first, ReLU inside", _with_relu_inside(network), shown)
    last = shown.contiguous(memory_format=torch.channels_last)
    yield _asked_row(f"{name} last", channels_last(copy.deepcopy(network)), last)
    halves = channels_last(copy.deepcopy(network).half())
    yield _asked_row(f"{name} last, half", halves, last)


def _with_relu_inside(network: nn.Module) -> nn.Module:
    """A folded network of which cuDNN adds the biases and cuts off what is below 0 as it convolves."""
    faster = copy.deepcopy(network)
    for layer in [layer for layer in faster.modules() if isinstance(layer, ConvNorm)]:
        convolution = layer[0]
        assert isinstance(convolution, nn.Conv2d)
        layer[0], layer[2] = _CutOff(convolution), nn.Identity()
    return faster


class _CutOff(nn.Module):
    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self._how = convolution

    def forward(self, given: Tensor) -> Tensor:
        """ReLU of the convolution, by one kernel."""
        how = self._how
        assert not isinstance(how.padding, str)
        return torch.cudnn_convolution_relu(
            given, how.weight, how.bias, how.stride, how.padding, how.dilation, how.groups
        )


def differences(found: Sequence[Detections], told: Sequence[Detections]) -> dict[str, float]:
    """How two answers about the same images differ: in cells, and at the most in boxes, scores and P(abnormal).

    A cell is the same where its middle is within 2 px.
    """
    alone, most = 0, np.zeros(3)
    for a, b in zip(found, told, strict=True):
        middles = [cells.boxes[:, :2] + cells.boxes[:, 2:] / 2 for cells in (a, b)]
        one, other = np.nonzero(np.abs(middles[0][:, None] - middles[1][None]).max(axis=2) < 2)
        alone += len(a) + len(b) - len(set(one)) - len(set(other))
        names = ("boxes", "scores", "abnormal")
        apart = [np.abs(getattr(a, name)[one] - getattr(b, name)[other]).max(initial=0) for name in names]
        most = np.maximum(most, apart)
    named = zip(
        ("px of boxes", "1e-4 of scores", "1e-4 of P(abnormal)"), (most * (1, 1e4, 1e4)).tolist(), strict=True
    )
    return {"cells": sum(map(len, told)), "cells of one alone": alone, **dict(named)}
