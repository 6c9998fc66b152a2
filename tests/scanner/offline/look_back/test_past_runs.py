"""Is what a run once said of its slide compared with what is seen now, and a run that is not whole never negative?"""

import json
import shutil
from pathlib import Path

import pytest

from scanner.model.report import Verdict
from tests.scanner.offline.look_back.asking import kinds, read, rows
from tests.scanner.offline.look_back.conftest import SIMULATED, MakeRun


def test_a_scale_that_is_given_does_not_replace_the_images_own(tmp_path: Path, make_run: MakeRun) -> None:
    make_run(tmp_path / "archive" / "run", "suspicious", Verdict.NEGATIVE_EXCLUDED)
    read(tmp_path / "archive", tmp_path / "out", um_per_px=0.9)
    found = json.loads((tmp_path / "out" / "cases" / "0001" / "found.json").read_text())
    assert found["um_per_px"] == 0.5


@pytest.mark.parametrize(
    ("shows", "verdict", "report", "point", "kind"),
    [
        ("suspicious", Verdict.NEGATIVE_EXCLUDED, {}, 0.5, "missed-then"),
        ("suspicious", Verdict.NEGATIVE_EXCLUDED, {}, None, "missed-then"),
        ("suspicious", Verdict.UNSATISFACTORY, {}, 0.5, "unrecorded"),
        ("suspicious", Verdict.REVIEW, {}, 0.5, None),
        ("harmless", Verdict.REVIEW, {"slide_score": 0.9, "operating_point": 0.8}, 0.5, "missed-now"),
        ("harmless", Verdict.URGENT, {}, 0.5, "missed-now"),
        ("harmless", Verdict.NEGATIVE_EXCLUDED, {}, 0.5, None),
        ("empty", Verdict.NEGATIVE_EXCLUDED, {}, 0.5, "unreadable"),
    ],
)
def test_the_verdict_of_a_run_is_compared(
    tmp_path: Path,
    make_run: MakeRun,
    shows: str,
    verdict: Verdict,
    report: dict[str, float],
    point: float | None,
    kind: str | None,
) -> None:
    make_run(tmp_path / "archive" / "run", shows, verdict, **report)
    summary = read(tmp_path / "archive", tmp_path / "out", operating_point=point)
    assert list(kinds(tmp_path / "out").values()) == ([kind] if kind else [])
    (used,) = summary.operating_points
    if point is None:  # the record that ships for the simulated rig and this detector
        assert "the evaluation record of this detector on simulated" in used.said
        record = json.loads(SIMULATED.with_name("simulated.evaluation.json").read_text())
        assert used.operating_point == record["operating_point"]
    assert summary.asked_then == (shows == "suspicious" and verdict is Verdict.REVIEW)


def test_a_recorded_diagnosis_counts_more_than_the_verdict(tmp_path: Path, make_run: MakeRun) -> None:
    make_run(tmp_path / "archive" / "run", "suspicious", Verdict.REVIEW, accession="P23-1")
    table = tmp_path / "table.csv"
    table.write_text("case,diagnosis\nP23-1,NILM\n")
    read(tmp_path / "archive", tmp_path / "out", operating_point=0.5, diagnoses=table)
    assert [(row["kind"], row["old"]) for row in rows(tmp_path / "out")] == [("missed-then", "NILM")]


def test_places_of_a_runs_image_that_are_gone_make_it_unreadable(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run(tmp_path / "archive" / "run", "harmless", Verdict.NEGATIVE_EXCLUDED)
    read(tmp_path / "archive", tmp_path / "out")
    assert kinds(tmp_path / "out") == {}
    (run / "slides" / "1-r1" / "image.ome.zarr" / "0" / "c" / "0" / "0" / "0").unlink()
    assert read(tmp_path / "archive", tmp_path / "out").read == 1
    assert rows(tmp_path / "out")[0]["why"] == "1 blocks of the image are missing"


def test_a_scan_that_was_not_completed_is_not_negative(tmp_path: Path, make_run: MakeRun) -> None:
    make_run(tmp_path / "archive" / "run", "harmless", Verdict.INCOMPLETE, complete=False)
    read(tmp_path / "archive", tmp_path / "out")
    assert rows(tmp_path / "out")[0]["why"] == "its scan was not completed"


def test_an_image_that_its_run_names_and_that_is_gone_is_listed(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run(tmp_path / "archive" / "run", "harmless", Verdict.NEGATIVE_EXCLUDED)
    make_run(tmp_path / "archive" / "other", "harmless", Verdict.NEGATIVE_EXCLUDED)
    never = make_run(tmp_path / "archive" / "never", "harmless", Verdict.INCOMPLETE, image=None)
    for root in (run, never):
        shutil.rmtree(root / "slides" / "1-r1" / "image.ome.zarr")
    summary = read(tmp_path / "archive", tmp_path / "out")
    assert kinds(tmp_path / "out") == {"run/slides/1-r1/image.ome.zarr": "unreadable"}
    assert summary.without_image == 1


def test_of_a_damaged_run_the_image_is_read_and_the_damage_told(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run(tmp_path / "archive" / "run", "suspicious", Verdict.NEGATIVE_EXCLUDED)
    (run / "run.sqlite").write_bytes(b"no ledger" * 100)
    summary = read(tmp_path / "archive", tmp_path / "out")
    assert list(kinds(tmp_path / "out").values()) == ["unrecorded"]
    assert str(tmp_path) not in summary.troubles[1]
    assert summary.troubles[1] in (tmp_path / "out" / "lookback.html").read_text()
