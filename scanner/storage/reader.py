"""What does a run folder say, finished or running? The one way in for report, viewer, replay and ``verify``."""

from collections import Counter
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
from pydantic import ValidationError

from scanner.errors import DamagedRun
from scanner.model.base import Value
from scanner.model.correction import Answers
from scanner.model.events import Body, Kind
from scanner.model.plan import Plan, PlanReason
from scanner.model.report import FocusPointFact, RunResult, SlideReport, TileCounts
from scanner.model.slide import Rack
from scanner.storage.corrections import read_answers
from scanner.storage.facts import BlockFact, TileFact, TileFailedFact, plan_from_body, tile_key
from scanner.storage.ledger import Ledger
from scanner.storage.run_folder import RunFolder, SlidePaths
from scanner.storage.spool import Spool
from scanner.storage.tables import FINDING_COLUMNS, TILE_COLUMNS, read_table, tiles_table

V = TypeVar("V", bound=Value)

_SLIDES_BEGIN = (Kind.SLIDE_LOADED, Kind.IDENTITY, Kind.PLAN, Kind.SLIDE_FAULT)
"""Whichever of these comes first names a slide for the first time."""


class RunReader:
    """A run folder opened for reading; it writes nothing and disturbs no running scan."""

    def __init__(self, folder: RunFolder, ledger: Ledger) -> None:
        self.folder = folder
        self.ledger = ledger

    @classmethod
    def open(cls, root: Path) -> "RunReader":
        """Open the run in ``root``.

        Raises:
            BadInput: ``root`` is no run folder.
            DamagedRun: its settings or its ledger cannot be read.
        """
        folder = RunFolder.open(root)
        return cls(folder, Ledger.read(folder.ledger))

    def close(self) -> None:
        """Let go of the ledger."""
        self.ledger.close()

    def __enter__(self) -> "RunReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def spool(self) -> Spool:
        """The frames that are kept."""
        return Spool(self.folder.frames, keep=True)

    def slides(self) -> tuple[str, ...]:
        """The ids of the slides that anything is known of, in the order of the scan."""
        met = sorted(
            (event.seq, event.slide_id) for kind in _SLIDES_BEGIN for event in self.ledger.events(kind)
        )
        return tuple(dict.fromkeys(slide_id for _, slide_id in met if slide_id))

    def paths(self, slide_id: str) -> SlidePaths:
        """Where the things of a slide lie."""
        return self.folder.slide(slide_id)

    def result(self) -> RunResult | None:
        """``report.json`` of the run, None while it is not finished.

        Raises:
            DamagedRun: the file is not a result.
        """
        return _read(self.folder.report, RunResult)

    def report(self, slide_id: str) -> SlideReport | None:
        """``report.json`` of a slide, None while it is not finished.

        Raises:
            DamagedRun: the file is not a report.
        """
        return _read(self.paths(slide_id).report, SlideReport)

    def plans(self, slide_id: str) -> tuple[Plan, ...]:
        """The plans of a slide, first to last."""
        return tuple(plan_from_body(event.body) for event in self.ledger.events(Kind.PLAN, slide_id))

    def tile_facts(self, slide_id: str) -> tuple[TileFact, ...]:
        """The captured tiles of a slide in the order they were acknowledged."""
        return tuple(TileFact.from_body(event.body) for event in self.ledger.events(Kind.TILE, slide_id))

    def failures(self, slide_id: str) -> tuple[TileFailedFact, ...]:
        """The failures of a slide's tiles in the order they happened."""
        events = self.ledger.events(Kind.TILE_FAILED, slide_id)
        return tuple(TileFailedFact.from_body(event.body) for event in events)

    def counts(self, slide_id: str) -> TileCounts:
        """The fields of a slide: planned, captured at least once, skipped, failed for good, taken again."""
        return tile_counts(self.plans(slide_id), self.tile_facts(slide_id), self.failures(slide_id))

    def tiles(self, slide_id: str) -> pa.Table:
        """The tiles table (``TILE_COLUMNS``): the file, written after the last plan, else what the ledger knows."""
        path = self.paths(slide_id).tiles
        return read_table(path, TILE_COLUMNS) if path.is_file() else tiles_table(self.ledger, slide_id)

    def findings(self, slide_id: str) -> pa.Table:
        """The findings table (``FINDING_COLUMNS``), empty while there is none."""
        path = self.paths(slide_id).findings
        return read_table(path, FINDING_COLUMNS) if path.is_file() else FINDING_COLUMNS.empty_table()

    def corrections(self, slide_id: str) -> tuple[Answers, ...]:
        """What people said about the slide's cells, first to last.

        Raises:
            DamagedRun: a file of it cannot be read.
        """
        return read_answers(self.paths(slide_id).corrections)

    def rack(self) -> Rack | None:
        """What the operator said lies in the rack, identities included; None for a replay.

        Raises:
            DamagedRun: the ledger holds something else.
        """
        started = self.ledger.latest(Kind.RUN_STARTED)
        said = started.body.get("rack") if started else None
        try:
            return Rack.model_validate(said) if said else None
        except ValidationError as error:
            raise DamagedRun(f"the ledger holds a rack that is none: {error}") from error

    def focus_points(self, slide_id: str) -> tuple[FocusPointFact, ...]:
        """The points of the focus survey that the ledger knows by now; a survey begun anew replaces its own."""
        told = {event.key: event.body for event in self.ledger.events(Kind.FOCUS_POINT, slide_id)}
        return tuple(_focus_point(body) for body in told.values())


def tile_counts(
    plans: tuple[Plan, ...], tiles: tuple[TileFact, ...], failures: tuple[TileFailedFact, ...]
) -> TileCounts:
    """Count fields, not exposures: a field of a retake plan was planned before.

    A field is captured where any plan has a frame of it, failed where it has none and a failure. Fields over cells that
    are taken again are none of the image's and do not count.
    """
    plans = tuple(plan for plan in plans if plan.of_image)
    numbers = {plan.number for plan in plans}
    tiles = tuple(fact for fact in tiles if fact.plan in numbers)
    failures = tuple(fact for fact in failures if fact.plan in numbers)
    planned = {tile.tile for plan in plans for tile in plan.tiles}
    skipped = {tile.tile for plan in plans for tile in plan.skipped} - planned
    captured = {fact.planned.tile for fact in tiles}
    failed = {fact.tile for fact in failures} - captured
    retakes = {plan.number for plan in plans if plan.reason is PlanReason.RETAKE}
    retaken = {fact.planned.tile for fact in tiles if fact.plan in retakes}
    return TileCounts(
        planned=len(planned | skipped),
        captured=len(captured),
        skipped=len(skipped),
        failed=len(failed),
        retaken=len(retaken),
    )


def reconcile(plan: Plan, tiles: tuple[TileFact, ...], failures: tuple[TileFailedFact, ...]) -> list[str]:
    """Where planned = captured + skipped + failed does not hold for one plan, in words."""
    captured = Counter(tile_key(fact.planned.tile, fact.plan) for fact in tiles)
    failed = {tile_key(fact.tile, fact.plan) for fact in failures}
    keys = [tile_key(tile.tile, plan.number) for tile in plan.tiles]
    lost = [key for key in keys if key not in captured and key not in failed]
    twice = [key for key in keys if captured[key] > 1]
    problems = (
        [f"plan {plan.number}: {len(lost)} tiles have neither frame nor reason, first {lost[0]}"]
        if lost
        else []
    )
    return problems + [f"tile.plan {key} was accepted more than once" for key in twice]


def block_file(folder: Path, fact: BlockFact) -> Path:
    """Where a block lies below the folder of its slide."""
    layer = [] if fact.z is None else [str(fact.z)]
    place = [str(fact.level), "c", "0", *layer, str(fact.row), str(fact.col)]
    return folder.joinpath(f"{fact.image}.ome.zarr", *place)


def _focus_point(body: Body) -> FocusPointFact:
    try:
        known = {name: body[name] for name in FocusPointFact.model_fields if name in body}
        return FocusPointFact.model_validate(known)
    except ValidationError as error:
        raise DamagedRun(f"the ledger holds a focus point that is none: {error}") from error


def _read(path: Path, model: type[V]) -> V | None:
    if not path.is_file():
        return None
    try:
        return model.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise DamagedRun(f"{path}: cannot be read as a {model.__name__}: {error}") from error
