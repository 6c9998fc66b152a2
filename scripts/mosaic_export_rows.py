"""How small, how quick and in how much memory is an OME-TIFF written? Rows for ``scripts/bench mosaic``.

The same simulated fields over and over, as an image of 67 and one of 268 million pixels; each is exported by a process
of its own.
"""

import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from scanner.devices.simulated.field import SIDE_PX, FieldCamera
from scanner.devices.simulated.slide import ProceduralSlide
from scanner.devices.simulated.specimen import CameraGrid
from scanner.pipeline.pyramid import Pyramid
from scanner.storage.ngff import SHARD_PX, ImageSpec
from scanner.storage.ome_zarr import Block, PyramidStore
from scripts.rows import Row, at_least, at_most, row, tell

SEED, FIRST_UM, STEP_UM = 77, (38_000.0, 8_000.0), 512.0
FIELDS, SMALL, LARGE = (2, 2), (4, 4), (8, 8)  # blocks of 2048 px, across and down
EXPORT = """
import json, sys, time
from pathlib import Path
from scanner.export.ome_tiff import Encoding, Packing, write_ome_tiff
from scanner.export.ome_xml import Said
from scanner.storage.ome_zarr import PyramidStore
store, out = PyramidStore.open(Path(sys.argv[1])), Path(sys.argv[2])
began = time.process_time()
write_ome_tiff(store, out, Encoding(Packing(sys.argv[3])), Said("bench", "rackscan"))
cpu_s = time.process_time() - began
status = Path("/proc/self/status").read_text()  # the system's maximum is inherited from the parent
peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
print(json.dumps({"cpu_s": cpu_s, "peak_mb": peak, "bytes": out.stat().st_size}))
"""


def fields() -> dict[tuple[int, int], Block]:
    """(3, 2048, 2048) by (row, col) of a simulated slide, side by side: no stitching is measured here."""
    grid = CameraGrid()
    slide, camera = ProceduralSlide((SEED, 0), {}, grid), FieldCamera(SEED, grid)
    each = SHARD_PX // SIDE_PX
    whole = np.empty((3, FIELDS[1] * SHARD_PX, FIELDS[0] * SHARD_PX), np.uint8)
    for index, (down, right) in enumerate(
        itertools.product(range(FIELDS[1] * each), range(FIELDS[0] * each))
    ):
        at = (FIRST_UM[0] + right * STEP_UM, FIRST_UM[1] + down * STEP_UM)
        shown = camera.expose(slide, at, slide.surface.height(*at), 5.0, index)
        y, x = down * SIDE_PX, right * SIDE_PX
        whole[:, y : y + SIDE_PX, x : x + SIDE_PX] = np.moveaxis(shown, -1, 0)
    sides = itertools.product(range(FIELDS[1]), range(FIELDS[0]))
    return {
        (r, c): np.ascontiguousarray(
            whole[:, r * SHARD_PX : (r + 1) * SHARD_PX, c * SHARD_PX : (c + 1) * SHARD_PX]
        )
        for r, c in sides
    }


def stored(path: Path, blocks: dict[tuple[int, int], Block], size: tuple[int, int]) -> PyramidStore:
    """The blocks, again and again, as an image with all its levels."""
    spec = ImageSpec(
        name="bench",
        width_px=size[0] * SHARD_PX,
        height_px=size[1] * SHARD_PX,
        dtype="uint8",
        channels=3,
        um_per_px=0.5,
    )
    store = PyramidStore.create(path, spec)
    pyramid = Pyramid(store.sizes, SHARD_PX, 255, store)
    for down, right in itertools.product(range(size[1]), range(size[0])):
        pyramid.add(down, right, blocks[down % FIELDS[1], right % FIELDS[0]])
    store.complete({})
    return store


def exported(store: PyramidStore, packing: str) -> dict[str, float]:
    """CPU seconds, peak memory (MB) and size of one export."""
    out = store.path.with_suffix(".tif")
    words = [sys.executable, "-c", EXPORT, str(store.path), str(out), packing]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    out.unlink()
    found: dict[str, float] = json.loads(said)
    return found


def rows() -> list[Row]:
    """Everything that is measured."""
    return list(_found())


def _found() -> Iterator[Row]:
    blocks = fields()
    with tempfile.TemporaryDirectory() as folder:
        small = stored(Path(folder) / "small.ome.zarr", blocks, SMALL)
        large = stored(Path(folder) / "large.ome.zarr", blocks, LARGE)
        one, other, whole = exported(small, "jpeg"), exported(large, "jpeg"), exported(small, "deflate")
    raw, raw_large = (3 * s.spec.width_px * s.spec.height_px for s in (small, large))
    smaller = raw_large / other["bytes"]
    growth = other["peak_mb"] / one["peak_mb"]
    yield at_least("export: JPEG OME-TIFF, times smaller than raw", smaller, 15.0)
    yield row("export: lossless OME-TIFF, times smaller than raw", raw / whole["bytes"])
    yield row("export: CPU seconds a gigapixel, JPEG", other["cpu_s"] / (raw_large / 3e9))
    yield row("export: CPU seconds a gigapixel, lossless", whole["cpu_s"] / (raw / 3e9))
    yield row("export: peak memory, MB", other["peak_mb"])
    yield at_most("export: peak memory, 268 Mpx against 67", growth, 1.1)


if __name__ == "__main__":
    cv2.setNumThreads(1)
    tell(rows())
