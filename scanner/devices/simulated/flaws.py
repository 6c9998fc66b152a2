"""What makes a simulated slide unsatisfactory? Blood over its cells."""

import math
from functools import cached_property

import cv2
import numpy as np

from scanner.devices.simulated.motion import draw
from scanner.devices.simulated.optics import defocus_sigma_px
from scanner.devices.simulated.slide import ProceduralSlide
from scanner.devices.simulated.specimen import (
    DEPOSIT_CENTRE_UM,
    DEPOSIT_RADIUS_UM,
    OVERVIEW_SHAPE,
    OVERVIEW_UM_PER_PX,
    CameraGrid,
)
from scanner.devices.simulated.textures import FloatImage
from scanner.devices.simulated.truth import TruthObject

BLOODY = "bloody"
BLOOD_OD = (0.06, 0.36, 0.52)
"""Of a red cell: haemoglobin takes blue light most, and lets red light through."""
_CELL_UM, _CROWD, _HAZE = 7.2, 0.55, 0.45
_TILE_PX = 1024
_PATCH_UM, _COVERED = 500.0, 0.92


class BloodySlide:
    """A procedural slide under a film of blood that leaves ``1 - covered`` of the deposit free."""

    def __init__(self, slide: ProceduralSlide, key: tuple[int, ...], grid: CameraGrid) -> None:
        self._slide, self._grid = slide, grid
        self._rng_key = key
        self._blurred: dict[int, FloatImage] = {}

    def absorb(self, od: FloatImage, corner: tuple[int, int], z_um: float) -> None:
        """Cells first, then the film over them; see ``Specimen``."""
        self._slide.absorb(od, corner, z_um)
        h, w = od.shape[1], od.shape[2]
        x, y = self._grid.to_slide(corner[0] + w / 2, corner[1] + h / 2)
        film = self._film(z_um - self._slide.surface.height(x, y))
        rows, columns = (
            np.arange(start, start + n) % _TILE_PX for start, n in ((corner[1], h), (corner[0], w))
        )
        there = film[np.ix_(rows, columns)] * self._cover(corner, (h, w))
        for plane, strength in zip(od, BLOOD_OD, strict=True):
            cv2.scaleAdd(there, strength, plane, plane)

    def overview_od(self) -> FloatImage:
        """The cells, and the film as seen from above."""
        film = float(self._film(0.0).mean()) * self._patches
        return np.asarray(
            self._slide.overview_od() + film[..., None] * np.array(BLOOD_OD, np.float32), np.float32
        )

    def truth(self) -> tuple[TruthObject, ...]:
        """The cells under the film."""
        return self._slide.truth()

    def close(self) -> None:
        """Nothing is held open."""

    @cached_property
    def _patches(self) -> FloatImage:
        """(1250, 3750) float32: how much of each 20 µm of glass the film covers."""
        rng = draw("blood", *self._rng_key)
        noise = cv2.GaussianBlur(rng.standard_normal(OVERVIEW_SHAPE), (0, 0), _PATCH_UM / OVERVIEW_UM_PER_PX)
        y, x = np.ogrid[: OVERVIEW_SHAPE[0], : OVERVIEW_SHAPE[1]]
        centre = np.array(DEPOSIT_CENTRE_UM) / OVERVIEW_UM_PER_PX
        inside = np.hypot(x - centre[0], y - centre[1]) < DEPOSIT_RADIUS_UM / OVERVIEW_UM_PER_PX
        covered = inside & (noise > np.quantile(noise[inside], 1 - _COVERED))
        return np.asarray(cv2.GaussianBlur(covered.astype(np.float32), (0, 0), 1.5), np.float32)

    def _cover(self, corner: tuple[int, int], shape: tuple[int, int]) -> FloatImage:
        """(h, w) float32 of a field, from the patches."""
        um = self._grid.um_per_px
        x, y = (v / OVERVIEW_UM_PER_PX for v in self._grid.to_slide(*corner))
        scale = um / OVERVIEW_UM_PER_PX
        to_patches = np.array([[scale, 0, x], [0, scale, y]], np.float64)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        seen = cv2.warpAffine(self._patches, to_patches, (shape[1], shape[0]), flags=flags)
        return np.asarray(seen, np.float32)

    def _film(self, defocus_um: float) -> FloatImage:
        """(1024, 1024) float32, repeating: haemoglobin that leaked out, and red cells, out of focus."""
        level = min(round(abs(defocus_um)), 12)
        if level not in self._blurred:
            sigma = defocus_sigma_px(level, self._grid.um_per_px)
            film = self._sharp
            if sigma:
                wide = cv2.copyMakeBorder(film, *(64,) * 4, cv2.BORDER_WRAP)
                film = np.asarray(cv2.GaussianBlur(wide, (0, 0), sigma)[64:-64, 64:-64], np.float32)
            self._blurred[level] = np.ascontiguousarray(film)
        return self._blurred[level]

    @cached_property
    def _sharp(self) -> FloatImage:
        rng = draw("red cells", *self._rng_key)
        radius = _CELL_UM / 2 / self._grid.um_per_px
        count = round(_CROWD * _TILE_PX**2 / (math.pi * radius**2))
        film = np.full((_TILE_PX, _TILE_PX), _HAZE, np.float32)
        at = np.arange(-math.ceil(radius) - 1, math.ceil(radius) + 2)
        rho = np.hypot(at[:, None], at[None]) / radius
        cell = np.clip((1 - rho) * radius + 0.5, 0, 1) * (
            0.7 + 0.3 * np.minimum(rho / 0.6, 1)
        )  # thin in the middle
        for row, column in rng.integers(0, _TILE_PX, (count, 2)):
            film[np.ix_((row + at) % _TILE_PX, (column + at) % _TILE_PX)] += cell.astype(np.float32)
        return film
