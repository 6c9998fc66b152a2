"""Is a run that cannot work refused before anything moves, with every problem in words and nothing written?"""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from scanner import cli
from scanner.errors import BadInput

PROFILES = Path(__file__).parents[2] / "hardware_profiles"


class Answer(NamedTuple):
    code: int
    said: str


Run = Callable[..., Answer]


@pytest.fixture
def rig(tmp_path: Path) -> Path:
    """A copy of the simulated rig, so that no other test shares its physical state."""
    folder = tmp_path / "rig"
    shutil.copytree(PROFILES, folder, ignore=shutil.ignore_patterns("*.state.json*"))
    return folder / "simulated.yaml"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """``rackscan run`` into a new folder, or into the one that is given."""

    def call(*words: object, out: Path = tmp_path / "out") -> Answer:
        monkeypatch.setattr(sys, "argv", ["rackscan", "run", *map(str, words), "--out", str(out)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return Answer(int(ended.value.code or 0), captured.out + captured.err)

    return call


def amiss(answer: Answer, out: Path) -> list[str]:
    """What is wrong with a refusal: nothing, if it was one."""
    faults = {
        f"it ended with {answer.code}: {answer.said}": answer.code != BadInput.exit_code,
        f"a traceback: {answer.said}": "Traceback" in answer.said,
        f"{out.name} was written": out.exists(),
    }
    return [fault for fault, there in faults.items() if there]


@pytest.mark.parametrize(
    ("addition", "says"),
    [
        ("not_a_key: 1\nnor_this_one: 2\n", ["not_a_key", "nor_this_one"]),
        ("name: again\n", ["name", "twice"]),
        ("\t- broken: [\n", ["tab"]),
    ],
)
def test_a_bad_profile(run: Run, rig: Path, tmp_path: Path, addition: str, says: list[str]) -> None:
    rig.write_text(rig.read_text(encoding="utf-8") + addition, encoding="utf-8")
    answer = run("--profile", rig)
    assert amiss(answer, tmp_path / "out") == []
    assert all(word in answer.said for word in says)


@pytest.mark.parametrize("raw", [b"", os.urandom(3000), b"hello"])
def test_a_file_that_is_no_profile(run: Run, rig: Path, tmp_path: Path, raw: bytes) -> None:
    rig.write_bytes(raw)
    assert amiss(run("--profile", rig), tmp_path / "out") == []


def test_a_missing_configuration(run: Run, rig: Path, tmp_path: Path) -> None:
    (rig.parent / "simulated.cfg").unlink()
    answer = run("--profile", rig)
    assert amiss(answer, tmp_path / "out") == []
    assert "simulated.cfg" in answer.said


@pytest.mark.parametrize(
    "words",
    [
        ["--region", "500,500,3,3"],
        ["--region", "43,11,-3,3"],
        ["--region", "a,b,c,d"],
        ["--region", "nan,11,3,3"],
        ["--slides", "0"],
        ["--slides", "5"],
        ["--detector", "/nowhere/at/all"],
        ["--specimen", "/nowhere/at/all.tif"],
        ["--um-per-px", "0"],
        ["--um-per-px", "nan"],
        ["--rack", "/nowhere/at/all.yaml"],
    ],
    ids="=".join,
)
def test_an_option_that_cannot_be_meant(run: Run, rig: Path, tmp_path: Path, words: list[str]) -> None:
    assert amiss(run("--profile", rig, *words), tmp_path / "out") == []


def test_a_text_as_specimen(run: Run, rig: Path, tmp_path: Path) -> None:
    specimen = tmp_path / "slide.svs"
    specimen.write_text("hello", encoding="utf-8")
    answer = run("--profile", rig, "--specimen", specimen)
    assert amiss(answer, tmp_path / "out") == []
    assert "slide.svs" in answer.said


def test_a_detector_without_its_files(run: Run, rig: Path, tmp_path: Path) -> None:
    detector = tmp_path / "detector"
    detector.mkdir()
    (detector / "config.json").write_text("{}", encoding="utf-8")
    assert amiss(run("--profile", rig, "--detector", detector), tmp_path / "out") == []


def test_a_detector_whose_hash_is_wrong(run: Run, rig: Path, tmp_path: Path) -> None:
    from scanner.session.request import DEFAULT_PACKAGE

    detector = tmp_path / "detector"
    shutil.copytree(DEFAULT_PACKAGE, detector)
    weights = next(detector.glob("*.onnx"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    assert amiss(run("--profile", rig, "--detector", detector), tmp_path / "out") == []


def test_a_rack_that_names_a_slot_twice_or_one_that_is_not_there(run: Run, rig: Path, tmp_path: Path) -> None:
    rack = tmp_path / "rack.yaml"
    for text in ("slots:\n - {slot: 1, slide: a}\n - {slot: 1, slide: b}\n", "slots: [{slot: 9}]\n"):
        rack.write_text(text, encoding="utf-8")
        answer = run("--profile", rig, "--rack", rack)
        assert amiss(answer, tmp_path / "out") == []
        assert "slot" in answer.said


def test_a_rig_that_was_never_measured(run: Run, rig: Path, tmp_path: Path) -> None:
    answer = run("--profile", rig.parent / "squid.yaml", "--region", "43,11,1,1")
    assert amiss(answer, tmp_path / "out") == []
    assert "rackscan profile measure" in answer.said


def test_a_rig_without_overview_and_without_region(run: Run, rig: Path, tmp_path: Path) -> None:
    answer = run("--profile", rig.parent / "micromanager_demo.yaml", "--slides", "1")
    assert amiss(answer, tmp_path / "out") == []
    assert "--region" in answer.said


def test_a_specimen_for_a_rig_that_is_no_simulation(run: Run, rig: Path, tmp_path: Path) -> None:
    specimen = tmp_path / "image.png"
    specimen.write_bytes(b"\x89PNG")
    words = [
        "--profile",
        rig.parent / "micromanager_demo.yaml",
        "--region",
        "43,11,1,1",
        "--specimen",
        specimen,
    ]
    assert amiss(run(*words), tmp_path / "out") == []


def test_an_occupied_folder_keeps_what_it_has(run: Run, rig: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "file").write_text("keep", encoding="utf-8")
    answer = run("--profile", rig, "--region", "43,11,1,1", out=mine)
    assert answer.code == BadInput.exit_code
    assert [(p.name, p.read_text(encoding="utf-8")) for p in mine.iterdir()] == [("file", "keep")]


def test_a_file_where_the_folder_should_be(run: Run, rig: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine", encoding="utf-8")
    assert run("--profile", rig, out=taken).code == BadInput.exit_code
    assert run("--profile", rig, out=taken / "below").code == BadInput.exit_code
    assert taken.read_text(encoding="utf-8") == "mine"
