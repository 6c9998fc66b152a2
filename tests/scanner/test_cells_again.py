"""Are suspicious cells taken again before the slide leaves, found on the image, read again and told of?"""

import json
import re
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaozarrs
import zarr
from ome_zarr_models.v05 import Image

from detection.scoring import slide_score
from scanner.acquisition import capture
from scanner.acquisition.acquire import Captured, Missed, Session, acquire
from scanner.errors import BadInput
from scanner.model.plan import PlannedTile, PlanReason
from scanner.model.report import Outcome, RunResult
from scanner.model.tile import FocusState
from scanner.offline.verify import verify
from scanner.review.finding_planes import planes_of
from scanner.review.layers import slide_layers
from scanner.run import RunRequest, replay_run, run_rack
from scanner.session import second_look
from scanner.storage.ome_zarr import PyramidStore
from scanner.storage.reader import RunReader
from scanner.storage.tables import AGAIN_COLUMNS, FINDING_COLUMNS
from tests.scanner.again import CELLS, LAYERS, POINT, SEED, SMALL, STEP_UM, AgainRun, again_rig, again_scan
from tests.scanner.thick import everything


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    """One small slide; the detector is given all the time it needs, so that a busy machine changes nothing."""
    folder = tmp_path_factory.mktemp("again")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(second_look, "WAIT_S", 120.0)
        return folder / "run", again_scan(folder, keep_tiles=True)


@pytest.fixture
def run(scanned: tuple[Path, RunResult]) -> AgainRun:
    return AgainRun.of(scanned[0])


def test_the_best_cells_are_taken_again_by_a_further_plan(run: AgainRun) -> None:
    assert run.chosen is not None
    assert len(run.chosen.cells) == CELLS
    assert run.chosen.unanswered == ()
    assert run.plan == run.chosen.plan == run.plans[-1]
    assert run.plan.reason is PlanReason.CELLS
    assert 1 <= len(run.plan.tiles) <= CELLS
    assert {tile.planned for tile in run.fields} == set(run.plan.tiles)
    assert all(len(tile.layers) == LAYERS for tile in run.fields)
    for tile in run.fields:
        steps = np.diff([layer.z_um for layer in tile.layers])
        assert steps == pytest.approx(STEP_UM, abs=0.3)


def test_they_are_no_tiles_of_the_image(scanned: tuple[Path, RunResult], run: AgainRun) -> None:
    (slide,) = scanned[1].slides
    assert slide.outcome is Outcome.DONE
    assert (slide.tiles.planned, slide.tiles.captured, slide.tiles.failed) == (4, 4, 0)
    table = pq.read_table(run.paths.tiles)
    assert set(table.column("plan").to_pylist()) == {plan.number for plan in run.plans if plan.of_image}
    assert verify(scanned[0]).problems == ()


def test_their_image_is_a_valid_ome_zarr_on_the_slides_own_canvas(run: AgainRun) -> None:
    yaozarrs.validate_zarr_store(run.paths.cells)
    Image.from_zarr(zarr.open_group(run.paths.cells, mode="r"))
    cells, image = (zarr.open_array(path / "0", mode="r") for path in (run.paths.cells, run.paths.image))
    assert cells.shape == (3, LAYERS, *image.shape[1:])
    assert (cells.dtype, cells.chunks, cells.fill_value) == (image.dtype, (1, 1, 512, 512), 255)
    store = PyramidStore.open(run.paths.cells)
    assert store.facts["complete"] is True
    assert store.spec.layer_um == STEP_UM


def test_a_findings_box_shows_its_cell_there_in_every_plane(run: AgainRun) -> None:
    """The middle planes show what the image shows where it shows anything: a cell at its border reaches beyond it."""
    cells, image = PyramidStore.open(run.paths.cells), PyramidStore.open(run.paths.image)
    rows = [row for row in pq.read_table(run.paths.findings).to_pylist() if row["score_again"] is not None]
    assert rows
    for row in rows:
        at = (round(row["y_px"]), round(row["x_px"]), round(row["h_px"]), round(row["w_px"]))
        seen = image.read(0, *at).astype(float)
        drawn = (seen < 255).any(axis=0)
        for z in range(LAYERS):
            assert cells.read(0, *at, z).min() < 200
        alike = [np.corrcoef(seen[1][drawn], cells.read(0, *at, z)[1][drawn])[0, 1] for z in range(LAYERS)]
        assert max(alike) > 0.95


def test_the_plane_that_is_read_again_is_the_sharpest(run: AgainRun) -> None:
    """Judged by another measure than the one that chose it: the variance of second differences in the cell's box.

    Of a thick or pale cell two planes far apart can be as sharp as each other.
    """
    store = PyramidStore.open(run.paths.cells)
    for row in pq.read_table(run.paths.findings).to_pylist():
        if row["layer"] is None:
            continue
        at = (round(row["y_px"]), round(row["x_px"]), round(row["h_px"]), round(row["w_px"]))
        planes = [store.read(0, *at, z)[1].astype(float) for z in range(LAYERS)]
        edges = [
            np.var(p[1:-1, 1:-1] * 4 - p[:-2, 1:-1] - p[2:, 1:-1] - p[1:-1, :-2] - p[1:-1, 2:])
            for p in planes
        ]
        beside = abs(int(np.argmax(edges)) - row["layer"]) <= 1
        assert beside or edges[row["layer"]] > 0.95 * max(edges)


def test_the_second_score_stands_beside_the_first(scanned: tuple[Path, RunResult], run: AgainRun) -> None:
    table = pq.read_table(run.paths.findings)
    assert table.schema.names == [*FINDING_COLUMNS.names, *AGAIN_COLUMNS.names]
    again = dict(zip(table.column("rank").to_pylist(), table.column("score_again").to_pylist(), strict=True))
    told = {cell.rank: cell for cell in run.told.cells if cell.rank is not None}
    assert len(told) == CELLS
    assert {rank: score for rank, score in again.items() if score is not None} == {
        rank: cell.score_again for rank, cell in told.items()
    }
    first = dict(zip(table.column("rank").to_pylist(), table.column("score").to_pylist(), strict=True))
    assert all(cell.score <= first[rank] for rank, cell in told.items())
    assert {cell.rank for cell in run.told.cells} <= set(range(1, 2 * CELLS + 1))


def test_the_slides_score_is_made_of_second_scores_where_the_point_was_measured_so(run: AgainRun) -> None:
    table = pq.read_table(run.paths.findings)
    first, again = (
        np.array([np.nan if value is None else value for value in table.column(name).to_pylist()])
        for name in ("score", "score_again")
    )
    unsure = {read.cell for read in run.reads if read.held or read.edge}
    ranks = [cell.rank for number, cell in enumerate(run.told.cells) if number in unsure]
    sure = ~np.isin(table.column("rank").to_numpy(), [rank for rank in ranks if rank is not None])
    counted = np.where(sure & ~np.isnan(again), again, np.fmax(first, again))
    assert run.report is not None
    assert run.report.operating_point == POINT
    assert run.told.decides
    assert run.report.slide_score == pytest.approx(slide_score(counted), abs=1e-9)
    assert run.told.slide_score_once == pytest.approx(slide_score(first), abs=1e-3)
    assert run.report.slide_score != run.told.slide_score_once


def test_the_report_shows_the_planes_and_says_how_many(
    scanned: tuple[Path, RunResult], run: AgainRun
) -> None:
    page = (scanned[0] / "report.html").read_text(encoding="utf-8")
    assert "Taken again with more planes" in page
    assert "is judged by the second scores" in page
    assert len(re.findall(r'<figure class="strip">\s*<img src="data:image/jpeg', page)) == CELLS
    assert run.told.asked == CELLS
    assert run.told.fields_planned == run.told.fields_captured == len(run.plan.tiles)
    assert run.told.image is not None
    assert (scanned[0] / run.told.image).is_dir()


def test_a_viewer_leafs_through_the_planes_around_a_finding(
    scanned: tuple[Path, RunResult], run: AgainRun
) -> None:
    with RunReader.open(scanned[0]) as reader:
        layers = slide_layers(reader, run.name)
    assert layers is not None
    taken = [row["layer"] for row in pq.read_table(run.paths.findings).to_pylist()]
    store = PyramidStore.open(run.paths.cells)
    shown = {index: planes_of(layers, index) for index in range(len(taken))}
    assert {index for index, planes in shown.items() if planes} == {
        index for index, layer in enumerate(taken) if layer is not None
    }
    for index, planes in shown.items():
        if planes is None:
            continue
        assert planes.sharpest == taken[index]
        _, h, w, _ = planes.pixels.shape
        origin, um = np.array(planes.origin_um[1:]), planes.scale_um[1]
        corner = np.round((origin - np.array(store.spec.origin_um[::-1])) / um - 0.5).astype(int)
        seen = np.moveaxis(store.read(0, int(corner[0]), int(corner[1]), h, w, planes.sharpest), 0, -1)
        assert (planes.pixels[planes.sharpest] == seen).all()
        place = (layers.findings.places_um[index] - origin) / um
        assert (place > 0).all()
        assert (place < (h, w)).all()


def test_a_replay_takes_the_same_cells_and_makes_the_same_image(
    scanned: tuple[Path, RunResult], run: AgainRun, tmp_path: Path
) -> None:
    replay_run(scanned[0], tmp_path / "again")
    assert verify(tmp_path / "again").problems == ()
    other = AgainRun.of(tmp_path / "again")
    assert (other.chosen, other.reads) == (run.chosen, run.reads)
    assert pq.read_table(other.paths.findings).equals(pq.read_table(run.paths.findings))
    for one, two in zip(everything(run.paths.cells), everything(other.paths.cells), strict=True):
        assert np.array_equal(one, two)


def test_what_the_detector_did_not_answer_in_time_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_look, "WAIT_S", 0.0)
    monkeypatch.setattr(second_look.SecondLook, "heard", lambda *_: None)
    (slide,) = again_scan(tmp_path).slides
    found = AgainRun.of(tmp_path / "run")
    assert [plan.reason for plan in found.plans if not plan.of_image] == []
    assert sorted(found.told.unanswered) == [0, 1, 2, 3]
    assert found.report is not None
    assert "4 tiles without an answer when the cells to take again were chosen" in found.report.reasons
    assert slide.tiles.captured == slide.tiles.planned == 4
    assert slide.cells > 0
    assert not found.paths.cells.exists()
    assert verify(tmp_path / "run").problems == ()
    assert "had not answered for 4 tiles (0, 1, 2, 3)" in (tmp_path / "run" / "report.html").read_text(
        encoding="utf-8"
    )


def test_verify_sees_what_was_altered(scanned: tuple[Path, RunResult], tmp_path: Path) -> None:
    root = tmp_path / "run"
    shutil.copytree(scanned[0], root)
    found = AgainRun.of(root)
    report = json.loads(found.paths.report.read_text())
    report["cells_again"]["cells"][0]["score_again"] = 0.123
    found.paths.report.write_text(json.dumps(report))
    (block, *_) = found.paths.cells.glob("0/c/0/*/*/*")
    block.unlink()
    said = {(problem.check, problem.detail) for problem in verify(root).problems}
    assert ("cells", "report.json says other second scores than the ledger") in said
    assert any(check == "blocks" and "cells" in detail for check, detail in said)
    with sqlite3.connect(root / "run.sqlite") as ledger:
        ledger.execute("DROP TRIGGER events_remain")
        ledger.execute("DELETE FROM events WHERE kind = 'cell-read' AND key = '0'")
    details = [problem.detail for problem in verify(root).problems if problem.check == "cells"]
    assert any(detail.startswith("cell 0 was chosen, and neither read again") for detail in details)


@pytest.mark.parametrize(
    ("asked", "detector", "more", "words"),
    [
        (3, "none", "", "no detector finds any"),
        (None, "none", "", "no detector finds any"),
        (101, None, "", "less than or equal to 100"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_moves(
    tmp_path: Path, asked: int | None, detector: str | None, more: str, words: str
) -> None:
    request = RunRequest(
        profile=again_rig(tmp_path, more=more),
        out=tmp_path / "run",
        slides=1,
        region_um=SMALL,
        seed=SEED,
        detector=detector,
        capture_cells=asked,
    )
    with pytest.raises(BadInput, match=words):
        run_rack(request)
    assert not (tmp_path / "run").exists()


def test_the_command_line_overrules_the_profile(tmp_path: Path) -> None:
    again_scan(tmp_path, capture_cells=0, detector="none")
    found = AgainRun.of(tmp_path / "run")
    assert found.chosen is None
    assert found.report is not None
    assert found.report.cells_again is None
    with RunReader.open(tmp_path / "run") as reader:
        assert reader.findings(found.name).schema.names == FINDING_COLUMNS.names
    assert {tile.focus.state for tile in found.tiles} <= set(FocusState)


def test_a_field_that_cannot_be_captured_is_named_and_its_cells_keep_their_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_the_first(session: Session, tiles: Sequence[PlannedTile]) -> Iterator[Captured | Missed]:
        for n, result in enumerate(acquire(session, tiles)):
            lost = session.layered and n == 0
            yield Missed(result.planned, 2, "no frame came") if lost else result

    monkeypatch.setattr(second_look, "WAIT_S", 120.0)
    monkeypatch.setattr(capture, "acquire", without_the_first)
    (slide,) = again_scan(tmp_path).slides
    found = AgainRun.of(tmp_path / "run")
    (lost, *others) = [tile.tile for tile in found.plan.tiles]
    assert found.told.fields_failed == 1
    unread = sum(cell.field == lost for cell in found.told.cells)
    assert found.report is not None
    assert any(why.startswith(f"{unread} suspicious cell") for why in found.report.reasons)
    assert found.told.fields_captured == len(others) == len(found.fields)
    for cell in found.told.cells:
        assert (cell.score_again is None) == (cell.field == lost)
        assert bool(cell.reason) == (cell.field == lost)
    assert (found.told.image is None) == (not others)
    assert slide.outcome is Outcome.DONE
    assert (slide.tiles.planned, slide.tiles.captured, slide.tiles.failed) == (4, 4, 0)
    assert verify(tmp_path / "run").problems == ()
    assert "1 failed" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
