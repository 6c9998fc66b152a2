"""Does a dry run say what the run would take, without taking it?"""

import json
import sys
from pathlib import Path

import pytest

from scanner import cli
from scanner.model.geometry import Rect
from scanner.session.forecast import Forecast, describe, forecast
from scanner.session.request import RunRequest

PROFILE = Path(__file__).parents[3] / "hardware_profiles" / "simulated.yaml"


def expected(out: Path, region: Rect | None = None, *, slides: int = 1, keep_tiles: bool = False) -> Forecast:
    return forecast(
        RunRequest(profile=PROFILE, out=out, slides=slides, region_um=region, keep_tiles=keep_tiles)
    )


def test_a_region_is_known_exactly_and_nothing_is_written(tmp_path: Path) -> None:
    found = expected(tmp_path / "out", Rect(44_000, 12_000, 1_000, 1_000))
    assert found.exact
    assert found.tiles == 9
    assert list(tmp_path.iterdir()) == []


def test_a_larger_region_takes_longer_and_needs_more_disk(tmp_path: Path) -> None:
    small = expected(tmp_path / "out", Rect(44_000, 12_000, 1_000, 1_000))
    large = expected(tmp_path / "out", Rect(43_000, 11_000, 3_000, 3_000))
    assert large.tiles > small.tiles
    assert large.seconds > small.seconds
    assert large.disk_bytes > small.disk_bytes


def test_without_a_region_every_slide_counts_with_its_whole_deposit(tmp_path: Path) -> None:
    found = expected(tmp_path / "out", slides=2)
    assert not found.exact
    assert [slide.slot for slide in found.slides] == [1, 2]
    # A round deposit of 20 mm in cells of 461 µm squared, and a rim of fields around it.
    assert 1478 <= found.slides[0].tiles <= 1478 * 1.1
    assert found.tiles == 2 * found.slides[0].tiles


def test_kept_tiles_need_their_place(tmp_path: Path) -> None:
    region = Rect(44_000, 12_000, 1_000, 1_000)
    kept = expected(tmp_path / "out", region, keep_tiles=True)
    frames = 9 * 1024 * 1024 * 3
    assert kept.disk_bytes - expected(tmp_path / "out", region).disk_bytes == frames


def test_words_name_each_slot_and_the_disk(tmp_path: Path) -> None:
    said = describe(expected(tmp_path / "out", slides=2))
    assert said.startswith("slot 1: at most about")
    assert "nothing was moved" in said


def test_the_command_line_prints_one_object(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = [
        "run",
        "--profile",
        PROFILE,
        "--out",
        tmp_path / "out",
        "--region",
        "44,12,1,1",
        "--dry-run",
        "--json",
    ]
    monkeypatch.setattr(sys, "argv", ["rackscan", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert json.loads(capsys.readouterr().out)["exact"] is True
