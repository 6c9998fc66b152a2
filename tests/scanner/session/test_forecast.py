"""Does a dry run say what the run would take, without taking it?"""

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scanner import cli
from scanner.errors import BadInput
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


def test_the_focus_points_of_a_region_are_known_and_can_be_copied_into_a_rack_file(tmp_path: Path) -> None:
    region = Rect(43_000, 11_000, 3_000, 3_000)
    (chosen,) = expected(tmp_path / "out", region).slides
    assert chosen.focus_points is not None
    assert chosen.focus_points_from == "chosen"
    rack = tmp_path / "rack.yaml"
    rack.write_text(
        f"slots:\n - slot: 1\n   focus_points: {[list(p) for p in chosen.focus_points]}\n", encoding="utf-8"
    )
    request = RunRequest(profile=PROFILE, out=tmp_path / "out", rack=rack, region_um=region)
    (given,) = forecast(request).slides
    assert (given.focus_points, given.focus_points_from) == (chosen.focus_points, "rack file")


def test_without_a_region_only_the_sample_decides_where_to_focus(tmp_path: Path) -> None:
    (slide,) = expected(tmp_path / "out").slides
    assert slide.focus_points is None
    assert "once the sample is seen" in describe(expected(tmp_path / "out"))


def test_focus_points_for_a_rig_that_does_not_focus_are_refused(tmp_path: Path) -> None:
    text = re.sub(r"strategy: [\w-]+", "strategy: fixed", PROFILE.read_text(encoding="utf-8"))
    shutil.copytree(PROFILE.parent, tmp_path / "rig")
    (tmp_path / "rig" / "simulated.yaml").write_text(text, encoding="utf-8")
    rack = tmp_path / "rack.yaml"
    rack.write_text("slots:\n - {slot: 1, focus_points: [[45, 12]]}\n", encoding="utf-8")
    with pytest.raises(BadInput, match="is `fixed`"):
        forecast(RunRequest(profile=tmp_path / "rig" / "simulated.yaml", out=tmp_path / "out", rack=rack))


def test_kept_tiles_need_their_place(tmp_path: Path) -> None:
    region = Rect(44_000, 12_000, 1_000, 1_000)
    kept = expected(tmp_path / "out", region, keep_tiles=True)
    frames = 9 * 1024 * 1024 * 3
    assert kept.disk_bytes - expected(tmp_path / "out", region).disk_bytes == frames


@pytest.mark.parametrize(("strategy", "images"), [("z-stack", 9.0), ("edf", 2.02)])
def test_layers_take_time_and_disk(tmp_path: Path, strategy: str, images: float) -> None:
    shutil.copytree(PROFILE.parent, tmp_path / "rig")
    profile = tmp_path / "rig" / PROFILE.name
    profile.write_text(profile.read_text().replace("strategy: hybrid", f"strategy: {strategy}, layers: 9"))
    region = Rect(44_000, 12_000, 1_000, 1_000)
    one = expected(tmp_path / "out", region)
    asked = RunRequest(profile=profile, out=tmp_path / "out", slides=1, region_um=region)
    thick, kept = forecast(asked), forecast(replace(asked, keep_tiles=True))
    assert thick.disk_bytes / one.disk_bytes == pytest.approx(images, abs=0.01)
    assert kept.disk_bytes - thick.disk_bytes == 9 * 9 * 1024 * 1024 * 3
    # seven exposures more than the two of a tile that is focused by itself, 30 ms each
    assert thick.seconds - one.seconds == pytest.approx(9 * 7 * 0.0306, abs=0.05)


def test_cells_that_are_taken_again_take_time_and_disk(tmp_path: Path) -> None:
    region = Rect(43_000, 11_000, 1_000, 1_000)
    none, some, more = (
        forecast(
            RunRequest(profile=PROFILE, out=tmp_path / "out", region_um=region, slides=1, capture_cells=n)
        )
        for n in (0, 2, 8)
    )
    assert none == expected(tmp_path / "out", region).model_copy(update={"free_bytes": none.free_bytes})
    frame = 1024 * 1024 * 3
    assert more.disk_bytes - none.disk_bytes == pytest.approx(8 * 9 * frame * (1 + 4 / 3), abs=2)
    assert none.seconds + 2 * 9 * 0.03 < some.seconds < more.seconds
    assert none.tiles == more.tiles


@pytest.mark.parametrize(
    ("asked", "region", "words"),
    [
        ({}, None, r"score under 0\.\d{4} may be excluded, \d+% of normal ones$"),
        ({"capture_cells": 12}, None, r"of normal ones where 12 cells are taken again$"),
        ({"capture_cells": 5}, None, r"of normal ones; what is taken again can only add suspicion$"),
        ({}, Rect(44_000, 12_000, 1_000, 1_000), r"^no slide is excluded: only a region"),
        ({"detector": "none"}, None, r"^no slide is excluded: no detector"),
        ({"profile": "mine"}, None, r"^no slide is excluded: no evaluation record"),
    ],
)
def test_it_says_on_what_grounds_slides_may_be_excluded(
    tmp_path: Path, asked: dict[str, Any], region: Rect | None, words: str
) -> None:
    profile = PROFILE
    if asked.pop("profile", None):
        shutil.copytree(PROFILE.parent, tmp_path / "rig", ignore=shutil.ignore_patterns("*.evaluation.json"))
        profile = tmp_path / "rig" / PROFILE.name
    said = forecast(RunRequest(profile=profile, out=tmp_path / "out", slides=1, region_um=region, **asked))
    assert re.search(words, said.excluding)
    assert said.excluding in describe(said)


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
