"""What does an image show while it is being scanned? Coarse blocks that are missing, put together from finer ones.

The store writes a block of a coarse level only when everything below it is there; a person who watches wants to see
what there is already. Nothing of this is written.
"""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from scanner.storage.ngff import SHARD_PX
from scanner.storage.ome_zarr import Block, PyramidStore

Key = tuple[int, int, int]


class GrowingStore(PyramidStore):
    """An image that is being written; open it as any other. Each finished block is shrunk once and kept."""

    def __init__(self, *opened: Any) -> None:  # what PyramidStore.open hands over
        """Use ``open``."""
        super().__init__(*opened)
        self._small: dict[tuple[Key, int, int], Block] = {}

    def read(self, level: int, y: int, x: int, h: int, w: int, z: int = 0) -> Block:
        """See ``PyramidStore.read``; a block that is missing shows what of it is there on finer levels."""
        whole = super().read(level, y, x, h, w, z)
        if level == 0 or self.facts.get("complete"):
            return whole
        for row in range(max(0, y) // SHARD_PX, -(-(y + h) // SHARD_PX)):
            for col in range(max(0, x) // SHARD_PX, -(-(x + w) // SHARD_PX)):
                for key in self._finer(level, row, col, z):
                    self._paste(whole, self._shrunk(key, level, z), key, y, x)
        return whole

    def _finer(self, level: int, row: int, col: int, z: int) -> Iterator[Key]:
        """The coarsest finished blocks under a missing one."""
        width, height = self.sizes[level]
        if level == 0 or row * SHARD_PX >= height or col * SHARD_PX >= width or self.has(level, row, col, z):
            return
        for down in (0, 1):
            for right in (0, 1):
                child = (level - 1, 2 * row + down, 2 * col + right)
                if self.exists(*child) and self.has(*child, z):
                    yield child
                else:
                    yield from self._finer(*child, z)

    def _paste(self, whole: Block, small: Block, key: Key, y: int, x: int) -> None:
        side = small.shape[1]
        top, left = key[1] * side - y, key[2] * side - x
        y0, x0 = max(0, top), max(0, left)
        y1, x1 = min(whole.shape[1], top + side), min(whole.shape[2], left + side)
        if y1 > y0 and x1 > x0:
            whole[:, y0:y1, x0:x1] = small[:, y0 - top : y1 - top, x0 - left : x1 - left]

    def _shrunk(self, key: Key, level: int, z: int) -> Block:
        """A finished block at the scale of a coarser level: (channels, side, side)."""
        if (key, level, z) not in self._small:
            side = SHARD_PX >> (level - key[0])
            planes = [
                cv2.resize(plane, (side, side), interpolation=cv2.INTER_AREA) for plane in self.block(*key, z)
            ]
            self._small[key, level, z] = np.stack(planes).astype(self.spec.dtype)
        return self._small[key, level, z]
