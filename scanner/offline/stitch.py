"""What does a slide look like of which another system took the tiles? The road from registration to the pyramid.

Nothing is written before the layout and the tiles' formats were checked; a tile that is absent leaves a hole.
"""

import csv
import io
import shutil
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from scanner.errors import BadInput, RackscanError
from scanner.model.geometry import Point
from scanner.model.plan import serpentine
from scanner.model.tile import Pixels
from scanner.offline.stitch_page import Pairs, beside, write_stitch_page
from scanner.pipeline.foreign_grid import cells_of, fit_lattice
from scanner.pipeline.lattice import Cell, Lattice
from scanner.pipeline.mosaic import Canvas, Mosaic
from scanner.pipeline.placement import Placed, Placement
from scanner.pipeline.pyramid import Pyramid
from scanner.pipeline.registration import noise_of, register
from scanner.pipeline.stage_model import StagePrior
from scanner.storage.atomic import write_atomic
from scanner.storage.layout import LaidOut, read_layout, read_tile
from scanner.storage.ngff import SHARD_PX, ImageSpec
from scanner.storage.ome_zarr import PyramidStore

KEPT_BYTES = 512 * 2**20  # decoded tiles in memory; beyond it they are read again
UNMEASURED = 5e-3  # how far the other system's axes may be turned or scaled against its camera
Progress = Callable[[int, int], None]


class PlaceState(StrEnum):
    """How a tile got its place: from its overlaps, from the layout alone, or not at all."""

    MEASURED = "measured"
    HELD = "held"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class StitchResult:
    """What ``rackscan stitch --json`` prints."""

    tiles: int
    placed: int
    image: str
    seconds: float
    page: str


@dataclass(frozen=True, slots=True)
class _Found:
    """A tile's final place, and the correlation of its best overlap (0 where it is held)."""

    placed: Placed
    confidence: float


def _silent(done: int, total: int) -> None:
    """Nobody wants to know."""


def stitch(layout_csv: Path, out: Path, progress: Progress = _silent) -> StitchResult:
    """Place the tiles of a layout and write them as an OME-Zarr pyramid.

    Beside it: ``X.positions.csv``, and ``X.mosaic.html`` that shows how well the tiles fit.

    Args:
        layout_csv: columns file,x_px,y_px: tiles in any order, all gray or all RGB, of one size, 8 or 16 bits.
        out: ``X.ome.zarr``; must not exist, or be empty.
        progress: told how many of all tiles have been placed.

    Raises:
        BadInput: the layout, a tile or ``out`` cannot be used; nothing was left behind.
        RackscanError: the disk refused.
    """
    began = time.perf_counter()
    _refuse_existing(out)
    listed = read_layout(layout_csv)
    tiles = _Tiles([tile.file for tile in listed])
    present = [k for k, tile in enumerate(listed) if tile.file.is_file()]
    if not present:
        raise BadInput.one("none of its tiles exists", "files are relative to the CSV", file=str(layout_csv))
    cells = _cells(layout_csv, listed, present, tiles.shape(present[0]))
    found, measured = _place(listed, cells, tiles, progress)
    shift = _to_corner(found.values())
    found = {k: _shifted(f, shift) for k, f in found.items()}
    try:
        lattice = _write(out, [f.placed for f in found.values()], tiles, present[0])
    except RackscanError:
        shutil.rmtree(out, ignore_errors=True)
        raise
    write_atomic(positions_file(out), _positions(listed, found))
    page = write_stitch_page(out, listed, [f.placed for f in found.values()], measured, lattice)
    return StitchResult(len(listed), len(found), str(out), time.perf_counter() - began, str(page))


def positions_file(out: Path) -> Path:
    """``X.positions.csv`` beside ``X.ome.zarr``."""
    return beside(out, "positions.csv")


def _refuse_existing(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput.one("is there already", "choose another name", file=str(out))


class _Tiles:
    """The tiles' pixels by index, read when asked for and kept while there is room."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._kept: OrderedDict[int, Pixels] = OrderedDict()
        self._format: tuple[tuple[int, ...], np.dtype[np.generic], Path] | None = None

    def __call__(self, tile: int) -> Pixels:
        """Pixels of a tile.

        Raises:
            BadInput: where it cannot be read or differs in format from the first.
        """
        if tile not in self._kept:
            self._kept[tile] = self._checked(self._files[tile], read_tile(self._files[tile]))
        self._kept.move_to_end(tile)
        while len(self._kept) > max(8, KEPT_BYTES // self._kept[tile].nbytes):
            self._kept.popitem(last=False)
        return self._kept[tile]

    def shape(self, tile: int) -> tuple[int, int]:
        """(h, w) of a tile."""
        h, w = self(tile).shape[:2]
        return h, w

    def _checked(self, file: Path, pixels: Pixels) -> Pixels:
        shape, dtype, first = self._format or (pixels.shape, pixels.dtype, file)
        self._format = (shape, dtype, first)
        if (pixels.shape, pixels.dtype) != (shape, dtype):
            what = f"holds {pixels.shape} of {pixels.dtype}, but {first.name} {shape} of {dtype}"
            raise BadInput.one(what, "give tiles of one format", file=str(file))
        return pixels


def _cells(
    layout_csv: Path, listed: Sequence[LaidOut], present: Sequence[int], tile_px: tuple[int, int]
) -> dict[Cell, int]:
    try:
        cells = cells_of([listed[k].at for k in present], tile_px)
    except ValueError as error:
        one, other = (listed[present[k]].name for k in error.args)
        what = f"{one} and {other} claim the same place of the grid"
        raise BadInput.one(what, "give one tile for each place", file=str(layout_csv)) from error
    return dict(zip(cells, present, strict=True))


def _place(
    listed: Sequence[LaidOut], cells: dict[Cell, int], tiles: _Tiles, progress: Progress
) -> tuple[dict[int, _Found], Pairs]:
    """Register every tile against its neighbours, row by row, and solve for all of them at once."""
    first = next(iter(cells.values()))
    tile_px = tiles.shape(first)
    search_px = max(16.0, 0.04 * min(tile_px))
    placement = Placement(tile_px, StagePrior(search_px=search_px, matrix=UNMEASURED), rows_later=None)
    noise_dn = noise_of(tiles(first))
    matched: dict[int, float] = {}
    measured: Pairs = {}
    for done, cell in enumerate(serpentine(cells)):
        tile = cells[cell]
        pairs = []
        for expected in placement.expect(*cell, listed[tile].at):
            pair = register(tiles(expected.other), tiles(tile), expected.offset, expected.search_px, noise_dn)
            pairs.append((expected.other, pair))
            measured[expected.other, tile] = pair
            for end in (expected.other, tile):
                matched[end] = max(matched.get(end, 0.0), pair.ncc if pair.accepted else 0.0)
        placement.add(tile, *cell, listed[tile].at, pairs)
        progress(done + 1, len(listed))
    placed = placement.finish()
    return {p.tile: _Found(p, 0.0 if p.held else matched[p.tile]) for p in placed}, measured


def _to_corner(found: Iterable[_Found]) -> Point:
    """Whole pixels that bring the outermost tiles to the image's corner."""
    places = [f.placed for f in found]
    return Point(-float(np.floor(min(p.x_px for p in places))), -float(np.floor(min(p.y_px for p in places))))


def _shifted(found: _Found, by: Point) -> _Found:
    p = found.placed
    moved = Placed(p.tile, p.row, p.col, p.x_px + by.x, p.y_px + by.y, p.held, p.sigma_px)
    return _Found(moved, found.confidence)


def _write(out: Path, placed: Sequence[Placed], tiles: _Tiles, first: int) -> Lattice:
    tile_px, pixels = tiles.shape(first), tiles(first)
    places = [Point(p.x_px, p.y_px) for p in placed]
    spec = ImageSpec(
        name=out.name,
        width_px=int(np.ceil(max(p.x for p in places))) + tile_px[1],
        height_px=int(np.ceil(max(p.y for p in places))) + tile_px[0],
        dtype="uint8" if pixels.dtype == np.uint8 else "uint16",
        channels=3 if pixels.ndim == 3 else 1,
        um_per_px=None,
    )
    lattice = fit_lattice(places, [(p.row, p.col) for p in placed], tile_px)
    canvas = Canvas(spec.width_px, spec.height_px, spec.channels, pixels.dtype)
    store = PyramidStore.create(out, spec)
    pyramid = Pyramid(store.sizes, SHARD_PX, canvas.fill, store)
    mosaic = Mosaic(canvas, lattice)
    for row, col in _settled(mosaic, placed):
        for block in pyramid.add(row, col, mosaic.draw((row, col), tiles)):
            store.write(block.level, block.row, block.col, block.pixels)
    store.complete({"tiles": len(placed)})
    return lattice


def _settled(mosaic: Mosaic, placed: Sequence[Placed]) -> Iterator[tuple[int, int]]:
    for one in placed:
        yield from mosaic.place(one)
    yield from mosaic.settle()


def _positions(listed: Sequence[LaidOut], found: dict[int, _Found]) -> str:
    """The table of all listed tiles: places in px of the image, empty where a tile is missing."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["file", "x_px", "y_px", "state", "confidence"])
    for k, tile in enumerate(listed):
        if k not in found:
            table.writerow([tile.name, "", "", PlaceState.MISSING, 0])
            continue
        p, confidence = found[k].placed, found[k].confidence
        state = PlaceState.HELD if p.held else PlaceState.MEASURED
        table.writerow([tile.name, p.x_px, p.y_px, state, round(confidence, 4)])
    return text.getvalue()
