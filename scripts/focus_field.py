"""What is a simulated field like for focus, and what is true about it? A slide and a camera without a stage."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from autofocus.answers import Look
from scanner.devices.simulated.field import SIDE_PX, FieldCamera
from scanner.devices.simulated.histology import HistologySection
from scanner.devices.simulated.motion import Z_SIGMA_UM
from scanner.devices.simulated.optics import PSF_UM, psf_kernel
from scanner.devices.simulated.rack import SimulatedRack
from scanner.devices.simulated.slide import ProceduralSlide
from scanner.devices.simulated.specimen import DEPOSIT_CENTRE_UM, CameraGrid
from scanner.devices.simulated.truth import Nuclei

FloatArray = NDArray[np.float64]
Place = tuple[float, float]

SHARP_SHARE = 0.9
LEAST_NUCLEUS_PX = 30
NO_NUCLEI = ("flora", "candida", "trichomonas", "debris", "mucus", "bubble")
_REACH_UM = 8.0
_STEP_UM = 0.05
_WINDOW_PX = 40
_ALONE_PX = 160
_MARGIN_PX = 64


@dataclass(frozen=True, slots=True)
class TrueCurve:
    """A tile's own sharpness over height, relative to its peak: its nuclei's curves, weighted by their area.

    ``nuclei`` counts them; without any there is no truth, and every height is as good. ``level_um`` is their mean
    height.
    """

    z_um: FloatArray
    relative: FloatArray
    nuclei: int
    level_um: float

    @property
    def peak_um(self) -> float:
        """Where it is sharpest."""
        return float(self.z_um[int(np.argmax(self.relative))])

    def at(self, z_um: float) -> float:
        """Sharpness at a height (0 beyond 8 µm)."""
        return float(np.interp(z_um, self.z_um, self.relative, left=0.0, right=0.0)) if self.nuclei else 1.0


class SimulatedField:
    """A procedural slide under the default rig's camera: any place, any height; ``kind`` cytology or histology."""

    def __init__(self, seed: int, kind: str = "cytology") -> None:
        self.seed, self.grid = seed, CameraGrid()
        rack = SimulatedRack(seed, 1)
        if kind == "histology":
            rack.prepare((kind,))
        slide = rack.specimen(1, self.grid)
        if not isinstance(slide, ProceduralSlide | HistologySection):
            raise TypeError("the bench needs a procedural slide")
        self.slide, self.camera, self.exposures = slide, FieldCamera(seed, self.grid), 0
        self.rng = np.random.default_rng(seed)

    def base_um(self, place: Place) -> float:
        """Height of the glass."""
        return self.slide.surface.height(*place)

    def frame(self, place: Place, z_um: float) -> NDArray[np.uint8]:
        """(1024, 1024, 3) uint8 with noise and flicker."""
        self.exposures += 1
        return self.camera.expose(self.slide, place, z_um, 5.0, self.exposures)

    def look(
        self, place: Place, drift_um: float = 0.0, at: list[float] | None = None
    ) -> Callable[[float], Look]:
        """What a search is sent at a place: the drive misses by its repeatability; ``at`` gets the true heights."""

        def shown(z_um: float) -> Look:
            true_um = z_um + self.rng.normal(0, Z_SIGMA_UM) + drift_um
            if at is not None:
                at.append(true_um)
            return Look.known(z_um, self.frame(place, true_um))

        return shown

    def truth(self, place: Place) -> TrueCurve:
        """The tile's true curve."""
        base_um = self.base_um(place)
        grid = np.arange(-_REACH_UM, _REACH_UM + _STEP_UM / 2, _STEP_UM)
        found = self.nuclei(place)
        heights, areas = found.heights_um - base_um, found.areas_px
        if not len(heights):
            return TrueCurve(grid + base_um, np.ones_like(grid), 0, base_um)
        defocus, share = self.nucleus
        curve = (np.interp(np.abs(grid[:, None] - heights[None]), defocus, share) * areas).sum(axis=1)
        level_um = base_um + float(np.average(heights, weights=areas))
        return TrueCurve(grid + base_um, curve / curve.max(), len(heights), level_um)

    def nuclei(self, place: Place) -> Nuclei:
        """What is read in a field: no specks and no flora, with as much of their areas as it shows."""
        found = self._shown(place)
        read = (found.areas_px >= LEAST_NUCLEUS_PX) & ~np.isin(found.classes, NO_NUCLEI)
        return Nuclei(
            found.places_px[read], found.heights_um[read], found.areas_px[read], found.classes[read]
        )

    def _shown(self, place: Place) -> Nuclei:
        """The nuclei in a field with as much of their areas as it shows."""
        u, v = self.grid.from_slide(*place)
        corner = round(u - (SIDE_PX - 1) / 2), round(v - (SIDE_PX - 1) / 2)
        if isinstance(self.slide, ProceduralSlide):
            return self.slide.nuclei_shown_in(corner, (SIDE_PX, SIDE_PX))
        wide = SIDE_PX + 2 * _MARGIN_PX
        found = self.slide.nuclei_in((corner[0] - _MARGIN_PX, corner[1] - _MARGIN_PX), (wide, wide))
        places = found.places_px - _MARGIN_PX
        inside = np.rint(found.areas_px * _share_inside(places, found.areas_px)).astype(np.int64)
        return replace(found, places_px=places, areas_px=inside)

    @cached_property
    def nucleus(self) -> tuple[FloatArray, FloatArray]:
        """Noise-free gradient energy of single nuclei over defocus, relative to focus: µm and share.

        Tissue has none that lies alone; the same optics show those of a liquid-based slide.
        """
        if not isinstance(self.slide, ProceduralSlide):
            return SimulatedField(self.seed).nucleus
        defocus = np.concatenate([np.arange(0, 2, 0.25), np.arange(2, _REACH_UM + 1, 1.0)])
        curves = [self._energy_of(at, height_um, defocus) for at, height_um in self._lonely()]
        return defocus, np.median([curve / curve[0] for curve in curves], axis=0)

    def _lonely(self, most: int = 24) -> list[tuple[tuple[int, int], float]]:
        """Nuclei with no other in their window: place on the grid and height."""
        found = []
        for place in self.random_places(200):
            u, v = (round(value) for value in self.grid.from_slide(*place))
            inside = self.slide.nuclei_in((u, v), (512, 512))
            for (x, y), height_um, area in zip(
                inside.places_px, inside.heights_um, inside.areas_px, strict=True
            ):
                at = u + round(float(x)), v + round(float(y))
                around = (at[0] - _ALONE_PX // 2, at[1] - _ALONE_PX // 2)
                if area >= 100 and len(self.slide.nuclei_in(around, (_ALONE_PX, _ALONE_PX)).areas_px) == 1:
                    found.append(((at[0] - _WINDOW_PX // 2, at[1] - _WINDOW_PX // 2), float(height_um)))
        return found[:most]

    def _energy_of(self, corner: tuple[int, int], height_um: float, defocus: FloatArray) -> FloatArray:
        kernel = psf_kernel(0, PSF_UM / self.grid.um_per_px)
        energies = []
        for d in defocus:
            od = np.zeros((3, _WINDOW_PX, _WINDOW_PX), np.float32)
            self.slide.absorb(od, corner, height_um + float(d))
            light = np.exp(-cv2.sepFilter2D(od[1], -1, kernel, kernel))
            across, down = light[:, 2:] - light[:, :-2], light[2:] - light[:-2]
            energies.append(float((across**2).sum() + (down**2).sum()))
        return np.array(energies)

    def random_places(self, count: int) -> list[Place]:
        """Places in the deposit."""
        radius, angle = 9000 * np.sqrt(self.rng.random(count)), 2 * np.pi * self.rng.random(count)
        x, y = DEPOSIT_CENTRE_UM[0] + radius * np.cos(angle), DEPOSIT_CENTRE_UM[1] + radius * np.sin(angle)
        return list(zip(x.tolist(), y.tolist(), strict=True))


def _share_inside(places_px: NDArray[np.float32], areas_px: NDArray[np.int64]) -> FloatArray:
    """How much of each object, taken for round, lies in the field: (n,)."""
    radius = np.sqrt(areas_px / np.pi)[:, None]
    low, high = np.clip(places_px - radius, 0, SIDE_PX), np.clip(places_px + radius, 0, SIDE_PX)
    share: FloatArray = np.prod((high - low) / (2 * radius), axis=1)
    return share


def lattice(step_um: float, radius_um: float, most: int) -> Sequence[tuple[int, int, Place]]:
    """(row, column, place) of the tiles over a round deposit, in rows there and back; the middle ``most`` of them."""
    reach = int(radius_um // step_um)
    tiles = []
    for row in range(-reach, reach + 1):
        columns = range(-reach, reach + 1)
        for column in columns if row % 2 == 0 else reversed(columns):
            if np.hypot(row, column) * step_um <= radius_um:
                x, y = DEPOSIT_CENTRE_UM[0] + column * step_um, DEPOSIT_CENTRE_UM[1] + row * step_um
                tiles.append((row + reach, column + reach, (x, y)))
    first = max(0, (len(tiles) - most) // 2)
    return tiles[first : first + most]
