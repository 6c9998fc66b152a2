"""Where do captured pixels wait until everything made of them is written?

One uncompressed TIFF a frame, written by rename and never rewritten; any program can open it. With ``keep`` the
frames stay for a replay (``tiles/``), without it each goes as soon as no step needs it (``spool/``).
It must never hold a frame under a name before that frame is whole.
"""

import json
import re
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import tifffile

from scanner.errors import DamagedRun
from scanner.model.events import Json
from scanner.model.tile import Pixels, Tile
from scanner.storage.atomic import is_temporary, replacing
from scanner.storage.hashes import content_hash

FrameName = tuple[str, int, int, int]
"""(slide_id, tile, plan, attempt): all the layers of a stack are acknowledged, or none."""
_NAMED = re.compile(r"tile(\d+)-plan(\d+)-attempt(\d+)(?:-layer\d\d)?")


class Spool:
    """The frames of one run folder."""

    def __init__(self, folder: Path, keep: bool) -> None:
        self._folder = folder
        self._keep = keep

    def path(self, slide_id: str, tile: int, plan: int, attempt: int, layer: int | None = None) -> Path:
        """Where this frame lies, whether it is there or not; ``layer`` counts from 0 at the bottom of a stack."""
        height = "" if layer is None else f"-layer{layer:02d}"
        return self._folder / slide_id / f"tile{tile:06d}-plan{plan:02d}-attempt{attempt:02d}{height}.tif"

    def put(
        self,
        slide_id: str,
        tile: int,
        plan: int,
        attempt: int,
        pixels: Pixels,
        meta: Mapping[str, Json],
        layer: int | None = None,
    ) -> str:
        """Keep a frame and give back the hash of its content.

        Args:
            slide_id: SLOT-RUNID.
            tile: number of the planned tile.
            plan: number of the plan.
            attempt: counts from 1 within the plan.
            pixels: (h, w, 3) or (h, w), uint8 or uint16, raw camera pixels.
            meta: what to write beside them (ImageDescription, JSON): reported position, z, times.
            layer: which height of the tile's stack, None for a tile of one plane.

        Raises:
            DamagedRun: another frame of this name is there already; it was not touched.
            RackscanError: the disk is full, read-only or gone.
        """
        path = self.path(slide_id, tile, plan, attempt, layer)
        if path.exists():
            raise DamagedRun(f"{path}: a frame of this name is kept already and is never rewritten")
        named = {"slide_id": slide_id, "tile": tile, "plan": plan, "attempt": attempt}
        named |= {} if layer is None else {"layer": layer}
        description = json.dumps({**meta, **named}, allow_nan=False)
        with replacing(path) as temporary:
            temporary.parent.mkdir(parents=True, exist_ok=True)
            _write(temporary, pixels, description)
        return content_hash(pixels)

    def get(
        self,
        slide_id: str,
        tile: int,
        plan: int,
        attempt: int,
        content: str | None = None,
        layer: int | None = None,
    ) -> Pixels:
        """The pixels of a frame, as the camera gave them.

        Raises:
            DamagedRun: the frame is not there, cannot be read, or does not have the hash ``content``.
        """
        path = self.path(slide_id, tile, plan, attempt, layer)
        try:
            pixels = tifffile.imread(path)
        except FileNotFoundError as error:
            raise DamagedRun(f"{path}: the ledger holds this tile, but its frame is gone") from error
        except (OSError, ValueError, KeyError, IndexError, struct.error) as error:
            raise DamagedRun(f"{path}: the frame cannot be read: {error}") from error
        if content is not None and content_hash(pixels) != content:
            raise DamagedRun(f"{path}: the frame is not the one that was captured")
        return pixels

    def has(self, slide_id: str, tile: int, plan: int, attempt: int, layer: int | None = None) -> bool:
        """Is the frame here?"""
        return self.path(slide_id, tile, plan, attempt, layer).is_file()

    def drop(self, slide_id: str, tile: int, plan: int, attempt: int, layer: int | None = None) -> None:
        """No step needs this frame any longer; a kept one stays."""
        if not self._keep:
            self.path(slide_id, tile, plan, attempt, layer).unlink(missing_ok=True)

    def drop_other_layers(self, slide_id: str, tile: Tile) -> None:
        """Of a stack, only the sharpest plane is still needed."""
        for layer in range(len(tile.layers)):
            if layer != tile.layer:
                self.drop(slide_id, tile.planned.tile, tile.plan, tile.attempt, layer)

    def drop_tile(self, slide_id: str, tile: Tile) -> None:
        """No step needs any frame of a tile; the one that a resume asks for goes last."""
        self.drop_other_layers(slide_id, tile)
        self.drop(slide_id, tile.planned.tile, tile.plan, tile.attempt, tile.layer)

    def sweep(self, acknowledged: Callable[[FrameName], bool]) -> list[Path]:
        """Remove what a kill left: half-written files, and frames that the ledger never acknowledged.

        Returns:
            What was removed.
        """
        found = sorted(self._folder.glob("*/*"))
        stray = [path for path in found if is_temporary(path) or not acknowledged(frame_name(path))]
        for path in stray:
            path.unlink()
        return stray


def frame_name(path: Path) -> FrameName:
    """Which frame a file of the spool holds.

    Raises:
        DamagedRun: the file was not written by a spool.
    """
    named = _NAMED.fullmatch(path.stem)
    if path.suffix != ".tif" or named is None:
        raise DamagedRun(f"{path}: this file is not a frame of ours; move it elsewhere")
    tile, plan, attempt = map(int, named.groups())
    return path.parent.name, tile, plan, attempt


def _write(path: Path, pixels: Pixels, description: str) -> None:
    tifffile.imwrite(
        path,
        pixels,
        photometric="rgb" if pixels.ndim == 3 else "minisblack",
        description=description,
        metadata=None,
        software="rackscan",
    )
