"""What does a slide's report say of the cells that were taken again?"""

from scanner.model.events import Kind
from scanner.model.layers import CellCapture
from scanner.model.report import CellAgain, CellsAgain
from scanner.pipeline.closing import Reading
from scanner.pipeline.findings import Findings
from scanner.storage.facts import tile_key
from scanner.storage.ledger import LedgerProtocol
from scanner.storage.run_folder import RunFolder


def cells_again(
    folder: RunFolder, ledger: LedgerProtocol, reading: Reading, asked: CellCapture, found: Findings | None
) -> CellsAgain | None:
    """None where no cell was to be taken again."""
    read, name = reading.again, reading.begun.slide.slide_id
    if read is None or found is None or found.again is None:
        return None
    plan = read.chosen.plan
    keys = {tile_key(tile.tile, plan.number) for tile in plan.tiles} if plan else set()
    captured = keys & {event.key for event in ledger.events(Kind.TILE, name)}
    failed = keys & {event.key for event in ledger.events(Kind.TILE_FAILED, name)} - captured
    reads = {fact.cell: fact for fact in read.reads}
    cells = tuple(
        CellAgain(
            rank=None if index is None else index + 1,
            field=cell.field,
            score=cell.score,
            layer=reads[number].layer if number in reads else None,
            score_again=reads[number].score if number in reads else None,
            reason="" if number in reads else f"field {cell.field} could not be captured",
        )
        for number, (cell, index) in enumerate(zip(read.chosen.cells, found.again.finding_of, strict=True))
    )
    image = folder.slide(name).cells
    return CellsAgain(
        asked=asked.cells,
        layers=asked.layers,
        layer_step_um=asked.layer_step_um,
        fields_planned=len(keys),
        fields_captured=len(captured),
        fields_failed=len(failed),
        cells=cells,
        slide_score_once=round(found.slide_score, 6),
        decides=reading.so_measured,
        unanswered=read.chosen.unanswered,
        waited_s=round(read.chosen.waited_s, 3),
        image=folder.relative(image) if image.is_dir() else None,
    )
