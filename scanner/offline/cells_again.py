"""Do a slide's facts, table, report and image agree about the cells that were taken again?"""

import math
from collections.abc import Iterator

from scanner.model.events import Kind
from scanner.storage.cell_facts import CellReadFact, CellsChosenFact
from scanner.storage.facts import BlockFact, tile_key
from scanner.storage.ngff import SHARD_PX
from scanner.storage.reader import RunReader
from scanner.storage.tables import AGAIN_COLUMNS

CELLS = "cells"


def cells_problems(reader: RunReader, slide_id: str) -> Iterator[str]:
    """Contradictions in words; none where no cell was to be taken again, or the slide is not finished."""
    chosen = reader.ledger.latest(Kind.CELLS_CHOSEN, slide_id)
    plans = [plan for plan in reader.plans(slide_id) if not plan.of_image]
    if chosen is None:
        yield from (f"plan {plan.number} takes cells that nobody chose" for plan in plans)
        return
    fact = CellsChosenFact.from_body(chosen.body)
    if plans and [plan.model_dump() for plan in plans] != [fact.plan.model_dump() if fact.plan else None]:
        yield "the plan of cells is not the one that was chosen"
    if reader.ledger.latest(Kind.SLIDE_FINISHED, slide_id) is None:
        return
    if fact.plan is not None and not plans:
        yield "cells were chosen, but no plan took them again"
    reads = {
        read.cell: read
        for event in reader.ledger.events(Kind.CELL_READ, slide_id)
        for read in [CellReadFact.from_body(event.body)]
    }
    yield from _unread(reader, slide_id, fact, reads)
    yield from _undrawn(reader, slide_id, reads)
    yield from _told(reader, slide_id, reads)


def _unread(
    reader: RunReader, slide_id: str, chosen: CellsChosenFact, reads: dict[int, CellReadFact]
) -> Iterator[str]:
    """Every chosen cell was read again, or its field failed."""
    number = chosen.plan.number if chosen.plan is not None else 0
    failed = {tile_key(failure.tile, failure.plan) for failure in reader.failures(slide_id)}
    for cell, entry in enumerate(chosen.cells):
        if cell not in reads and tile_key(entry.field, number) not in failed:
            yield f"cell {cell} was chosen, and neither read again nor its field {entry.field} named as failed"
        if cell in reads and reads[cell].field != entry.field:
            yield f"cell {cell} was read in field {reads[cell].field}, not in its own"


def _undrawn(reader: RunReader, slide_id: str, reads: dict[int, CellReadFact]) -> Iterator[str]:
    """The image of the cells has a block, in all planes, where each field begins."""
    report = reader.report(slide_id)
    if report is None or report.cells_again is None or not reads:
        return
    facts = [BlockFact.from_body(event.body) for event in reader.ledger.events(Kind.BLOCK, slide_id)]
    drawn = {(fact.row, fact.col, fact.z) for fact in facts if fact.image == CELLS and fact.level == 0}
    for read in {read.field: read for read in reads.values()}.values():
        row, col = (max(0, math.floor(at)) // SHARD_PX for at in (read.y_px, read.x_px))
        if any((row, col, z) not in drawn for z in range(report.cells_again.layers)):
            yield f"field {read.field} was captured, but {CELLS}.ome.zarr does not hold all its planes"


def _told(reader: RunReader, slide_id: str, reads: dict[int, CellReadFact]) -> Iterator[str]:
    """The second scores of table and report are those of the ledger."""
    report, table = reader.report(slide_id), reader.findings(slide_id)
    told = report.cells_again if report is not None else None
    if told is None:
        yield "cells were chosen, but the report does not tell of them"
        return
    said = {
        number: cell.score_again for number, cell in enumerate(told.cells) if cell.score_again is not None
    }
    if said != {number: read.score for number, read in reads.items()}:
        yield "report.json says other second scores than the ledger"
    if AGAIN_COLUMNS.names[0] not in table.schema.names:
        yield "findings.parquet lacks the second scores"
        return
    best: dict[int, float] = {}
    for number, score in said.items():
        rank = told.cells[number].rank
        if rank is not None:
            best[rank] = max(score, best.get(rank, 0.0))
    scores = table.column(AGAIN_COLUMNS.names[0]).to_pylist()
    if best != {rank: score for rank, score in enumerate(scores, start=1) if score is not None}:
        yield "findings.parquet holds other second scores than the ledger"
