"""The whole road on the simulated rig, faults and stops included."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tifffile

from scanner.errors import BadInput, DeviceFault, RackscanError
from scanner.model.events import Kind
from scanner.model.geometry import Rect
from scanner.model.report import Outcome, RunResult, Verdict
from scanner.offline.verify import verify
from scanner.run import RunRequest, replay_run, resume_run, run_rack
from scanner.storage.ledger import Ledger
from scanner.storage.ome_zarr import PyramidStore
from scanner.storage.run_folder import RunFolder
from tests.scanner.clusters import cluster

PROFILES = Path(__file__).parents[2] / "hardware_profiles"
SMALL = Rect(43_000.0, 11_000.0, 900.0, 900.0)


def rig(folder: Path, faults: str = "") -> Path:
    """A simulated microscope of this test's own, with a fault plan."""
    shutil.copytree(PROFILES, folder / "rig", ignore=shutil.ignore_patterns("*.state.json*"))
    cfg = folder / "rig" / "simulated.cfg"
    cfg.write_text(re.sub(r"(#py Property,Faults,Plan,).*", rf"\g<1>{faults}", cfg.read_text()))
    return folder / "rig" / "simulated.yaml"


def scan(folder: Path, faults: str = "", **options: object) -> RunResult:
    asked = {"slides": 1, "region_um": SMALL, "detector": "none", "seed": 3} | options
    return run_rack(RunRequest(profile=rig(folder, faults), out=folder / "run", **asked))  # type: ignore[arg-type]  # keywords of the request


def log_of(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]


def warnings_of(folder: Path) -> str:
    return " ".join(line["message"] for line in log_of(folder) if line["level"] in ("warning", "error"))


def whole_image(run: Path, result: RunResult) -> list[np.ndarray]:
    image = result.slides[0].image
    assert image is not None
    store = PyramidStore.open(run / image)
    return [store.read(level, 0, 0, h, w) for level, (w, h) in enumerate(store.sizes)]


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    """One slide with everything: detector, kept tiles."""
    folder = tmp_path_factory.mktemp("scanned")
    return folder / "run", scan(folder, detector=None, keep_tiles=True)


def test_a_scanned_slide_is_done_and_verified(scanned: tuple[Path, RunResult]) -> None:
    run, result = scanned
    (slide,) = result.slides
    assert slide.outcome is Outcome.DONE
    assert slide.tiles.planned == slide.tiles.captured == 4
    assert slide.cells > 0
    assert verify(run).problems == ()
    assert (run / "report.html").stat().st_size > 10_000
    assert RunResult.model_validate_json((run / "report.json").read_text()) == result


def test_the_mosaic_of_a_scan_is_judged(scanned: tuple[Path, RunResult]) -> None:
    run, _ = scanned
    (figures,) = verify(run).mosaics
    assert (figures.pairs, figures.doubtful, figures.doubts) == (4, 0, ())
    assert figures.measured >= 1
    assert "how well its tiles fit" in (run / "report.html").read_text(encoding="utf-8")


def test_a_region_is_never_called_negative(scanned: tuple[Path, RunResult]) -> None:
    assert scanned[1].slides[0].verdict is Verdict.REVIEW


def test_the_image_is_complete_and_shows_the_sample(scanned: tuple[Path, RunResult]) -> None:
    run, result = scanned
    levels = whole_image(run, result)
    assert levels[0].std() > 5
    assert PyramidStore.open(run / str(result.slides[0].image)).facts["complete"] is True


def test_every_tile_lies_where_it_was_planned(scanned: tuple[Path, RunResult]) -> None:
    (table,) = (scanned[0] / "slides").glob("*/tiles.parquet")
    for row in pq.read_table(table).to_pylist():
        assert row["accepted"]
        assert abs(row["x_um"] - row["reported_x_um"]) < 15
        assert abs(row["y_um"] - row["reported_y_um"]) < 15
        assert row["t_read_s"] > row["t_trigger_s"]


def test_a_replay_makes_the_same_image_and_findings(scanned: tuple[Path, RunResult], tmp_path: Path) -> None:
    run, result = scanned
    again = replay_run(run, tmp_path / "again")
    assert verify(tmp_path / "again").problems == ()
    for one, other in zip(whole_image(run, result), whole_image(tmp_path / "again", again), strict=True):
        assert np.array_equal(one, other)
    tables = [
        pq.read_table(next(folder.glob("slides/*/findings.parquet"))) for folder in (run, tmp_path / "again")
    ]
    assert tables[0].equals(tables[1])
    assert findings_files(run) == findings_files(tmp_path / "again")


def test_a_replay_in_this_process_finds_the_same(scanned: tuple[Path, RunResult], tmp_path: Path) -> None:
    replay_run(scanned[0], tmp_path / "again", workers="in-process")
    assert findings_files(scanned[0]) == findings_files(tmp_path / "again")


def test_a_replay_on_a_cluster_finds_the_same(scanned: tuple[Path, RunResult], tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="distributed is not installed: the extra `cluster` brings it")
    with cluster(folder=tmp_path) as address:
        replay_run(scanned[0], tmp_path / "again", workers=address)
    assert verify(tmp_path / "again").problems == ()
    assert findings_files(scanned[0]) == findings_files(tmp_path / "again")


def findings_files(run: Path) -> dict[str, bytes]:
    """Every file of the findings, in all formats, by its path in the slide's folder."""
    (slide,) = run.glob("slides/*")
    inside = [path for part in ("labels", "tables") for path in (slide / "image.ome.zarr" / part).rglob("*")]
    files = [slide / "findings.parquet", slide / "findings.geojson", *filter(Path.is_file, inside)]
    assert len(files) > 10
    return {path.relative_to(slide).as_posix(): path.read_bytes() for path in files}


def test_a_run_that_stops_over_its_findings_resumes_to_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stops(folder: Path, *_: object) -> None:
        (folder / "half").write_text("of a table")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("scanner.export.ome_findings.roi_table.write_roi_table", stops)
    with pytest.raises(RackscanError, match="disk is full"):
        scan(tmp_path, detector=None, keep_tiles=True)
    monkeypatch.undo()
    run = tmp_path / "run"
    assert verify(run).problems == ()
    resume_run(run)
    replay_run(run, tmp_path / "again")
    assert verify(run).problems == ()
    assert findings_files(run) == findings_files(tmp_path / "again")


def test_a_replay_that_was_broken_off_never_goes_on_to_the_rig(
    scanned: tuple[Path, RunResult], tmp_path: Path
) -> None:
    folder = RunFolder.create(tmp_path / "again", RunFolder.open(scanned[0]).settings)
    with Ledger.open(folder.ledger, create=True) as ledger:
        ledger.append(Kind.RUN_STARTED, "", "", {"replay": folder.settings.run})
    with pytest.raises(BadInput, match="a replay is run again as a whole"):
        resume_run(folder.root)


def test_a_finished_run_gives_its_result_again(scanned: tuple[Path, RunResult]) -> None:
    assert resume_run(scanned[0]) == scanned[1]


def test_identifiers_stay_out_of_the_log_and_the_folder_names(scanned: tuple[Path, RunResult]) -> None:
    run, _ = scanned
    (report,) = (run / "slides").glob("*/report.json")
    accession = json.loads(report.read_text())["accession"]
    assert accession
    assert accession not in (run / "log.jsonl").read_text()
    assert not [path for path in run.rglob("*") if accession in path.name]


def test_a_lost_move_is_noticed_and_made_good(tmp_path: Path) -> None:
    result = scan(tmp_path, "lost-move@6")
    assert result.slides[0].outcome is Outcome.DONE
    assert "retry" in warnings_of(tmp_path)


@pytest.mark.parametrize("fault", ["zero-frame", "repeated-frame", "dropped-frame"])
def test_a_bad_frame_is_never_handed_on(tmp_path: Path, fault: str) -> None:
    exposures = 1 + max(_exposures(scan(tmp_path / "good")), 0)
    # among the last tiles' frames, also where this run needs a plane or two less than the good one
    result = scan(tmp_path / "bad", f"{fault}@{exposures - 5}")
    assert result.slides[0].tiles.captured == 4
    assert "retry" in warnings_of(tmp_path / "bad")
    assert verify(tmp_path / "bad" / "run").problems == ()


def _exposures(result: RunResult) -> int:
    (slide,) = result.slides
    return round(slide.frames_per_tile * slide.tiles.captured)


def test_a_stuck_axis_stops_the_run_with_everything_kept(tmp_path: Path) -> None:
    with pytest.raises(DeviceFault):
        scan(tmp_path, "stuck-axis@6")
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["slides"][0]["outcome"] == "rerun"
    assert report["slides"][0]["verdict"] == "incomplete"
    assert verify(tmp_path / "run").problems == ()


def test_given_focus_points_are_used_also_after_a_stop(tmp_path: Path) -> None:
    given = [[43.2, 11.3], [43.6, 11.4], [43.4, 11.7]]
    rack = tmp_path / "rack.yaml"
    rack.write_text(f"slots: [{{slot: 1, focus_points: {given}}}]\n")
    with pytest.raises(DeviceFault):
        scan(tmp_path, "stuck-axis@2", rack=rack, slides=None)
    cfg = tmp_path / "rig" / "simulated.cfg"
    cfg.write_text(cfg.read_text().replace("stuck-axis@2", ""))
    assert resume_run(tmp_path / "run").slides[0].outcome is Outcome.DONE
    (report,) = (tmp_path / "run" / "slides").glob("*/report.json")
    points = json.loads(report.read_text())["focus_points"]
    assert [[p["x_um"] / 1000, p["y_um"] / 1000] for p in points] == given


def test_a_jammed_slide_is_said_so_and_the_rack_goes_on(tmp_path: Path) -> None:
    result = scan(tmp_path, "loader-jam@slot1;empty-slot@slot2", slides=3, seed=4)
    assert [slide.outcome for slide in result.slides] == [Outcome.RERUN, Outcome.EMPTY, Outcome.DONE]
    assert "jam" in warnings_of(tmp_path)


def test_a_slide_that_nobody_can_name_goes_to_process_review(tmp_path: Path) -> None:
    result = scan(tmp_path, "unreadable-label@slot1")
    assert result.slides[0].outcome is Outcome.PROCESS_REVIEW


def test_another_slides_label_keeps_the_slide_from_being_scanned(tmp_path: Path) -> None:
    rack = tmp_path / "rack.yaml"
    rack.write_text("slots: [{slot: 1, slide: SOMEBODY-ELSE, preparation: thinprep}]\n")
    result = scan(tmp_path, rack=rack, slides=None)
    assert result.slides[0].outcome is Outcome.IDENTITY_CONFLICT
    assert result.slides[0].tiles.captured == 0


def test_a_picture_as_specimen_is_found_and_scanned_whole(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    picture = np.full((1500, 1500, 3), 238, np.uint8)
    for x, y, r in zip(*rng.integers(60, 1440, (2, 150)), rng.integers(8, 30, 150), strict=True):
        picture[y - r : y + r, x - r : x + r] = rng.integers(60, 200, 3)
    path = tmp_path / "specimen.png"
    tifffile.imwrite(tmp_path / "specimen.tif", picture, photometric="rgb")
    path = tmp_path / "specimen.tif"
    result = scan(tmp_path, specimens=(path,), um_per_px=0.5, region_um=None, slides=None)
    (slide,) = result.slides
    assert slide.sample_covered == pytest.approx(1.0, abs=0.001)
    assert slide.tiles.captured >= 4


def test_an_interrupt_stops_the_stage_and_a_resume_finishes(tmp_path: Path) -> None:
    profile = rig(tmp_path)
    out = tmp_path / "run"
    region = ["--region", "43,11,2.2,2.2", "--detector", "none", "--slides", "1", "--out", str(out)]
    command = [sys.executable, "-m", "scanner.cli", "run", "--profile", str(profile), *region]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while not list(out.glob("spool/*/*.tif")) and time.monotonic() < until and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "resume" in said
    assert verify(out).problems == ()
    (slide,) = resume_run(out).slides
    assert slide.tiles.captured == slide.tiles.planned == 25
    assert verify(out).problems == ()


def test_a_run_without_kept_tiles_refuses_a_replay(tmp_path: Path) -> None:
    scan(tmp_path)
    with pytest.raises(BadInput, match="keep-tiles"):
        replay_run(tmp_path / "run", tmp_path / "again")
    assert not (tmp_path / "again").exists()
