"""Where do captured pixels wait until everything made of them is written?

One uncompressed TIFF a frame, written by rename and never rewritten; any program can open it. With ``keep`` the
frames stay for a replay (``tiles/``), without it each goes as soon as no step needs it (``spool/``).
It must never hold a frame under a name before that frame is whole.
"""

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import tifffile

from scanner.errors import DamagedRun
from scanner.model.events import Json
from scanner.model.tile import Pixels
from scanner.storage.atomic import is_temporary, replacing
from scanner.storage.hashes import content_hash

FrameName = tuple[str, int, int, int]
"""(slide_id, tile, plan, attempt)."""


class Spool:
    """The frames of one run folder."""

    def __init__(self, folder: Path, keep: bool) -> None:
        self._folder = folder
        self._keep = keep

    def path(self, slide_id: str, tile: int, plan: int, attempt: int) -> Path:
        """Where this frame lies, whether it is there or not."""
        return self._folder / slide_id / f"tile{tile:06d}-plan{plan:02d}-attempt{attempt:02d}.tif"

    def put(
        self,
        slide_id: str,
        tile: int,
        plan: int,
        attempt: int,
        pixels: Pixels,
        meta: Mapping[str, Json],
    ) -> str:
        """Keep a frame and give back the hash of its content.

        Args:
            slide_id: SLOT-RUNID.
            tile: number of the planned tile.
            plan: number of the plan.
            attempt: counts from 1 within the plan.
            pixels: (h, w, 3) or (h, w), uint8 or uint16, raw camera pixels.
            meta: what to write beside them (ImageDescription, JSON): reported position, z, times.

        Raises:
            DamagedRun: another frame of this name is there already; it was not touched.
            RackscanError: the disk is full, read-only or gone.
        """
        path = self.path(slide_id, tile, plan, attempt)
        if path.exists():
            raise DamagedRun(f"{path}: a frame of this name is kept already and is never rewritten")
        named = {"slide_id": slide_id, "tile": tile, "plan": plan, "attempt": attempt}
        description = json.dumps({**meta, **named}, allow_nan=False)
        with replacing(path) as temporary:
            temporary.parent.mkdir(parents=True, exist_ok=True)
            _write(temporary, pixels, description)
        return content_hash(pixels)

    def get(self, slide_id: str, tile: int, plan: int, attempt: int, content: str | None = None) -> Pixels:
        """The pixels of a frame, as the camera gave them.

        Raises:
            DamagedRun: the frame is not there, cannot be read, or does not have the hash ``content``.
        """
        path = self.path(slide_id, tile, plan, attempt)
        try:
            pixels = tifffile.imread(path)
        except FileNotFoundError as error:
            raise DamagedRun(f"{path}: the ledger holds this tile, but its frame is gone") from error
        except (OSError, ValueError, KeyError, IndexError, struct.error) as error:
            raise DamagedRun(f"{path}: the frame cannot be read: {error}") from error
        if content is not None and content_hash(pixels) != content:
            raise DamagedRun(f"{path}: the frame is not the one that was captured")
        return pixels

    def has(self, slide_id: str, tile: int, plan: int, attempt: int) -> bool:
        """Is the frame here?"""
        return self.path(slide_id, tile, plan, attempt).is_file()

    def drop(self, slide_id: str, tile: int, plan: int, attempt: int) -> None:
        """No step needs this frame any longer; a kept one stays."""
        if not self._keep:
            self.path(slide_id, tile, plan, attempt).unlink(missing_ok=True)

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
    numbers = path.stem.replace("tile", "").replace("plan", "").replace("attempt", "").split("-")
    if path.suffix != ".tif" or len(numbers) != 3 or not all(number.isdigit() for number in numbers):
        raise DamagedRun(f"{path}: this file is not a frame of ours; move it elsewhere")
    return path.parent.name, int(numbers[0]), int(numbers[1]), int(numbers[2])


def _write(path: Path, pixels: Pixels, description: str) -> None:
    tifffile.imwrite(
        path,
        pixels,
        photometric="rgb" if pixels.ndim == 3 else "minisblack",
        description=description,
        metadata=None,
        software="rackscan",
    )
