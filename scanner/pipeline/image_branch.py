"""How do judged tiles become the slide's image while it is scanned: registered, placed, drawn, halved and stored?

A fold in plan order. Every measured pair is a fact of the ledger, so a resume repeats no measurement and moves nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from scanner.errors import DamagedRun
from scanner.model.events import Kind
from scanner.model.plan import Plan
from scanner.model.tile import Judged, Tile
from scanner.pipeline.canvas import MosaicFrame
from scanner.pipeline.feather import Joined
from scanner.pipeline.frames import RecentFrames
from scanner.pipeline.frontier import Frontier
from scanner.pipeline.lattice import Cell
from scanner.pipeline.light import Light
from scanner.pipeline.mosaic import BlockId, Mosaic, ShownAt
from scanner.pipeline.pair_facts import pairs_from_body, pairs_to_body
from scanner.pipeline.placement import Placed, Placement
from scanner.pipeline.registration import PairMeasurement, noise_of, register
from scanner.pipeline.replan import PlanSettled
from scanner.pipeline.sheets import Ahead, Sheet
from scanner.pipeline.stage_model import StagePrior
from scanner.storage.facts import PlacedFact, finished_to_body, tile_key
from scanner.storage.fused import FusedSpool
from scanner.storage.ledger import Ledger
from scanner.storage.ome_zarr import PyramidStore
from scanner.storage.spool import Spool

DROPPED_AT_ONCE = 24
LOOKED_BEYOND_EVERY = 8


@dataclass(frozen=True, slots=True)
class ImageWork:
    """What the branch works with; ``searched`` says whether the detector has answered for a tile.

    ``sheets`` gives the pictures to draw, by default the one in ``store`` from ``frames``. ``light`` is None where
    tiles are drawn as they are. ``ahead`` lets blocks be painted while others are stored.
    """

    slide_id: str
    frame: MosaicFrame
    store: PyramidStore
    frames: RecentFrames
    ledger: Ledger
    spool: Spool
    growable: bool
    retakes: int
    searched: Callable[[Tile], bool]
    sheets: Callable[[Mosaic], Sequence[Sheet]] | None = None
    fused: FusedSpool | None = None
    light: Light | None = None
    ahead: Ahead = iter


@dataclass(frozen=True, slots=True)
class Places:
    """Where every tile ended up, by tile number, and every capture that was judged, without pixels.

    ``shown_at`` says which tile a place of the image shows: see ``scanner.pipeline.mosaic.Mosaic``.
    ``pairs_measured`` placed tiles, faint ones that a loop vouched for among them; ``pairs_held`` told nothing.
    """

    placed: dict[int, Placed]
    shown_at: ShownAt
    pairs_measured: int
    pairs_held: int
    takes: tuple[Judged, ...]


class ImageBranch:
    """The image of one slide; feed it judged tiles and settled plans, then ``finish``."""

    def __init__(self, work: ImageWork) -> None:
        self._work = work
        frame = work.frame
        self._placement = Placement(frame.lattice.tile_px, StagePrior())
        self._joined = Joined()
        self._mosaic = Mosaic(frame.canvas, frame.lattice, self._joined)
        self._sheets = work.sheets(self._mosaic) if work.sheets else self._only_sheet()
        self._frontier = Frontier(_cells(frame), work.growable)
        known = work.ledger.events(Kind.PAIRS, work.slide_id)
        self._known_pairs = {event.key: pairs_from_body(event.body) for event in known}
        self._takes: dict[int, list[Judged]] = {}
        self._placed: dict[int, Placed] = {}
        self._released: list[int] = []
        self._pairs_seen = 0

    def begin(self, plan: Plan) -> None:
        """A plan whose tiles will come."""
        self._frontier.plan(plan)
        self._placement.comes((tile.row, tile.col) for tile in plan.tiles)
        self._draw(self._mosaic.void(self._frontier.never()))

    def add(self, judged: Judged) -> None:
        """The next tile."""
        tile = judged.tile
        number, cell = tile.planned.tile, (tile.planned.row, tile.planned.col)
        pairs = self._pairs(judged)
        self._joined.learn(number, pairs)
        if self._work.light is not None:
            self._work.light.add(judged, pairs)
        self._work.frames.add(judged)
        self._takes.setdefault(number, []).append(_without_pixels(judged))
        self._frontier.judged(cell, judged.sample_edges)
        prior = self._work.frame.corner(tile.reported_x_um, tile.reported_y_um)
        self._take(self._placement.add(number, *cell, prior, pairs))
        if len(self._takes) % LOOKED_BEYOND_EVERY == 0:
            self._draw(self._mosaic.void(self._frontier.never()))

    def plan_settled(self, settled: PlanSettled) -> None:
        """Every tile of a plan is in: all are placed, and what no further plan takes is final."""
        self._take(self._placement.finish())
        if settled.following is not None:
            self.begin(settled.following)

    def finish(self) -> Places:
        """No tile will follow: everything is drawn, stored and in the ledger."""
        self._take(self._placement.finish())
        self._draw(self._mosaic.settle())
        self._book_blocks()
        self._book_found_blocks()
        return Places(
            self._placed,
            self._mosaic.shown_at,
            self._placement.pairs_used,
            self._pairs_seen - self._placement.pairs_used,
            tuple(t for takes in self._takes.values() for t in takes),
        )

    def _pairs(self, judged: Judged) -> list[tuple[int, PairMeasurement]]:
        """The pairs of a tile with the neighbours that are still here: a fact, measured once."""
        tile = judged.tile
        key = tile_key(tile.planned.tile, tile.plan)
        if key not in self._known_pairs:
            measured = self._measure(judged)
            event = self._work.ledger.append(Kind.PAIRS, self._work.slide_id, key, pairs_to_body(measured))
            self._known_pairs[key] = pairs_from_body(event.body)
        pairs = self._known_pairs.pop(key)
        self._pairs_seen += len(pairs)
        return pairs

    def _measure(self, judged: Judged) -> list[tuple[int, PairMeasurement]]:
        tile, frames = judged.tile, self._work.frames
        if judged.pixels is None:
            raise DamagedRun(
                f"tile {tile.planned.tile} was never measured against its neighbours and has no pixels"
            )
        prior = self._work.frame.corner(tile.reported_x_um, tile.reported_y_um)
        expected = self._placement.expect(tile.planned.row, tile.planned.col, prior)
        noise = noise_of(judged.pixels)
        return [
            (e.other, register(frames(e.other), judged.pixels, e.offset, e.search_px, noise))
            for e in expected
            if e.other in frames and e.other != tile.planned.tile
        ]

    def _take(self, placed: Iterable[Placed]) -> None:
        ready: list[BlockId] = []
        for p in placed:
            self._placed[p.tile] = p
            take = self._takes[p.tile][-1].tile
            plan = take.plan
            gain = self._work.light.place(p.tile) if self._work.light else None
            fact = PlacedFact(
                tile=p.tile,
                plan=plan,
                x_px=p.x_px,
                y_px=p.y_px,
                held=p.held,
                sigma_px=p.sigma_px,
                gain=gain,
            )
            self._work.ledger.append(Kind.PLACED, self._work.slide_id, tile_key(p.tile, plan), fact.body())
            ready += self._mosaic.place(p, self._awaits_retake(p.tile), take.focus.state)
        self._draw(ready)

    def _awaits_retake(self, number: int) -> bool:
        takes = self._takes[number]
        return takes[-1].tile.focus.retake and len(takes) <= self._work.retakes

    def _draw(self, blocks: Iterable[BlockId]) -> None:
        stroked = [(block, self._mosaic.strokes(block)) for block in blocks]
        for sheet in self._sheets:
            sheet.draw(stroked, self._work.ahead if len(stroked) > 1 else iter)
        for number in self._mosaic.unneeded():
            self._work.frames.release(number)
            self._joined.forget(number)
            self._released.append(number)
        if len(self._released) >= DROPPED_AT_ONCE:
            self._book_blocks()
            self._drop()

    def _only_sheet(self) -> list[Sheet]:
        """A scan of one plane."""
        frames, mosaic, light = self._work.frames, self._mosaic, self._work.light
        gain = light.gain if light else None
        return [
            Sheet(self._work.store, lambda block, strokes: mosaic.paint(block, strokes, frames.cut, gain))
        ]

    def _book_blocks(self) -> None:
        """What is on disk becomes a fact, before any frame it was made of may go."""
        for sheet in self._sheets:
            sheet.book(self._work.ledger, self._work.slide_id)

    def _book_found_blocks(self) -> None:
        """Blocks that a killed session wrote and did not live to book."""
        work = self._work
        booked = [event.key for event in work.ledger.events(Kind.BLOCK, work.slide_id)]
        for sheet in self._sheets:
            sheet.book_found(work.ledger, work.slide_id, booked)

    def _drop(self) -> None:
        """Frames that neither the image nor the detector needs leave the spool."""
        work, waiting = self._work, []
        for number in self._released:
            takes = self._takes[number]
            if all(work.searched(take.tile) for take in takes):
                for take in takes:
                    finish_tile(work.ledger, work.spool, work.slide_id, take, work.fused)
            else:
                waiting.append(number)
        self._released = waiting


def finish_tile(
    ledger: Ledger, spool: Spool, slide_id: str, take: Judged, fused: FusedSpool | None = None
) -> None:
    """No step needs this frame any more: say so, then let it go."""
    tile = take.tile
    ledger.append(
        Kind.TILE_FINISHED, slide_id, tile_key(tile.planned.tile, tile.plan), finished_to_body(take)
    )
    if fused is not None:
        fused.drop(slide_id, tile)
    spool.drop_tile(slide_id, tile)


def _cells(frame: MosaicFrame) -> list[Cell]:
    """All cells that can own or lend a pixel of the canvas."""
    over = frame.lattice.cells_over(frame.canvas.box)
    rows, cols = [row for row, _ in over], [col for _, col in over]
    return [
        (row, col)
        for row in range(min(rows) - 1, max(rows) + 2)
        for col in range(min(cols) - 1, max(cols) + 2)
    ]


def _without_pixels(judged: Judged) -> Judged:
    return replace(judged, pixels=None, tile=replace(judged.tile, frame=None))
