import io
from dataclasses import replace

import pytest
from rich.console import Console

from scanner.console import line, picture, progress_view, seldom
from scanner.model.progress import Phase, Progress, SlideProgress
from scanner.model.report import Outcome, Verdict

SLIDES = (SlideProgress(1, Outcome.DONE, Verdict.URGENT), SlideProgress(2), SlideProgress(3))
HALFWAY = Progress(
    "r1", SLIDES, Phase.SCANNING, 2, 500, 1500, 50.0, 480, 12, 8, -1.5, 490, 31, "tile 7 was tried again"
)


def shown(console: Console, *progress: Progress, silent: bool = False) -> str:
    with progress_view(silent, console) as show:
        for each in progress:
            show(each)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def terminal(is_terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=is_terminal, width=120)


def test_the_time_left_follows_the_pace_and_the_slides_still_waiting() -> None:
    assert HALFWAY.rate == pytest.approx(10)
    assert HALFWAY.slide_left_s == pytest.approx(100)
    assert HALFWAY.rack_left_s == pytest.approx(250)


def test_before_the_first_tile_no_time_is_promised() -> None:
    assert Progress("r1", SLIDES, Phase.FOCUSING, 2, tiles_planned=1500).rack_left_s is None


def test_json_is_silent() -> None:
    assert shown(terminal(True), HALFWAY, silent=True) == ""


def test_a_terminal_shows_slide_tiles_focus_pace_and_the_last_warning() -> None:
    text = shown(terminal(True), HALFWAY)
    for part in (
        "slot 2",
        "scanning",
        "500 / 1\u202f500 tiles",
        "480 sharp",
        "12 soft",
        "10.0/s",
        "tile 7 was tried again",
    ):
        assert part in text
    assert "1 of 3 slides finished" in text


def test_a_log_gets_lines_without_control_characters() -> None:
    text = shown(terminal(False), HALFWAY, replace(HALFWAY, tiles_captured=501))
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert "500 of 1\u202f500 tiles" in text


def test_pictures_are_seldom_but_a_new_phase_is_shown_at_once() -> None:
    now = 0.0
    seen: list[Progress] = []
    show = seldom(seen.append, 0.25, lambda: now)
    for i in range(100):
        now = i * 0.01
        show(replace(HALFWAY, tiles_captured=i))
    assert len(seen) == 4
    show(replace(HALFWAY, phase=Phase.FINISHING))
    assert len(seen) == 5


@pytest.mark.parametrize("phase", list(Phase))
def test_every_phase_and_outcome_can_be_shown(phase: Phase) -> None:
    slides = tuple(SlideProgress(i, outcome, Verdict.REVIEW) for i, outcome in enumerate(Outcome, 1))
    progress = Progress("r1", slides, phase)
    console = terminal(True)
    console.print(picture(progress))
    assert isinstance(console.file, io.StringIO)
    assert phase.value in console.file.getvalue()
    assert line(progress).startswith("5 of 5")
