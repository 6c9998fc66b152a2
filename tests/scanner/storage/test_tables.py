"""Do the tables hold exactly what the ledger knows, in the columns that others read?"""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scanner.errors import DamagedRun
from scanner.model.events import Kind
from scanner.storage.ledger import Ledger
from scanner.storage.tables import (
    FINDING_COLUMNS,
    TILE_COLUMNS,
    findings_table,
    read_table,
    tiles_table,
    write_table,
)

if TYPE_CHECKING:
    from tests.scanner.conftest import WrittenRun

TILES = (
    "tile,plan,attempt,row,col,x_um,y_um,reported_x_um,reported_y_um,x_px,y_px,z_um,focus_state,z_sigma_um,"
    "quality,t_trigger_s,t_read_s,accepted,reason"
)
FINDINGS = "slide_id,tile,rank,class,score,x_px,y_px,w_px,h_px,x_um,y_um"


def test_the_columns_are_those_that_other_programs_read() -> None:
    assert ",".join(TILE_COLUMNS.names) == TILES
    assert ",".join(FINDING_COLUMNS.names) == FINDINGS


def test_every_planned_tile_has_a_row_and_only_captured_ones_are_accepted(finished_run: "WrittenRun") -> None:
    with Ledger.read(finished_run.folder.ledger) as ledger:
        rows = tiles_table(ledger, "2-run-1").to_pylist()
    accepted = [(row["tile"], row["plan"]) for row in rows if row["accepted"]]
    assert sorted(accepted) == sorted(tile.key for tile in finished_run.tiles)
    assert len(rows) == len(accepted) + 2
    assert {row["reason"] for row in rows if not row["accepted"]} == {
        "no frame came",
        "no sample in the overview",
    }


def test_a_row_says_where_the_tile_was_planned_taken_and_placed(finished_run: "WrittenRun") -> None:
    tile = finished_run.tiles[2]
    assert tile.frame is not None
    with Ledger.read(finished_run.folder.ledger) as ledger:
        rows = tiles_table(ledger, "2-run-1").to_pylist()
    row = next(row for row in rows if (row["tile"], row["plan"]) == tile.key)
    assert (row["x_um"], row["y_um"]) == (tile.planned.x_um, tile.planned.y_um)
    assert (row["reported_x_um"], row["reported_y_um"]) == (tile.reported_x_um, tile.reported_y_um)
    assert (row["x_px"], row["y_px"]) == (tile.planned.col * 57.6, tile.planned.row * 57.6)
    assert (row["t_trigger_s"], row["t_read_s"]) == (tile.frame.t_trigger_s, tile.frame.t_read_s)
    assert (row["focus_state"], row["z_um"], row["z_sigma_um"], row["quality"]) == ("sharp", 1.25, 0.1, 0.8)


def test_what_is_not_known_yet_is_null(broken_off_run: "WrittenRun") -> None:
    with Ledger.read(broken_off_run.folder.ledger) as ledger:
        rows = tiles_table(ledger, "2-run-1").to_pylist()
    taken = [row for row in rows if row["accepted"]]
    assert len(taken) == 2
    assert all(row["x_px"] is None and row["quality"] is None for row in taken)


def test_a_table_comes_back_as_it_was_written(finished_run: "WrittenRun", tmp_path: Path) -> None:
    with Ledger.read(finished_run.folder.ledger) as ledger:
        table = tiles_table(ledger, "2-run-1")
    write_table(tmp_path / "t.parquet", table)
    assert read_table(tmp_path / "t.parquet", TILE_COLUMNS).equals(table)
    assert [path.name for path in tmp_path.glob("*.parquet")] == ["t.parquet"]


def test_findings_without_a_column_or_with_an_unknown_one_are_refused() -> None:
    empty: dict[str, list[str]] = {name: [] for name in FINDING_COLUMNS.names}
    assert findings_table(empty).num_rows == 0
    with pytest.raises(ValueError, match="extra"):
        findings_table({**empty, "extra": []})
    del empty["rank"]
    with pytest.raises(ValueError, match="rank"):
        findings_table(empty)


def test_columns_of_unequal_length_are_refused() -> None:
    columns: dict[str, list[str]] = {name: [] for name in FINDING_COLUMNS.names}
    with pytest.raises(ValueError, match="length"):
        findings_table({**columns, "slide_id": ["1-a"]})


@pytest.mark.parametrize("content", [b"", b"PAR1 but not really PAR1"])
def test_a_file_that_is_no_table_is_said_to_be_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.parquet"
    with pytest.raises(DamagedRun, match="cannot be read"):
        read_table(path, TILE_COLUMNS)
    path.write_bytes(content)
    with pytest.raises(DamagedRun, match="cannot be read"):
        read_table(path, TILE_COLUMNS)


def test_a_table_that_lacks_a_column_is_said_to_be_so(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"tile": [1]}), path)
    with pytest.raises(DamagedRun, match="lacks the columns plan, attempt"):
        read_table(path, TILE_COLUMNS)


def test_a_fact_that_is_no_tile_is_damage(finished_run: "WrittenRun") -> None:
    with Ledger.open(finished_run.folder.ledger) as ledger:
        ledger.append(Kind.TILE, "2-run-1", "99.1", {"odd": True})
        with pytest.raises(DamagedRun, match="TileFact"):
            tiles_table(ledger, "2-run-1")


def test_a_first_table_loads_nothing_once_the_libraries_are_there() -> None:
    """Asked in a process of its own, which has built no table before."""
    lines = (
        "import sys",
        "import pyarrow as pa",
        "from scanner.storage.tables import TILE_COLUMNS, load_libraries",
        "load_libraries()",
        "before = set(sys.modules)",
        "pa.Table.from_pylist([{'tile': 1}], schema=TILE_COLUMNS)",
        "print(*sorted(set(sys.modules) - before))",
    )
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
