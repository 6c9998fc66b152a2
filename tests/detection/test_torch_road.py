"""Does the road that keeps pixels on the device find what the one through the host finds?"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra 'torch' is not installed")

import torch

from detection.detections import Detections, Image
from detection.detector import self_test
from detection.errors import ImageRefused
from detection.package import (
    CROP_PREFIX,
    DetectorPackage,
    SecondCalibration,
    default_package,
    named,
    weights_of,
)
from detection.torch_detector import FastTorchDetector, TorchDetector, passes, torch_detector
from scanner.devices.simulated.scene import ABNORMAL_MIX, NORMAL_MIX, render_scene
from tests.detection.untrained import field

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small networks gain nothing by a second, and on a busy machine wait for it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _agree(a: Sequence[Detections], b: Sequence[Detections]) -> None:
    for one, other in zip(a, b, strict=True):
        assert len(one) == len(other)
        assert np.abs(one.boxes - other.boxes).max(initial=0.0) < 1
        assert np.abs(one.scores - other.scores).max(initial=0.0) < 1e-3
        assert np.abs(one.abnormal - other.abnormal).max(initial=0.0) < 1e-3
        assert (one.classes == other.classes).mean() > 0.99 if len(one) else True


def _both(
    package: DetectorPackage, images: Sequence[Image], um_per_px: float = 0.5
) -> tuple[list[Detections], list[Detections]]:
    fast, plain = FastTorchDetector(package, CPU), TorchDetector(package, CPU)
    return fast.detect(images, um_per_px), plain.detect(images, um_per_px)


@pytest.fixture(params=["package", "package_of_two", "package_of_places", "package_of_views"])
def any_package(request: pytest.FixtureRequest) -> DetectorPackage:
    found: DetectorPackage = request.getfixturevalue(request.param)
    return found


def _mirroring(package: DetectorPackage) -> DetectorPackage:
    """The same, where half of what is looked at again is looked at from its mirror images too."""
    look = package.config.rackscan.second_look
    assert look is not None
    changed = {"second_look": look.model_copy(update={"mirrored_from": 0.1})}
    extension = package.config.rackscan.model_copy(update=changed)
    return replace(package, config=package.config.model_copy(update={"rackscan": extension}))


def test_it_finds_the_same_in_images_of_any_size(any_package: DetectorPackage) -> None:
    sizes = ((256, 256), (37, 53), (8, 8), (256, 256), (3, 5), (300, 411), (256, 256))
    fast, plain = _both(any_package, [field(*size, seed) for seed, size in enumerate(sizes)])
    _agree(fast, plain)
    assert sum(map(len, fast)) > 20


def test_it_finds_the_same_where_mirror_images_are_asked(package_of_views: DetectorPackage) -> None:
    fast, plain = _both(_mirroring(package_of_views), [field(192, 192, seed) for seed in range(2)])
    _agree(fast, plain)
    unmirrored = FastTorchDetector(package_of_views, CPU).detect([field(192, 192, 0)], 0.5)
    assert unmirrored[0].to_json() != fast[0].to_json()


def _with_crop_look(package: DetectorPackage, counts: float) -> DetectorPackage:
    """The second look of another kind takes part as the crop look."""
    extension = package.config.rackscan
    look = extension.second_look
    assert look is not None
    crops = look.model_copy(update={"calibration": SecondCalibration(second=counts, first=0.5)})
    turned = {
        name: values[::-1] if name.startswith("head") else values
        for name, values in weights_of(package.weights).items()
    }
    weights = package.weights | named(turned, CROP_PREFIX)
    config = package.config.model_copy(update={"rackscan": extension.model_copy(update={"crop_look": crops})})
    return replace(package, config=config, weights=weights)


@pytest.mark.parametrize("counts", [0.0, 0.7])
def test_it_finds_the_same_where_crops_are_asked(package_of_two: DetectorPackage, counts: float) -> None:
    images = [field(256, 256, seed) for seed in range(2)]
    fast, plain = _both(_with_crop_look(package_of_two, counts), images)
    _agree(fast, plain)
    (without,) = FastTorchDetector(package_of_two, CPU).detect(images[:1], 0.5)
    assert without.to_json() != fast[0].to_json()


def test_it_finds_the_same_where_only_crops_are_asked(package_of_two: DetectorPackage) -> None:
    package = _with_crop_look(package_of_two, 0.7)
    extension = package.config.rackscan.model_copy(update={"second_look": None})
    package = replace(package, config=package.config.model_copy(update={"rackscan": extension}))
    fast, plain = _both(package, [field(256, 256)])
    _agree(fast, plain)
    assert len(fast[0]) > 3


def test_it_finds_the_same_where_peaks_are_many(
    package_of_two: DetectorPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("detection.torch_peaks.LEAST_PEAKS", 1)
    fast, plain = _both(package_of_two, [field(256, 256, seed) for seed in range(5)])
    _agree(fast, plain)
    assert sum(map(len, fast)) > 64


@pytest.mark.parametrize("size", [(200, 2600), (2100, 136)])
def test_it_finds_the_same_in_a_large_image(package_of_two: DetectorPackage, size: tuple[int, int]) -> None:
    fast, plain = _both(package_of_two, [field(*size, 3), field(64, 64)])
    _agree(fast, plain)
    assert len(fast[0]) > 20


@pytest.mark.parametrize("um_per_px", [0.25, 0.7])
def test_it_finds_the_same_at_another_scale(package_of_two: DetectorPackage, um_per_px: float) -> None:
    fast, plain = _both(package_of_two, [field(256, 320, 1)], um_per_px)
    _agree(fast, plain)
    assert len(fast[0]) > 3


@pytest.mark.parametrize("level", [0, 10, 24, 127, 255])
def test_it_finds_the_same_in_an_even_gray(package: DetectorPackage, level: int) -> None:
    even = np.full((128, 128, 3), level, np.uint8)
    fast, plain = _both(package, [even])
    _agree(fast, plain)
    assert [len(found) for found in fast] == [len(found) for found in plain]


def test_it_finds_the_same_in_noise_of_all_levels(package_of_places: DetectorPackage) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (192, 192, 3), np.uint8)
    fast, plain = _both(package_of_places, [noise])
    _agree(fast, plain)
    assert len(fast[0]) > 3


def test_it_finds_the_same_cells_with_the_shipped_package() -> None:
    package = DetectorPackage.load(default_package())
    scenes = [render_scene((256, 320), seed, mix=NORMAL_MIX | ABNORMAL_MIX).rgb for seed in range(3)]
    fast, plain = _both(package, scenes)
    _agree(fast, plain)
    assert sum(map(len, fast)) > 10


def test_the_shipped_package_passes_its_self_test() -> None:
    detector = FastTorchDetector(DetectorPackage.load(default_package()), CPU)
    box, score = self_test(detector)
    assert box <= 0.125
    assert score <= 2e-4
    assert passes(detector)


def test_an_answer_does_not_depend_on_company(package_of_views: DetectorPackage) -> None:
    detector = FastTorchDetector(package_of_views, CPU)
    images = [field(256, 256, seed) for seed in range(7)]
    together = detector.detect(images, 0.5)
    alone = [detector.detect([image], 0.5)[0] for image in images]
    assert [t.to_json() for t in together] == [a.to_json() for a in alone]


def test_nothing_is_found_in_no_images(package: DetectorPackage) -> None:
    assert FastTorchDetector(package, CPU).detect([], 0.5) == []


def test_gray_images_are_refused(package: DetectorPackage) -> None:
    with pytest.raises(ImageRefused):
        FastTorchDetector(package, CPU).detect([np.zeros((64, 64), np.uint8)], 0.5)


def test_views_and_images_that_may_not_be_written_are_looked_at(package: DetectorPackage) -> None:
    image = field(128, 128)
    locked = image.copy()
    locked.setflags(write=False)
    detector = FastTorchDetector(package, CPU)
    (a,), (b,), (c,) = (detector.detect([i], 0.5) for i in (image, locked, image[:, :, ::-1][:, :, ::-1]))
    assert a.to_json() == b.to_json() == c.to_json()


def test_the_provider_says_the_precision(package: DetectorPackage) -> None:
    full, half = FastTorchDetector(package, CPU), FastTorchDetector(package, CPU, half=True)
    assert full.provider.endswith("on cpu, full")
    assert half.provider.endswith("on cpu, half")
    assert torch_detector(package, CPU).provider.endswith("on cpu")


def test_half_precision_finds_nearly_the_same_with_the_shipped_package() -> None:
    detector = FastTorchDetector(DetectorPackage.load(default_package()), CPU, half=True)
    box, score = self_test(detector)
    assert box <= 0.125
    assert 0 < score <= 1e-3 or score == 0


def test_a_package_that_fails_its_self_test_is_told(package: DetectorPackage) -> None:
    assert passes(FastTorchDetector(package, CPU))
    other = replace(package, self_test_image=field(256, 256, 77))
    assert not passes(FastTorchDetector(other, CPU))
