"""Does what a person says at the desk stand on disk at once, and can it be taken back?"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from scanner.errors import BadInput
from scanner.model.correction import Said, Via, standing
from scanner.review.correcting import Desk, reviewer
from scanner.storage.reader import RunReader
from scanner.storage.run_folder import RunFolder, slide_id
from tests.scanner.corrected import FOUND, MISSED, ORIGIN_UM, SIDE, UM_PER_PX, build, evidence

SLIDE = slide_id(1, "run-1")


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return build(tmp_path / "run")


@pytest.fixture
def reader(run: RunFolder) -> Iterator[RunReader]:
    with RunReader.open(run.root) as opened:
        yield opened


def desk(reader: RunReader, by: str = "AB") -> Desk:
    return Desk(reader, SLIDE, by, Via.NAPARI)


def test_every_word_is_on_disk_when_it_was_said_and_the_evidence_stays(
    run: RunFolder, reader: RunReader
) -> None:
    before, here = evidence(run), desk(reader)
    here.name(here.found[0], "NILM")
    here.reject(here.found[1])
    there = desk(reader)
    assert [(c.rank, c.said, c.name, c.found, c.score) for c in there.said.values()] == [
        (1, Said.CELL, "NILM", "HSIL", FOUND[0][2]),
        (2, Said.NO_CELL, "", "HSIL", FOUND[1][2]),
    ]
    assert [answers.by for answers in reader.corrections(SLIDE)] == ["AB", "AB"]
    assert all(answers.findings is not None for answers in reader.corrections(SLIDE))
    assert evidence(run) == before


def test_a_missed_cell_lies_where_it_was_pointed_at_and_is_as_large_as_findings_are(
    reader: RunReader,
) -> None:
    here = desk(reader)
    x_um, y_um = (o + p * UM_PER_PX for o, p in zip(ORIGIN_UM, MISSED, strict=True))
    added = here.add(x_um, y_um, "SCC")
    assert added.rank is None
    assert list(added.box_px) == [MISSED[0] - SIDE / 2, MISSED[1] - SIDE / 2, SIDE, SIDE]
    assert (added.x_um, added.y_um) == (x_um, y_um)
    with pytest.raises(BadInput, match="outside the image"):
        here.add(ORIGIN_UM[0] - 1, y_um, "SCC")
    assert len(reader.corrections(SLIDE)) == 1


def test_an_undo_is_a_further_word_and_brings_back_the_one_before(reader: RunReader) -> None:
    here = desk(reader)
    here.name(here.found[0], "LSIL")
    here.name(here.found[0], "NILM")
    here.undo()
    assert [c.name for c in standing(reader.corrections(SLIDE)).values()] == ["LSIL"]
    here.undo()
    assert not standing(reader.corrections(SLIDE))
    assert not here.said
    assert here.undo() is None
    assert len(reader.corrections(SLIDE)) == 4


def test_the_name_of_who_answers_is_the_accounts_or_a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "jane doe")
    assert reviewer(None) == "jane-doe"
    assert reviewer("AB") == "AB"
    with pytest.raises(BadInput, match="no short name"):
        reviewer("Jane Doe, 1980")
