"""Where does a fused plane wait with its heights until its blocks are written?

One TIFF a tile, written by rename: the plane as the camera would have given it, then the heights. Each page carries the
hash of its content. It must never be taken for a frame: no camera gave it, and it can be made again from the layers.
"""

import json
import struct
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from scanner.errors import DamagedRun
from scanner.model.tile import Pixels, Tile
from scanner.storage.atomic import is_temporary, replacing
from scanner.storage.hashes import content_hash
from scanner.storage.spool import Spool

Heights = NDArray[np.float32]
_PLANE, _HEIGHTS = 0, 1


class FusedSpool:
    """The fused planes of one run folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names = Spool(folder, keep=False)

    def path(self, slide_id: str, tile: Tile) -> Path:
        """Where the fused plane of a tile lies, whether it is there or not."""
        return self._names.path(slide_id, tile.planned.tile, tile.plan, tile.attempt)

    def put(self, slide_id: str, tile: Tile, plane: Pixels, heights_um: Heights) -> str:
        """Keep a plane and its heights, (h, w[, 3]) and (h', w') float32; the hash of both.

        Raises:
            RackscanError: the disk is full, read-only or gone.
        """
        path = self.path(slide_id, tile)
        with replacing(path) as temporary:
            temporary.parent.mkdir(parents=True, exist_ok=True)
            with tifffile.TiffWriter(temporary) as file:
                _write(file, plane)
                _write(file, heights_um)
        return content_hash(plane) + content_hash(heights_um)

    def plane(self, slide_id: str, tile: Tile) -> Pixels:
        """The fused plane in raw camera pixels.

        Raises:
            DamagedRun: it is not there, cannot be read, or is not what was written.
        """
        page = self._page(self.path(slide_id, tile), _PLANE)
        return np.asarray(page, np.uint8) if page.dtype == np.uint8 else np.asarray(page, np.uint16)

    def heights_um(self, slide_id: str, tile: Tile) -> Heights:
        """The heights of the fused plane.

        Raises:
            DamagedRun: they are not there, cannot be read, or are not what was written.
        """
        return np.asarray(self._page(self.path(slide_id, tile), _HEIGHTS), np.float32)

    def drop(self, slide_id: str, tile: Tile) -> None:
        """No step needs this plane any longer."""
        self.path(slide_id, tile).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what a kill left half-written."""
        for path in filter(is_temporary, self._folder.glob("*/*")):
            path.unlink()

    def _page(self, path: Path, number: int) -> Pixels | Heights:
        try:
            with tifffile.TiffFile(path) as file:
                page = file.pages[number]
                pixels: Pixels | Heights = page.asarray()
                said = json.loads(getattr(page, "description", ""))["content"]
        except FileNotFoundError as error:
            raise DamagedRun(f"{path}: the ledger holds this fused plane, but it is gone") from error
        except (OSError, ValueError, KeyError, IndexError, struct.error) as error:
            raise DamagedRun(f"{path}: the fused plane cannot be read: {error}") from error
        if content_hash(pixels) != said:
            raise DamagedRun(f"{path}: the fused plane is not the one that was written")
        return pixels


def _write(file: tifffile.TiffWriter, pixels: Pixels | Heights) -> None:
    file.write(
        pixels,
        photometric="rgb" if pixels.ndim == 3 else "minisblack",
        description=json.dumps({"content": content_hash(pixels)}),
        metadata=None,
        software="rackscan",
    )
