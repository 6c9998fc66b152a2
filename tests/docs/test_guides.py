"""Do the commands in the documents do what the documents say?

A ``console`` block after ``<!-- run -->`` is run line by line in one scratch folder per document: each ``$`` line must
end with 0, or with the code its comment names (``# exit 1``), and print the lines that stand under it.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "hardware_profiles").glob("*.md")]
)
BLOCK = re.compile(r"<!-- run -->\s*```console\n(.*?)```", re.DOTALL)
EXIT = re.compile(r"#.*\bexit (\d+)")
DEADLINE_S = 300


class Command(NamedTuple):
    line: str
    code: int
    shown: tuple[str, ...]


def commands(text: str) -> list[Command]:
    found = []
    for block in BLOCK.findall(text):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, *shown = part.splitlines()
            code = EXIT.search(line)
            found.append(
                Command(line, int(code.group(1)) if code else 0, tuple(s for s in shown if s.strip()))
            )
    return found


def written_for_running() -> list[Path]:
    return [document for document in DOCUMENTS if commands(document.read_text(encoding="utf-8"))]


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "hardware_profiles", tmp_path / "hardware_profiles")
    return tmp_path


def test_a_block_is_cut_into_commands() -> None:
    text = "<!-- run -->\n```console\n$ false   # exit 1: as it must\n$ echo a\na\n```\n```console\n$ never\n```\n"
    assert commands(text) == [Command("false   # exit 1: as it must", 1, ()), Command("echo a", 0, ("a",))]


def test_there_are_commands_to_run() -> None:
    assert written_for_running()


@pytest.mark.parametrize("document", written_for_running(), ids=lambda document: document.name)
def test_the_commands_of_a_document_do_what_it_says(document: Path, scratch: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for command in commands(document.read_text(encoding="utf-8")):
        done = subprocess.run(
            ["bash", "-c", command.line],
            cwd=scratch,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        printed = done.stdout + done.stderr
        assert done.returncode == command.code, f"{command.line}\n{printed}"
        assert [line for line in command.shown if line not in printed] == [], f"{command.line}\n{printed}"


def test_every_link_between_documents_leads_somewhere() -> None:
    targets = [
        (document, target)
        for document in DOCUMENTS
        for target in re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8"))
        if "://" not in target
    ]
    assert [f"{d.name}: {t}" for d, t in targets if not (d.parent / t).exists()] == []
