"""Is the light's fall-off told by tiles of a slide alone, and refused where they do not tell it?"""

import numpy as np
import pytest

from scanner.pipeline.flat_estimate import Estimate, coarse, estimate
from scanner.pipeline.flat_field import illumination
from tests.scanner.pipeline.lit_fields import SIDE, Field, true_light


def told(cover: float, tilt: float = 0.0, tiles: int = 24, seed: int = 1) -> Estimate:
    field, rng = Field.of(seed, cover), np.random.default_rng(seed)
    light = true_light(tilt)
    places = rng.integers(0, 2200 - SIDE, (tiles, 2))
    levels = 1 + 0.01 * rng.standard_normal(tiles)
    return estimate(
        [coarse(field.frame(x, y, light, level, rng)) for (x, y), level in zip(places, levels, strict=True)]
    )


def shading(found: Estimate, tilt: float) -> float:
    """What stays of the fall-off, 95th percentile, %."""
    assert found.field is not None
    left = illumination(found.field, (SIDE, SIDE)) / true_light(tilt)
    return 100 * float(np.quantile(np.abs(left / left.mean(axis=(0, 1)) - 1), 0.95))


@pytest.mark.parametrize("tilt", [0.0, 0.06])
@pytest.mark.parametrize("cover", [0.1, 0.7])
def test_the_fall_off_is_found_between_the_sample(cover: float, tilt: float) -> None:
    found = told(cover, tilt)
    assert shading(found, tilt) < 0.5
    assert found.sigma is not None
    assert found.sigma < 0.003


def test_sixteen_bits_and_gray_tell_the_same() -> None:
    field, rng = Field.of(2, 0.3), np.random.default_rng(2)
    light = true_light()
    frames = [field.frame(x, x, light, 1.0, rng) for x in range(0, 1900, 150)]
    eight = estimate([coarse(frame[..., 1]) for frame in frames])
    sixteen = estimate([coarse(frame[..., 1].astype(np.uint16) * 257) for frame in frames])
    assert eight.field is not None
    assert sixteen.field is not None
    assert len(eight.field.coefficients) == 1
    assert np.allclose(eight.field.coefficients, sixteen.field.coefficients, atol=1e-4)


def test_too_few_tiles_are_told_so() -> None:
    found = told(0.1, tiles=3)
    assert found.field is None
    assert "too few" in found.reason


def test_dark_frames_tell_nothing() -> None:
    rng = np.random.default_rng(3)
    found = estimate([coarse(rng.integers(0, 20, (SIDE, SIDE, 3), dtype=np.uint8)) for _ in range(8)])
    assert found.field is None
    assert "dark" in found.reason


def test_tiles_that_are_all_one_sample_of_patches_are_not_believed() -> None:
    rng = np.random.default_rng(4)
    patchy = [
        np.repeat(np.repeat(rng.uniform(0.4, 0.9, (4, 4, 3)), 16, 0), 16, 1).astype(np.float32)
        for _ in range(6)
    ]
    assert estimate(patchy).field is None
