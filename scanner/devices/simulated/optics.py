"""How does light make a picture of densities: blur with defocus, absorption, shot noise?

Defocus follows geometric optics of a 20×/0.75 objective in mounting medium (n = 1.5), written as the standard
deviation of the blur; its depth of field is 0.98 µm. Shot noise is added where it has the same size everywhere, on
the square root of the light (F. J. Anscombe, Biometrika 35, 1948).
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.devices.simulated.textures import FloatImage

BLUR_UM_PER_UM = 0.43
"""Standard deviation of the blur (µm in the object) for every µm of stage height out of focus: half the radius of the
cone, tan(asin(0.75 / 1.5)) / 2, times the 1.5 µm by which the plane of focus moves in the medium."""
PSF_UM = 0.26
"""Standard deviation of the picture of a point in focus, µm in the object."""


def defocus_sigma_px(defocus_um: float, um_per_px: float) -> float:
    """Standard deviation in px that defocus adds (in squares) to the blur in focus."""
    return abs(defocus_um) * BLUR_UM_PER_UM / um_per_px


def psf_kernel(shift_px: float, sigma_px: float) -> FloatImage:
    """(n,) float32: a Gaussian that also moves the picture by ``shift_px`` (at most 0.5), for ``cv2.sepFilter2D``.

    A positive shift moves the picture towards higher indices.
    """
    reach = max(2, math.ceil(2.5 * sigma_px + 0.5))
    at = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * ((at + shift_px) / sigma_px) ** 2)
    return np.asarray(kernel / kernel.sum(), np.float32)


def expose(od: FloatImage, noise: FloatImage, full_well_e: float) -> NDArray[np.uint8]:
    """What an 8-bit camera reads where full well is 255.

    Args:
        od: (h, w, 3) float32 natural optical density (0 is full well); used as working memory.
        noise: (h, w, 3) float32 standard normal numbers.
        full_well_e: electrons at 255.

    Returns:
        (h, w, 3) uint8.
    """
    np.multiply(od, np.float32(-0.5), out=od)
    cv2.exp(od, od)
    cv2.scaleAdd(noise, 0.5 / math.sqrt(full_well_e), od, od)
    return np.asarray(cv2.multiply(od, od, scale=255.0, dtype=cv2.CV_8U), np.uint8)
