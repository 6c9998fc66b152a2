"""What does a tile show between its pixels, in its own light?"""

from collections.abc import Callable
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.model.tile import Pixels
from scanner.pipeline.lattice import Box

Part: TypeAlias = Callable[[slice, slice], Pixels]
"""Some rows and columns of a tile."""


def sample(tile: Part, x: float, y: float, size: Box, gain: tuple[float, ...] | None = None) -> Pixels:
    """As many pixels as ``size`` of a tile from place (x, y) of it, which may lie between pixels: (h, w, channels).

    Cubic convolution (Keys, IEEE TASSP 1981, a = -1/2), separable: between pixels linear weights would blur.
    """
    h, w = size.y1 - size.y0, size.x1 - size.x0
    (x_at, x_part), (y_at, y_part) = ((int(np.floor(v)), float(v - np.floor(v))) for v in (x, y))
    top, left = max(0, y_at - 1), max(0, x_at - 1)
    near = tile(slice(top, y_at + h + 2), slice(left, x_at + w + 2))
    if gain is not None:
        near = _between_lit(near, x_part, y_part, gain)
    elif x_part or y_part:
        near = _between(near, x_part, y_part)
    patch = near[y_at - top : y_at - top + h, x_at - left : x_at - left + w]
    return patch if patch.ndim == 3 else patch[..., None]


def _between(pixels: Pixels, x_part: float, y_part: float) -> Pixels:
    kernels = _keys(x_part), _keys(y_part)
    moved = cv2.sepFilter2D(pixels, -1, *kernels, anchor=(1, 1), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8) if pixels.dtype == np.uint8 else np.asarray(moved, np.uint16)


def _between_lit(pixels: Pixels, x_part: float, y_part: float, gain: tuple[float, ...]) -> Pixels:
    """As ``_between``, in its own light: what lies between pixels stays unrounded until it is lit."""
    kernels = _keys(x_part), _keys(y_part)
    moved = cv2.sepFilter2D(pixels, cv2.CV_32F, *kernels, anchor=(1, 1), borderType=cv2.BORDER_REPLICATE)
    light = np.array([*gain, *(0.0,) * (4 - len(gain))])
    if pixels.dtype == np.uint8:
        return np.asarray(cv2.multiply(moved, light, dtype=cv2.CV_8U), np.uint8)
    return np.asarray(cv2.multiply(moved, light, dtype=cv2.CV_16U), np.uint16)


def _keys(part: float) -> NDArray[np.float32]:
    """Weights of the pixels at -1, 0, 1, 2 for a place ``part`` after pixel 0."""
    t = np.array([1 + part, part, 1 - part, 2 - part])
    near = 1.5 * t**3 - 2.5 * t**2 + 1
    far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return np.where(t <= 1, near, far).astype(np.float32)
