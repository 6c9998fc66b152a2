"""What must a specimen be able to do, and how do its places map onto the camera's pixel grid?

Everything on the glass is held on the grid of the camera's pixels (u to the right, v down, origin at the slide's),
turned and scaled against the slide as the camera is. A frame then is a piece of that grid moved by less than a pixel.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from scanner.devices.simulated.textures import FloatImage
from scanner.devices.simulated.truth import TruthObject

DEPOSIT_CENTRE_UM = (45_000.0, 12_500.0)
DEPOSIT_RADIUS_UM = 10_000.0
OVERVIEW_UM_PER_PX = 20.0
OVERVIEW_SHAPE = (1250, 3750)


@dataclass(frozen=True, slots=True)
class CameraGrid:
    """The main camera against the slide: nominal 0.5 µm a pixel, 0.2 % larger in truth and turned by 0.3°."""

    um_per_px: float = 0.5 * 1.002
    rotation_rad: float = math.radians(0.3)

    def to_slide(self, u: float, v: float) -> tuple[float, float]:
        """Slide µm of a place on the grid."""
        c, s = math.cos(self.rotation_rad) * self.um_per_px, math.sin(self.rotation_rad) * self.um_per_px
        return c * u - s * v, s * u + c * v

    def from_slide(self, x_um: float, y_um: float) -> tuple[float, float]:
        """The place on the grid of a point of the slide."""
        c, s = math.cos(self.rotation_rad) / self.um_per_px, math.sin(self.rotation_rad) / self.um_per_px
        return c * x_um + s * y_um, -s * x_um + c * y_um


@dataclass(frozen=True, slots=True)
class Deposit:
    """Where a sample lies around the deposit's centre: a disc of radius ``half_um``, or a square of twice that side.

    ``share`` is how many of the usual objects it holds.
    """

    half_um: float = DEPOSIT_RADIUS_UM
    square: bool = False
    share: float = 1.0

    def reaches(
        self, x_um: NDArray[np.floating], y_um: NDArray[np.floating], margin_um: float
    ) -> NDArray[np.bool_]:
        """Which places, µm from the centre, lie inside, ``margin_um`` from its border or beyond it."""
        distance = np.maximum(np.abs(x_um), np.abs(y_um)) if self.square else np.hypot(x_um, y_um)
        return np.asarray(distance < self.half_um + margin_um)


WHOLE_DEPOSIT = Deposit()
SMALL_DEPOSIT = Deposit(half_um=2_500.0, square=True, share=5_500 / 20_000)
"""5 x 5 mm with 5,500 squamous cells: a slide that is scanned in a minute."""


@dataclass(frozen=True, slots=True)
class Surface:
    """The height (stage z, µm) of the layer of cells: a mean, a tilt and a bow across the deposit."""

    mean_um: float
    tilt_um: float = 8.0
    bow_um: float = 3.0
    heading_rad: float = 0.0

    def height(self, x_um: float, y_um: float) -> float:
        """Height at a place of the slide; ``tilt_um`` and ``bow_um`` are reached over the whole deposit."""
        x = (x_um - DEPOSIT_CENTRE_UM[0]) / DEPOSIT_RADIUS_UM
        y = (y_um - DEPOSIT_CENTRE_UM[1]) / DEPOSIT_RADIUS_UM
        along = x * math.cos(self.heading_rad) + y * math.sin(self.heading_rad)
        return self.mean_um + self.tilt_um / 2 * along - self.bow_um * min(x * x + y * y, 2.0)


class Specimen(Protocol):
    """Something that lies on the glass."""

    def absorb(self, od: FloatImage, corner: tuple[int, int], z_um: float) -> None:
        """Add the optical density seen at stage height ``z_um`` to ``od``.

        Args:
            od: (3, h, w) float32 RGB planes, changed in place.
            corner: u, v of its first pixel on the camera's grid.
            z_um: true height of the focal plane.
        """

    def overview_od(self) -> FloatImage:
        """(1250, 3750, 3) float32 optical density over the whole glass at 20 µm a pixel."""

    def truth(self) -> tuple[TruthObject, ...]:
        """What lies where; empty for pictures."""

    def close(self) -> None:
        """Let go of files."""


class BareGlass:
    """A slide without a sample."""

    def absorb(self, od: FloatImage, corner: tuple[int, int], z_um: float) -> None:
        """Glass absorbs nothing."""

    def overview_od(self) -> FloatImage:
        """Clear."""
        return np.zeros((*OVERVIEW_SHAPE, 3), np.float32)

    def truth(self) -> tuple[TruthObject, ...]:
        """Nothing."""
        return ()

    def close(self) -> None:
        """Nothing is held open."""
