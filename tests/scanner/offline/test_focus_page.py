"""Do the page and the table of a focused stack show what was found, and what was refused with its reason?"""

import io
import json
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import tifffile
from rich.console import Console

from scanner import cli
from scanner.errors import BadInput
from scanner.offline.focus import FocusResult, focus_planes
from scanner.offline.focus_page import check_place, focus_page, write_focus_page
from scanner.offline.focus_table import answer, picture, progress_bar, spark
from tests.scanner.offline.test_focus import planes


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """Discs in the left three quarters, bare glass on the right."""
    pixels = np.stack(planes())
    pixels[:, :, 172:] = np.random.default_rng(0).normal(220, 1, (8, 160, 68)).astype(np.uint8)
    file = tmp_path / "<stack> & co.tif"
    tifffile.imwrite(file, pixels, photometric="minisblack")
    return file


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing(stack: Path, tmp_path: Path) -> None:
    out = write_focus_page(tmp_path / "f.html", stack.name, focus_planes(stack, 0.5))
    text = out.read_text(encoding="utf-8")
    assert re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', text) == []
    assert "<script" not in text
    assert "&lt;stack&gt; &amp; co.tif" in text


def test_every_drawing_of_the_page_is_well_formed(stack: Path, tmp_path: Path) -> None:
    out = write_focus_page(tmp_path / "f.html", stack.name, focus_planes(stack, 0.5))
    drawings = re.findall(r"<svg.*?</svg>", out.read_text(encoding="utf-8"), re.DOTALL)
    assert len(drawings) == 3 + 16
    for drawing in drawings:
        ET.fromstring(drawing)


def test_the_page_shows_plane_height_and_the_blocks_without_an_answer(stack: Path) -> None:
    focused = focus_planes(stack, 0.5)
    page = focus_page("s", focused)
    assert page.shown_plane == 3
    assert [cell.number for cell in page.unanswered] == ["A4", "B4", "C4", "D4"]
    assert len(page.lines) == len(focused.result.curves)
    assert page.mark == pytest.approx(720 * 3 / 7, abs=0.1)
    assert [tick.text for tick in page.ticks][:2] == ["0\n0", "1\n0.5"]


@pytest.mark.parametrize(
    "pixels", [np.zeros((5, 64, 64), np.uint8), np.full((5, 64, 64), np.nan, np.float32)]
)
def test_a_refused_stack_has_a_page_as_well(tmp_path: Path, pixels: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "s.tif", pixels, photometric="minisblack")
    focused = focus_planes(tmp_path / "s.tif")
    text = write_focus_page(tmp_path / "f.html", "s", focused).read_text(encoding="utf-8")
    assert focused.result.reason in text


@pytest.mark.parametrize("place", [".", "nowhere/f.html"])
def test_a_page_that_cannot_be_written_is_bad_input_before_anything_is_read(
    tmp_path: Path, place: str
) -> None:
    with pytest.raises(BadInput):
        check_place(tmp_path / place)
    check_place(tmp_path / "f.html")
    check_place(None)


def shown(result: FocusResult) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(picture(result))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_has_a_plane_a_height_and_a_curve_for_every_block(stack: Path) -> None:
    result = focus_planes(stack, 0.5).result
    text = shown(result)
    assert text.count("no-sample") == 4
    assert text.count(" µm") == 12
    assert text.count("█") >= 12
    assert answer(result).startswith("found plane 3, 1.")


def test_a_refusal_is_said_in_the_answer_and_below_the_table(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "s.tif", np.stack(planes())[3:], photometric="minisblack")
    result = focus_planes(tmp_path / "s.tif").result
    assert answer(result).startswith("refused the peak lies at the edge")
    assert "row 1, column 1: the peak lies at the edge" in shown(result)


@pytest.mark.parametrize(
    ("curve", "bars"), [((), ""), ((0.0, 0.5, 1.0), "▁▅█"), ((0.0,) * 27 + (1.0,), "▁" * 13 + "█")]
)
def test_a_spark_is_as_high_as_the_highest_plane_in_it(curve: tuple[float, ...], bars: str) -> None:
    assert spark(curve) == bars


def test_a_bar_is_shown_where_somebody_watches_and_nowhere_else() -> None:
    for terminal in (True, False):
        console = Console(file=io.StringIO(), force_terminal=terminal, width=80)
        with progress_bar(silent=False, console=console) as told:
            told(1, 4, "reading")
            told(4, 4, "focusing")
        assert isinstance(console.file, io.StringIO)
        assert ("focusing" in console.file.getvalue()) is terminal


def test_the_command_prints_json_alone_and_writes_the_page_beside_it(
    stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["rackscan", "focus", str(stack), "--json", "--report", str(tmp_path / "f.html")]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code in (0, None)
    result = json.loads(capsys.readouterr().out)
    assert {"state", "reason", "best_plane", "z_um", "blocks", "curves", "notes", "thick_blocks"} <= set(
        result
    )
    assert (tmp_path / "f.html").is_file()
