"""Does ``verify`` find every way in which a run folder can contradict itself, and none in one that does not?"""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import pyarrow.parquet as pq
import pytest

from scanner.errors import BadInput
from scanner.model.correction import Via
from scanner.model.events import Kind
from scanner.offline.verify import verify
from scanner.review.correcting import Desk
from scanner.storage.facts import PlacedFact, TileFact, plan_key, tile_key
from scanner.storage.ledger import Ledger
from scanner.storage.reader import RunReader
from scanner.storage.run_folder import RunFolder
from scanner.storage.spool import Spool

if TYPE_CHECKING:
    from tests.scanner.conftest import WrittenRun

SLIDE = "2-run-1"
IN_IMAGE = "findings in the image"


def checks(root: Path) -> set[str]:
    """The names of the checks that do not hold."""
    result = verify(root)
    assert result.ok is not bool(result.problems)
    return {problem.check for problem in result.problems}


def rewrite_json(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def test_a_finished_run_is_consistent(finished_run: "WrittenRun") -> None:
    result = verify(finished_run.root)
    assert result.problems == ()
    assert result.ok
    assert result.slides == (SLIDE,)


def test_a_run_broken_off_in_the_middle_is_consistent(broken_off_run: "WrittenRun") -> None:
    assert verify(broken_off_run.root).problems == ()


def test_a_run_killed_before_its_first_fact_is_consistent(finished_run: "WrittenRun", tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    RunFolder.create(bare, finished_run.folder.settings)
    assert verify(bare).ok


def test_verifying_changes_nothing(finished_run: "WrittenRun") -> None:
    def everything() -> dict[Path, bytes]:
        files = (path for path in finished_run.root.rglob("*") if path.is_file())
        return {path: path.read_bytes() for path in files if not path.name.endswith(("-wal", "-shm"))}

    before = everything()
    verify(finished_run.root)
    assert everything() == before


def test_a_folder_that_is_no_run_is_bad_input(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(BadInput, match="not a run folder"):
            verify(folder)


def test_a_lost_or_destroyed_ledger_is_found(finished_run: "WrittenRun") -> None:
    finished_run.folder.ledger.write_bytes(b"no database" * 100)
    assert checks(finished_run.root) == {"ledger"}
    finished_run.folder.ledger.unlink()
    assert checks(finished_run.root) == {"ledger"}


def test_a_forged_fact_is_found(finished_run: "WrittenRun") -> None:
    connection = sqlite3.connect(finished_run.folder.ledger)
    connection.executescript(
        "DROP TRIGGER events_stay; UPDATE events SET at = 'never' WHERE kind = 'slide-loaded'"
    )
    connection.close()
    assert checks(finished_run.root) == {"chain"}


def test_a_profile_text_altered_afterwards_is_found(finished_run: "WrittenRun") -> None:
    frozen = {"path": "p.yaml", "text": "name: other", "sha256": "0" * 64}
    rewrite_json(finished_run.root / "run.json", lambda settings: settings.update(profile=frozen))
    assert checks(finished_run.root) == {"settings"}


@pytest.mark.parametrize("harm", ["gone", "altered", "unknown"])
def test_a_kept_frame_that_is_gone_altered_or_unknown_is_found(finished_run: "WrittenRun", harm: str) -> None:
    path = sorted(finished_run.folder.frames.rglob("*.tif"))[1]
    if harm == "gone":
        path.unlink()
    elif harm == "altered":
        path.write_bytes(path.read_bytes()[:-1] + b"\x01\x02")
    else:
        shutil.copy(path, path.with_name("tile000777-plan01-attempt01.tif"))
    assert checks(finished_run.root) == {"frames"}


def test_without_kept_tiles_only_frames_that_a_resume_needs_must_be_there(
    broken_off_run: "WrittenRun",
) -> None:
    root = broken_off_run.root
    rewrite_json(root / "run.json", lambda settings: settings.update(keep_tiles=False))
    shutil.move(root / "tiles", root / "spool")
    assert checks(root) == set()
    Spool(root / "spool", keep=False).drop(SLIDE, *broken_off_run.tiles[0].key, 1)
    assert checks(root) == {"frames"}


def test_a_tile_that_the_plan_claims_but_nobody_took_is_found(broken_off_run: "WrittenRun") -> None:
    with Ledger.open(broken_off_run.folder.ledger) as ledger:
        ledger.append(Kind.PLAN_CAPTURED, SLIDE, plan_key(1), {})
    assert checks(broken_off_run.root) == {"plan"}


def test_an_image_that_claims_to_be_complete_while_tiles_are_missing_is_found(
    broken_off_run: "WrittenRun",
) -> None:
    def claim(group: dict[str, object]) -> None:
        attributes = group["attributes"]
        assert isinstance(attributes, dict)
        attributes["rackscan"]["complete"] = True

    rewrite_json(broken_off_run.folder.slide(SLIDE).image / "zarr.json", claim)
    assert checks(broken_off_run.root) == {"plan"}


def test_a_tile_of_no_plan_is_found(broken_off_run: "WrittenRun") -> None:
    with Ledger.open(broken_off_run.folder.ledger) as ledger:
        event = ledger.latest(Kind.TILE, SLIDE)
        assert event is not None
        fact = TileFact.from_body(event.body).model_copy(update={"plan": 7})
        ledger.append(Kind.TILE, SLIDE, tile_key(fact.planned.tile, 7), fact.body())
    assert "plan" in checks(broken_off_run.root)


@pytest.mark.parametrize("harm", ["gone", "altered", "unknown"])
def test_a_block_that_is_gone_altered_or_unknown_is_found(finished_run: "WrittenRun", harm: str) -> None:
    path = finished_run.folder.slide(SLIDE).image / "0" / "c" / "0" / "0" / "0"
    if harm == "gone":
        path.unlink()
    elif harm == "altered":
        path.write_bytes(path.read_bytes() + b"\0")
    else:
        shutil.copy(path, path.with_name("1"))
    assert checks(finished_run.root) == {"blocks"}


def test_a_tile_placed_where_the_image_has_no_block_is_found(finished_run: "WrittenRun") -> None:
    far = PlacedFact(tile=3, plan=2, x_px=5000, y_px=10, held=True, sigma_px=1)
    with Ledger.open(finished_run.folder.ledger) as ledger:
        ledger.append(Kind.PLACED, SLIDE, tile_key(3, 2), far.body())
    assert checks(finished_run.root) == {"coverage"}


def test_an_image_that_breaks_the_format_is_found(finished_run: "WrittenRun") -> None:
    path = finished_run.folder.slide(SLIDE).image / "zarr.json"
    rewrite_json(path, lambda group: group.update(attributes={"ome": {"version": "0.5"}}))
    assert checks(finished_run.root) == {"image"}


def test_an_image_of_a_newer_rackscan_is_told(finished_run: "WrittenRun") -> None:
    path = finished_run.folder.slide(SLIDE).image / "zarr.json"

    def renew(group: dict[str, Any]) -> None:
        group["attributes"]["rackscan"]["version"] = 2

    rewrite_json(path, renew)
    (problem,) = verify(finished_run.root).problems
    assert (problem.check, "written by a newer rackscan" in problem.detail) == ("image", True)


def test_an_image_that_the_report_names_and_nobody_finds_is_found(finished_run: "WrittenRun") -> None:
    shutil.rmtree(finished_run.folder.slide(SLIDE).image)
    assert checks(finished_run.root) == {"image", "blocks"}


@pytest.mark.parametrize("column", ["accepted", "reported_x_um", "tile"])
def test_a_tiles_table_that_says_something_else_is_found(finished_run: "WrittenRun", column: str) -> None:
    path = finished_run.folder.slide(SLIDE).tiles
    table = pq.read_table(path)
    at = table.schema.get_field_index(column)
    pq.write_table(table.set_column(at, table.schema.field(at), table.column(column)[::-1]), path)
    assert checks(finished_run.root) == {"tiles.parquet"}


def test_findings_that_are_missing_unranked_or_of_elsewhere_are_found(finished_run: "WrittenRun") -> None:
    path = finished_run.folder.slide(SLIDE).findings
    table = pq.read_table(path)
    pq.write_table(table.take([1, 0]), path)
    assert checks(finished_run.root) == {"findings.parquet", IN_IMAGE}
    elsewhere = table.set_column(0, table.schema.field(0), [["9-x", "9-x"]])
    pq.write_table(elsewhere, path)
    assert checks(finished_run.root) == {"findings.parquet"}
    path.unlink()
    assert checks(finished_run.root) == {"findings.parquet", IN_IMAGE}


def test_findings_in_the_image_that_differ_or_are_gone_are_found(finished_run: "WrittenRun") -> None:
    image = finished_run.folder.slide(SLIDE).image
    chunk = image / "labels" / "findings" / "0" / "c" / "0" / "0"
    kept = chunk.read_bytes()
    chunk.write_bytes(imagecodecs.zstd_encode(bytes(2 * 512 * 512)))
    assert checks(finished_run.root) == {IN_IMAGE}
    chunk.unlink()
    assert checks(finished_run.root) == {IN_IMAGE}
    chunk.write_bytes(kept)
    assert checks(finished_run.root) == set()
    stray = image / "labels" / "findings" / "0" / "c" / "0" / "7"
    stray.write_bytes(kept)
    assert checks(finished_run.root) == {IN_IMAGE}
    stray.unlink()
    own = image / "tables" / "findings" / "table.parquet"
    pq.write_table(pq.read_table(own).slice(1), own)
    assert checks(finished_run.root) == {IN_IMAGE}
    shutil.rmtree(image / "tables")
    assert checks(finished_run.root) == {IN_IMAGE}


def test_a_tile_that_nobody_searched_is_found(finished_run: "WrittenRun") -> None:
    paths = finished_run.folder.slide(SLIDE)
    with sqlite3.connect(finished_run.folder.ledger) as database:
        database.execute("DROP TRIGGER events_remain")
        database.execute("DELETE FROM events WHERE kind = ? AND key = ?", (str(Kind.DETECTED), "0.1"))
    assert "answers" in checks(finished_run.root)
    rewrite_json(paths.report, lambda report: report.update(detector=None))
    assert "answers" not in checks(finished_run.root)


def test_labels_that_no_viewer_opens_are_found(finished_run: "WrittenRun") -> None:
    described = finished_run.folder.slide(SLIDE).image / "labels" / "findings" / "zarr.json"
    rewrite_json(described, lambda group: group.update(attributes={}))
    assert checks(finished_run.root) == {"image"}


def test_a_run_of_before_images_held_findings_is_consistent(finished_run: "WrittenRun") -> None:
    image = finished_run.folder.slide(SLIDE).image
    for folder in ("labels", "tables"):
        shutil.rmtree(image / folder)
    rewrite_json(image / "zarr.json", lambda group: group["attributes"]["rackscan"].pop("findings"))  # type: ignore[index]
    assert checks(finished_run.root) == set()


@pytest.mark.parametrize(
    "change",
    [{"outcome": "rerun"}, {"verdict": "negative-excluded"}, {"tiles": {"planned": 99}}],
)
def test_a_report_that_says_something_else_is_found(
    finished_run: "WrittenRun", change: dict[str, object]
) -> None:
    rewrite_json(finished_run.folder.slide(SLIDE).report, lambda report: report.update(change))
    assert checks(finished_run.root) == {"report.json", "report"}


def test_a_finished_slide_or_run_without_its_report_is_found(finished_run: "WrittenRun") -> None:
    finished_run.folder.slide(SLIDE).report.unlink()
    assert checks(finished_run.root) == {"report.json"}
    finished_run.folder.report.unlink()
    assert checks(finished_run.root) == {"report.json", "report"}


def test_a_report_of_another_run_is_found(finished_run: "WrittenRun") -> None:
    rewrite_json(finished_run.folder.report, lambda report: report.update(run="run-9"))
    assert checks(finished_run.root) == {"report"}


def test_corrections_leave_a_run_consistent_and_a_change_of_them_shows(finished_run: "WrittenRun") -> None:
    with RunReader.open(finished_run.root) as reader:
        desk = Desk(reader, SLIDE, "AB", Via.NAPARI)
        desk.name(desk.found[0], "NILM")
        desk.undo()
    assert verify(finished_run.root).problems == ()
    first = finished_run.folder.slide(SLIDE).corrections / "000001.json"
    first.write_text(first.read_text().replace("NILM", "SCC"))
    assert checks(finished_run.root) == {"corrections"}
    first.write_text("{")
    assert checks(finished_run.root) == {"corrections"}
