"""Is an archive read once, its dangerous cases listed first, and nothing called negative that was not seen?"""

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tifffile

from detection.detections import Detections
from detection.detector import Detector
from scanner import cli
from scanner.errors import BadInput, RackscanError, Stopped
from scanner.offline.detect import opened
from scanner.offline.look_back import look_back as module
from scanner.offline.look_back.look_back import Asked, look_back
from scanner.offline.look_back.summary import LookBack
from scanner.offline.look_back.view import describe
from scanner.storage.atomic import write_atomic
from tests.scanner.offline.look_back.asking import kinds, read, rows
from tests.scanner.offline.look_back.conftest import Pictures

Save = Callable[[str, Path], Path]


def test_old_diagnoses_and_new_findings_are_compared(archive: Path, signed_out: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = read(archive, out, diagnoses=signed_out)
    assert summary.complete
    assert [(row["rank"], row["kind"], row["case"], row["image"], row["old"]) for row in rows(out)] == [
        ("1", "missed-then", "0001", "Doe-1.png", "NILM"),
        ("2", "missed-now", "0002", "Doe-2.png", "HSIL"),
    ]
    best = pq.read_table(out / "cases" / "0001" / "findings.parquet").to_pylist()[0]
    assert rows(out)[0]["worst_class"] == best["class"]
    assert float(rows(out)[0]["worst_x_px"]) == pytest.approx(best["x_px"] + best["w_px"] / 2, abs=0.06)
    for case in ("0001", "0002"):
        names = sorted(file.name for file in (out / "cases" / case).iterdir())
        assert names == ["findings.geojson", "findings.parquet", "found.json"]
    assert [row["state"] for row in rows(out, "cases.csv")] == ["suspicious", "not-suspicious"]


def test_names_of_files_stand_in_tables_alone(archive: Path, signed_out: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    read(archive, out, diagnoses=signed_out)
    assert [path for path in out.rglob("*") if "Doe" in path.name] == []
    assert "Doe" not in (out / "lookback.json").read_text()
    assert "Doe" not in str(pq.read_table(out / "cases" / "0001" / "findings.parquet").to_pylist())
    assert "Doe" not in (out / "cases" / "0001" / "findings.geojson").read_text()


def test_a_second_call_reads_nothing_and_says_the_same(
    archive: Path, signed_out: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = read(archive, out, diagnoses=signed_out)
    times = {file: file.stat().st_mtime_ns for file in (out / "cases").rglob("*")}
    again = read(archive, out, diagnoses=signed_out)
    assert (first.read, again.read) == (2, 0)
    assert again.model_copy(update={"read": 2}) == first
    assert {file: file.stat().st_mtime_ns for file in (out / "cases").rglob("*")} == times


def test_other_diagnoses_or_another_point_read_nothing_again(
    archive: Path, signed_out: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    read(archive, out)
    assert kinds(out) == {"Doe-1.png": "unrecorded"}
    assert read(archive, out, diagnoses=signed_out, operating_point=0.9999).read == 0
    assert kinds(out) == {"Doe-2.png": "missed-now"}
    assert rows(out)[0]["operating_point"] == "0.9999"
    summary = read(archive, out, operating_point=0.99999)
    assert rows(out, "cases.csv")[0]["operating_point"] == "0.99999"
    assert "from a slide score of 0.99999 " in describe(summary, out)
    assert "from a slide score of 0.99999 " in (out / "lookback.html").read_text(encoding="utf-8")


def test_images_that_join_or_change_are_read_and_the_others_keep_their_numbers(
    archive: Path, save: Save, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    read(archive, out)
    save("harmless", archive / "Aaa.png")
    assert read(archive, out).read == 1
    numbers = {row["image"]: row["case"] for row in rows(out, "cases.csv")}
    assert numbers == {"Doe-1.png": "0001", "Doe-2.png": "0002", "Aaa.png": "0003"}
    save("suspicious", archive / "Aaa.png")
    assert read(archive, out).read == 1
    assert kinds(out) == {"Aaa.png": "unrecorded", "Doe-1.png": "unrecorded"}
    (archive / "Doe-1.png").unlink()
    summary = read(archive, out)
    assert (summary.read, summary.gone, summary.images) == (0, 1, 2)


def test_a_stop_keeps_what_was_read_and_the_same_command_goes_on(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def stop(done: int, cases: int, tile: int, tiles: int) -> None:
        if done == 1 and tile == 1:
            raise KeyboardInterrupt

    with pytest.raises(Stopped, match="1 of 2 images are read and kept"):
        look_back(Asked(archive, out, 0.5), stop)
    summary = LookBack.model_validate_json((out / "lookback.json").read_text())
    assert not summary.complete
    assert kinds(out) == {"Doe-1.png": "unrecorded"}
    assert "Not finished" in (out / "lookback.html").read_text()
    assert read(archive, out).read == 1


def test_what_a_killed_reading_left_is_not_taken_for_a_result(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    read(archive, out)
    (out / "cases" / "0002" / "found.json").write_text('{"case": 2, "ima')
    (out / "cases" / "0002" / "stray.txt").touch()
    assert read(archive, out).read == 1
    assert not (out / "cases" / "0002" / "stray.txt").exists()


def test_an_out_of_another_detector_or_source_or_with_anything_else_is_left_alone(
    archive: Path, save: Save, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    read(archive, out)
    save("harmless", tmp_path / "other" / "x.png")
    with pytest.raises(BadInput, match="belongs to another source"):
        read(tmp_path / "other", out)
    summary = LookBack.model_validate_json((out / "lookback.json").read_text())
    older = summary.model_copy(update={"detector_hash": "0" * 64})
    write_atomic(out / "lookback.json", older.model_dump_json())
    with pytest.raises(BadInput, match="was read with another detector"):
        read(archive, out)
    with pytest.raises(BadInput, match="not an empty folder"):
        read(archive, archive)
    assert sorted(file.name for file in archive.iterdir()) == ["Doe-1.png", "Doe-2.png"]


def test_bad_input_writes_nothing(archive: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("case,diagnosis\nDoe-1,CIN2\n")
    for asked in ({"diagnoses": table}, {"detector": str(tmp_path)}):
        with pytest.raises(BadInput):
            read(archive, tmp_path / "out", **asked)
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_judged_is_listed_and_never_negative(
    archive: Path, save: Save, pictures: Pictures, tmp_path: Path
) -> None:
    out, root = tmp_path / "out", archive
    whole = save("suspicious", root / "cut.png").read_bytes()
    (root / "cut.png").write_bytes(whole[: len(whole) // 2])
    (root / "text.svs").write_text("hello")
    (root / "gone.tif").symlink_to(tmp_path / "nowhere.tif")
    (root / "foreign.ome.zarr").mkdir()
    save("empty", root / "glass.png")
    coarse = root / "coarse.tif"
    tifffile.imwrite(coarse, pictures["suspicious"], resolution=(5_000, 5_000), resolutionunit="CENTIMETER")
    tifffile.imwrite(root / "rgba.tif", np.zeros((300, 300, 4), np.uint8), photometric="rgb", tile=(64, 64))
    read(root, out)
    said = {row["image"]: row["why"] for row in rows(out) if row["kind"] == "unreadable"}
    assert set(said) == {
        "cut.png",
        "text.svs",
        "gone.tif",
        "foreign.ome.zarr",
        "glass.png",
        "coarse.tif",
        "rgba.tif",
    }
    assert "no cell was seen" in said["glass.png"]
    assert "coarse" in said["coarse.tif"]
    assert not [why for why in said.values() if str(tmp_path) in why or not why]
    assert (
        read(root, out).read == 2
    )  # what the disk was to blame for is tried again: gone.tif, foreign.ome.zarr


def test_an_image_without_scale_is_read_again_once_a_scale_is_given(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    read(archive, out, um_per_px=None)
    assert {row["why"] for row in rows(out)} == {"does not say its µm per pixel: give --um-per-px"}
    assert read(archive, out, um_per_px=None).read == 0
    assert read(archive, out, um_per_px=0.5).read == 2
    assert kinds(out) == {"Doe-1.png": "unrecorded"}


def test_a_source_that_vanishes_is_a_fault_and_no_archive_of_unreadable_images(
    archive: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    def unplug(done: int, cases: int, tile: int, tiles: int) -> None:
        if done == 1 and tiles == 0:
            archive.rename(tmp_path / "unplugged")

    with pytest.raises(RackscanError, match="is gone; what was read is kept") as fault:
        look_back(Asked(archive, out, 0.5), unplug)
    assert fault.value.exit_code == 3
    (tmp_path / "unplugged").rename(archive)
    assert read(archive, out).read == 1
    assert kinds(out) == {"Doe-1.png": "unrecorded"}


def test_the_page_shows_the_cells_and_runs_nothing(archive: Path, save: Save, tmp_path: Path) -> None:
    save("suspicious", archive / "<script>x.png")
    read(archive, tmp_path / "out")
    page = (tmp_path / "out" / "lookback.html").read_text(encoding="utf-8")
    assert page.count('<img src="data:image/jpeg;base64,') == 2 * 8
    assert "&lt;script&gt;x.png" in page
    assert "<script" not in page
    assert re.findall(r'(?:src|href)="(?!data:|#)', page) == []
    assert "Suspicious now, nothing recorded" in page


def test_pictures_that_cannot_be_cut_any_more_are_said(archive: Path, tmp_path: Path) -> None:
    read(archive, tmp_path / "out")
    facts = (archive / "Doe-1.png").stat()
    (archive / "Doe-1.png").write_bytes(b"x" * facts.st_size)
    os.utime(archive / "Doe-1.png", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert read(archive, tmp_path / "out").read == 0
    assert "No pictures: is not a readable image" in (tmp_path / "out" / "lookback.html").read_text()


class Broken:
    """A detector that fails while it looks."""

    provider = "none"

    def __init__(self, good: Detector) -> None:
        self.package = good.package

    def detect(self, images: object, um_per_px: float) -> list[Detections]:
        raise RuntimeError("out of memory")


def test_a_detector_that_fails_makes_no_image_unreadable(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "opened", lambda package: Broken(opened(package)))
    with pytest.raises(RuntimeError, match="out of memory"):
        read(archive, tmp_path / "out")
    assert list((tmp_path / "out" / "cases").rglob("found.json")) == []


@pytest.mark.parametrize("place", ["", "cases"])
def test_a_place_that_cannot_be_written_to_is_told_with_what_to_do(
    archive: Path, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not place:
        (tmp_path / "file").touch()
        with pytest.raises(BadInput, match="cannot be written to"):
            read(archive, tmp_path / "file" / "out")
        return
    replace = os.replace

    def full(source: Path, target: Path) -> None:
        if "cases" in Path(target).parts:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(
        RackscanError, match="disk is full; what was read before is kept; free space, then give"
    ):
        read(archive, tmp_path / "out")


@pytest.fixture
def rackscan(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rackscan", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return call


def test_the_command_line_says_how_many_need_a_person(
    archive: Path, signed_out: Path, tmp_path: Path, rackscan: Callable[..., tuple[int, str, str]]
) -> None:
    words = ("detect", archive, "--um-per-px", "0.5", "--out", tmp_path / "out")
    code, out, err = rackscan(*words, "--diagnoses", signed_out)
    assert code == 1
    assert "2 cases need a person:\n  1 called negative then, suspicious now\n" in out
    assert "Doe" not in out + err
    code, out, err = rackscan(*words, "--diagnoses", signed_out, "--json")
    told = json.loads(out)
    assert (code, told["kinds"]["missed-then"], told["read"], "Doe" in out + err) == (1, 1, 0, False)
    code, out, _ = rackscan(*words, "--operating-point", "0.9999")
    assert (code, "nothing disagrees" in out) == (0, True)
    assert rackscan(*words, "--operating-point", "1.1")[0] == 2


def test_one_image_is_read_as_ever(
    archive: Path, tmp_path: Path, rackscan: Callable[..., tuple[int, str, str]]
) -> None:
    image = archive / "Doe-1.png"
    code, out, _ = rackscan("detect", image, "--um-per-px", "0.5", "--out", tmp_path / "one", "--json")
    names = sorted(file.name for file in (tmp_path / "one").iterdir())
    assert (code, names) == (0, ["findings.geojson", "findings.parquet", "found.json"])
    assert json.loads(out) == json.loads((tmp_path / "one" / "found.json").read_text())


def test_one_image_with_a_diagnosis_is_an_archive_of_one(
    archive: Path, tmp_path: Path, signed_out: Path, rackscan: Callable[..., tuple[int, str, str]]
) -> None:
    image = archive / "Doe-1.png"
    words = ("--um-per-px", "0.5", "--diagnoses", signed_out, "--out", tmp_path / "one")
    assert rackscan("detect", image, *words)[0] == 1
    assert kinds(tmp_path / "one") == {"Doe-1.png": "missed-then"}
