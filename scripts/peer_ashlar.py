"""What does ashlar make of the same tiles? Run by a Python that has it; prints one JSON object.

``peer_ashlar.py GRID.json [OUT.ome.tif]``: GRID.json lists files and stated places; OUT also asks for the pyramid.
Settings: filter sigma 1 and a shift of up to 30 µm, the best of those that were tried on such grids.
"""

import json
import resource
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from ashlar import reg  # in an environment of its own

UM_PER_PX, GREEN = 0.5, 1


class TileMetadata(reg.Metadata):  # type: ignore[misc]  # ashlar says no types
    """Where the tiles are stated to lie."""

    def __init__(self, listed: list[dict[str, Any]]) -> None:
        self.listed = listed

    _num_images = property(lambda self: len(self.listed))
    num_channels = property(lambda self: 3)
    pixel_size = property(lambda self: UM_PER_PX)
    pixel_dtype = property(lambda self: np.dtype(np.uint8))

    def tile_position(self, i: int) -> Any:
        """Row and column, px."""
        return np.array([self.listed[i]["y_px"], self.listed[i]["x_px"]], float)

    def tile_size(self, i: int) -> Any:
        """Height and width, px."""
        return np.array([1024, 1024])


class TileReader(reg.Reader):  # type: ignore[misc]  # ashlar says no types
    """The tiles, one channel at a time."""

    def __init__(self, listed: list[dict[str, Any]]) -> None:
        self.metadata = TileMetadata(listed)

    def read(self, series: int, c: int) -> Any:
        """(1024, 1024) uint8."""
        return tifffile.imread(self.metadata.listed[series]["file"])[..., c]


def cpu_s() -> float:
    """What this process and its threads have used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Register, solve, perhaps write; then tell."""
    warnings.filterwarnings("ignore")
    listed = json.loads(Path(sys.argv[1]).read_text())
    began, wall = cpu_s(), time.perf_counter()
    aligner = reg.EdgeAligner(
        TileReader(listed), channel=GREEN, filter_sigma=1, max_shift=30, do_make_thumbnail=False
    )
    aligner.run()
    solved = cpu_s() - began
    if len(sys.argv) > 2:
        mosaic = reg.Mosaic(aligner, aligner.mosaic_shape)
        reg.PyramidWriter([mosaic], sys.argv[2]).run()
    places = [[float(x), float(y)] for y, x in aligner.positions]
    print(
        json.dumps(
            {
                "places": places,
                "solve_cpu_s": solved,
                "cpu_s": cpu_s() - began,
                "wall_s": time.perf_counter() - wall,
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
