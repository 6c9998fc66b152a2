"""What does a slide look like of which another system took the tiles? The road from registration to the pyramid.

Nothing is written before the layout and the tiles' formats were checked; a tile that is absent leaves a hole.
"""

import csv
import io
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from scanner.errors import BadInput, Problem, RackscanError
from scanner.model.geometry import Point
from scanner.model.plan import serpentine
from scanner.offline.foreign_tiles import ForeignTiles, check_tiles
from scanner.offline.stitch_page import Pairs, beside, write_stitch_page
from scanner.pipeline.feather import Joined
from scanner.pipeline.foreign_grid import cells_of, fit_lattice
from scanner.pipeline.foreign_overlap import ELSEWHERE, Contradiction, Survey, survey
from scanner.pipeline.lattice import Cell, Lattice
from scanner.pipeline.mosaic import Canvas, Mosaic
from scanner.pipeline.placement import Expected, Placed, Placement
from scanner.pipeline.pyramid import Pyramid
from scanner.pipeline.registration import PairMeasurement, noise_of, register
from scanner.pipeline.stage_model import StagePrior
from scanner.storage.atomic import write_atomic
from scanner.storage.layout import LaidOut, read_layout
from scanner.storage.ngff import SHARD_PX, ImageSpec
from scanner.storage.ome_zarr import PyramidStore

SHOWN = 5  # examples in a message
UNMEASURED = 5e-3  # how far the other system's axes may be turned or scaled against its camera
Progress = Callable[[int, int], None]


class PlaceState(StrEnum):
    """How a tile got its place: from its overlaps, from the layout alone, or not at all."""

    MEASURED = "measured"
    HELD = "held"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class StitchResult:
    """What ``rackscan stitch --json`` prints; ``notes`` say what a person should know before trusting the image."""

    tiles: int
    placed: int
    held: int
    image: str
    seconds: float
    page: str = ""
    notes: tuple[str, ...] = ()


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

    Where the tiles show another overlap than the layout states, or states none, they are believed. Tiles that share
    nothing are held where the layout puts them, and a note says so.

    Args:
        layout_csv: columns file,x_px,y_px: tiles in any order, all gray or all RGB, of one size, 8 or 16 bits.
        out: ``X.ome.zarr``; must not exist, or be empty.
        progress: told how many of all tiles have been read, then placed.

    Raises:
        BadInput: the layout, tiles or ``out`` cannot be used, or the tiles contradict the layout; nothing was written.
        RackscanError: the disk refused; nothing was left behind.
    """
    began = time.perf_counter()
    _refuse_existing(out)
    listed = read_layout(layout_csv)
    tiles = ForeignTiles([tile.file for tile in listed])
    present = check_tiles(layout_csv, listed, tiles, progress)
    h, w = tiles(present[0]).shape[:2]
    cells = _cells(layout_csv, listed, present, (h, w))
    road = _Road(listed, cells, tiles, (h, w))
    found = road.place(layout_csv, progress)
    shift = _to_corner(found.values())
    found = {k: _shifted(f, shift) for k, f in found.items()}
    lattice = _write_whole(out, found, road)
    page = write_stitch_page(out, listed, [f.placed for f in found.values()], road.measured, lattice)
    held = sum(f.placed.held for f in found.values())
    notes = tuple(_notes(listed, found, road))
    seconds = time.perf_counter() - began
    return StitchResult(len(listed), len(found), held, str(out), seconds, str(page), notes)


def positions_file(out: Path) -> Path:
    """``X.positions.csv`` beside ``X.ome.zarr``."""
    return beside(out, "positions.csv")


def _refuse_existing(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput.one("is there already", "choose another name", file=str(out))


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


class _Road:
    """The tiles of a checked layout on their way to their places."""

    def __init__(
        self, listed: Sequence[LaidOut], cells: dict[Cell, int], tiles: ForeignTiles, tile_px: tuple[int, int]
    ) -> None:
        self.listed, self.cells, self.tiles, self.tile_px = listed, cells, tiles, tile_px
        self.search_px = max(16.0, 0.04 * min(tile_px))
        self.noise_dn = noise_of(tiles(next(iter(cells.values()))))
        self.measured: Pairs = {}
        self.joined = Joined()
        self.survey: Survey = survey(cells, self.stated, tiles, self.search_px, self.noise_dn)

    def stated(self, tile: int) -> Point:
        """Where the layout puts a tile."""
        return self.listed[tile].at

    def place(self, layout_csv: Path, progress: Progress) -> dict[int, _Found]:
        """Register every tile against its neighbours, row by row, and solve for all of them at once."""
        _refuse_contradicted(layout_csv, self.listed, self.survey.contradictions)
        search_px = max(self.search_px, 3 * self.survey.scatter_px)
        prior = StagePrior(search_px=search_px, matrix=UNMEASURED)
        placement = Placement(self.tile_px, prior, rows_later=None)
        matched: dict[int, float] = {}
        for done, cell in enumerate(serpentine(self.cells)):
            tile = self.cells[cell]
            at = self.survey.place(cell, self.stated(tile))
            pairs = []
            for expected in placement.expect(*cell, at):
                pair = self._registered(expected, tile)
                pairs.append((expected.other, pair))
                self.measured[expected.other, tile] = pair
                for end in (expected.other, tile):
                    matched[end] = max(matched.get(end, 0.0), pair.ncc if pair.accepted else 0.0)
            placement.add(tile, *cell, at, pairs)
            self.joined.learn(tile, pairs)
            progress(done + 1, len(self.listed))
        return {p.tile: _Found(p, 0.0 if p.held else matched[p.tile]) for p in placement.finish()}

    def _registered(self, expected: Expected, tile: int) -> PairMeasurement:
        first, second = self.tiles(expected.other), self.tiles(tile)
        return register(first, second, expected.offset, expected.search_px, self.noise_dn)


def _refuse_contradicted(layout_csv: Path, listed: Sequence[LaidOut], found: Sequence[Contradiction]) -> None:
    """Raise where the tiles say that the layout lists them in another order than they were taken."""
    if not found:
        return
    problems = [
        Problem(
            f"lists {listed[one.second].name} {one.listed} {listed[one.first].name}, "
            f"but what they show fits only {one.found} it",
            _mend(one),
            file=str(layout_csv),
        )
        for one in found[:SHOWN]
    ]
    raise BadInput(problems)


def _mend(one: Contradiction) -> str:
    if one.listed == ELSEWHERE:
        return "the number of columns may be wrong, or the order of the files"
    along = {"left of", "right of"}
    if (one.listed in along) != (one.found in along):
        return "rows and columns are probably swapped"
    return "a serpentine is probably listed as a raster, or an axis runs the other way"


def _to_corner(found: Iterable[_Found]) -> Point:
    """Whole pixels that bring the outermost tiles to the image's corner."""
    places = [f.placed for f in found]
    return Point(-float(np.floor(min(p.x_px for p in places))), -float(np.floor(min(p.y_px for p in places))))


def _shifted(found: _Found, by: Point) -> _Found:
    p = found.placed
    moved = Placed(p.tile, p.row, p.col, p.x_px + by.x, p.y_px + by.y, p.held, p.sigma_px)
    return _Found(moved, found.confidence)


def _write_whole(out: Path, found: dict[int, _Found], road: _Road) -> Lattice:
    """The image and its table, or neither; which tile owns which part."""
    placed = [f.placed for f in found.values()]
    try:
        store = PyramidStore.create(out, _spec(out.name, placed, road))
        lattice = _write(store, placed, road)
        write_atomic(positions_file(out), _positions(road.listed, found))
        store.complete({"tiles": len(found), "missing": len(road.listed) - len(found)})
    except BaseException as error:
        shutil.rmtree(out, ignore_errors=True)
        if isinstance(error, RackscanError) and not isinstance(error, BadInput):
            again = "nothing was left behind; make room and run the command again"
            raise RackscanError(
                f"{out} could not be written; {again} ({error.__cause__ or error})"
            ) from error
        raise
    return lattice


def _spec(name: str, placed: Sequence[Placed], road: _Road) -> ImageSpec:
    h, w = road.tile_px
    pixels = road.tiles(placed[0].tile)
    return ImageSpec(
        name=name,
        width_px=int(np.ceil(max(p.x_px for p in placed))) + w,
        height_px=int(np.ceil(max(p.y_px for p in placed))) + h,
        dtype="uint8" if pixels.dtype == np.uint8 else "uint16",
        channels=3 if pixels.ndim == 3 else 1,
        um_per_px=None,
    )


def _write(store: PyramidStore, placed: Sequence[Placed], road: _Road) -> Lattice:
    spec = store.spec
    places = [Point(p.x_px, p.y_px) for p in placed]
    lattice = fit_lattice(places, [(p.row, p.col) for p in placed], road.tile_px)
    canvas = Canvas(spec.width_px, spec.height_px, spec.channels, np.dtype(spec.dtype))
    pyramid = Pyramid(store.sizes, SHARD_PX, canvas.fill, store)
    mosaic = Mosaic(canvas, lattice, road.joined)
    for row, col in _settled(mosaic, placed):
        pyramid.add(row, col, mosaic.draw((row, col), road.tiles))
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


def _notes(listed: Sequence[LaidOut], found: dict[int, _Found], road: _Road) -> Iterator[str]:
    missing = [tile.name for k, tile in enumerate(listed) if k not in found]
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        yield f"missing, a hole in the image: {', '.join(missing[:SHOWN])}{more}"
    seen = road.survey
    if seen.corrected:
        yield f"the layout's steps were wrong by {_px(seen.across)} a column and {_px(seen.down)} a row"
    held = [f.placed.tile for f in found.values() if f.placed.held]
    if len(held) == len(found) > 1:
        yield "no two tiles show anything that matches: all are held where the layout puts them"
        return
    for which, asked, matched in zip(("right of", "below"), seen.asked, seen.matched, strict=True):
        if asked and not matched:
            yield f"no tile matches the one {which} it: there the layout alone decides"
    if held and len(found) > 1:
        yield f"{len(held)} of {len(found)} tiles match no neighbour: held where the layout puts them"


def _px(step: Point) -> str:
    return f"{step.x:+.1f}, {step.y:+.1f} px"
