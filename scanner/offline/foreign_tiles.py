"""Can the tiles of a layout be used together, and what do they show? All are decoded before anything is written."""

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scanner.errors import BadInput, Problem
from scanner.model.tile import Pixels
from scanner.storage.layout import LaidOut, read_tile

KEPT_BYTES = 512 * 2**20  # decoded tiles in memory; beyond it they are read again
Progress = Callable[[int, int], None]


class ForeignTiles:
    """The tiles' pixels by index, read when asked for and kept while there is room."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._kept: OrderedDict[int, Pixels] = OrderedDict()

    def __call__(self, tile: int) -> Pixels:
        """Pixels of a tile.

        Raises:
            BadInput: where it cannot be read.
        """
        if tile not in self._kept:
            self._kept[tile] = read_tile(self._files[tile])
        self._kept.move_to_end(tile)
        while len(self._kept) > max(8, KEPT_BYTES // self._kept[tile].nbytes):
            self._kept.popitem(last=False)
        return self._kept[tile]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a tile was found to be; ``digest`` is empty where it is all of one value, as empty glass may be."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    digest: str

    @property
    def format(self) -> tuple[tuple[int, ...], str]:
        return self.shape, str(self.dtype)


def check_tiles(
    layout_csv: Path, listed: Sequence[LaidOut], tiles: ForeignTiles, progress: Progress
) -> list[int]:
    """The indices of the tiles that are there, all of them readable, of one format, and none there twice.

    Raises:
        BadInput: every tile that cannot be used; or there is none.
    """
    present = [k for k, tile in enumerate(listed) if tile.file.is_file()]
    if not present:
        raise BadInput.one("none of its tiles exists", "files are relative to the CSV", file=str(layout_csv))
    seen: dict[int, _Seen] = {}
    problems: list[Problem] = []
    for done, k in enumerate(present):
        try:
            seen[k] = _look(tiles(k))
        except BadInput as error:
            problems += error.problems
        progress(done + 1, len(present))
    problems += _of_other_formats(listed, seen)
    problems += _twice(listed, seen)
    if problems:
        raise BadInput(problems)
    return present


def _look(pixels: Pixels) -> _Seen:
    plain = pixels.min() == pixels.max()
    return _Seen(pixels.shape, pixels.dtype, "" if plain else hashlib.sha256(pixels.tobytes()).hexdigest())


def _of_other_formats(listed: Sequence[LaidOut], seen: dict[int, _Seen]) -> Iterator[Problem]:
    """Those that differ from what most are."""
    counted = Counter(one.format for one in seen.values())
    if len(counted) < 2:
        return
    (shape, dtype), _ = counted.most_common(1)[0]
    for k, one in seen.items():
        if one.format != (shape, dtype):
            what = f"holds {one.shape} of {one.dtype}, but most tiles {shape} of {dtype}"
            yield Problem(what, "give tiles of one format", file=str(listed[k].file))


def _twice(listed: Sequence[LaidOut], seen: dict[int, _Seen]) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for k, one in seen.items():
        other = first.setdefault(one.digest, k)
        if one.digest and other != k:
            what = f"shows pixel for pixel what {listed[other].name} shows"
            yield Problem(what, "give the tile that was taken there", file=str(listed[k].file))
