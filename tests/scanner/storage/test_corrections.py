"""Are corrections kept whole, in order, once, and does a change of them show?"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from scanner.errors import DamagedRun, RackscanError
from scanner.model.correction import Asked, Correction, Said, Via, standing
from scanner.storage.corrections import chain_problems, keep_answers, read_answers

SLIDE = "2-run-1"
ASKED = Asked(slide_id=SLIDE, by="AB", via=Via.NAPARI)


def said(cell: UUID, word: Said = Said.CELL, name: str = "HSIL") -> Correction:
    box = {"x_px": 1.0, "y_px": 2.0, "w_px": 30.0, "h_px": 30.0, "x_um": 40_000.0, "y_um": 8_000.0}
    return Correction(cell=cell, said=word, name=name if word is Said.CELL else "", **box)


def test_the_last_word_on_a_cell_holds_and_a_word_taken_back_does_not(tmp_path: Path) -> None:
    one, other = uuid4(), uuid4()
    keep_answers(tmp_path, ASKED, [said(one), said(other)])
    keep_answers(tmp_path, ASKED, [said(one, name="NILM"), said(other, Said.WITHDRAWN)])
    answers = read_answers(tmp_path)
    assert [each.number for each in answers] == [1, 2]
    assert {cell: c.name for cell, c in standing(answers).items()} == {one: "NILM"}
    assert list(chain_problems(tmp_path, SLIDE)) == []


def test_many_who_answer_at_once_lose_nothing(tmp_path: Path) -> None:
    cells = [uuid4() for _ in range(12)]
    with ThreadPoolExecutor(4) as people:
        list(people.map(lambda cell: keep_answers(tmp_path, ASKED, [said(cell)]), cells))
    answers = read_answers(tmp_path)
    assert {each.corrections[0].cell for each in answers} == set(cells)
    assert list(chain_problems(tmp_path, SLIDE)) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{n:06d}.json" for n in range(1, 13)]


def test_an_answer_that_was_altered_removed_or_brought_from_elsewhere_shows(tmp_path: Path) -> None:
    for _ in range(3):
        keep_answers(tmp_path, ASKED, [said(uuid4())])
    assert "is of slide 2-run-1" in next(chain_problems(tmp_path, "3-run-1"))
    first = tmp_path / "000001.json"
    text = first.read_text()
    first.write_text(text.replace("HSIL", "NILM"))
    assert [p for p in chain_problems(tmp_path, SLIDE) if "altered" in p and "000002" in p]
    first.write_text(text)
    (tmp_path / "000002.json").unlink()
    assert "one is missing" in next(chain_problems(tmp_path, SLIDE))
    first.write_text("{")
    with pytest.raises(DamagedRun, match="000001"):
        read_answers(tmp_path)


def test_a_disk_that_refuses_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "corrections").write_text("in the way")
    with pytest.raises(RackscanError, match="nothing was left behind"):
        keep_answers(tmp_path / "corrections", ASKED, [said(uuid4())])


@pytest.mark.parametrize("by", ["Jane Doe", "", "x" * 33])
def test_who_answers_is_a_short_name(by: str) -> None:
    with pytest.raises(ValidationError):
        Asked(slide_id=SLIDE, by=by, via=Via.NAPARI)


def test_only_a_cell_has_a_class() -> None:
    whole = said(uuid4())
    for change in ({"name": ""}, {"said": Said.NO_CELL}, {"said": Said.WITHDRAWN}):
        with pytest.raises(ValidationError, match="a cell has a class"):
            Correction.model_validate(whole.model_dump() | change)
