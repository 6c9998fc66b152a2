"""What does the main camera read of a specimen: light, lens, sensor?"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.devices.simulated.motion import draw
from scanner.devices.simulated.optics import PSF_UM, psf_kernel
from scanner.devices.simulated.specimen import CameraGrid, Specimen
from scanner.devices.simulated.textures import FloatImage

SIDE_PX = 1024
FULL_WELL_E = 10_000.0
READ_NOISE_E = 10.0
FLICKER = 0.01
VIGNETTING = 0.15
NOMINAL_EXPOSURE_MS = 5.0
WHITE = (0.925, 0.925, 0.945)
_READ_NOISE_DN = READ_NOISE_E * 255 / FULL_WELL_E
_TABLE_LENGTH = 4_000_003
_STRIP_PX = 64


class FieldCamera:
    """The optics and sensor of the main camera; the noise of a frame follows (seed, exposure index) alone."""

    def __init__(self, seed: int, grid: CameraGrid) -> None:
        self.seed = seed
        self._grid = grid
        self._half_light_od = _light_od() / 2
        noise = draw("noise", seed).standard_normal(_TABLE_LENGTH, dtype=np.float32)
        self._noise_rows = np.lib.stride_tricks.sliding_window_view(noise, SIDE_PX)
        self._sigma_px = PSF_UM / grid.um_per_px

    def expose(
        self, specimen: Specimen, centre_um: tuple[float, float], z_um: float, exposure_ms: float, index: int
    ) -> NDArray[np.uint8]:
        """(1024, 1024, 3) uint8 RGB.

        Args:
            specimen: what lies on the stage.
            centre_um: the place of the slide on the optical axis, µm.
            z_um: true height of the focal plane.
            exposure_ms: 5 fills the pixels of clear glass to 92 %.
            index: number of the exposure; fixes noise and flicker.
        """
        u, v = self._grid.from_slide(*centre_um)
        u, v = u - (SIDE_PX - 1) / 2, v - (SIDE_PX - 1) / 2
        corner = (round(u), round(v))
        across, down = psf_kernel(corner[0] - u, self._sigma_px), psf_kernel(corner[1] - v, self._sigma_px)
        reach = across.size // 2
        od = np.zeros((3, SIDE_PX + 2 * reach, SIDE_PX + 2 * reach), np.float32)
        specimen.absorb(od, (corner[0] - reach, corner[1] - reach), z_um)
        rng = draw("exposure", self.seed, index)
        brightness = (1 + FLICKER * float(rng.standard_normal())) * exposure_ms / NOMINAL_EXPOSURE_MS
        noise = [(self._noise_rows_of(rng), self._noise_rows_of(rng)) for _ in range(3)]
        frame = np.empty((SIDE_PX, SIDE_PX, 3), np.uint8)
        # strips that stay in the processor's cache
        for top in range(0, SIDE_PX, _STRIP_PX):
            rows = slice(top, top + _STRIP_PX)
            wide = slice(top, top + _STRIP_PX + 2 * reach)
            planes = []
            for plane, light, (shot, read) in zip(od, self._half_light_od, noise, strict=True):
                seen = cv2.sepFilter2D(plane[wide], -1, across, -0.5 * down)[reach:-reach, reach:-reach]
                root = np.asarray(cv2.subtract(seen, light[rows]), np.float32)
                planes.append(
                    self._read(root, brightness, self._noise_rows[shot[rows]], self._noise_rows[read[rows]])
                )
            cv2.merge(planes, frame[rows])
        return frame

    def dark(self, index: int) -> NDArray[np.uint8]:
        """(1024, 1024, 3) uint8: what is read without light."""
        rng = draw("exposure", self.seed, index)
        noise = [self._noise_rows[self._noise_rows_of(rng)] for _ in range(3)]
        planes = [cv2.convertScaleAbs(plane, alpha=_READ_NOISE_DN) for plane in noise]
        return np.asarray(cv2.merge(planes), np.uint8)

    def _read(
        self, root: NDArray[np.float32], brightness: float, shot: FloatImage, read: FloatImage
    ) -> NDArray[np.uint8]:
        """(h, w) uint8 from minus half the optical density: shot noise on the square root of the light, read noise."""
        cv2.exp(root, root)
        cv2.scaleAdd(shot, 0.5 / math.sqrt(FULL_WELL_E * brightness), root, root)
        cv2.multiply(root, root, root, 255.0 * brightness)
        return np.asarray(cv2.addWeighted(root, 1.0, read, _READ_NOISE_DN, 0.0, dtype=cv2.CV_8U), np.uint8)

    def _noise_rows_of(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """(1024,) which rows of one long list make a picture of standard normal noise.

        Whole pictures of noise moved against each other would make registration lock on to noise.
        """
        return rng.integers(0, len(self._noise_rows), SIDE_PX)


def _light_od() -> FloatImage:
    """(3, 1024, 1024) float32: white level and vignetting, its middle a little beside the optical axis."""
    at = np.linspace(-1, 1, SIDE_PX)
    planes = []
    for white, shift in zip(WHITE, (0.03, 0.0, -0.02), strict=True):
        radius2 = ((at[:, None] - 0.04) ** 2 + (at[None] + shift) ** 2) / 2
        planes.append(-np.log(white * (1 - VIGNETTING * np.clip(radius2, 0, 1.1))))
    return np.asarray(planes, np.float32)
