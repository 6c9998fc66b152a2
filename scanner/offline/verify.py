"""Does a run folder agree with its ledger in everything? It looks, hashes and counts; it changes nothing.

A run that stopped in the middle is consistent as long as it does not claim more than it has.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import yaozarrs

from scanner.errors import BadInput, DamagedRun, RackscanError
from scanner.model.base import Value
from scanner.model.events import Kind
from scanner.model.report import Outcome
from scanner.offline.cells_again import CELLS, cells_problems
from scanner.offline.mosaic import MosaicFigures, check_page, figures, views_of
from scanner.offline.verify_findings import answers, image_findings
from scanner.pipeline.second_reader import SecondReader
from scanner.review.mosaic_page import Named, write_mosaic_page
from scanner.review.mosaic_view import run_profile
from scanner.storage.corrections import chain_problems
from scanner.storage.facts import BlockFact, PlacedFact, plan_key, tile_from_body
from scanner.storage.hashes import file_hash, text_hash
from scanner.storage.ngff import SHARD_PX
from scanner.storage.ome_zarr import PyramidStore
from scanner.storage.reader import RunReader, block_file, reconcile
from scanner.storage.run_folder import RunFolder
from scanner.storage.spool import FrameName
from scanner.storage.tables import TILE_COLUMNS, read_table, tiles_table


class VerifyProblem(Value):
    """One contradiction; ``slide_id`` is empty where it concerns the whole run."""

    slide_id: str
    check: str
    detail: str


class VerifyResult(Value):
    """``rackscan verify --json``."""

    ok: bool
    slides: tuple[str, ...]
    problems: tuple[VerifyProblem, ...]
    mosaics: tuple[MosaicFigures, ...] = ()

    def lines(self) -> list[str]:
        """What is said on a terminal: how the mosaics fit, then every problem."""
        fits = [line for mosaic in self.mosaics for line in mosaic.lines()]
        return fits + [f"{each.slide_id}  {each.check}: {each.detail}" for each in self.problems]


RunCheck = Callable[[RunReader], Iterator[str]]
SlideCheck = Callable[[RunReader, str], Iterator[str]]


def verify(root: Path, page: Path | None = None) -> VerifyResult:
    """Hold a run folder against its ledger, and say how well its mosaics fit; on a ``page`` with pictures where asked.

    Raises:
        BadInput: ``root`` is no run folder, or the page cannot be written there.
        RackscanError: the page's disk is full or read-only.
    """
    check_page(page, root)
    folder = RunFolder.open(root)
    views: list[Named] = []
    if not folder.ledger.exists() and not folder.slides.exists():
        return VerifyResult(ok=True, slides=(), problems=())
    try:
        with RunReader.open(root) as reader:
            slides = reader.slides()
            problems = tuple(_problems(reader, slides))
            views = views_of(reader, slides, seams=page is not None)
    except RackscanError as error:
        slides, problems = (), (VerifyProblem(slide_id="", check="ledger", detail=str(error)),)
    if page is not None:
        write_mosaic_page(page, root.resolve().name, views)
    mosaics = tuple(figures(slide_id, view) for slide_id, view in views if view is not None)
    return VerifyResult(ok=not problems, slides=slides, problems=problems, mosaics=mosaics)


def _problems(reader: RunReader, slides: tuple[str, ...]) -> Iterator[VerifyProblem]:
    for name, run_check in _RUN_CHECKS.items():
        for detail in _told(run_check(reader)):
            yield VerifyProblem(slide_id="", check=name, detail=detail)
    for slide_id in slides:
        for name, check in _SLIDE_CHECKS.items():
            for detail in _told(check(reader, slide_id)):
                yield VerifyProblem(slide_id=slide_id, check=name, detail=detail)


def _told(details: Iterator[str]) -> Iterator[str]:
    """What a check found, and what kept it from looking further."""
    try:
        yield from details
    except RackscanError as error:
        yield str(error)


def _chain(reader: RunReader) -> Iterator[str]:
    yield from reader.ledger.verify_chain()


def _settings(reader: RunReader) -> Iterator[str]:
    settings = reader.folder.settings
    for file in (settings.profile, settings.cfg):
        if file is not None and text_hash(file.text) != file.sha256:
            yield f"run.json: the text of {Path(file.path).name} does not have its hash"


def _rack_report(reader: RunReader) -> Iterator[str]:
    result = reader.result()
    if reader.ledger.latest(Kind.RUN_FINISHED) is None:
        return
    if result is None:
        yield "the run is finished, but its report.json is missing"
        return
    if result.run != reader.folder.settings.run:
        yield f"report.json is of run {result.run}, the folder of run {reader.folder.settings.run}"
    for slide in result.slides:
        own = reader.report(slide.slide_id)
        if own is not None and any(getattr(own, name) != getattr(slide, name) for name in _SAID_TWICE):
            yield f"report.json says something else of {slide.slide_id} than the slide's own report"


def _plans(reader: RunReader, slide_id: str) -> Iterator[str]:
    tiles, failures = reader.tile_facts(slide_id), reader.failures(slide_id)
    claimed = _claims_complete(reader, slide_id)
    captured = {event.key for event in reader.ledger.events(Kind.PLAN_CAPTURED, slide_id)}
    known = set()
    for plan in reader.plans(slide_id):
        known |= {(tile.tile, plan.number) for tile in plan.tiles}
        problems = reconcile(plan, tiles, failures)
        if claimed or plan_key(plan.number) in captured:
            yield from problems
        else:
            yield from (problem for problem in problems if "more than once" in problem)
    for tile in tiles:
        if (tile.planned.tile, tile.plan) not in known:
            yield f"tile {tile.planned.tile} was captured for plan {tile.plan}, which does not hold it"


def _frames(reader: RunReader, slide_id: str) -> Iterator[str]:
    """Kept frames are all there and no others; without ``--keep-tiles`` those that a resume still needs.

    Of a tile that was fused, that is the sharpest layer alone.
    """
    keep, over = reader.folder.settings.keep_tiles, _finished(reader, slide_id)
    settled = {event.key for event in reader.ledger.events(Kind.TILE_FINISHED, slide_id)}
    fused = {event.key for event in reader.ledger.events(Kind.FUSED, slide_id)}
    known = set()
    for event in reader.ledger.events(Kind.TILE, slide_id):
        tile = tile_from_body(event.body)
        name = (slide_id, tile.planned.tile, tile.plan, tile.attempt)
        contents: dict[int | None, str] = {n: layer.content for n, layer in enumerate(tile.layers)}
        contents = contents or {None: tile.content}
        known |= {reader.spool.path(*name, layer) for layer in contents}
        for layer, content in contents.items():
            needed = layer == tile.layer or event.key not in fused
            if keep or (needed and not (over or event.key in settled)):
                yield from _damage(reader, name, content, layer)
    stray = set((reader.folder.frames / slide_id).glob("*.tif")) - known if keep and over else set()
    yield from (f"{path.name} is kept, but the ledger does not know this frame" for path in sorted(stray))


def _damage(reader: RunReader, name: FrameName, content: str, layer: int | None) -> Iterator[str]:
    try:
        reader.spool.get(*name, content=content, layer=layer)
    except DamagedRun as error:
        yield str(error)


def _blocks(reader: RunReader, slide_id: str) -> Iterator[str]:
    """Every block of the ledger is the file that was written, and every such file stands in the ledger."""
    paths = reader.paths(slide_id)
    known = set()
    for event in reader.ledger.events(Kind.BLOCK, slide_id):
        fact = BlockFact.from_body(event.body)
        path = block_file(paths.folder, fact)
        known.add(path)
        if not path.is_file():
            yield f"block {event.key} of the image is missing"
        elif file_hash(path) != fact.sha256:
            yield f"block {event.key} of the image was altered"
    for image in paths.images if _finished(reader, slide_id) else ():
        found = {path for path in image.glob("*/c/**/*") if path.is_file() and path.name.isdigit()}
        where = image if image == paths.image else paths.folder
        yield from (f"{_below(where, path)} is not in the ledger" for path in sorted(found - known))


def _coverage(reader: RunReader, slide_id: str) -> Iterator[str]:
    """Where a tile was placed in a finished image, there is a block that shows it, in all layers and fused."""
    report = reader.report(slide_id)
    if report is None or report.um_per_px is None or not _finished(reader, slide_id):
        return
    facts = [BlockFact.from_body(event.body) for event in reader.ledger.events(Kind.BLOCK, slide_id)]
    facts = [fact for fact in facts if fact.image != CELLS]
    drawn = Counter((fact.row, fact.col) for fact in facts if fact.level == 0)
    pictures = max(1, len({(fact.image, fact.z) for fact in facts}))
    for plan in reader.plans(slide_id):
        half_x_px, half_y_px = (um / report.um_per_px / 2 for um in plan.grid.field_um)
        for event in reader.ledger.events(Kind.PLACED, slide_id):
            tile = PlacedFact.from_body(event.body)
            row, col = int((tile.y_px + half_y_px) // SHARD_PX), int((tile.x_px + half_x_px) // SHARD_PX)
            if tile.plan == plan.number and drawn[row, col] < pictures:
                yield f"tile {tile.tile} of plan {plan.number} was placed where the image has no block"


def _image(reader: RunReader, slide_id: str) -> Iterator[str]:
    paths, report = reader.paths(slide_id), reader.report(slide_id)
    again = report.cells_again.image if report is not None and report.cells_again is not None else None
    for named in (report.image, report.edf, report.height, again) if report is not None else ():
        if named is not None and not (reader.folder.root / named).is_dir():
            yield f"the report names {named}, which is missing"
    complete = [image.name for image in paths.images if _image_says_complete(image)]
    for image in paths.images:
        yield from _newer(image)
        try:
            yaozarrs.validate_zarr_store(image)
        except (ValueError, OSError, KeyError) as error:
            yield f"{'' if image == paths.image else f'{image.name}: '}not a valid OME-Zarr 0.5: {error}"
        if paths.image.name in complete and image.name not in complete:
            yield f"{image.name} is incomplete beside a complete {paths.image.name}"


def _newer(image: Path) -> Iterator[str]:
    try:
        PyramidStore.open(image)
    except BadInput as error:
        yield str(error)
    except DamagedRun:
        return  # the checks that follow say what of it is damaged


def _tiles_table(reader: RunReader, slide_id: str) -> Iterator[str]:
    path = reader.paths(slide_id).tiles
    if not path.is_file():
        if _finished(reader, slide_id) and reader.plans(slide_id):
            yield "the slide is finished, but its tiles.parquet is missing"
        return
    if not _finished(reader, slide_id):
        return
    table, facts = read_table(path, TILE_COLUMNS), tiles_table(reader.ledger, slide_id)
    for name in TILE_COLUMNS.names:
        if table.column(name).to_pylist() != facts.column(name).to_pylist():
            yield f"tiles.parquet differs from the ledger in column {name}"


def _findings(reader: RunReader, slide_id: str) -> Iterator[str]:
    table = reader.findings(slide_id)
    report = reader.report(slide_id)
    if report is not None and report.detector is not None and not reader.paths(slide_id).findings.is_file():
        yield "the slide was searched, but its findings.parquet is missing"
    if table.column("rank").to_pylist() != list(range(1, table.num_rows + 1)):
        yield "findings.parquet is not ranked 1, 2, 3 …"
    scores = np.asarray(table.column("score"), float)
    if np.any(np.diff(scores) > 0) or np.any((scores < 0) | (scores > 1)):
        yield "findings.parquet: a score is outside 0..1 or above that of a better rank"
    if set(table.column("slide_id").to_pylist()) - {slide_id}:
        yield "findings.parquet holds findings of another slide"
    captured = {fact.planned.tile for fact in reader.tile_facts(slide_id)}
    if set(table.column("tile").to_pylist()) - captured:
        yield "findings.parquet names a tile that was not captured"


def _corrections(reader: RunReader, slide_id: str) -> Iterator[str]:
    yield from chain_problems(reader.paths(slide_id).corrections, slide_id)


def _report(reader: RunReader, slide_id: str) -> Iterator[str]:
    report = reader.report(slide_id)
    finished = reader.ledger.latest(Kind.SLIDE_FINISHED, slide_id)
    if finished is None:
        return
    if report is None:
        yield "the slide is finished, but its report.json is missing"
        return
    if report.slide_id != slide_id:
        yield f"report.json is of slide {report.slide_id}"
    counts = reader.counts(slide_id)
    if report.tiles != counts:
        yield f"report.json counts {report.tiles}, the ledger {counts}"
    if report.excluded and _drawn(reader, report.slot):
        yield "the slide is excluded, though the lot says that a person reads it"
    for name in ("outcome", "verdict"):
        said = finished.body.get(name)
        if said is not None and said != str(getattr(report, name)):
            yield f"report.json says {name} {getattr(report, name)}, the ledger {said}"


def _drawn(reader: RunReader, slot: int) -> bool:
    """Does the second reader draw this slot? Runs from before there was one drew none."""
    settings = reader.folder.settings
    profile = run_profile(reader) if settings.salt else None
    return profile is not None and SecondReader(settings.salt, profile.second_reading).draws(slot)


def _below(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _finished(reader: RunReader, slide_id: str) -> bool:
    return reader.ledger.latest(Kind.SLIDE_FINISHED, slide_id) is not None


def _claims_complete(reader: RunReader, slide_id: str) -> bool:
    """Does the image or the report say that nothing is missing?"""
    report = reader.report(slide_id)
    if report is not None and report.outcome is Outcome.DONE and _finished(reader, slide_id):
        return True
    return _image_says_complete(reader.paths(slide_id).image)


def _image_says_complete(image: Path) -> bool:
    """Read as plain JSON: what the image claims counts also where it is not valid."""
    try:
        attributes = json.loads((image / "zarr.json").read_text(encoding="utf-8"))["attributes"]
        return bool(attributes["rackscan"]["complete"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


_SAID_TWICE = ("slot", "outcome", "verdict", "image", "tiles", "cells", "sample_covered", "second_reading")
_RUN_CHECKS: dict[str, RunCheck] = {"chain": _chain, "settings": _settings, "report": _rack_report}
_SLIDE_CHECKS: dict[str, SlideCheck] = {
    "plan": _plans,
    "frames": _frames,
    "blocks": _blocks,
    "coverage": _coverage,
    "image": _image,
    "tiles.parquet": _tiles_table,
    "answers": answers,
    "findings.parquet": _findings,
    "findings in the image": image_findings,
    "cells": cells_problems,
    "report.json": _report,
    "corrections": _corrections,
}
