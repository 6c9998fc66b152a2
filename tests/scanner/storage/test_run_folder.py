"""Is a run's folder begun whole or not at all, and never over something that is there already?"""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scanner.errors import BadInput, DamagedRun
from scanner.model.slide import Rack, RackSlot, Slide
from scanner.storage.run_folder import (
    FrozenFile,
    RunFolder,
    RunSettings,
    new_run_id,
    problems_with,
    slide_id,
)


@pytest.fixture
def settings(tmp_path: Path) -> RunSettings:
    profile = tmp_path / "p.yaml"
    profile.write_text("name: µ-rig\n", encoding="utf-8")
    return RunSettings(
        run=new_run_id(),
        begun=datetime.now(UTC),
        profile=FrozenFile.of(profile),
        rack=Rack(slots=(RackSlot(slot=1, slide="S-1"), RackSlot(slot=4))),
        keep_tiles=True,
        options={"region": [43.0, 11.0, 3.0, 3.0], "seed": 7},
        versions={"numpy": "2.4.6"},
    )


def test_a_run_opened_again_has_the_settings_it_was_begun_with(tmp_path: Path, settings: RunSettings) -> None:
    out = tmp_path / "deep" / "run"
    RunFolder.create(out, settings)
    again = RunFolder.open(out)
    assert again.settings == settings
    assert [path.name for path in out.iterdir()] == ["run.json"]


def test_a_folder_with_our_own_temporary_files_counts_as_empty(tmp_path: Path, settings: RunSettings) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / ".run.json.00ff.rackscan.tmp").write_text("{")
    RunFolder.create(out, settings)
    assert RunFolder.open(out).settings == settings


def test_a_folder_that_holds_a_run_is_refused_and_stays_as_it_is(
    tmp_path: Path, settings: RunSettings
) -> None:
    out = tmp_path / "run"
    RunFolder.create(out, settings)
    before = (out / "run.json").read_bytes()
    with pytest.raises(BadInput, match=r"another run.*resume"):
        RunFolder.create(out, settings.model_copy(update={"run": "other"}))
    assert (out / "run.json").read_bytes() == before


def test_a_folder_with_somebody_elses_file_is_refused_and_stays_as_it_is(
    tmp_path: Path, settings: RunSettings
) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "file").write_text("keep")
    with pytest.raises(BadInput, match="not empty: it holds file"):
        RunFolder.create(out, settings)
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [("file", "keep")]


def test_a_file_as_output_is_refused(tmp_path: Path, settings: RunSettings) -> None:
    out = tmp_path / "file"
    out.write_text("keep")
    with pytest.raises(BadInput, match="is a file"):
        RunFolder.create(out, settings)
    with pytest.raises(BadInput):
        RunFolder.create(out / "below", settings)
    assert out.read_text() == "keep"


def test_a_disk_too_full_is_refused_with_what_is_needed_and_what_is_there(
    tmp_path: Path, settings: RunSettings
) -> None:
    out = tmp_path / "run"
    with pytest.raises(BadInput, match=r"5000000000\.00 GB needed, [\d.]+ GB free"):
        RunFolder.create(out, settings, needed_bytes=5 * 10**18)
    assert not out.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to_is_refused(tmp_path: Path, settings: RunSettings) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(BadInput, match="may not be written to"):
            RunFolder.create(tmp_path / "run", settings)
    finally:
        tmp_path.chmod(0o700)


def test_looking_for_problems_writes_nothing(tmp_path: Path) -> None:
    assert problems_with(tmp_path / "a" / "b", 1000) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["none", "empty"])
def test_a_folder_without_settings_is_no_run(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="not a run folder"):
        RunFolder.open(tmp_path / name)


def test_settings_that_are_none_are_damage_and_not_bad_input(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"run": "a"')
    with pytest.raises(DamagedRun, match=r"run\.json"):
        RunFolder.open(tmp_path)


def test_a_file_that_is_not_text_cannot_be_frozen(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_bytes(b"\xff\xfe\x00")
    for name in ("p.yaml", "none.yaml"):
        with pytest.raises(BadInput, match="cannot be read"):
            FrozenFile.of(tmp_path / name)


def test_a_configuration_written_on_windows_can_be_frozen(tmp_path: Path) -> None:
    path = tmp_path / "rig.cfg"
    path.write_bytes("Property,Stage,StepSize,0.1 µm\r\n".encode("latin-1"))
    assert FrozenFile.of(path).text == "Property,Stage,StepSize,0.1 µm\r\n"


def test_run_ids_differ_and_make_the_ids_of_slides(settings: RunSettings) -> None:
    ids = [new_run_id() for _ in range(20)]
    assert len(set(ids)) == 20
    assert Slide(slot=3, slide_id=slide_id(3, ids[0])).slide_id == f"3-{ids[0]}"
    assert settings.run not in ids


def test_every_path_lies_in_the_folder_and_is_named_from_it(tmp_path: Path, settings: RunSettings) -> None:
    folder = RunFolder.create(tmp_path / "run", settings)
    assert folder.relative(folder.slide("1-a").image) == "slides/1-a/image.ome.zarr"
    assert folder.relative(folder.frames) == "tiles"
    passing = RunFolder(folder.root, settings.model_copy(update={"keep_tiles": False}))
    assert passing.relative(passing.frames) == "spool"
