"""Does a rack file say which slides lie where, and is a wrong one refused with words?"""

from pathlib import Path

import pytest

from scanner.errors import BadInput
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
