"""Does fusing keep what was sharp, invent nothing, and give neighbouring tiles the same pixels where they overlap?"""

import gc
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from autofocus.edf import ExtendedFocus, FocusStacker, extended_focus
from autofocus.errors import FocusInputError
from tests.autofocus.fields import Field, cells, field_of

REAL = Path(__file__).parents[3] / "shared/data"
HEIGHTS = np.arange(-6.0, 6.1, 1.0)
REACH_PX = 176
Gray = NDArray[np.uint8]


def clean(field: Field, z_um: NDArray[np.float64] = HEIGHTS) -> list[Gray]:
    """The field at all heights without noise, (h, w)."""
    return [np.asarray(np.rint(235 * np.exp(-field.density(float(z)))), np.uint8) for z in z_um]


def noisy(planes: list[Gray], sigma: float = 2.5) -> list[Gray]:
    """The same as a camera sees them."""
    rng = np.random.default_rng(7)
    return [np.clip(np.rint(p + rng.normal(0, sigma, p.shape)), 0, 255).astype(np.uint8) for p in planes]


def energy(gray: NDArray[np.uint8], smooth_px: float) -> NDArray[np.float32]:
    """Squared gradient of each pixel after a Gaussian."""
    smooth = cv2.GaussianBlur(gray.astype(np.float32), (0, 0), smooth_px)
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    return np.asarray(across**2 + down**2, np.float32)


def kept(fused: Gray, planes: list[Gray], window_px: float = 6.0) -> float:
    """Gradient energy relative to that of the best plane around each pixel, summed."""
    around = [cv2.GaussianBlur(energy(plane, 1.0), (0, 0), window_px) for plane in planes]
    return float(energy(fused, 1.0).sum() / np.max(around, axis=0).sum())


@pytest.mark.parametrize(("count", "seed"), [(12, 1), (60, 2)])
def test_a_fused_field_keeps_the_gradients_of_the_best_plane_at_each_place(count: int, seed: int) -> None:
    planes = clean(cells(count, 0.0, 2.0, seed=seed))
    fused = extended_focus(planes, HEIGHTS).image
    assert kept(fused, planes) >= 0.97
    assert kept(fused, planes) > 1.1 * max(kept(plane, planes) for plane in planes)


@pytest.mark.parametrize("name", ["B_isbi2014_zstack", "B_ypm_zstack_426566"])
def test_a_fused_real_stack_keeps_the_gradients_of_the_best_plane_at_each_place(name: str) -> None:
    files = sorted(f for f in (REAL / name).glob("*[0-9].*") if f.suffix in {".png", ".jpg"})
    if not files:
        pytest.skip("the real z-stack is not on this machine")
    planes = [np.asarray(cv2.imread(str(file), cv2.IMREAD_COLOR), np.uint8)[..., 1].copy() for file in files]
    fused = extended_focus(planes, np.arange(float(len(planes)))).image
    assert kept(fused, planes) >= 0.97


def test_noise_over_empty_glass_is_not_more_than_that_of_one_plane() -> None:
    planes = noisy([np.full((256, 256), 220, np.uint8)] * len(HEIGHTS))
    assert extended_focus(planes, HEIGHTS).image.std() <= planes[0].std()


def test_no_halo_surrounds_a_cell() -> None:
    field = field_of([256], [256], [-3], [10], [0.6])
    planes = clean(field)
    sharp, fused = planes[3].astype(float), extended_focus(noisy(planes), HEIGHTS).image.astype(float)
    y, x = np.mgrid[:512, :512]
    far = np.hypot(y - 256, x - 256)
    for ring in range(14, 60, 4):
        here = (far >= ring) & (far < ring + 4)
        assert abs((fused - sharp)[here].mean()) < 0.6


@settings(max_examples=25, deadline=None)
@given(arrays(np.uint8, (4, 32, 36, 3)), st.permutations(range(4)))
def test_every_fused_pixel_lies_between_the_planes_pixels(planes: Gray, order: list[int]) -> None:
    fused = extended_focus([planes[n] for n in order], np.arange(4.0)).image
    assert (fused >= planes.min(axis=0)).all()
    assert (fused <= planes.max(axis=0)).all()


def test_the_order_of_the_planes_does_not_matter() -> None:
    planes = noisy(clean(cells(30, 0.0, 2.0, seed=3)))
    up, down = extended_focus(planes, HEIGHTS), extended_focus(planes[::-1], HEIGHTS[::-1])
    assert np.mean(np.abs(up.image.astype(int) - down.image) > 1) < 0.02
    assert np.abs(up.height_um - down.height_um).max() < 1e-3


def overlapping(planes: list[Gray], left: int) -> tuple[ExtendedFocus, ExtendedFocus, ExtendedFocus]:
    """The whole, columns up to 640, and columns from ``left``; each fused by itself."""
    return (
        extended_focus(planes, HEIGHTS),
        extended_focus([p[:, :640] for p in planes], HEIGHTS),
        extended_focus([p[:, left:] for p in planes], HEIGHTS),
    )


def test_overlapping_tiles_fuse_to_the_same_pixels_beyond_a_border_of_fixed_width() -> None:
    left = 200
    whole, first, second = overlapping(noisy(clean(cells(80, 0.0, 2.0, seed=4, size_px=1024))), left)
    inner = np.s_[:, left + REACH_PX : 640 - REACH_PX]
    for name in ("image", "height_um"):
        a, b, c = (getattr(part, name) for part in (whole, first, second))
        np.testing.assert_allclose(a[:, :640][inner], b[inner], atol=1e-4)
        np.testing.assert_allclose(a[inner], c[:, REACH_PX : 640 - REACH_PX - left], atol=1e-4)


@pytest.mark.parametrize("left", [540, 537])
def test_a_seam_in_the_middle_of_a_usual_overlap_cannot_be_seen(left: int) -> None:
    _, first, second = overlapping(noisy(clean(cells(80, 0.0, 2.0, seed=4, size_px=1024))), left)
    strip = slice(left + 30, 640 - 30)
    apart = first.image[:, strip].astype(int) - second.image[:, strip.start - left : strip.stop - left]
    noise_of_two_frames = 2.5 * np.sqrt(2)
    assert apart.std() < 0.75 * noise_of_two_frames
    assert np.abs(cv2.GaussianBlur(apart.astype(np.float32), (0, 0), 3.0)).max() < 3


def test_tiles_whose_planes_lie_half_a_step_apart_look_alike() -> None:
    field = cells(60, 0.0, 1.5, seed=5)
    here = extended_focus(noisy(clean(field)), HEIGHTS)
    there = extended_focus(noisy(clean(field, HEIGHTS + 0.5)), HEIGHTS + 0.5)
    light = [cv2.GaussianBlur(fused.image.astype(np.float32), (0, 0), 2.0) for fused in (here, there)]
    assert np.abs(light[0] - light[1]).mean() < 0.5
    textured = field.density(0.0) > 0.1
    assert np.abs(here.height_um - there.height_um)[textured].mean() < 0.25


def test_heights_follow_a_tilted_sample() -> None:
    flat = cells(60, 0.0, 0.0, seed=2)
    tilted = Field(flat.x_px, flat.y_px, (flat.x_px - 256) / 64, flat.radius_px, flat.depth)
    heights = extended_focus(noisy(clean(tilted)), HEIGHTS).height_um
    found = heights[tilted.y_px.round().astype(int), tilted.x_px.round().astype(int)]
    assert np.median(np.abs(found - tilted.z_um)) < 0.3


@pytest.mark.parametrize("channels", [0, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_gray_colour_alpha_and_sixteen_bit_fuse_alike(dtype: type[np.uint8], channels: int) -> None:
    planes = clean(cells(20, 0.0, 2.0, seed=6))
    planes = [plane[:203, :301] for plane in planes]
    gray = extended_focus(planes, HEIGHTS)
    deep = [p.astype(dtype) * dtype(256 if dtype == np.uint16 else 1) for p in planes]
    stack = [np.dstack([p] * channels) for p in deep] if channels else deep
    fused = extended_focus(stack, HEIGHTS)
    assert (fused.image.shape, fused.image.dtype) == (stack[0].shape, np.dtype(dtype))
    first = fused.image[..., 0] if channels else fused.image
    scale = 256 if dtype == np.uint16 else 1
    assert np.abs(first.astype(float) / scale - gray.image).max() <= 4
    np.testing.assert_allclose(fused.height_um, gray.height_um, atol=0.1)


def test_a_plane_is_not_kept() -> None:
    stacker = FocusStacker()
    planes = clean(cells(5, seed=7), np.array([0.0, 1.0]))
    gone = [weakref.ref(plane) for plane in planes]
    while planes:
        stacker.add(planes.pop(0), float(len(planes)))
    gc.collect()
    assert all(ref() is None for ref in gone)
    assert stacker.result().image.shape == (512, 512)


@pytest.mark.parametrize(
    ("shape", "z_um", "reason"),
    [
        ((64, 64), np.nan, "not finite"),
        ((64, 64), 0.0, "another plane has it"),
        ((64, 32), 1.0, "came after"),
    ],
)
def test_a_plane_that_does_not_belong_is_refused_and_the_rest_still_fused(
    shape: tuple[int, int], z_um: float, reason: str
) -> None:
    stacker = FocusStacker()
    stacker.add(np.full((64, 64), 9, np.uint8), 0.0)
    with pytest.raises(FocusInputError, match=reason):
        stacker.add(np.zeros(shape, np.uint8), z_um)
    assert (stacker.result().image == 9).all()


def test_nothing_cannot_be_fused() -> None:
    with pytest.raises(FocusInputError, match="no plane"):
        FocusStacker().result()


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(("dtype", "channels"), [(np.uint8, 0), (np.uint8, 3), (np.uint16, 4)])
def test_torch_fuses_to_the_same_image_and_heights(device: str, dtype: type[np.uint8], channels: int) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no graphics card here")
    from autofocus.torch_edf import TorchFocusStacker

    scale = dtype(257 if dtype == np.uint16 else 1)
    planes = [p[:203, :301].astype(dtype) * scale for p in noisy(clean(cells(30, 0.0, 2.0, seed=8)))]
    planes = [np.dstack([p] * channels) for p in planes] if channels else planes
    card = TorchFocusStacker(device=device)
    for plane, z_um in zip(planes, HEIGHTS.tolist(), strict=True):
        card.add(plane, z_um)
    ours, theirs = extended_focus(planes, HEIGHTS), card.result()
    apart = np.abs(ours.image.astype(int) - theirs.image)
    assert theirs.image.dtype == dtype
    assert np.mean(apart > int(scale)) < 1e-4
    np.testing.assert_allclose(ours.height_um, theirs.height_um, atol=1e-3)
    with pytest.raises(FocusInputError, match="another plane has it"):
        card.add(planes[0], 0.0)
