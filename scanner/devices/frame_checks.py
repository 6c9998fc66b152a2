"""Is this frame what the camera should have given for this exposure?

Pure: arrays in, a reason or None out. A frame that fails was not of this exposure and must never become a tile.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.model.profile import CameraSpec
from scanner.model.tile import Pixels

# Every 16th pixel of every 16th row decides at first; the whole frame is read only when these say something is wrong.
STRIDE = 16


@dataclass(frozen=True, slots=True)
class FrameForm:
    """Shape and dtype every frame of a camera has."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.uint8] | np.dtype[np.uint16]

    @classmethod
    def of(cls, spec: CameraSpec) -> "FrameForm":
        """The form a profile promises."""
        size = (spec.height_px, spec.width_px)
        shape = (*size, 3) if spec.channels == 3 else size
        return cls(shape, np.dtype(np.uint8) if spec.bits == 8 else np.dtype(np.uint16))


def rgb_or_gray(raw: NDArray[np.generic]) -> Pixels:
    """Micro-Manager's layouts as ours: 32-bit BGRA (h, w) uint32 or (h, w, 4) becomes (h, w, 3) uint8 RGB.

    64-bit colour becomes (h, w, 3) uint16; everything else passes through without a copy.
    """
    if raw.dtype == np.uint32:
        return _from_bgra(raw.view(np.uint8).reshape(*raw.shape[:2], 4))
    if raw.dtype == np.uint64:
        return _from_bgra(raw.view(np.uint16).reshape(*raw.shape[:2], 4))
    if raw.dtype == np.uint16:
        return _without_alpha(raw.view(np.uint16))
    return _without_alpha(raw.view(np.uint8))


def _without_alpha(pixels: Pixels) -> Pixels:
    return _from_bgra(pixels) if pixels.ndim == 3 and pixels.shape[2] == 4 else pixels


def _from_bgra(bgra: Pixels) -> Pixels:
    rgb = cv2.cvtColor(bgra, cv2.COLOR_BGRA2RGB)
    return rgb.view(np.uint8) if bgra.dtype == np.uint8 else rgb.view(np.uint16)


def fault(pixels: Pixels, form: FrameForm | None, last: Pixels | None) -> str | None:
    """Why ``pixels`` cannot be the frame that was asked for, in words; None when it can.

    Args:
        pixels: (h, w[, 3]) uint8 or uint16.
        form: what every frame looks like, None where any shape will do.
        last: the previous frame, for finding a bit-identical repeat.
    """
    if form is not None and (pixels.shape != form.shape or pixels.dtype != form.dtype):
        return f"format: {pixels.shape} {pixels.dtype} came, the profile says {form.shape} {form.dtype}"
    glance = pixels[::STRIDE, ::STRIDE]
    if not glance.any() and not pixels.any():
        return "black: every pixel is zero"
    full = np.iinfo(pixels.dtype).max
    if glance.min() == full and pixels.min() == full:
        return "saturated: every pixel is at its maximum"
    return "repeat: bit-identical to the frame before" if _same(pixels, last) else None


def _same(pixels: Pixels, last: Pixels | None) -> bool:
    if last is None or last.shape != pixels.shape:
        return False
    alike = np.array_equal(pixels[::STRIDE, ::STRIDE], last[::STRIDE, ::STRIDE])
    return alike and np.array_equal(pixels, last)
