"""Which single channel of a camera frame is focus measured on?"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from autofocus.errors import FocusInputError
from autofocus.stain import GREEN

Image = NDArray[Any]
"""(h, w), (h, w, 3) RGB or (h, w, 4) RGBA; uint8 or uint16."""
Gray = NDArray[Any]
"""(h, w) uint8 or uint16."""

SMALLEST_SIDE_PX = 16
_STRIP_PX = 1 << 16


def checked(image: Image, least_px: int = SMALLEST_SIDE_PX) -> Image:
    """The image itself, where focus can be measured on it.

    Raises:
        FocusInputError: for another shape or dtype, or a side shorter than ``least_px``.
    """
    if image.dtype not in (np.uint8, np.uint16):
        raise FocusInputError(f"focus needs 8 or 16 bit pixels, not {image.dtype}")
    if not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4))):
        raise FocusInputError(f"focus needs (h, w), (h, w, 3) or (h, w, 4) pixels, not {image.shape}")
    if min(image.shape[:2]) < least_px:
        raise FocusInputError(f"focus needs at least {least_px} px a side, not {image.shape[:2]}")
    return image


def focus_channel(image: Image, channel: int = GREEN, least_px: int = SMALLEST_SIDE_PX) -> Gray:
    """The channel that carries most contrast, or the only one of a gray frame; ``autofocus.stain`` knows which.

    Args:
        image: (h, w), (h, w, 3) RGB or (h, w, 4) RGBA, uint8 or uint16.
        channel: which of R, G, B (0, 1, 2) of a colour frame.
        least_px: the shortest side that makes sense.

    Raises:
        FocusInputError: for another shape or dtype, or a shorter side.
    """
    if checked(image, least_px).ndim == 2:
        return np.ascontiguousarray(image)
    return np.asarray(cv2.extractChannel(image, channel), image.dtype)


def ranked(values: NDArray[Any], share: float) -> float:
    """The value that a share of all lie below; of an array of any shape."""
    at = round(share * (values.size - 1))
    return float(np.partition(values, at, axis=None)[at])


def background(gray: Gray) -> float:
    """How bright the empty field is, in gray levels (≥ 1): the 80 % quantile of a sparse sample of the pixels.

    Energies are divided by its square, so that a flickering lamp or another bit depth changes nothing.
    """
    return max(1.0, float(np.quantile(gray[::8, ::8], 0.8)))


def noise(gray: Gray, block_px: int = 64) -> float:
    """Standard deviation of the pixel noise in gray levels, from the quietest fifth of the middle half of the field.

    The second difference in both directions cancels smooth content (J. Immerkær, "Fast noise variance
    estimation", Computer Vision and Image Understanding 64, 1996); the low quantile over blocks cancels texture.
    """
    middle = gray[gray.shape[0] // 4 : gray.shape[0] - gray.shape[0] // 4]
    quiet = float(np.quantile(filtered_block_means(middle, block_px, 1, _residual), 0.2))
    return quiet * float(np.sqrt(np.pi / 2)) / 6.0


def _residual(gray: Gray) -> NDArray[np.float32]:
    kernel = np.array([1.0, -2.0, 1.0], np.float32)
    residual = np.asarray(cv2.sepFilter2D(gray, cv2.CV_32F, kernel, kernel), np.float32)
    return np.abs(residual, out=residual)


def filtered_block_means(
    gray: Gray, block_px: int, reach_px: int, filtered: Callable[[Gray], NDArray[np.float32]]
) -> NDArray[np.float64]:
    """``block_means`` of ``filtered(gray)``, worked out strip by strip: fresh memory costs more than the arithmetic.

    Args:
        gray: (h, w) uint8 or uint16.
        block_px: about how wide a block is.
        reach_px: how far up and down a filtered pixel looks.
        filtered: (n, w) → (n, w) float32.
    """
    h, w = gray.shape
    columns, rows = max(1, round(w / block_px)), max(SMALLEST_SIDE_PX, _STRIP_PX // w)
    along = np.empty((h, columns), np.float32)
    for top in range(0, h, rows):
        low, bottom = max(0, top - reach_px), min(h, top + rows)
        strip = filtered(gray[low : min(h, bottom + reach_px)])[top - low : bottom - low]
        cv2.resize(strip, (columns, bottom - top), along[top:bottom], interpolation=cv2.INTER_AREA)
    size = columns, max(1, round(h / block_px))
    return cv2.resize(along, size, interpolation=cv2.INTER_AREA).reshape(size[::-1]).astype(np.float64)


def block_means(values: NDArray[np.float32], block_px: int) -> NDArray[np.float64]:
    """Mean of (h, w) values over a grid of about ``block_px`` wide blocks: (rows, columns) float64."""
    rows, columns = (max(1, round(side / block_px)) for side in values.shape)
    return cv2.resize(values, (columns, rows), interpolation=cv2.INTER_AREA).astype(np.float64)
