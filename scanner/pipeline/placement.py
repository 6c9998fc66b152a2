"""Where does each tile lie in the mosaic, decided once its neighbours have spoken and never changed again?"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from scanner.model.geometry import Point
from scanner.pipeline.islands import Islands
from scanner.pipeline.network import Stage, Ties, solve
from scanner.pipeline.registration import ONLY_FAINT, PairMeasurement
from scanner.pipeline.stage_model import (
    FloatArray,
    StageHabits,
    StageModel,
    StagePrior,
    Stop,
    next_stop,
)

GRAIN = 32  # places are whole multiples of 1/32 px, so that rounding of the last bit never shows in the image
BATCH = 8  # tiles frozen by one solve
AHEAD = 2  # columns by which the next row must have passed a tile
PLIANT_ROWS = 2  # kept back where two frozen islands grow towards each other: what does not fit is spread
SPREAD_ROWS = 8  # for so long after they met
LOCAL = 1.4  # how far two neighbours stray from each other, in units of how far a tile strays from its place
ROAM = 2.0  # how far a tile may stray from its place with all that surrounds it, in the same units
LOOP_PX = 1.0  # by which four measured sides of a square may miss each other
NEIGHBOURS = ((0, -1), (0, 1), (-1, 0), (1, 0))


@dataclass(frozen=True, slots=True)
class Expected:
    """A neighbour to register a new tile against: where the new one should lie, relative to it, and how far to look."""

    other: int
    offset: Point
    search_px: float


@dataclass(frozen=True, slots=True)
class Placed:
    """A tile's final top-left in mosaic px. ``held``: nothing but the stage said so."""

    tile: int
    row: int
    col: int
    x_px: float
    y_px: float
    held: bool
    sigma_px: float


@dataclass(frozen=True, slots=True)
class _Node:
    """A tile that was added; ``turn`` counts the rows of tiles in the order they came."""

    tile: int
    row: int
    col: int
    stop: Stop
    turn: int
    at: Point
    frozen: bool


@dataclass(frozen=True, slots=True)
class _Tie:
    """An accepted measurement between two tiles, as they were when it was made."""

    start: int
    end: int
    offset: Point
    sigma_px: float


class Placement:
    """A fold over tiles in plan order; the same tiles and pair facts give the same places, bit for bit.

    A tile is frozen when its neighbours have spoken and its island of tied tiles holds frozen ones or can grow no
    more. Another island waits: frozen at once it would tear where a tile joins both only later. It waits until as
    many tiles do as ``rows_later`` rows hold; if it is joined after that, what does not fit is spread thinly.
    """

    def __init__(self, tile_px: tuple[int, int], prior: StagePrior, rows_later: int | None = 6) -> None:
        """``tile_px`` is (h, w); ``rows_later`` None waits for ``finish``, for grids that are all there at once."""
        self._still_px = min(tile_px) / 8
        self._prior = prior
        self._rows_later = rows_later
        self._model = StageModel(prior)
        self._habits = StageHabits(prior)
        self._nodes: dict[int, _Node] = {}
        self._cells: dict[tuple[int, int], int] = {}
        self._ties: dict[tuple[int, int], _Tie] = {}
        self._waiting: list[int] = []
        self._last: _Node | None = None
        self._row_began = 0
        self._widest = 1
        self._since = 0
        self._met = -2 * SPREAD_ROWS
        self._islands = Islands()
        self._coming: set[tuple[int, int]] | None = None
        self.pairs_used = 0

    def comes(self, cells: Iterable[tuple[int, int]]) -> None:
        """Which cells will hold a tile: one that no other will lie beside need not wait for the next row.

        Without being told, every tile waits for the row behind it or for ``finish``.
        """
        self._coming = set(cells)

    def expect(self, row: int, col: int, prior: Point) -> list[Expected]:
        """The neighbours to register a tile against before it is added, in a fixed order."""
        stop = self._stop(prior)
        found = [self._nodes[tile] for tile in self._neighbours(row, col)]
        return [
            Expected(n.tile, self._model.displacement(n.stop, stop), self._model.search_px) for n in found
        ]

    def add(
        self, tile: int, row: int, col: int, prior: Point, pairs: Sequence[tuple[int, PairMeasurement]]
    ) -> list[Placed]:
        """Take in the next tile and how it lies against its neighbours; the tiles frozen by it.

        A tile added again is a retake: it is placed against what is frozen, at once.
        ``prior`` is the reported top-left, mosaic px; each pair is (neighbour, displacement of this tile from it).
        """
        stop = self._stop(prior)
        again = tile in self._nodes and self._nodes[tile].frozen
        node = _Node(tile, row, col, stop, self._turn(row), stop.at, frozen=False)
        if tile in self._nodes:
            self._forget(tile)
        if self._last is None or self._last.row != row:
            self._row_began = col
        self._widest = max(self._widest, abs(col - self._row_began) + 1)
        self._nodes[tile] = self._last = node
        self._cells[row, col] = tile
        self._waiting.append(tile)
        if self._coming is not None:
            self._coming.discard((row, col))
        used = [*(p for p in pairs if p[1].accepted), *self._vouched_for(pairs)]
        self.pairs_used += len(used)
        for other, pair in used:
            self._tie(self._nodes[other], node, pair)
        return self._freeze([tile], *self._settle()) if again else self._freeze_due()

    def finish(self) -> list[Placed]:
        """Every tile that still waits, frozen; further tiles may follow."""
        return self._freeze(list(self._waiting), *self._settle()) if self._waiting else []

    def _stop(self, prior: Point) -> Stop:
        return next_stop(self._last.stop if self._last else None, prior, self._still_px)

    def _turn(self, row: int) -> int:
        if self._last is None:
            return 0
        return self._last.turn + (row != self._last.row)

    def _neighbours(self, row: int, col: int) -> Iterator[int]:
        for down, right in NEIGHBOURS:
            if (row + down, col + right) in self._cells:
                yield self._cells[row + down, col + right]

    def _forget(self, tile: int) -> None:
        self._ties = {key: tie for key, tie in self._ties.items() if tile not in key}
        self._waiting = [waiting for waiting in self._waiting if waiting != tile]

    def _tie(self, other: _Node, node: _Node, pair: PairMeasurement) -> None:
        offset = Point(pair.dx_px, pair.dy_px)
        self._model.learn(other.stop, node.stop, offset)
        self._ties[other.tile, node.tile] = _Tie(other.tile, node.tile, offset, pair.sigma_px)

    def _vouched_for(self, pairs: Sequence[tuple[int, PairMeasurement]]) -> list[tuple[int, PairMeasurement]]:
        """Two faint answers that close a loop with two sure ones: chance would have to agree with itself."""
        faint = [(other, pair) for other, pair in pairs if pair.reason == ONLY_FAINT]
        if len(faint) != 2:
            return []
        (one, a), (two, b) = faint
        beside = {*self._around(one)} & {*self._around(two)}
        for common in beside:
            there, here = self._lies(common, one), self._lies(common, two)
            if there is None or here is None:
                continue
            miss = there + Point(a.dx_px, a.dy_px) - here - Point(b.dx_px, b.dy_px)
            if miss.distance(Point(0.0, 0.0)) < LOOP_PX:
                return faint
        return []

    def _around(self, tile: int) -> Iterator[int]:
        return self._neighbours(self._nodes[tile].row, self._nodes[tile].col)

    def _lies(self, start: int, end: int) -> Point | None:
        """How one tile surely lies to another: as measured, or as both are frozen."""
        for key, sign in (((start, end), 1.0), ((end, start), -1.0)):
            if key in self._ties:
                offset = self._ties[key].offset
                return Point(sign * offset.x, sign * offset.y)
        a, b = self._nodes[start], self._nodes[end]
        return b.at - a.at if a.frozen and b.frozen else None

    def _freeze_due(self) -> list[Placed]:
        """Passed tiles whose island is tied to something frozen, can join no other any more, or has waited too long."""
        passed = [tile for tile in self._waiting if self._is_passed(self._nodes[tile])]
        self._since += 1
        if self._rows_later is None or len(passed) < BATCH or self._since < BATCH:
            return []
        self._since = 0
        trusted, habits = self._settle()
        islands = self._islands.with_joined((tie.start, tie.end) for tie in trusted)
        growing = {islands.of(tile) for tile in set(self._waiting).difference(passed)}
        ends = {tile for key in self._ties for tile in key}
        anchored = {islands.of(tile) for tile in ends if self._nodes[tile].frozen}
        self._meet(islands, anchored & growing)
        ready = anchored | self._too_late(passed, islands, growing, anchored & growing)
        if not ready & growing:
            ready |= self._mainland(islands) & growing
        pliant: set[int] = ready if len(ready & growing) > 1 else set()
        due = [
            tile
            for tile in passed
            if (island := islands.of(tile)) not in growing
            or (island in ready and (island not in pliant or self._rows_since(tile) > PLIANT_ROWS))
        ]
        return self._freeze(due, trusted, habits) if len(due) >= BATCH else []

    def _mainland(self, islands: Islands) -> set[int]:
        """The island of most waiting tiles: where nothing else is frozen, it may be; the others will come to it."""
        (most, tiles), *_ = Counter(islands.of(tile) for tile in self._waiting).most_common(1)
        return {most} if 2 * tiles > len(self._waiting) else set()

    def _meet(self, islands: Islands, anchored: set[int]) -> None:
        """Two frozen islands that ties connect but do not fit: from now on the misfit is spread."""
        for tie in self._ties.values():
            ends = {islands.of(tie.start), islands.of(tie.end)}
            if len(ends & anchored) > 1 and self._last is not None:
                self._met = self._last.turn

    def _rows_since(self, tile: int) -> int:
        return self._last.turn - self._nodes[tile].turn if self._last else 0

    def _too_late(
        self, passed: list[int], islands: Islands, growing: set[int], anchored: set[int]
    ) -> set[int]:
        """Where too many tiles wait, the island that must not wait longer: the one with most passed tiles."""
        if self._rows_later is None or len(self._waiting) <= self._rows_later * self._widest:
            return set()
        late = [islands.of(tile) for tile in passed]
        waiting = [island for island in late if island in growing and island not in anchored]
        return {max(waiting, key=lambda island: (waiting.count(island), -island))} if waiting else set()

    def _is_passed(self, node: _Node) -> bool:
        """Have its neighbours spoken: is the scan in the next row and some columns beyond it, or further?

        Where no tile will come beside it any more, some columns further in its own row.
        """
        if self._rows_later is None or self._last is None:
            return False
        later, gone = self._last.turn - node.turn, self._last.col - self._row_began
        beyond = (self._last.col - node.col) * (1 if gone > 0 else -1)
        if later == 0:
            return beyond >= AHEAD and self._is_alone_ahead(node)
        return later > 1 or (gone != 0 and beyond >= AHEAD)

    def _is_alone_ahead(self, node: _Node) -> bool:
        """Is no tile to come in any of the eight cells around it?"""
        if self._coming is None:
            return False
        near = ((node.row + down, node.col + right) for down in (-1, 0, 1) for right in (-1, 0, 1))
        return self._coming.isdisjoint(near)

    def _freeze(self, due: list[int], trusted: list[_Tie], habits: FloatArray) -> list[Placed]:
        """Where they were just settled, some waiting tiles stay for good."""
        placed = [self._final(self._nodes[tile], trusted) for tile in due]
        for p in placed:
            at = Point(p.x_px, p.y_px)
            self._nodes[p.tile] = replace(self._nodes[p.tile], at=at, frozen=True)
            if not p.held:
                self._habits.learn(self._nodes[p.tile].stop, at, habits)
        for tie in trusted:
            if self._nodes[tie.start].frozen and self._nodes[tie.end].frozen:
                self._islands.join(tie.start, tie.end)
        done = set(due)
        self._waiting = [tile for tile in self._waiting if tile not in done]
        free = set(self._waiting)
        self._ties = {key: tie for key, tie in self._ties.items() if free.intersection(key)}
        return placed

    def _settle(self) -> tuple[list[_Tie], FloatArray]:
        """Move all waiting tiles to where their ties pull them; the ties that were believed, the stage's habits."""
        ties, says = list(self._ties.values()), list(self._stage_says())
        tiles = sorted({*self._waiting, *(t.start for t in ties + says), *(t.end for t in ties + says)})
        index = {tile: k for k, tile in enumerate(tiles)}
        at = np.array([(self._nodes[tile].at.x, self._nodes[tile].at.y) for tile in tiles])
        free = np.array([not self._nodes[tile].frozen for tile in tiles])
        soft, measured = (
            Ties.of((index[t.start], index[t.end], t.offset, t.sigma_px) for t in some)
            for some in (says, ties)
        )
        spread = self._last is not None and self._last.turn - self._met <= SPREAD_ROWS
        found = solve(at, free, measured, soft, self._stage(sorted(self._waiting)), spread)
        for tile in self._waiting:
            x, y = found.at[index[tile]]
            self._nodes[tile] = replace(self._nodes[tile], at=Point(float(x), float(y)))
        return [tie for tie, believed in zip(ties, found.trust, strict=True) if believed > 0], found.habits

    def _stage(self, waiting: Sequence[int]) -> Stage:
        """Where the stage put the waiting tiles."""
        stops = [self._nodes[tile].stop for tile in waiting]
        said = np.array([(stop.at.x, stop.at.y) for stop in stops])
        design = np.array([self._habits.regressors(stop) for stop in stops])
        weight = 1 / (ROAM**2 * self._habits.variance_px2)
        return Stage(said, design, weight, self._habits.normal, self._habits.right)

    def _stage_says(self) -> Iterator[_Tie]:
        """How every waiting tile lies against its neighbours as the stage model has it."""
        sigma_px = LOCAL * self._prior.position_px
        waiting = set(self._waiting)
        for tile in self._waiting:
            node = self._nodes[tile]
            for other in self._neighbours(node.row, node.col):
                if other not in waiting or other < tile:
                    offset = self._model.displacement(self._nodes[other].stop, node.stop)
                    yield _Tie(other, tile, offset, sigma_px)

    def _final(self, node: _Node, trusted: list[_Tie]) -> Placed:
        sigmas = [tie.sigma_px for tie in trusted if node.tile in (tie.start, tie.end)]
        x, y = (round(v * GRAIN) / GRAIN for v in (node.at.x, node.at.y))
        sigma = min(sigmas, default=self._prior.position_px)
        return Placed(node.tile, node.row, node.col, x, y, held=not sigmas, sigma_px=sigma)
