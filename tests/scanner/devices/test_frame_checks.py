import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.devices.frame_checks import FrameForm, fault, rgb_or_gray
from scanner.model.profile import CameraSpec
from scanner.model.tile import Pixels

RNG = np.random.default_rng(1)
FORM = FrameForm((96, 128, 3), np.dtype(np.uint8))
GOOD = RNG.integers(1, 255, (96, 128, 3), dtype=np.uint8)


def test_an_honest_frame_passes() -> None:
    other = RNG.integers(1, 255, GOOD.shape, dtype=np.uint8)
    assert fault(GOOD, FORM, other) is None
    assert fault(GOOD, FORM, None) is None


@pytest.mark.parametrize(
    ("pixels", "word"),
    [
        (GOOD[:-1], "format"),
        (GOOD[..., 0], "format"),
        (GOOD.astype(np.uint16), "format"),
        (np.zeros_like(GOOD), "black"),
        (np.full_like(GOOD, 255), "saturated"),
        (GOOD.copy(), "repeat"),
    ],
)
def test_each_kind_of_bad_frame_is_named(pixels: Pixels, word: str) -> None:
    reason = fault(pixels, FORM, GOOD)
    assert reason is not None
    assert reason.startswith(word)


@given(y=st.integers(0, 95), x=st.integers(0, 127), value=st.integers(1, 254))
def test_one_pixel_that_differs_makes_a_frame_honest(y: int, x: int, value: int) -> None:
    for base in (np.zeros_like(GOOD), np.full_like(GOOD, 255)):
        almost = base.copy()
        almost[y, x] = value
        assert fault(almost, FORM, None) is None
    changed = GOOD.copy()
    changed[y, x, 0] ^= 1
    assert fault(changed, FORM, GOOD) is None


@pytest.mark.parametrize(("dtype", "word"), [(np.uint8, np.uint32), (np.uint16, np.uint64)])
def test_packed_bgra_becomes_rgb(dtype: type[np.generic], word: type[np.generic]) -> None:
    bgra = np.zeros((4, 5, 4), dtype)
    bgra[..., 0], bgra[..., 1], bgra[..., 2] = 10, 20, 30
    for raw in (bgra, bgra.view(word)[..., 0]):
        rgb = rgb_or_gray(raw)
        assert rgb.shape == (4, 5, 3)
        assert rgb.dtype == dtype
        assert rgb[0, 0].tolist() == [30, 20, 10]


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_gray_and_rgb_pass_without_a_copy(shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    raw = np.ones(shape, dtype)
    assert np.shares_memory(rgb_or_gray(raw), raw)


@pytest.mark.parametrize(("channels", "shape"), [(1, (100, 200)), (3, (100, 200, 3))])
@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (16, np.uint16)])
def test_the_form_follows_the_profile(
    channels: int, shape: tuple[int, ...], bits: int, dtype: type[np.generic]
) -> None:
    spec = CameraSpec(width_px=200, height_px=100, channels=channels, bits=bits, exposure_ms=1)
    assert FrameForm.of(spec) == FrameForm(shape, np.dtype(dtype))
