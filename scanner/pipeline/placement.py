"""Where does each tile lie in the mosaic, decided once its neighbours have spoken and never changed again?"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from scanner.model.geometry import Point
from scanner.pipeline.network import Ties, solve
from scanner.pipeline.registration import PairMeasurement
from scanner.pipeline.stage_model import StageModel, StagePrior, Stop, next_stop

GRAIN = 32  # places are whole multiples of 1/32 px, so that rounding of the last bit never shows in the image
BATCH = 8  # tiles frozen by one solve
AHEAD = 2  # columns by which the next row must have passed a tile
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

    A tile that is tied to frozen ones is frozen when its neighbours have spoken. An island waits until the scan is
    ``rows_later`` whole rows further: frozen at once it would tear where a third joins it to the rest only later.
    """

    def __init__(self, tile_px: tuple[int, int], prior: StagePrior, rows_later: int | None = 3) -> None:
        """``tile_px`` is (h, w); ``rows_later`` None waits for ``finish``, for grids that are all there at once."""
        self._still_px = min(tile_px) / 8
        self._prior = prior
        self._rows_later = rows_later
        self._model = StageModel(prior)
        self._nodes: dict[int, _Node] = {}
        self._cells: dict[tuple[int, int], int] = {}
        self._ties: dict[tuple[int, int], _Tie] = {}
        self._waiting: list[int] = []
        self._last: _Node | None = None

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
        node = _Node(tile, row, col, stop, self._turn(row), self._model.place(stop), frozen=False)
        if tile in self._nodes:
            self._forget(tile)
        self._nodes[tile] = self._last = node
        self._cells[row, col] = tile
        self._waiting.append(tile)
        for other, pair in pairs:
            self._tie(self._nodes[other], node, pair)
        return self._freeze([tile]) if again else self._freeze_due()

    def finish(self) -> list[Placed]:
        """Every tile that still waits, frozen; further tiles may follow."""
        return self._freeze(list(self._waiting))

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
        if not pair.accepted:
            return
        offset = Point(pair.dx_px, pair.dy_px)
        self._model.learn(other.stop, node.stop, offset)
        self._ties[other.tile, node.tile] = _Tie(other.tile, node.tile, offset, pair.sigma_px)

    def _freeze_due(self) -> list[Placed]:
        passed = [tile for tile in self._waiting if self._is_passed(self._nodes[tile])]
        if len(passed) < BATCH:
            return []
        anchored = self._anchored()
        due = [tile for tile in passed if tile in anchored or self._is_late(self._nodes[tile])]
        return self._freeze(due) if len(due) >= BATCH else []

    def _is_passed(self, node: _Node) -> bool:
        """Have its neighbours spoken: is the scan in the next row and some columns beyond it, or further?"""
        if self._rows_later is None or self._last is None:
            return False
        later = self._last.turn - node.turn
        return later > 1 or (
            later == 1 and (self._last.col - node.col) * self._last.stop.direction.x >= AHEAD
        )

    def _is_late(self, node: _Node) -> bool:
        later = self._last.turn - node.turn if self._last else 0
        return self._rows_later is not None and later > self._rows_later

    def _anchored(self) -> set[int]:
        """Waiting tiles that are tied, directly or through others, to a frozen one."""
        tied: dict[int, list[int]] = {}
        for start, end in self._ties:
            tied.setdefault(start, []).append(end)
            tied.setdefault(end, []).append(start)
        front = [tile for tile in tied if self._nodes[tile].frozen]
        reached = set(front)
        while front:
            near = [tile for tile in tied[front.pop()] if tile not in reached]
            reached.update(near)
            front += near
        return reached

    def _freeze(self, due: list[int]) -> list[Placed]:
        if not due:
            return []
        trusted = self._settle()
        placed = [self._final(self._nodes[tile], trusted) for tile in due]
        for p in placed:
            self._nodes[p.tile] = replace(self._nodes[p.tile], at=Point(p.x_px, p.y_px), frozen=True)
        done = set(due)
        self._waiting = [tile for tile in self._waiting if tile not in done]
        free = set(self._waiting)
        self._ties = {key: tie for key, tie in self._ties.items() if free.intersection(key)}
        return placed

    def _settle(self) -> list[_Tie]:
        """Move all waiting tiles to where their ties pull them; the ties that were believed."""
        ties = list(self._ties.values())
        tiles = sorted({*self._waiting, *(end for tie in ties for end in (tie.start, tie.end))})
        index = {tile: k for k, tile in enumerate(tiles)}
        ground = (0.0, 0.0)
        at = np.array([*((self._nodes[tile].at.x, self._nodes[tile].at.y) for tile in tiles), ground])
        free = np.array([*(not self._nodes[tile].frozen for tile in tiles), False])
        measured = _ties((index[t.start], index[t.end], t.offset, t.sigma_px) for t in ties)
        places, trust = solve(at, free, measured, _ties(self._stage_says(index)))
        for tile in self._waiting:
            x, y = places[index[tile]]
            self._nodes[tile] = replace(self._nodes[tile], at=Point(float(x), float(y)))
        return [tie for tie, believed in zip(ties, trust, strict=True) if believed > 0]

    def _stage_says(self, index: dict[int, int]) -> Iterator[tuple[int, int, Point, float]]:
        """The place of every waiting tile as the stage model has it; the ground is the last node."""
        for tile in self._waiting:
            yield len(index), index[tile], self._model.place(self._nodes[tile].stop), self._prior.position_px

    def _final(self, node: _Node, trusted: list[_Tie]) -> Placed:
        sigmas = [tie.sigma_px for tie in trusted if node.tile in (tie.start, tie.end)]
        x, y = (round(v * GRAIN) / GRAIN for v in (node.at.x, node.at.y))
        sigma = min(sigmas, default=self._prior.position_px)
        return Placed(node.tile, node.row, node.col, x, y, held=not sigmas, sigma_px=sigma)


def _ties(rows: Iterable[tuple[int, int, Point, float]]) -> Ties:
    """Ties from (start, end, offset, sigma in px)."""
    listed = list(rows)
    offset = np.array([(p.x, p.y) for _, _, p, _ in listed], float).reshape(-1, 2)
    start = np.array([s for s, *_ in listed], np.intp)
    end = np.array([e for _, e, *_ in listed], np.intp)
    return Ties(start, end, offset, np.array([sigma**-2 for *_, sigma in listed], float))
