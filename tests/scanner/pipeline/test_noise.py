"""Is the noise told from frames that of the camera, and never much more than it?"""

import cv2
import numpy as np
import pytest

from scanner.model.profile import CameraNoise
from scanner.model.rounding import Rounding
from scanner.model.tile import Pixels
from scanner.pipeline.noise import noise_curve
from scanner.pipeline.pyramid import Block
from scanner.pipeline.rounding import round_into, rounder

ELECTRONS, READ = 40.0, 0.5
NOISE = CameraNoise(electrons_per_dn=ELECTRONS, read_dn=READ)


def frame(seed: int, texture_dn: float = 15.0) -> Pixels:
    """Cells on pale glass, with shot and read noise."""
    rng = np.random.default_rng(seed)
    clean = np.full((512, 512, 3), 236, np.float32)
    for _ in range(60):
        x, y, r = (int(v) for v in rng.integers([0, 0, 20], [512, 512, 60]))
        cv2.circle(clean, (x, y), r, tuple(float(v) for v in rng.integers(60, 200, 3)), -1)
    rough = cv2.GaussianBlur(rng.normal(0, 1, clean.shape).astype(np.float32), (0, 0), 1.5)
    clean = cv2.GaussianBlur(clean, (0, 0), 3) + texture_dn * rough / rough.std() * (clean < 200)
    seen = rng.normal(clean, np.sqrt(READ**2 + np.clip(clean, 0, 255) / ELECTRONS))
    return np.asarray(np.clip(np.rint(seen), 0, 255), np.uint8)


def test_the_curve_of_a_simulated_camera_is_found_in_its_frames() -> None:
    found = noise_curve([frame(seed) for seed in range(4)])
    assert found is not None
    for level in (100, 150, 200, 236):
        true, told = (np.sqrt(noise.read_dn**2 + level / noise.electrons_per_dn) for noise in (NOISE, found))
        assert 0.6 * true < told < 1.1 * true


def test_texture_is_not_taken_for_noise_where_there_is_glass() -> None:
    found = noise_curve([frame(seed, texture_dn=40) for seed in range(4)])
    assert found is not None
    assert np.sqrt(found.read_dn**2 + 236 / found.electrons_per_dn) < 1.1 * np.sqrt(READ**2 + 236 / ELECTRONS)


def test_frames_that_say_nothing_give_no_curve() -> None:
    assert noise_curve([]) is None
    assert noise_curve([np.full((512, 512), 255, np.uint8)]) is None


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("by_pixel", [True, False])
def test_a_block_is_rounded_in_place_whatever_its_memory(channels: int, dtype: str, by_pixel: bool) -> None:
    table = rounder(Rounding.within(NOISE, "test", np.dtype(dtype)), dtype)
    assert table is not None
    rng = np.random.default_rng(2)
    shape = (96, 96, channels) if by_pixel else (channels, 96, 96)
    made = rng.integers(0, len(table), shape).astype(dtype)
    block: Block = made.transpose(2, 0, 1) if by_pixel else made
    right = table[block]
    round_into(block, table)
    assert np.array_equal(block, right)


def test_a_map_of_numbers_and_a_lossless_image_have_no_levels() -> None:
    assert rounder(None, "uint8") is None
    assert rounder(Rounding.within(NOISE, "test", np.dtype(np.uint8)), "float32") is None
