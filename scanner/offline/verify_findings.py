"""Was every tile of a searched slide answered, and do the findings inside its image say the same as its table?

Runs of before images held findings claim none, and none are asked of them.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from scanner.errors import RackscanError
from scanner.export.ome_findings import boxes_of
from scanner.model.events import Kind
from scanner.storage import labels
from scanner.storage.ome_zarr import PyramidStore
from scanner.storage.reader import RunReader
from scanner.storage.roi_table import read_roi_table, roi_table


def image_findings(reader: RunReader, slide_id: str) -> Iterator[str]:
    """What of table and labels is missing, stray or other than the findings of a finished slide."""
    image = reader.paths(slide_id).image
    if not (image / "zarr.json").is_file():
        return
    try:
        store = PyramidStore.open(image)
    except RackscanError:
        return  # another check says what of it is damaged
    claimed, held = store.facts.get("findings"), read_roi_table(image)
    if claimed is None and held is None:
        return
    if held is None:
        yield f"{image.name} is said to hold {claimed} findings, but has no table of them"
        return
    findings = reader.findings(slide_id)
    if claimed is not None and claimed != len(findings):
        yield f"{image.name} is said to hold {claimed} findings, findings.parquet holds {len(findings)}"
    if not held.equals(roi_table(findings, store.spec.um_per_px or 1.0)):
        yield f"the findings in {image.name} differ from findings.parquet"
    yield from _labels(store, boxes_of(findings))


def answers(reader: RunReader, slide_id: str) -> Iterator[str]:
    """Tiles of a finished slide's image that nobody searched, though a detector was asked.

    Cells taken again are read plane by plane; another check asks after those.
    """
    report = reader.report(slide_id)
    over = reader.ledger.latest(Kind.SLIDE_FINISHED, slide_id) is not None
    if report is None or report.detector is None or not over:
        return
    events = reader.ledger.events(Kind.DETECTED, slide_id)
    searched = {(event.body["tile"], event.body["plan"]) for event in events}
    beside = {plan.number for plan in reader.plans(slide_id) if not plan.of_image}
    for tile in reader.tile_facts(slide_id):
        if tile.plan not in beside and (tile.planned.tile, tile.plan) not in searched:
            yield f"tile {tile.planned.tile} of plan {tile.plan} was captured and never searched"


def _labels(store: PyramidStore, boxes: labels.Boxes) -> Iterator[str]:
    folder = store.path / labels.FOLDER
    stray = {path for path in folder.glob("*/*/c/*/*") if path.is_file()}
    wrong = 0
    for place, chunk in labels.chunks(store.spec, boxes):
        path = labels.chunk_file(folder, place)
        wrong += path not in stray or not np.array_equal(labels.read_chunk(path), chunk)
        stray.discard(path)
    if wrong:
        yield f"the labels of the findings in {store.path.name}: {wrong} chunks are missing or altered"
    yield from (f"{_below(store.path, path)} shows no finding" for path in sorted(stray))


def _below(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()
