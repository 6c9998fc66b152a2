"""How does a stained image become what the network sees, whatever the lamp and the exposure?

Optical density against the image's own white (Beer-Lambert; Ruifrok & Johnston 2001): brightness and colour of the
lamp cancel. A fixed white teaches a network brightness in place of cells.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.detections import Floats, Image
from detection.errors import ImageRefused

WHITE_PERCENTILE = 95.0
WHITE_SHRINK = 8
DARKEST_WHITE = 24.0
MOST_DENSITY = 2.0


def rgb8(image: NDArray[np.generic], bits: int = 8) -> Image:
    """Any camera image as (h, w, 3) uint8: gray is repeated, 16-bit values keep their top 8 of ``bits``.

    Raises:
        ImageRefused: where the image is not (h, w), (h, w, 1) or (h, w, 3) of uint8 or uint16.
    """
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3 or image.shape[2] not in (1, 3) or image.dtype not in (np.uint8, np.uint16):
        raise ImageRefused(f"an image must be gray or RGB of 8 or 16 bits, not {image.dtype} {image.shape}")
    eight = image if image.dtype == np.uint8 else (image.astype(np.uint16) >> max(0, bits - 8)).clip(0, 255)
    repeated = np.repeat(eight, 3, axis=2) if image.shape[2] == 1 else eight
    return np.ascontiguousarray(repeated, dtype=np.uint8)


def white_level(image: Image) -> Floats:
    """(3,) float32: the level that empty glass has in this (h, w, 3) image.

    The 95th percentile of blocks of 8 × 8 px: noise is averaged away, single bright pixels do not count.
    """
    size = (max(1, image.shape[1] // WHITE_SHRINK), max(1, image.shape[0] // WHITE_SHRINK))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    white = np.percentile(small.reshape(-1, 3), WHITE_PERCENTILE, axis=0)
    return np.asarray(np.maximum(white, DARKEST_WHITE), dtype=np.float32)


def optical_density(image: Image, white: Floats) -> Floats:
    """(3, h, w) float32: log10(white / value) of an (h, w, 3) image, between -0.2 and 2; empty glass is 0."""
    levels = np.arange(256, dtype=np.float64)[:, None] + 1.0
    density = np.clip(np.log10((white.astype(np.float64)[None] + 1.0) / levels), -0.2, MOST_DENSITY)
    table = density.astype(np.float32)
    planes = np.empty((3, *image.shape[:2]), np.float32)
    for channel, plane in enumerate(planes):
        cv2.LUT(cv2.extractChannel(image, channel), table[:, channel], plane)
    return planes
