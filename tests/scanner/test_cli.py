"""Does the command line say what it wants, refuse what it cannot use, and return the contract's exit codes?"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from scanner import cli
from scanner.cli import scans
from scanner.errors import BadInput
from scanner.model.extras import missing_extra
from scanner.model.report import Outcome, RunResult, SlideResult, Verdict

PROFILES = Path(__file__).parents[2] / "hardware_profiles"
COMMANDS = [
    "run",
    "resume",
    "replay",
    "verify",
    "focus",
    "stitch",
    "export",
    "detect",
    "train",
    "evaluate",
    "detector",
    "review",
    "points",
    "view",
]


class Answer(NamedTuple):
    code: int
    out: str
    err: str


Call = Callable[..., Answer]


@pytest.fixture
def rackscan(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Calls the entry point as a shell would."""

    def call(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["rackscan", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return Answer(int(ended.value.code or 0), captured.out, captured.err)

    return call


@pytest.mark.parametrize(
    "words",
    [
        [],
        *[[c] for c in COMMANDS],
        ["review", "import"],
        ["review", "list"],
        ["profile"],
        ["profile", "check"],
    ],
)
def test_every_command_helps_and_gives_an_example(rackscan: Call, words: list[str]) -> None:
    answer = rackscan(*words, "--help")
    assert answer.code == 0
    assert "Usage" in answer.out
    if words and words != ["profile"]:
        assert f"rackscan {' '.join(words)}" in answer.out


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["run"],
        ["run", "--profile", PROFILES / "simulated.yaml"],
        ["run", "--slides", "many", "--profile", "x", "--out", "y"],
        ["verify", "/nowhere/at/all"],
        ["profile", "check", "/nowhere/at/all.yaml"],
        ["profile", "import", "/nowhere/at/all.cfg"],
    ],
)
def test_bad_words_end_with_2_and_say_why(rackscan: Call, words: list[object]) -> None:
    answer = rackscan(*words)
    assert answer.code == BadInput.exit_code
    assert answer.err
    assert "Traceback" not in answer.err


def test_a_good_profile_checks_with_one_object_on_stdout(rackscan: Call) -> None:
    answer = rackscan("profile", "check", PROFILES / "micromanager_demo.yaml", "--json")
    assert answer.code == 0
    assert json.loads(answer.out) == {"ok": True, "problems": [], "warnings": []}


def test_a_bad_profile_lists_its_problems_as_an_object(rackscan: Call, tmp_path: Path) -> None:
    file = tmp_path / "rig.yaml"
    file.write_text("name: x\nextra: 1\n", encoding="utf-8")
    answer = rackscan("profile", "check", file, "--json")
    said = json.loads(answer.out)
    assert answer.code == BadInput.exit_code
    assert said["ok"] is False
    extra = next(problem for problem in said["problems"] if problem["field"] == "extra")
    assert set(extra) == {"file", "line", "field", "problem", "mend"}
    assert (extra["file"], extra["line"]) == (str(file), 2)


def test_importing_prints_a_skeleton_and_nothing_else(rackscan: Call) -> None:
    answer = rackscan("profile", "import", PROFILES / "micromanager_demo.cfg")
    assert answer.code == 0
    assert answer.out.startswith("# Skeleton made by")
    assert "xy: XY" in answer.out
    assert answer.err == ""


def test_help_waits_for_no_heavy_library() -> None:
    code = "import sys, scanner.cli; print(*(m for m in ('numpy', 'cv2', 'torch', 'napari') if m in sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == ""


def test_a_scan_needs_none_of_the_optional_libraries() -> None:
    without = ["torch", "onnx", "napari", "PySide6", "qtpy"]
    code = f"import sys; sys.modules.update(dict.fromkeys({without})); import scanner.run, scanner.console"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


def slide(outcome: Outcome, verdict: Verdict) -> SlideResult:
    return SlideResult(slot=1, slide_id="1-A", outcome=outcome, verdict=verdict)


EXCLUDED = slide(Outcome.DONE, Verdict.NEGATIVE_EXCLUDED)


@pytest.mark.parametrize(
    ("slides", "person"),
    [
        ([EXCLUDED], False),
        ([EXCLUDED, slide(Outcome.EMPTY, Verdict.INCOMPLETE)], False),
        ([EXCLUDED, slide(Outcome.DONE, Verdict.REVIEW)], True),
        ([slide(Outcome.RERUN, Verdict.NEGATIVE_EXCLUDED)], True),
        ([slide(Outcome.IDENTITY_CONFLICT, Verdict.INCOMPLETE)], True),
    ],
)
def test_only_excluded_slides_and_empty_slots_need_nobody(slides: list[SlideResult], person: bool) -> None:
    assert scans.needs_a_person(RunResult(run="A", slides=tuple(slides))) is person


def test_a_missing_extra_is_named_with_its_command() -> None:
    problem = missing_extra(ModuleNotFoundError("no", name="torch.nn"))
    assert problem is not None
    assert "[torch]" in problem.mend
    assert missing_extra(ModuleNotFoundError("no", name="scanner.gone")) is None
    assert missing_extra(ValueError("no")) is None
