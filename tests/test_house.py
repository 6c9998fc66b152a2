"""Does the code keep the rules of the house that no linter knows?"""

import ast
import statistics
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("scanner", "autofocus", "detection")
FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
MODULES = {"threading", "multiprocessing", "queue", "concurrent", "subprocess"}
SIDE_BY_SIDE = {"Thread", "Timer", "Process", "Popen", "Pool", "Queue", "SimpleQueue", "ThreadPoolExecutor"}
NAMELESS = {"utils", "helpers", "misc", "common", "manager", "handler"}


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def functions(file: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [n for n in ast.walk(parsed(file)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of code: the signature and the docstring are for the reader."""
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return (node.end_lineno or node.lineno) - body[0].lineno + 1 if body else 0


def started(file: Path) -> set[str]:
    """Classes in the file that run, or hand over, side by side; asking which thread one is in is none."""
    found: set[str] = set()
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            found |= {alias.name for alias in node.names}
        elif (
            isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in MODULES
        ):
            found.add(node.attr)
    return found & SIDE_BY_SIDE


@pytest.mark.parametrize("file", FILES, ids=name)
def test_a_file_opens_with_what_it_is_for(file: Path) -> None:
    doc = ast.get_docstring(parsed(file))
    assert doc
    first = doc.split("\n\n")[0]
    assert first.endswith((".", "?")) or ". " in first or "? " in first


@pytest.mark.parametrize("file", FILES, ids=name)
def test_a_file_can_be_read_at_one_sitting(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 400
    too_long = [f"{node.name} has {lines(node)} lines" for node in functions(file) if lines(node) > 50]
    assert too_long == []
    assert file.stem not in NAMELESS


def test_most_functions_can_be_seen_whole() -> None:
    assert statistics.median(lines(node) for file in FILES for node in functions(file)) <= 10


def test_things_run_side_by_side_in_one_file_only() -> None:
    # The simulated devices are other machines: their motors and sensors run whatever the program does.
    allowed = {ROOT / "scanner" / "stream.py"}
    elsewhere = [
        name(file)
        for file in FILES
        if file not in allowed and "simulated" not in file.parts and started(file)
    ]
    assert elsewhere == []
