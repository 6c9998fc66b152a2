"""Does a rack file say which slides lie where, and is a wrong one refused with words?"""

from pathlib import Path

import pytest

from scanner.errors import BadInput
from scanner.model.geometry import Point, Rect
from scanner.model.slide import Preparation
from scanner.storage.racks import first_slots, read_rack


def written(folder: Path, text: str) -> Path:
    file = folder / "rack.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_slots_keep_their_order_and_their_names(tmp_path: Path) -> None:
    text = "slots:\n  - {slot: 3, slide: 007, preparation: surepath}\n  - {slot: 1}\n"
    rack = read_rack(written(tmp_path, text))
    assert [(s.slot, s.slide, s.preparation) for s in rack.slots] == [
        (3, "007", Preparation.SUREPATH),
        (1, None, Preparation.THINPREP),
    ]


def test_a_slot_named_twice_is_refused_with_the_line_of_the_second(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        read_rack(written(tmp_path, "slots:\n - {slot: 1, slide: a}\n - {slot: 1, slide: b}\n"))
    (problem,) = caught.value.problems
    assert (problem.line, problem.field) == (3, "slots[1].slot")
    assert "twice" in problem.problem


def test_a_slot_that_the_loader_lacks_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, "slots:\n - {slot: 5}\n")
    assert read_rack(file).slots[0].slot == 5
    with pytest.raises(BadInput, match="the loader has 4 slots"):
        read_rack(file, loader_slots=4)


@pytest.mark.parametrize(
    "text", ["slots: []\n", "slots:\n - {slot: 0}\n", "slots:\n - {slot: 1, slide: ../etc}\n", "a: 1\n"]
)
def test_what_is_no_rack_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadInput):
        read_rack(written(tmp_path, text))


def test_the_first_slots_are_counted_from_one() -> None:
    assert [entry.slot for entry in first_slots(3).slots] == [1, 2, 3]


def reach(_: int) -> Rect:
    """What a stage can reach of the clear glass."""
    return Rect(22_500, 500, 52_000, 24_000)


def test_focus_points_are_millimetres_of_the_slide_frame(tmp_path: Path) -> None:
    text = "slots:\n - slot: 1\n   focus_points: [[45, 12.5], [45.5, 1.2e1]]\n - {slot: 2}\n"
    first, second = read_rack(written(tmp_path, text), 4, reach).slots
    assert first.focus_points_um == (Point(45_000, 12_500), Point(45_500, 12_000))
    assert second.focus_points_um is None


def test_every_wrong_focus_point_is_told_at_once_with_its_line_and_mend(tmp_path: Path) -> None:
    text = (
        "slots:\n - slot: 1\n   focus_points:\n    - [45, 12.5]\n    - [80, 12.5]\n    - [10, 5]\n    - [45, 12.5]\n"
        " - slot: 2\n   focus_points:\n    - [1, 2, 3]\n    - [here, 5]\n    - [45, -1]\n"
    )
    with pytest.raises(BadInput) as caught:
        read_rack(written(tmp_path, text), 4, reach)
    told = {(p.line, p.field) for p in caught.value.problems}
    assert told >= {
        (5, "slots[0].focus_points[1]"),
        (6, "slots[0].focus_points[2]"),
        (7, "slots[0].focus_points[3]"),
    }
    assert (12, "slots[1].focus_points[2]") in told
    assert {line for line, _ in told} == {5, 6, 7, 10, 11, 12}
    said = " ".join(f"{p.problem} {p.mend}" for p in caught.value.problems)
    for words in (
        "not on the glass",
        "on the label or where the stage may not go",
        "given twice",
        "choose x from 22.5",
    ):
        assert words in said


@pytest.mark.parametrize("points", ["[]", "45", "[45, 12]", "[[.nan, 5]]", "[[]]", "{a: 1}"])
def test_focus_points_that_are_none_are_refused_with_their_line(tmp_path: Path, points: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_rack(written(tmp_path, f"slots:\n - slot: 1\n   focus_points: {points}\n"), 4, reach)
    assert {problem.line for problem in caught.value.problems} == {3}
