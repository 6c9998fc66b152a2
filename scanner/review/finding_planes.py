"""Which planes of a finding that was taken again does a person leaf through, and where do they lie?"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanner.review.layers import SlideLayers

AROUND = 2.0
LEAST_SIDE_UM = 60.0


@dataclass(frozen=True, slots=True)
class Planes:
    """(z, h, w[, 3]) ``pixels``; ``scale_um`` and ``origin_um`` (z, y, x) as of an ``ImageLayer``.

    ``sharpest`` is the plane that was read again with those beside it; ``shown`` the range of values that is shown.
    """

    pixels: NDArray[Any]
    scale_um: tuple[float, ...]
    origin_um: tuple[float, ...]
    sharpest: int
    shown: tuple[float, float]


def planes_of(layers: SlideLayers, finding: int) -> Planes | None:
    """The planes around a finding (0 is the highest score); None where it was not taken again."""
    found = layers.findings
    if (
        layers.cells is None
        or not 0 <= finding < len(found.places_um)
        or found.features["layer"][finding] < 0
    ):
        return None
    level, (z_um, *scale) = layers.cells.levels[0], layers.cells.scale_um
    side_um = max(LEAST_SIDE_UM, AROUND * float(found.diameters_um[finding]))
    corner = (found.places_um[finding] - side_um / 2 - np.array(layers.cells.origin_um[1:])) / scale
    low = np.clip(np.round(corner).astype(int), 0, np.array(level.shape[1:3]) - 1)
    high = np.minimum(low + np.round(side_um / np.array(scale)).astype(int), level.shape[1:3])
    pixels = level[:, int(low[0]) : int(high[0]), int(low[1]) : int(high[1])]
    origin = np.array(layers.cells.origin_um[1:]) + low * scale
    return Planes(
        pixels,
        (z_um, *scale),
        (layers.cells.origin_um[0], *(float(v) for v in origin)),
        int(found.features["layer"][finding]),
        layers.cells.shown,
    )
