"""Do white, density, peaks and patches come out on the device as they do on the host?"""

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra 'torch' is not installed")

import torch

from detection import second_look
from detection.decoding import peaks as host_peaks
from detection.normalisation import optical_density, white_level
from detection.package import SecondLook
from detection.staggering import Work, staggered
from detection.torch_density import densities, white_levels
from detection.torch_places import patches, peaks
from tests.detection.untrained import field


@pytest.mark.parametrize("size", [(8, 8), (8, 16), (64, 64), (136, 72), (256, 512)])
def test_white_is_the_same_to_the_last_digit(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(size)
    images = [rng.integers(0, 256, (*size, 3), np.uint8) for _ in range(4)] + [field(*size)]
    there = white_levels(torch.from_numpy(np.stack(images)))
    assert there.tolist() == [white_level(image).tolist() for image in images]


@pytest.mark.parametrize("half", range(0, 256, 5))
def test_means_that_end_in_a_half_are_rounded_as_the_host_does(half: int) -> None:
    block = np.full((8, 8, 3), half, np.uint8)
    block[:4] = min(255, half + 1)
    assert white_levels(torch.from_numpy(block[None])).tolist() == [white_level(block).tolist()]


@pytest.mark.parametrize("size", [(8, 8), (37, 53), (64, 40)])
def test_densities_are_the_same_and_padded_with_empty_glass(size: tuple[int, int]) -> None:
    images = np.random.default_rng(1).integers(0, 256, (3, *size, 3), np.uint8)
    white = np.array([[240.0, 24.0, 100.5], [255.0, 250.0, 200.0], [30.0, 30.0, 30.0]], np.float32)
    there = densities(torch.from_numpy(images), torch.from_numpy(white))
    assert there.is_contiguous(memory_format=torch.channels_last)
    for found, image, level in zip(there.numpy(), images, white, strict=True):
        assert np.abs(found[:, : size[0], : size[1]] - optical_density(image, level)).max() < 1e-6
        assert not found[:, size[0] :].any()
        assert not found[:, :, size[1] :].any()


@pytest.mark.parametrize("steps", [3, 1000])
def test_peaks_are_the_same_on_plateaus_too(steps: int) -> None:
    rng = np.random.default_rng(steps)
    maps = (rng.integers(0, steps, (3, 7, 12, 17)) * (6.0 / steps) - 3).astype(np.float32)
    there = peaks(torch.from_numpy(maps), -0.5).reshape(3, 12, 17)
    for found, own in zip(there, maps, strict=True):
        rows, cols = host_peaks(own[0].astype(np.float64), -0.5)
        assert np.argwhere(found.numpy()).tolist() == np.column_stack([rows, cols]).tolist()


@pytest.mark.parametrize("size", [(8, 8), (40, 200), (96, 96)])
def test_patches_are_the_same_beyond_every_edge(size: tuple[int, int]) -> None:
    look = SecondLook(class_names=("HSIL", "NILM"), patch_px=32)
    rng = np.random.default_rng(2)
    density = rng.random((2, 3, *size)).astype(np.float32)
    boxes = np.hstack([rng.uniform(-20, 1.1 * max(size), (40, 2)), rng.uniform(1, 30, (40, 2))])
    at = np.column_stack([np.arange(40) % 2, second_look.corners(boxes, look)])
    given = torch.from_numpy(density).contiguous(memory_format=torch.channels_last)
    there = patches(given, torch.from_numpy(at), look.seen_px).numpy()
    for number in range(40):
        (here,) = second_look.patches(density[number % 2], boxes[number : number + 1], look)
        assert (there[number] == here).all()


def test_works_are_begun_before_the_one_before_them_goes_on() -> None:
    said = []

    def work(number: int, pauses: int) -> Work[int]:
        for step in range(pauses):
            said.append((number, step))
            yield
        return number

    assert list(staggered(work(number, pauses) for number, pauses in enumerate((2, 0, 1)))) == [1, 0, 2]
    assert said == [(0, 0), (0, 1), (2, 0)]
