"""Do neighbouring tiles of a layout that somebody else made lie where it says, and if not, where?

Layouts state overlaps wrongly, or none, or list a serpentine as a raster. It asks a sample of the tiles themselves,
and never turns a layout round by itself: what contradicts it is told.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from scanner.model.geometry import Point
from scanner.model.tile import Pixels
from scanner.pipeline.lattice import Cell
from scanner.pipeline.registration import PairMeasurement, register

TileOf = Callable[[int], Pixels]
T = TypeVar("T")

LINES = 12  # rows, and columns, of which pairs are looked at
AGREEING = 0.5  # of an axis's pairs, found where they were stated: no more need be asked
LEAST = 0.2  # of an axis's pairs, that must agree on another step
WINDOWS = ((0.05, 0.04), (0.15, 0.08), (0.33, 0.14))  # overlap and reach, in tiles: 1 % to 47 % in all
LEAST_REACH_PX = 8.0
ALIKE = 0.06  # of a tile: how far measured steps of one axis may scatter
GOLDEN = 0.618
AROUND = 40  # tiles before and behind in reading order, among which a lost neighbour is looked for
ASKED_AROUND = 8  # tiles of an axis whose neighbour is looked for
ELSEWHERE = "away from"
TINY = 4  # pairs: a grid of 2 × 2
RIGHT, BELOW = (1, 0), (0, 1)
SIDES = {"right of": RIGHT, "below": BELOW, "left of": (-1, 0), "above": (0, -1)}
Side = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Listed:
    """Two tiles that the layout lists side by side, and the displacement it states, px."""

    first: int
    second: int
    side: Side
    stated: Point


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two tiles of which the second lies at another side of the first than it was listed."""

    first: int
    second: int
    listed: str
    found: str


@dataclass(frozen=True, slots=True)
class Survey:
    """What a sample of neighbouring tiles says of a layout.

    ``across`` and ``down`` are added to the stated place once for each column and row; ``scatter_px`` is how far
    single pairs lie from that. ``matched`` of ``asked`` pairs of each axis (right, below) were found at all.
    """

    across: Point
    down: Point
    scatter_px: float
    asked: tuple[int, int]
    matched: tuple[int, int]
    contradictions: tuple[Contradiction, ...]

    @property
    def corrected(self) -> bool:
        """Does it move any tile?"""
        return (self.across, self.down) != (Point(0, 0), Point(0, 0))

    def place(self, cell: Cell, stated: Point) -> Point:
        """Where a tile lies by what was found."""
        row, col = cell
        return stated + Point(
            col * self.across.x + row * self.down.x, col * self.across.y + row * self.down.y
        )


def survey(
    cells: dict[Cell, int], stated: Callable[[int], Point], tile: TileOf, search_px: float, noise_dn: float
) -> Survey:
    """Ask some neighbours of every row and column.

    Args:
        cells: tile number by (row, col).
        stated: top-left of a tile as the layout has it, px.
        tile: its pixels.
        search_px: how far a stated place may be off without being called wrong.
        noise_dn: of the camera.
    """
    asked = [_asked(cells, stated, side) for side in (RIGHT, BELOW)]
    found = [_as_stated(pairs, tile, search_px, noise_dn) for pairs in asked]
    contradictions: list[Contradiction] = []
    wrong = [len(there) < AGREEING * len(pairs) for pairs, there in zip(asked, found, strict=True)]
    if any(wrong):
        for pairs, there in zip(asked, found, strict=True):
            contradictions += _anywhere(pairs, there, tile, noise_dn)
    alike_px = ALIKE * min(tile(next(iter(cells.values()))).shape[:2])
    shifts = [
        _shift(there, alike_px, LEAST * len(pairs), search_px / 2) if off else Point(0, 0)
        for pairs, there, off in zip(asked, found, wrong, strict=True)
    ]
    if not _certain(contradictions, asked):
        contradictions = _strayed(cells, asked, found, tile, noise_dn)
    return Survey(
        shifts[0],
        shifts[1],
        _scatter(found, shifts, alike_px),
        (len(asked[0]), len(asked[1])),
        (len(found[0]), len(found[1])),
        tuple(contradictions),
    )


def _asked(cells: dict[Cell, int], stated: Callable[[int], Point], side: Side) -> list[Listed]:
    """Pairs of some rows (or columns), spread over them; more of each where there are few."""
    lines: dict[int, list[Listed]] = {}
    for (row, col), number in sorted(cells.items()):
        other = cells.get((row + side[1], col + side[0]))
        if other is not None:
            pair = Listed(number, other, side, stated(other) - stated(number))
            lines.setdefault(row if side == RIGHT else col, []).append(pair)
    chosen = _spread(sorted(lines), LINES)
    each = max(1, LINES // max(1, len(chosen)))
    return [pair for turn, line in enumerate(chosen) for pair in _scattered(lines[line], each, turn)]


def _scattered(pairs: Sequence[Listed], most: int, turn: int) -> list[Listed]:
    """At most so many of a line, evenly, and in the next line at other places: a sample's edges are often bare."""
    if len(pairs) <= most:
        return list(pairs)
    return [pairs[int(len(pairs) * ((turn * GOLDEN + k / most) % 1))] for k in range(most)]


def _spread(things: Sequence[T], most: int) -> list[T]:
    """At most so many of them, evenly."""
    if len(things) <= most:
        return list(things)
    return [things[round(k)] for k in np.linspace(0, len(things) - 1, most)]


def _as_stated(
    pairs: Iterable[Listed], tile: TileOf, search_px: float, noise_dn: float
) -> dict[Listed, Point]:
    found = {}
    for pair in pairs:
        seen = register(tile(pair.first), tile(pair.second), pair.stated, search_px, noise_dn)
        if seen.accepted:
            found[pair] = Point(seen.dx_px, seen.dy_px)
    return found


def _anywhere(
    pairs: Iterable[Listed], found: dict[Listed, Point], tile: TileOf, noise_dn: float
) -> list[Contradiction]:
    """Look for the pairs not found yet with any overlap: first at the side where they were listed, then at others."""
    contradictions = []
    for pair in pairs:
        if pair in found:
            continue
        first, second = tile(pair.first), tile(pair.second)
        seen = at_side(first, second, pair.side, noise_dn)
        if seen is not None:
            found[pair] = Point(seen.dx_px, seen.dy_px)
            continue
        others = [name for name, side in SIDES.items() if side != pair.side]
        fits = next((o for o in others if at_side(first, second, SIDES[o], noise_dn) is not None), None)
        if fits is not None:
            contradictions.append(Contradiction(pair.first, pair.second, _name(pair.side), fits))
    return contradictions


def _strayed(
    cells: dict[Cell, int],
    asked: Sequence[Sequence[Listed]],
    found: Sequence[dict[Listed, Point]],
    tile: TileOf,
    noise_dn: float,
) -> list[Contradiction]:
    """Tiles whose neighbour on a side that hardly matches is listed elsewhere; none where fewer than two are."""
    order = [cells[cell] for cell in sorted(cells)]
    strayed: list[Contradiction] = []
    for pairs, there in zip(asked, found, strict=True):
        if len(there) > LEAST * len(pairs):
            continue
        lost = sorted(
            (pair for pair in pairs if pair not in there), key=lambda pair: -_contrast(tile(pair.first))
        )
        for pair in lost[:ASKED_AROUND]:
            at = order.index(pair.first)
            around = order[max(0, at - AROUND) : at + AROUND + 1]
            fits = (o for o in around if o not in (pair.first, pair.second))
            first = tile(pair.first)
            other = next((o for o in fits if at_side(first, tile(o), pair.side, noise_dn) is not None), None)
            if other is not None:
                strayed.append(Contradiction(pair.first, other, ELSEWHERE, _name(pair.side)))
            if len(strayed) > 1:
                return strayed
    return []


def _contrast(pixels: Pixels) -> float:
    return float(pixels[::4, ::4].std())


def _name(side: Side) -> str:
    return next(name for name, known in SIDES.items() if known == side)


def at_side(first: Pixels, second: Pixels, side: Side, noise_dn: float) -> PairMeasurement | None:
    """The surest displacement of ``second`` at one side of ``first``, with any overlap up to a half; None for none."""
    h, w = first.shape[:2]
    best: PairMeasurement | None = None
    for overlap, reach in WINDOWS:
        expected = Point(side[0] * w * (1 - overlap), side[1] * h * (1 - overlap))
        search_px = max(LEAST_REACH_PX, reach * (w if side[0] else h))
        seen = register(first, second, expected, search_px, noise_dn)
        if seen.accepted and (best is None or seen.peak > best.peak):
            best = seen
    return best


def _shift(found: dict[Listed, Point], alike_px: float, least: float, worth_px: float) -> Point:
    """The median of measured minus stated; nothing where fewer than ``least`` agree on it, or it is small."""
    if not found:
        return Point(0, 0)
    off = np.array([(seen.x - pair.stated.x, seen.y - pair.stated.y) for pair, seen in found.items()])
    middle = np.median(off, axis=0)
    alike = np.hypot(*(off - middle).T) < alike_px
    if alike.sum() < least or alike.mean() < 0.5 or np.hypot(*middle) < worth_px:
        return Point(0, 0)
    return Point(float(middle[0]), float(middle[1]))


def _scatter(found: Sequence[dict[Listed, Point]], shifts: Sequence[Point], alike_px: float) -> float:
    off = [
        (seen - pair.stated).distance(shift)
        for there, shift in zip(found, shifts, strict=True)
        for pair, seen in there.items()
    ]
    return min(float(np.quantile(off, 0.9)), alike_px) if off else 0.0


def _certain(found: Sequence[Contradiction], asked: Sequence[Sequence[Listed]]) -> bool:
    """One pair may be mistaken; two that say the same are not, nor is the only one of a tiny grid."""
    said = [(one.listed, one.found) for one in found]
    most = max((said.count(one) for one in said), default=0)
    return most >= (1 if sum(len(pairs) for pairs in asked) <= TINY else 2)
