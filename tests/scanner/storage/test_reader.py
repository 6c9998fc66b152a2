"""Does the reader say of a run folder what is in it, finished or not?"""

from typing import TYPE_CHECKING

import numpy as np
import pytest

from scanner.errors import DamagedRun
from scanner.model.events import Kind
from scanner.model.report import Outcome, SlideReport, TileCounts, Verdict
from scanner.storage.facts import TileFailedFact, tile_key
from scanner.storage.ledger import Ledger
from scanner.storage.reader import RunReader, reconcile
from scanner.storage.tables import FINDING_COLUMNS, TILE_COLUMNS

if TYPE_CHECKING:
    from tests.scanner.conftest import WrittenRun

SLIDE = "2-run-1"


def test_a_finished_run_says_everything(finished_run: "WrittenRun") -> None:
    with RunReader.open(finished_run.root) as reader:
        assert reader.slides() == (SLIDE,)
        assert reader.plans(SLIDE) == finished_run.plans
        assert reader.tiles(SLIDE).num_rows == 8
        assert reader.findings(SLIDE).column("class").to_pylist() == ["HSIL", "LSIL"]
        report, result = reader.report(SLIDE), reader.result()
    assert report is not None
    assert result is not None
    assert result.slides[0].tiles == report.tiles


def test_a_run_that_goes_on_says_what_is_known_by_now(broken_off_run: "WrittenRun") -> None:
    with RunReader.open(broken_off_run.root) as reader:
        assert reader.report(SLIDE) is None
        assert reader.result() is None
        assert reader.findings(SLIDE).schema.equals(FINDING_COLUMNS)
        assert reader.tiles(SLIDE).schema.equals(TILE_COLUMNS)
        assert sum(reader.tiles(SLIDE).column("accepted").to_pylist()) == 2
        [point] = reader.focus_points(SLIDE)
        assert (point.x_um, point.z_um, point.state) == (45_000.0, 1.2, "found")


def test_the_report_that_a_stopped_session_left_does_not_hide_what_the_ledger_knows(
    broken_off_run: "WrittenRun",
) -> None:
    provisional = SlideReport(slot=2, slide_id=SLIDE, outcome=Outcome.RERUN, verdict=Verdict.INCOMPLETE)
    broken_off_run.folder.slide(SLIDE).report.write_text(provisional.model_dump_json())
    with RunReader.open(broken_off_run.root) as reader:
        assert reader.report(SLIDE) == provisional
        assert len(reader.focus_points(SLIDE)) == 1


def test_a_reader_beside_a_writer_sees_what_was_added(broken_off_run: "WrittenRun") -> None:
    with RunReader.open(broken_off_run.root) as reader, Ledger.open(broken_off_run.folder.ledger) as ledger:
        assert reader.failures(SLIDE) == ()
        failed = TileFailedFact(tile=3, plan=1, attempt=2, reason="dropped frame")
        ledger.append(Kind.TILE_FAILED, SLIDE, tile_key(3, 1), failed.body())
        assert reader.failures(SLIDE) == (failed,)


def test_fields_are_counted_once_however_often_they_were_taken(finished_run: "WrittenRun") -> None:
    with RunReader.open(finished_run.root) as reader:
        counts = reader.counts(SLIDE)
    assert counts == TileCounts(planned=7, captured=5, skipped=1, failed=1, retaken=1)
    assert counts.planned == counts.captured + counts.skipped + counts.failed


def test_a_field_that_failed_and_was_then_taken_counts_as_captured(finished_run: "WrittenRun") -> None:
    failed = TileFailedFact(tile=0, plan=2, attempt=2, reason="dropped frame")
    with Ledger.open(finished_run.folder.ledger) as ledger:
        ledger.append(Kind.TILE_FAILED, SLIDE, tile_key(0, 2), failed.body())
    with RunReader.open(finished_run.root) as reader:
        assert reader.counts(SLIDE).captured == 5
        assert reader.counts(SLIDE).failed == 1


def test_a_plan_reconciles_only_when_every_tile_has_a_frame_or_a_reason(finished_run: "WrittenRun") -> None:
    with RunReader.open(finished_run.root) as reader:
        plan, tiles, failures = reader.plans(SLIDE)[0], reader.tile_facts(SLIDE), reader.failures(SLIDE)
    assert reconcile(plan, tiles, failures) == []
    assert "1 tiles have neither" in reconcile(plan, tiles, ())[0]
    assert "more than once" in reconcile(plan, (*tiles, tiles[0]), failures)[0]


def test_kept_frames_are_read_through_the_reader(finished_run: "WrittenRun") -> None:
    with RunReader.open(finished_run.root) as reader:
        for tile, fact in zip(finished_run.tiles, reader.tile_facts(SLIDE), strict=True):
            assert tile.frame is not None
            pixels = reader.spool.get(SLIDE, *tile.key, 1, fact.content)
            assert np.array_equal(pixels, tile.frame.pixels)


def test_a_slide_that_was_decided_before_any_plan_is_a_slide_too(finished_run: "WrittenRun") -> None:
    with Ledger.open(finished_run.folder.ledger) as ledger:
        ledger.append(Kind.SLIDE_FAULT, "3-run-1", "", {"outcome": "empty", "reason": "no glass in the slot"})
    with RunReader.open(finished_run.root) as reader:
        assert reader.slides() == (SLIDE, "3-run-1")


def test_a_report_that_is_none_is_damage(finished_run: "WrittenRun") -> None:
    finished_run.folder.slide(SLIDE).report.write_text('{"slot": "two"}')
    with RunReader.open(finished_run.root) as reader, pytest.raises(DamagedRun, match="SlideReport"):
        reader.report(SLIDE)


def test_a_focus_point_that_is_none_is_damage(broken_off_run: "WrittenRun") -> None:
    with Ledger.open(broken_off_run.folder.ledger) as ledger:
        ledger.append(Kind.FOCUS_POINT, SLIDE, "", {"x_um": "left"})
    with RunReader.open(broken_off_run.root) as reader, pytest.raises(DamagedRun, match="focus point"):
        reader.focus_points(SLIDE)
