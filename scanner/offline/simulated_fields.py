"""What does the shipped rig's camera see of a simulated slide, with what true boxes? For training and evaluating.

No stage and no Micro-Manager take part: fields are exposed at given places and heights and flat-field corrected.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.devices.simulated.field import SIDE_PX, FieldCamera
from scanner.devices.simulated.slide import ProceduralSlide
from scanner.devices.simulated.specimen import (
    DEPOSIT_CENTRE_UM,
    WHOLE_DEPOSIT,
    BareGlass,
    CameraGrid,
    Deposit,
)
from scanner.devices.simulated.truth import CellClass, TruthObject

Pixels = NDArray[np.uint8]
EXPOSURE_MS = 5.0
FLAT_FRAMES = 4
FLAT_SMOOTH_PX = 25.0
LEAST_INSIDE = 0.25
OVERLAP = 0.10


@dataclass(frozen=True, slots=True)
class Field:
    """One exposed field.

    Attributes:
        rgb: (1024, 1024, 3) uint8, flat-field corrected.
        corner: u, v of its first pixel on the camera's grid.
        boxes: (m, 4) float64 x, y, w, h px of the objects at least a quarter inside, clipped to the field.
        classes: their m classes.
        defocus_um: how far off the mean height of its cells it was exposed.
    """

    rgb: Pixels
    corner: tuple[int, int]
    boxes: NDArray[np.float64]
    classes: tuple[CellClass, ...]
    defocus_um: float


def inside(
    boxes: NDArray[np.float64], corner: tuple[int, int], side_px: int
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Those of (n, 4) ``boxes`` at least a quarter in the square at ``corner``, clipped and moved to it, and which."""
    low = np.clip(boxes[:, :2] - corner, 0, side_px)
    high = np.clip(boxes[:, :2] + boxes[:, 2:] - corner, 0, side_px)
    kept = np.nonzero((high - low).prod(axis=1) >= LEAST_INSIDE * boxes[:, 2:].prod(axis=1))[0]
    return np.hstack([low, high - low])[kept], kept


class SlideUnderCamera:
    """A procedural slide before the shipped rig's camera; ``key``, ``abnormal`` and ``deposit`` as for its slide."""

    def __init__(
        self, key: tuple[int, ...], abnormal: dict[CellClass, int], deposit: Deposit = WHOLE_DEPOSIT
    ) -> None:
        self.grid = CameraGrid()
        self._deposit = deposit
        self._slide = ProceduralSlide(key, abnormal, self.grid, deposit)
        self._camera = FieldCamera(key[0], self.grid)
        self._exposures = 0

    @cached_property
    def _gain(self) -> NDArray[np.float32]:
        """(1024, 1024, 3) float32: what turns a frame of bare glass into an even one."""
        frames = [self._expose_glass(index) for index in range(FLAT_FRAMES)]
        flat = cv2.GaussianBlur(np.mean(frames, axis=0, dtype=np.float32), (0, 0), FLAT_SMOOTH_PX)
        return np.asarray(flat.max(axis=(0, 1)) / flat, dtype=np.float32)

    def _expose_glass(self, index: int) -> Pixels:
        return self._camera.expose(BareGlass(), DEPOSIT_CENTRE_UM, 0.0, EXPOSURE_MS, 10_000_000 + index)

    @cached_property
    def _truth(self) -> tuple[tuple[TruthObject, ...], NDArray[np.float64]]:
        """All objects, and (n, 4) their boxes on the camera's grid, px."""
        objects = self._slide.truth()
        centres = np.array([self.grid.from_slide(t.x_um, t.y_um) for t in objects])
        sizes = np.array([(t.w_um, t.h_um) for t in objects]) / self.grid.um_per_px
        return objects, np.hstack([centres - sizes / 2, sizes])

    def truth(self) -> tuple[TruthObject, ...]:
        """Every object on the slide."""
        return self._truth[0]

    def nuclear_looks(self) -> tuple[NDArray[np.float64], tuple[CellClass, ...]]:
        """As ``ProceduralSlide.nuclear_looks``."""
        return self._slide.nuclear_looks()

    def look(self, centre_um: tuple[float, float], defocus_um: float) -> Field:
        """The field around a place of the slide, ``defocus_um`` off the mean height of its cells."""
        z_um = self._slide.surface.height(*centre_um) + defocus_um
        raw = self._camera.expose(self._slide, centre_um, z_um, EXPOSURE_MS, self._exposures)
        self._exposures += 1
        rgb = np.asarray(cv2.multiply(raw, self._gain, dtype=cv2.CV_8U), dtype=np.uint8)
        corner = self._corner(centre_um)
        boxes, classes = self._inside(corner)
        return Field(rgb, corner, boxes, classes, defocus_um)

    def _corner(self, centre_um: tuple[float, float]) -> tuple[int, int]:
        u, v = self.grid.from_slide(*centre_um)
        return round(u - (SIDE_PX - 1) / 2), round(v - (SIDE_PX - 1) / 2)

    def _inside(self, corner: tuple[int, int]) -> tuple[NDArray[np.float64], tuple[CellClass, ...]]:
        objects, boxes = self._truth
        clipped, kept = inside(boxes, corner, SIDE_PX)
        return clipped, tuple(objects[i].cell_class for i in kept)

    def scan(self, defocus_um: Sequence[float], kinds: frozenset[CellClass] | None = None) -> Iterator[Field]:
        """The fields that touch the deposit, row by row; the heights repeat ``defocus_um``.

        With ``kinds``, only those fields that show part of an object of one of these classes.
        """
        for number, centre in enumerate(_grid_places(self.grid.um_per_px, self._deposit)):
            if kinds is None or kinds.intersection(self._inside(self._corner(centre))[1]):
                yield self.look(centre, defocus_um[number % len(defocus_um)])


def _grid_places(um_per_px: float, deposit: Deposit) -> Iterator[tuple[float, float]]:
    step = SIDE_PX * um_per_px * (1 - OVERLAP)
    margin = SIDE_PX * um_per_px / 2
    steps = int(np.ceil((deposit.half_um + margin) / step))
    line = np.arange(-steps, steps + 1) * step
    for row, col in zip(*np.nonzero(deposit.reaches(line[None], line[:, None], margin)), strict=True):
        yield DEPOSIT_CENTRE_UM[0] + float(line[col]), DEPOSIT_CENTRE_UM[1] + float(line[row])
