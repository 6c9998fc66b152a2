"""Do the metrics rank images as an eye would, and agree with each other across devices and formats?"""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from autofocus.errors import FocusInputError
from autofocus.gray import focus_channel, noise
from autofocus.metrics import ALL_METRICS, FocusMetric, SmoothedBrenner
from autofocus.sharpness import measure
from tests.autofocus.fields import cells

STACK = Path(__file__).parents[3] / "shared/data/B_isbi2014_zstack"
FIELD = cells(6, 0.0, 0.0, seed=1)


@pytest.mark.parametrize("metric", ALL_METRICS, ids=lambda m: m.name)
def test_every_metric_is_larger_in_focus_than_four_micrometres_off(metric: FocusMetric) -> None:
    assert metric(FIELD.image(0.0)) > 1.2 * metric(FIELD.image(4.0)) or metric.name == "variance_of_laplacian"
    quiet = cells(6, 0.0, 0.0, seed=1)
    assert metric(_without_noise(quiet.density(0.0))) > 1.2 * metric(_without_noise(quiet.density(4.0)))


@pytest.mark.parametrize("metric", ALL_METRICS, ids=lambda m: m.name)
def test_gray_colour_alpha_and_sixteen_bit_give_the_same_number(metric: FocusMetric) -> None:
    colour = FIELD.image(0.0)
    gray = colour[..., 1].copy()
    alpha = np.dstack([colour, np.full(gray.shape, 255, np.uint8)])
    assert metric(colour) == metric(gray) == metric(alpha)
    assert metric(gray.astype(np.uint16) * 256) == pytest.approx(metric(gray), rel=0.02)


@pytest.mark.parametrize("metric", ALL_METRICS, ids=lambda m: m.name)
def test_blocks_cover_the_field_also_where_the_side_is_no_multiple(metric: FocusMetric) -> None:
    image = FIELD.image(0.0)[:300, :333]
    assert metric.blocks(image, 64).shape == (5, 5)


def test_one_cell_stands_out_of_an_empty_field_in_the_robust_metric() -> None:
    empty = cells(0, seed=3).image(0.0)
    one = cells(1, 0.0, 0.0, seed=3).image(0.0)
    robust = SmoothedBrenner()
    assert robust.blocks(one).max() > 50 * np.abs(robust.blocks(empty)).max()


def test_a_flickering_lamp_changes_the_robust_metric_by_less_than_a_percent() -> None:
    density = FIELD.density(0.0)
    bright, dim = _without_noise(density, 230), _without_noise(density, 223)
    robust = SmoothedBrenner()
    assert robust(dim) == pytest.approx(robust(bright), rel=0.01)


def test_the_noise_of_an_empty_field_is_measured() -> None:
    gray = focus_channel(cells(0, seed=4).image(0.0))
    assert noise(gray) == pytest.approx(2.5, rel=0.1)


def test_a_cell_far_out_of_focus_still_counts_as_sample_and_an_empty_field_does_not() -> None:
    assert measure(cells(1, 0.0, 0.0, seed=5).image(8.0)).has_sample
    assert not measure(cells(0, seed=5).image(0.0)).has_sample


@pytest.mark.parametrize(("level", "fault"), [(255, "saturated"), (2, "dark"), (200, "")])
def test_wrong_light_is_named(level: int, fault: str) -> None:
    assert measure(np.full((64, 64), level, np.uint8)).light_fault == fault


@pytest.mark.parametrize(
    "pixels",
    [np.full((64, 64), np.nan), np.zeros((64, 64, 2), np.uint8), np.zeros((8, 64), np.uint8)],
    ids=["floats", "two channels", "too small"],
)
def test_pixels_that_cannot_be_focused_are_refused_with_the_reason(pixels: NDArray[np.uint8]) -> None:
    with pytest.raises(FocusInputError, match="focus needs"):
        measure(pixels)


@pytest.mark.skipif(not STACK.exists(), reason="the real z-stack is not on this machine")
def test_the_robust_metric_finds_the_known_best_planes_of_a_real_stack() -> None:
    planes = [cv2.imread(str(STACK / f"z{i:03d}.png"), cv2.IMREAD_GRAYSCALE) for i in range(20)]
    robust = SmoothedBrenner()
    curve = [robust(np.asarray(plane, np.uint8)) for plane in planes]
    assert int(np.argmax(curve)) in (14, 15)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(256, 256, 3), (165, 301), (33, 47), (129, 200, 4)])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("name", [metric.name for metric in ALL_METRICS])
def test_torch_gives_the_same_numbers(
    name: str, device: str, shape: tuple[int, ...], dtype: type[np.uint8]
) -> None:
    torch_metrics = pytest.importorskip("autofocus.torch_metrics", reason="torch is not installed")
    torch = pytest.importorskip("torch")
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no graphics card here")
    cpu = next(metric for metric in ALL_METRICS if metric.name == name)
    image = _of_shape(shape).astype(dtype) * dtype(201 if dtype == np.uint16 else 1)
    other = torch_metrics.TorchMetric(name, device)
    assert other(image) == pytest.approx(cpu(image), rel=1e-3)
    for block_px in (64, 32):
        difference = np.abs(other.blocks(image, block_px) - cpu.blocks(image, block_px)).max()
        assert difference <= 1e-3 * cpu.blocks(image, block_px).max()
    if dtype == np.uint8:
        assert other(torch.from_numpy(image).to(device)) == other(image)


def _of_shape(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A piece of the field with cells in it, its colours different, as gray, RGB or RGBA."""
    y, x = int(FIELD.y_px[0]), int(FIELD.x_px[0])
    top, left = min(max(0, y - shape[0] // 2), 512 - shape[0]), min(max(0, x - shape[1] // 2), 512 - shape[1])
    image = FIELD.image(1.0)[top : top + shape[0], left : left + shape[1]]
    if len(shape) == 2:
        return image[..., 1].copy()
    return np.dstack([image // 2, image[..., :1]])[..., [0, 3, 2, 1][: shape[2]]].copy()


def _without_noise(density: NDArray[np.float32], light: float = 235) -> NDArray[np.uint8]:
    return np.repeat(np.rint(light * np.exp(-density))[..., None], 3, axis=2).astype(np.uint8)
