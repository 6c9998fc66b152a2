"""What do the tiles of a grid look like whose every place is known? Seeded, on disk, as an unmeasured rig takes them.

A block of fields of a simulated slide (a third of a cytology smear's overlaps are empty; tissue has none), with the
default rig's thread error, backlash, repeatability, noise, flicker and vignetting, its camera turned and scaled against
the stage. What the stage is said to have done knows of none of these.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from scanner.devices.simulated.field import SIDE_PX
from scanner.devices.simulated.motion import POSITION_SIGMA_UM, Parked, draw
from scanner.devices.simulated.specimen import CameraGrid
from scanner.model.geometry import Point
from scanner.model.plan import serpentine
from scanner.model.tile import Pixels
from scanner.pipeline.lattice import Cell
from scripts.focus_field import SimulatedField

FIRST_UM, STEP_UM, NOMINAL_UM_PER_PX = (41_000.0, 9_500.0), 461.0, 0.5
SEEN_OD = 0.03  # a person sees this much stain
LEAST_SEEN = 0.004  # of an overlap's pixels, for a seam that shows
KINDS = {"sparse": "cytology", "dense": "histology"}


@dataclass(frozen=True, slots=True)
class Taken:
    """A field: its cell, file, where the stage is said to be and where it was (top-left, px), what is stained there."""

    cell: Cell
    file: Path
    said: Point
    true: Point
    stained: NDArray[np.bool_]

    def pixels(self) -> Pixels:
        """(1024, 1024, 3) uint8."""
        found: Pixels = tifffile.imread(self.file)
        return found


@dataclass(frozen=True)
class TileGrid:
    """``side`` × ``side`` fields in the order of the scan."""

    kind: str
    side: int
    taken: list[Taken]

    @cached_property
    def number(self) -> dict[Cell, int]:
        """Which field in the order of the scan each cell is."""
        return {t.cell: k for k, t in enumerate(self.taken)}

    def seams(self) -> list[tuple[int, int]]:
        """The pairs of neighbours, the earlier one first, between which a person could see a tear."""
        near = [
            (k, self.number[other])
            for (row, col), k in self.number.items()
            for other in ((row, col + 1), (row + 1, col))
            if other in self.number
        ]
        return [(min(pair), max(pair)) for pair in near if self._shows(min(pair), max(pair))]

    def _shows(self, first: int, second: int) -> bool:
        a, b = self.taken[first], self.taken[second]
        dx, dy = round(b.true.x - a.true.x), round(b.true.y - a.true.y)
        part = a.stained[max(0, dy) : SIDE_PX + min(0, dy), max(0, dx) : SIDE_PX + min(0, dx)]
        return bool(part.mean() > LEAST_SEEN)


def take_grid(folder: Path, kind: str, side: int, seed: int) -> TileGrid:
    """A serpentine over a slide, its frames written to ``folder`` as plain TIFF; ``kind`` is sparse or dense."""
    field, grid = SimulatedField(seed, KINDS[kind]), CameraGrid()
    rng = draw("bench mosaic", seed)
    parked, taken = Parked(FIRST_UM), []
    cells = [(row, col) for row in range(side) for col in range(side)]
    for row, col in serpentine(cells):
        target = (FIRST_UM[0] + col * STEP_UM, FIRST_UM[1] + row * STEP_UM)
        parked = _arrived(parked, target, rng)
        z_um = field.base_um(target)
        file = folder / f"tile_{row:02}_{col:02}.tif"
        tifffile.imwrite(file, field.frame(parked.true(), z_um), photometric="rgb")
        true = _corner(grid, parked.true())
        od = np.zeros((3, SIDE_PX, SIDE_PX), np.float32)
        field.slide.absorb(od, (round(true.x), round(true.y)), z_um)
        said = Point(target[0] / NOMINAL_UM_PER_PX, target[1] / NOMINAL_UM_PER_PX)
        taken.append(Taken((row, col), file, said, true, od.max(axis=0) > SEEN_OD))
    return TileGrid(kind, side, taken)


def _arrived(before: Parked, target: tuple[float, float], rng: np.random.Generator) -> Parked:
    """The stage after a move to ``target``."""
    moved = [t - m for t, m in zip(target, before.motor, strict=True)]
    direction = [float(np.sign(m)) if m else d for m, d in zip(moved, before.direction, strict=True)]
    error = rng.normal(0, POSITION_SIGMA_UM, 2)
    return Parked(target, (direction[0], direction[1]), (float(error[0]), float(error[1])))


def _corner(grid: CameraGrid, centre_um: tuple[float, float]) -> Point:
    """Top-left of a field on the camera's pixel grid."""
    u, v = grid.from_slide(*centre_um)
    return Point(u - (SIDE_PX - 1) / 2, v - (SIDE_PX - 1) / 2)
