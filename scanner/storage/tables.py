"""What do ``tiles.parquet`` and ``findings.parquet`` hold? Other programs read their columns: change only by adding."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike

from scanner.errors import DamagedRun
from scanner.model.events import Json, Kind
from scanner.model.plan import Plan, PlannedTile, Skipped
from scanner.storage.atomic import RESUME, replacing
from scanner.storage.facts import (
    PlacedFact,
    TileFact,
    TileFailedFact,
    TileFinishedFact,
    plan_from_body,
    tile_key,
)
from scanner.storage.ledger import LedgerProtocol

Row: TypeAlias = dict[str, Json]

TILE_COLUMNS = pa.schema(
    [
        ("tile", pa.int32()),
        ("plan", pa.int32()),
        ("attempt", pa.int32()),
        ("row", pa.int32()),
        ("col", pa.int32()),
        ("x_um", pa.float64()),
        ("y_um", pa.float64()),
        ("reported_x_um", pa.float64()),
        ("reported_y_um", pa.float64()),
        ("x_px", pa.float64()),
        ("y_px", pa.float64()),
        ("z_um", pa.float64()),
        ("focus_state", pa.string()),
        ("z_sigma_um", pa.float64()),
        ("quality", pa.float64()),
        ("t_trigger_s", pa.float64()),
        ("t_read_s", pa.float64()),
        ("accepted", pa.bool_()),
        ("reason", pa.string()),
    ]
)
"""One row a captured, failed or skipped tile of a plan; planned and reported are slide µm of the field's centre."""

FINDING_COLUMNS = pa.schema(
    [
        ("slide_id", pa.string()),
        ("tile", pa.int32()),
        ("rank", pa.int32()),
        ("class", pa.string()),
        ("score", pa.float64()),
        ("x_px", pa.float64()),
        ("y_px", pa.float64()),
        ("w_px", pa.float64()),
        ("h_px", pa.float64()),
        ("x_um", pa.float64()),
        ("y_um", pa.float64()),
    ]
)
"""One row a finding, rank 1 first; the box in mosaic px, its centre in slide µm."""

AGAIN_COLUMNS = pa.schema([("score_again", pa.float64()), ("layer", pa.int32())])
"""After them where cells were taken again: the score around the sharpest plane, and which it is; null for others."""


def load_libraries() -> None:
    """Ahead of the first table, for which pyarrow loads pandas: 0.4 s that the end of a slide must not wait for."""
    pa.array([0])


def tiles_table(ledger: LedgerProtocol, slide_id: str) -> pa.Table:
    """What the ledger knows of every planned tile of a slide's image, in the order of the plans.

    A tile of a plan has at most one accepted row; one that is planned and has neither frame nor failure has no row.

    Raises:
        DamagedRun: a fact is not what its kind says.
    """
    plans = [plan_from_body(event.body) for event in ledger.events(Kind.PLAN, slide_id)]
    tiles = {event.key: TileFact.from_body(event.body) for event in ledger.events(Kind.TILE, slide_id)}
    placed = {event.key: PlacedFact.from_body(event.body) for event in ledger.events(Kind.PLACED, slide_id)}
    judged = {
        event.key: TileFinishedFact.from_body(event.body)
        for event in ledger.events(Kind.TILE_FINISHED, slide_id)
    }
    failed = _failures(ledger, slide_id)
    rows: list[Row] = []
    for plan in (plan for plan in plans if plan.of_image):
        for planned in plan.tiles:
            key = tile_key(planned.tile, plan.number)
            if key in tiles:
                rows.append(_captured_row(tiles[key], placed.get(key), judged.get(key)))
            elif key in failed:
                rows.append(_failed_row(planned, failed[key]))
        rows += [_skipped_row(plan, skipped) for skipped in plan.skipped]
    return pa.Table.from_pylist(rows, schema=TILE_COLUMNS)


def findings_table(columns: Mapping[str, ArrayLike | Sequence[str]]) -> pa.Table:
    """The findings as a table with ``FINDING_COLUMNS``, and ``AGAIN_COLUMNS`` where given, of equal length.

    Raises:
        ValueError: a column is missing, unknown or of another length.
    """
    again = AGAIN_COLUMNS.names[0] in columns
    schema = pa.schema([*FINDING_COLUMNS, *AGAIN_COLUMNS]) if again else FINDING_COLUMNS
    if set(columns) != set(schema.names):
        odd = sorted(set(columns) ^ set(schema.names))
        raise ValueError(f"findings need exactly the columns {schema.names}; missing or unknown: {odd}")
    arrays = [pa.array(columns[field.name], field.type, from_pandas=True) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def write_table(path: Path, table: pa.Table, then: str = RESUME) -> None:
    """Write a table as Parquet in one step; ``then`` as for ``replacing``.

    Raises:
        RackscanError: the disk is full or read-only.
    """
    with replacing(path, then) as temporary:
        pq.write_table(table, temporary)


def read_table(path: Path, schema: pa.Schema) -> pa.Table:
    """A table that ``write_table`` wrote.

    Raises:
        DamagedRun: the file is missing, damaged, or lacks a column of ``schema``.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DamagedRun(f"{path}: the table cannot be read: {error}") from error
    missing = [name for name in schema.names if name not in table.schema.names]
    if missing:
        raise DamagedRun(f"{path}: the table lacks the columns {', '.join(missing)}")
    return table


def _failures(ledger: LedgerProtocol, slide_id: str) -> dict[str, TileFailedFact]:
    facts = (TileFailedFact.from_body(event.body) for event in ledger.events(Kind.TILE_FAILED, slide_id))
    return {tile_key(fact.tile, fact.plan): fact for fact in facts}


def _captured_row(fact: TileFact, placed: PlacedFact | None, judged: TileFinishedFact | None) -> Row:
    return _planned_row(fact.planned, fact.plan, fact.attempt) | {
        "reported_x_um": fact.reported_x_um,
        "reported_y_um": fact.reported_y_um,
        "x_px": placed.x_px if placed else None,
        "y_px": placed.y_px if placed else None,
        "z_um": fact.focus.z_um,
        "focus_state": fact.focus.state.value,
        "z_sigma_um": fact.focus.sigma_um if math.isfinite(fact.focus.sigma_um) else None,
        "quality": judged.quality if judged else None,
        "t_trigger_s": fact.frame.t_trigger_s if fact.frame else None,
        "t_read_s": fact.frame.t_read_s if fact.frame else None,
        "accepted": True,
        "reason": fact.focus.reason,
    }


def _planned_row(planned: PlannedTile, plan: int, attempt: int) -> Row:
    return {
        "tile": planned.tile,
        "plan": plan,
        "attempt": attempt,
        "row": planned.row,
        "col": planned.col,
        "x_um": planned.x_um,
        "y_um": planned.y_um,
        "accepted": False,
    }


def _failed_row(planned: PlannedTile, fact: TileFailedFact) -> Row:
    return _planned_row(planned, fact.plan, fact.attempt) | {"reason": fact.reason}


def _skipped_row(plan: Plan, skipped: Skipped) -> Row:
    centre = plan.grid.centre(skipped.row, skipped.col)
    where = PlannedTile(tile=skipped.tile, row=skipped.row, col=skipped.col, x_um=centre.x, y_um=centre.y)
    return _planned_row(where, plan.number, 0) | {"reason": skipped.reason}
