"""How are the most suspicious cells of a slide taken again with more planes, read again and kept, while it lies there?

When the image is captured, what the detector has answered within a second decides; that choice is a fact, so that a
resume and a replay go on with the same plan. The fields wait in the spool until ``cells.ome.zarr`` is whole.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from detection.detections import Detections
from scanner.model.events import Kind
from scanner.model.plan import Plan
from scanner.model.tile import EndOfPlan, Judged, Tile
from scanner.pipeline.again import ReadAgain
from scanner.pipeline.cell_choice import choose_cells
from scanner.pipeline.image_branch import finish_tile
from scanner.pipeline.placement import Placed
from scanner.pipeline.quality import look
from scanner.session.cells_image import CellsImage, Field, paint_cells
from scanner.session.field_reading import FieldReader, LookWork
from scanner.session.light_report import light_used
from scanner.storage.cell_facts import CellReadFact, CellsChosenFact
from scanner.storage.facts import tile_key
from scanner.storage.ledger import Ledger
from scanner.stream import Mailbox, Road

WAIT_S = 1.0
AHEAD = 2


class SecondLook:
    """One slide's; ``watched``, ``plan`` run where tiles are judged, ``heard`` where they are searched."""

    def __init__(self, work: LookWork, tell: Callable[[Plan | None], None], road: Road) -> None:
        self._work, self._tell, self._road = work, tell, road
        self._answers: Mailbox[tuple[Tile, Detections]] = Mailbox(road)
        self._seen: dict[tuple[int, int], Tile] = {}
        self._chosen: CellsChosenFact | None = None

    def watched(self, items: Iterable[Judged | EndOfPlan]) -> Iterator[Judged | EndOfPlan]:
        """The same items; the captures among them are remembered, without pixels."""
        for item in items:
            if isinstance(item, Judged):
                self._seen[item.tile.key] = replace(item.tile, frame=None)
            yield item

    def heard(self, tile: Tile, found: Detections) -> None:
        """What the detector says of a capture."""
        self._answers.put((replace(tile, frame=None), found))

    def plan(self, plans: Sequence[Plan]) -> Plan | None:
        """After the image's last plan: the one that takes the cells again, None where there are none."""
        with Ledger.open(self._work.folder.ledger) as ledger:
            known = ledger.latest(Kind.CELLS_CHOSEN, self._work.slide_id)
            if known is None:
                body = self._choose(plans).body()
                known = ledger.append(Kind.CELLS_CHOSEN, self._work.slide_id, "", body)
        self._chosen = CellsChosenFact.from_body(known.body)
        return self._chosen.plan

    def _choose(self, plans: Sequence[Plan]) -> CellsChosenFact:
        work, begun_s = self._work, time.perf_counter()
        answered = self._answers.within(WAIT_S, len(self._seen))
        waited_s = time.perf_counter() - begun_s
        answers = {tile.key: (tile, found) for tile, found in answered}
        last = {number: answers[number, plan] for number, plan in sorted(answers)}
        found = choose_cells(last, work.package.classes, work.frame, work.profile, work.slide_to_stage, plans)
        newest = {number: (number, plan) for number, plan in sorted(self._seen)}
        silent = tuple(number for number, key in newest.items() if key not in answers)
        return CellsChosenFact(cells=found.cells, plan=found.plan, unanswered=silent, waited_s=waited_s)

    def read(self, items: Iterable[Tile | EndOfPlan], placed: Mapping[int, Placed]) -> ReadAgain | None:
        """The fields of the further plan as they come: found on the image, read again, kept.

        Args:
            items: what is captured after the image.
            placed: where every tile of the image lies.
        """
        chosen, work = self._chosen, self._work
        if chosen is None or chosen.plan is None:
            return None if chosen is None else ReadAgain(chosen, ())
        with Ledger.open(work.folder.ledger) as ledger:
            facts = (CellReadFact.from_body(e.body) for e in ledger.events(Kind.CELL_READ, work.slide_id))
            known = {fact.cell: fact for fact in facts}
            reader = FieldReader(work, chosen, self._seen, placed, frozenset(known))
            fields = self._road.buffered(self._fields(items), len(chosen.plan.tiles), "fields")
            planes = (plane for tile in fields for plane in reader.planes(tile))
            taken: dict[int, Tile] = {}
            asked = ((replace(plane, pixels=None), reader.job(plane)) for plane in planes)
            for plane, found in self._road.parallel(asked, work.search.workers, AHEAD, "cells"):
                taken[plane.tile.planned.tile] = plane.tile
                for fact in reader.facts(plane, found):
                    body = ledger.append(Kind.CELL_READ, work.slide_id, str(fact.cell), fact.body()).body
                    known[fact.cell] = CellReadFact.from_body(body)
            self._keep(ledger, chosen.plan, taken, known)
        return ReadAgain(chosen, tuple(known[n] for n in sorted(known)))

    def _fields(self, items: Iterable[Tile | EndOfPlan]) -> Iterator[Tile]:
        """What is captured until the plan ends, its pixels left in the spool; then the slide may leave."""
        for item in items:
            if isinstance(item, EndOfPlan):
                self._tell(None)
                return
            yield replace(item, frame=None)

    def _keep(
        self, ledger: Ledger, plan: Plan, taken: Mapping[int, Tile], known: Mapping[int, CellReadFact]
    ) -> None:
        """The image of the cells, and only then the frames may go: a kill in between paints it anew."""
        work = self._work
        finished = {event.key for event in ledger.events(Kind.TILE_FINISHED, work.slide_id)}
        left = [tile for tile in taken.values() if tile_key(*tile.key) not in finished]
        if left and len(left) == len(taken):
            paths, white = work.folder.slide(work.slide_id), light_used(ledger, work.slide_id).white_balance
            made = CellsImage(work.slide_id, paths, work.frame, work.profile, plan, work.pixels, white)
            first = {known[n].field: known[n] for n in sorted(known, reverse=True)}
            by_rank = dict.fromkeys(known[n].field for n in sorted(known))
            fields = [Field(taken[n], first[n].x_px, first[n].y_px) for n in by_rank if n in taken]
            paint_cells(made, fields, ledger)
        for tile in left:
            pixels = work.pixels(tile, tile.layer or 0)
            seen = look(pixels)
            take = Judged(tile, None, seen.quality, seen.sample_share, seen.sample_edges)
            finish_tile(ledger, work.spool, work.slide_id, take)
