"""A run folder with images and findings of known cells, small enough to correct and to learn from."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from detection.package import DetectorPackage
from scanner.model.events import Kind
from scanner.pipeline.findings import Columns
from scanner.storage.hashes import text_hash
from scanner.storage.ledger import Ledger
from scanner.storage.ngff import ImageSpec
from scanner.storage.ome_zarr import PyramidStore
from scanner.storage.run_folder import RunFolder, RunSettings, slide_id
from scanner.storage.tables import findings_table, write_table

WIDTH, HEIGHT = 900, 700
UM_PER_PX = 0.25
ORIGIN_UM = (40_000.0, 8_000.0)
SIDE = 32
FOUND = ((200, 150, 0.95, "HSIL"), (650, 180, 0.8, "HSIL"), (230, 500, 0.5, "LSIL"), (260, 520, 0.3, "LSIL"))
"""Centre x, y px, score, class; the last two lie in one field."""
MISSED = (700, 520)


def build(
    root: Path, detector: DetectorPackage | None = None, slides: int = 1, run: str = "run-1"
) -> RunFolder:
    made_by = (str(detector.path), detector.hash) if detector else (None, None)
    settings = RunSettings(
        run=run, begun=datetime(2026, 1, 1, tzinfo=UTC), detector=made_by[0], detector_hash=made_by[1]
    )
    folder = RunFolder.create(root, settings)
    with Ledger.open(folder.ledger, create=True) as ledger:
        for slot in range(1, slides + 1):
            ledger.append(Kind.SLIDE_LOADED, slide_id(slot, run), "", {"slot": slot})
            _slide(folder, slide_id(slot, run), slot)
    return folder


def _slide(folder: RunFolder, name: str, seed: int) -> None:
    paths = folder.slide(name)
    paths.folder.mkdir(parents=True)
    size = {"width_px": WIDTH, "height_px": HEIGHT, "dtype": "uint8", "channels": 3}
    spec = ImageSpec.model_validate({"name": name, "um_per_px": UM_PER_PX, "origin_um": ORIGIN_UM, **size})
    store = PyramidStore.create(paths.image, spec)
    block = np.full((3, spec.shard_px, spec.shard_px), 255, np.uint8)
    block[:, :HEIGHT, :WIDTH] = np.moveaxis(picture(seed), -1, 0)
    store.write(0, 0, 0, block)
    x, y, score = (np.array([f[i] for f in FOUND], float) for i in range(3))
    columns: Columns = {
        "slide_id": [name] * len(FOUND),
        "tile": np.zeros(len(FOUND), np.int32),
        "rank": np.arange(1, len(FOUND) + 1),
        "class": [f[3] for f in FOUND],
        "score": score,
        "x_px": x - SIDE / 2,
        "y_px": y - SIDE / 2,
        "w_px": np.full(len(FOUND), float(SIDE)),
        "h_px": np.full(len(FOUND), float(SIDE)),
        "x_um": ORIGIN_UM[0] + x * UM_PER_PX,
        "y_um": ORIGIN_UM[1] + y * UM_PER_PX,
    }
    write_table(paths.findings, findings_table(columns))


def picture(seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Light ground with a dark disc at every finding and at the missed cell."""
    image = np.random.default_rng(seed).normal(235, 2, (HEIGHT, WIDTH, 3))
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    for cx, cy in (*((f[0], f[1]) for f in FOUND), MISSED):
        image[(y - cy) ** 2 + (x - cx) ** 2 < (SIDE / 2) ** 2] *= (0.4, 0.3, 0.5)
    return np.asarray(image.clip(0, 255).astype(np.uint8))


def evidence(folder: RunFolder) -> dict[str, str]:
    """A digest of every file of the run that is no correction."""
    files = (path for path in sorted(folder.root.rglob("*")) if path.is_file())
    kept = (
        path for path in files if "corrections" not in path.parts and not path.name.endswith(("-wal", "-shm"))
    )
    return {str(path): text_hash(path.read_bytes().hex()) for path in kept}
