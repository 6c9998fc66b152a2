"""What does a z-stack of a simulated slide look like? ``python -m scanner.offline.simulated_stack OUT.ome.tif``.

For trying ``rackscan focus`` without a microscope: one field of a liquid-based slide, tilted on the stage, no run.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from scanner.devices.simulated.field import FieldCamera
from scanner.devices.simulated.slide import ProceduralSlide
from scanner.devices.simulated.specimen import CameraGrid

SEED = 23
PLACE_UM = (47_000.0, 13_000.0)
STEP_UM = 1.0
PLANES = 15
TILT_UM = 5.0
EXPOSURE_MS = 5.0
_STRIPS = 8


def planes() -> Iterator[NDArray[np.uint8]]:
    """Each (1024, 1024, 3) uint8, bottom up, around the height of the sample; the right is higher than the left.

    The tilt is made of strips that are exposed at heights of their own.
    """
    grid = CameraGrid()
    slide, camera = ProceduralSlide((SEED,), {}, grid), FieldCamera(SEED, grid)
    middle = slide.surface.height(*PLACE_UM)
    heights = middle + STEP_UM * (np.arange(PLANES) - PLANES // 2)
    tilt = TILT_UM * (np.arange(_STRIPS) / (_STRIPS - 1) - 0.5)
    for number, z_um in enumerate(heights):
        shots = (camera.expose(slide, PLACE_UM, float(z_um - t), EXPOSURE_MS, number) for t in tilt)
        yield np.concatenate(
            [np.array_split(shot, _STRIPS, axis=1)[n] for n, shot in enumerate(shots)], axis=1
        )


def write(out: Path) -> None:
    """An OME-TIFF that says the height of every plane."""
    positions = [STEP_UM * number for number in range(PLANES)]
    tifffile.imwrite(
        out,
        np.stack(list(planes())),
        photometric="rgb",
        metadata={
            "axes": "ZYXS",
            "PhysicalSizeZ": STEP_UM,
            "PhysicalSizeZUnit": "µm",
            "Plane": {"PositionZ": positions, "PositionZUnit": ["µm"] * PLANES},
        },
    )


if __name__ == "__main__":
    write(Path(sys.argv[1]))
