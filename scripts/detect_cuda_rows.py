"""How quick is the shipped detector on CUDA, and does it say there what it says on a CPU? Rows for the bench.

Runs by itself too, where only torch, numpy, OpenCV, scipy, safetensors and pydantic are: ``python3 -m
scripts.detect_cuda_rows``.
"""

import importlib.util
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

import cv2

from detection.detections import Detections, Image
from detection.detector import self_test
from detection.package import DetectorPackage, default_package
from scripts.rows import Row, at_least, at_most, row, spread, tell

if TYPE_CHECKING:
    from detection.torch_detector import FastTorchDetector

FIELDS = 8
FRAMES = 128
STAGED = 64
SIDE_PX = 1024
ROUNDS = 5
GIGA, MEGA = 1e9, 1e6


def cuda_rows() -> Iterator[Row]:
    """Speed from pinned memory and with decoding, the stages, and agreement with the CPU; one row without a device."""
    if importlib.util.find_spec("torch") is None:
        yield row("CUDA: torch is not installed here", None)
        return
    import torch

    if not torch.cuda.is_available():
        yield row("CUDA: there is no device here", None)
        return
    begun = time.perf_counter()
    yield from _rows_on_device()
    yield row("CUDA: seconds for all these rows", time.perf_counter() - begun)


def _rows_on_device() -> Iterator[Row]:
    import torch

    from detection.torch_detector import FastTorchDetector, torch_detector
    from scripts.cuda_frames import frames, pinned, scenes
    from scripts.cuda_stages import stage_rows

    cv2.setNumThreads(1)
    package = DetectorPackage.load(default_package())
    detector = torch_detector(package)
    assert isinstance(detector, FastTorchDetector)
    yield row(f"CUDA on {torch.cuda.get_device_name()}: {detector.provider}", None)
    fields = scenes(FIELDS)
    images = frames(fields, FRAMES)
    asked_by_layers = FastTorchDetector(package, torch.device("cuda"), detector.half, replayed=False)
    yield from _pinned_rows(detector, asked_by_layers, images)
    yield from _decoding_rows(detector, images)
    yield from stage_rows(detector, asked_by_layers, pinned(images[:STAGED]))
    yield from _agreement_rows(detector, asked_by_layers, fields)


def _pinned_rows(
    detector: "FastTorchDetector", asked_by_layers: "FastTorchDetector", images: Sequence[Image]
) -> Iterator[Row]:
    from scripts.cuda_frames import fours, pinned

    um = detector.package.config.spacing_um_px
    for kind, given in (("1024²", pinned(images)), ("2048²", pinned(fours(images)))):
        name = f"CUDA Gpx/s from pinned memory, {kind} frames"
        rates = _rates(partial(detector.detect, given, um), given)
        yield spread(at_least(name, median(rates) / GIGA, 1.0), [rate / GIGA for rate in rates])
        rates = _rates(partial(asked_by_layers.detect, given, um), given)
        without = row(f"{name}, without graphs", median(rates) / GIGA)
        yield spread(without, [rate / GIGA for rate in rates])
    alone = _rates(partial(detector.detect, images[:1], um), images[:1])
    yield row("CUDA ms for one 1024² frame alone, not in pinned memory", 1000 * SIDE_PX**2 / median(alone))


def _decoding_rows(detector: "FastTorchDetector", images: Sequence[Image]) -> Iterator[Row]:
    """Frames are taken as they are decoded, while the device looks at those before."""
    from scripts.cuda_frames import from_jpeg, from_zarr

    threads = len(os.sched_getaffinity(0))
    for kind, decoding in (("JPEG", from_jpeg(images, threads)), ("zstd chunks", from_zarr(images, threads))):
        name = f"CUDA Mpx/s from {kind}, decoding and transfer included, {threads} threads"
        if decoding is None:
            yield row(f"{name}: tensorstore is not installed here", None, 300.0)
            continue
        rates = _rates(partial(_look_at, detector, decoding), images)
        yield spread(at_least(name, median(rates) / MEGA, 300.0), [rate / MEGA for rate in rates])
        alone = _rates(partial(_only, decoding), images)
        yield row(f"{kind} decoded alone, Mpx/s", median(alone) / MEGA)


def _look_at(detector: "FastTorchDetector", decoding: Callable[[], Iterator[Image]]) -> None:
    detector.road.look(decoding())


def _only(decoding: Callable[[], Iterator[Image]]) -> None:
    for _ in decoding():
        pass


def _agreement_rows(
    detector: "FastTorchDetector", asked_by_layers: "FastTorchDetector", fields: Sequence[Image]
) -> Iterator[Row]:
    import torch

    from detection.torch_detector import FastTorchDetector, TorchDetector
    from scripts.cuda_stages import differences

    box, score = self_test(detector)
    yield at_most("self-test on CUDA: boxes differ by px", box, 1.0)
    yield at_most("self-test on CUDA: scores differ by steps of 1e-4", 1e4 * score, 10.0)
    package, um = detector.package, detector.package.config.spacing_um_px
    company = detector.detect(fields, um)
    unlike = [
        a for image, a in zip(fields, company, strict=True) if not _same(a, *detector.detect([image], um))
    ]
    yield at_most("fields with another answer alone than in company", len(unlike), 0.0)
    by_layers = asked_by_layers.detect(fields, um)
    unlike = [a for a, b in zip(company, by_layers, strict=True) if not _same(a, b)]
    yield at_most("fields with another answer without graphs", len(unlike), 0.0)
    plain, full = (
        TorchDetector(package, torch.device("cpu")),
        FastTorchDetector(package, torch.device("cuda")),
    )
    told = plain.detect(fields, um)
    for provider in {one.provider: one for one in (detector, full)}.values():
        found = provider.detect(fields, um)
        for what, most in differences(found, told).items():
            yield row(f"{provider.provider}, and CPU, on {len(fields)} fields: {what}", most)


def _same(one: Detections, other: Detections) -> bool:
    return one.to_json() == other.to_json()


def _rates(work: Callable[[], object], images: Sequence[Image]) -> list[float]:
    """Pixels a second of each round, after one that does not count."""
    pixels = sum(image.shape[0] * image.shape[1] for image in images)
    seconds = []
    for _ in range(ROUNDS + 1):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return [pixels / took for took in seconds[1:]]


if __name__ == "__main__":
    tell(cuda_rows())
