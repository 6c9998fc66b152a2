"""Does the person who waits see how far it is, and then what to do, without a name of anybody?"""

import io
from pathlib import Path

from rich.console import Console

from scanner.offline.look_back.discordance import Kind, State
from scanner.offline.look_back.summary import DiagnosesUsed, LookBack, PointUsed
from scanner.offline.look_back.view import LINE_S, archive_progress, describe


def summary(**changes: object) -> LookBack:
    told: dict[str, object] = {
        "complete": True,
        "source": "/archive",
        "detector": "d",
        "detector_hash": "h",
        "provider": "p",
        "images": 3,
        "read": 1,
        "states": dict.fromkeys(State, 1),
        "kinds": dict.fromkeys(Kind, 0),
        "operating_points": (PointUsed(operating_point=0.5, said="the default", images=3),),
        **changes,
    }
    return LookBack.model_validate(told)


def test_a_terminal_shows_two_bars() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with archive_progress(silent=False, console=console) as show:
        show(3, 10, 7, 9)
    shown = console.file.getvalue()  # type: ignore[attr-defined]  # the StringIO given above
    assert "3/10" in shown
    assert "7/9" in shown


def test_elsewhere_a_line_comes_now_and_then() -> None:
    console, now = Console(file=io.StringIO(), force_terminal=False), [0.0]
    with archive_progress(silent=False, console=console, clock=lambda: now[0]) as show:
        for done in range(4):
            now[0] += LINE_S / 2
            show(done, 10, 7, 9)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]  # the StringIO given above
    assert lines == [f"{n} of 10 images read, tile 7 of 9 of the next" for n in (1, 3)]


def test_nothing_is_shown_where_the_answer_is_one_object() -> None:
    console = Console(file=io.StringIO(), force_terminal=True)
    with archive_progress(silent=True, console=console) as show:
        show(3, 10, 7, 9)
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]  # the StringIO given above


def test_where_nothing_disagrees_that_is_said() -> None:
    said = describe(summary(), Path("out")).splitlines()
    assert said[0] == "3 images: 1 read now, 2 known from before"
    assert said[-1] == "nothing disagrees with what was said then"


def test_everything_a_person_must_know_is_said() -> None:
    kinds = {**dict.fromkeys(Kind, 0), Kind.MISSED_THEN: 1}
    used = DiagnosesUsed(lines=4, without_image=1, images_without=2)
    told = summary(
        kinds=kinds, diagnoses=used, gone=1, without_image=2, troubles={3: "no ledger"}, asked_then=1
    )
    said = describe(told, Path("out")).splitlines()
    assert "diagnoses: 4 given, 1 of them without an image here; 2 images without one" in said
    assert "read earlier and no longer in the source: 1 image" in said
    assert "slides of the runs that were never scanned: 2" in said
    assert "slides of damaged runs, of which it is not known what was said: 1" in said
    assert any(line.startswith("suspicious, and given to a person then: 1 image") for line in said)
    assert said[-3:] == [
        "1 case needs a person:",
        "  1 called negative then, suspicious now",
        "look at out/lookback.html, most dangerous first",
    ]
