from pathlib import Path

import numpy as np

from scanner.review.growing import GrowingStore
from scanner.storage.ngff import SHARD_PX, ImageSpec
from scanner.storage.ome_zarr import PyramidStore


def begun(folder: Path) -> PyramidStore:
    """Two by two blocks, of which one is written: dark on the left, bright on the right."""
    side = 2 * SHARD_PX
    spec = ImageSpec(name="x", width_px=side, height_px=side, dtype="uint8", channels=1, um_per_px=0.5)
    store = PyramidStore.create(folder / "x.ome.zarr", spec)
    block = np.full((1, SHARD_PX, SHARD_PX), 40, np.uint8)
    block[:, :, SHARD_PX // 2 :] = 200
    store.write(0, 1, 0, block)
    return store


def test_a_coarse_level_shows_what_is_there_of_a_finer_one(tmp_path: Path) -> None:
    store = begun(tmp_path)
    assert store.read(1, 0, 0, SHARD_PX, SHARD_PX).min() == 255
    for level in (1, 2):
        size = 2 * SHARD_PX >> level
        seen = GrowingStore.open(store.path).read(level, 0, 0, size, size)[0]
        quarter = size // 4
        assert (seen[: size // 2] == 255).all()
        assert (seen[size // 2 :, :quarter] == 40).all()
        assert (seen[size // 2 :, quarter : 2 * quarter] == 200).all()
        assert (seen[:, size // 2 :] == 255).all()


def test_a_window_of_a_coarse_level_lies_where_it_should(tmp_path: Path) -> None:
    growing = GrowingStore.open(begun(tmp_path).path)
    whole = growing.read(1, 0, 0, SHARD_PX, SHARD_PX)
    assert np.array_equal(growing.read(1, 900, 400, 300, 500), whole[:, 900:1200, 400:900])


def test_a_complete_image_is_read_as_it_was_written(tmp_path: Path) -> None:
    store = begun(tmp_path)
    store.complete({})
    assert GrowingStore.open(store.path).read(1, 0, 0, SHARD_PX, SHARD_PX).min() == 255
