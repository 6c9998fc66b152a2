"""Is what a person changed in QuPath, and only that, taken in?"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from scanner.errors import BadInput
from scanner.model.correction import Said, Via
from scanner.offline.review_import import Wanted, import_geojson
from scanner.offline.review_words import said_of
from scanner.review.correcting import found_cells
from scanner.storage.reader import RunReader
from scanner.storage.run_folder import RunFolder
from tests.scanner.corrected import FOUND, MISSED, build

AB = Wanted(by="AB")
Change = Callable[[list[dict[str, Any]]], object]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return build(tmp_path / "run", slides=2)


def feature(id_: str | None, x: float, y: float, name: str | None, side: float = 32) -> dict[str, Any]:
    """As QuPath writes one."""
    left, top, right, bottom = x - side / 2, y - side / 2, x + side / 2, y + side / 2
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    properties = {"objectType": "detection"} | (
        {"classification": {"name": name, "color": [1, 2, 3]}} if name else {}
    )
    geometry = {"type": "Polygon", "coordinates": [ring]}
    return {"type": "Feature", **({"id": id_} if id_ else {}), "geometry": geometry, "properties": properties}


def edited(run: RunFolder, change: Change, slot: int = 1) -> Path:
    """The export of a slide after a change."""
    with RunReader.open(run.root) as reader:
        cells = found_cells(reader, reader.slides()[slot - 1])
    features = [feature(str(c.cell), f[0], f[1], c.name) for c, f in zip(cells, FOUND, strict=True)]
    change(features)
    file = run.root.parent / "edited.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return file


def answers(run: RunFolder) -> list[tuple[int | None, Said, str]]:
    return [(c.rank, c.said, c.name) for s in said_of(run.root).slides for c in s.corrections]


def test_what_was_not_touched_says_nothing(run: RunFolder) -> None:
    result = import_geojson(run.root, edited(run, lambda _: None), AB)
    assert result.renamed == result.redrawn == result.confirmed == result.deleted == result.added == 0
    assert answers(run) == []
    assert not list(run.root.glob("slides/*/corrections"))


def test_changed_deleted_redrawn_ignored_and_added_objects_are_corrections_of_their_slide(
    run: RunFolder,
) -> None:
    new = str(uuid4())

    def change(features: list[dict[str, Any]]) -> None:
        features[0]["properties"]["classification"]["name"] = "nilm"
        features[1] = feature(features[1]["id"], 652, 181, "HSIL", side=40)
        features[2]["properties"]["classification"]["name"] = "Ignore*"
        del features[3]
        features.append(feature(new, *MISSED, "SCC"))
        features.append(feature(None, 50, 50, None))

    result = import_geojson(run.root, edited(run, change, slot=2), AB)
    assert result.slide_id == "2-run-1"
    assert (result.renamed, result.redrawn, result.deleted, result.added) == (1, 1, 2, 1)
    assert set(answers(run)) == {
        (1, Said.CELL, "NILM"),
        (2, Said.CELL, "HSIL"),
        (3, Said.NO_CELL, ""),
        (4, Said.NO_CELL, ""),
        (None, Said.CELL, "SCC"),
    }
    with RunReader.open(run.root) as reader:
        (act,) = reader.corrections("2-run-1")
    assert (act.via, act.by) == (Via.QUPATH, "AB")
    redrawn = next(c for c in act.corrections if c.rank == 2)
    assert redrawn.box_px == (632, 161, 40, 40)


def test_the_same_file_twice_says_it_once(run: RunFolder) -> None:
    def change(features: list[dict[str, Any]]) -> None:
        features[0]["properties"]["classification"]["name"] = "NILM"
        del features[3]
        features.append(feature(None, *MISSED, "SCC"))

    file = edited(run, change)
    assert import_geojson(run.root, file, AB).known == 0
    again = import_geojson(run.root, file, AB)
    assert (again.known, again.added, again.renamed) == (3, 0, 0)
    assert said_of(run.root).slides[0].answers == 1


def test_of_those_that_were_looked_at_the_unchanged_are_confirmed(run: RunFolder) -> None:
    result = import_geojson(run.root, edited(run, lambda _: None), Wanted(by="AB", looked_at=2))
    assert result.confirmed == 2
    assert answers(run) == [(1, Said.CELL, "HSIL"), (2, Said.CELL, "HSIL")]


def test_findings_that_were_not_exported_are_not_deleted(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scanner.offline.review_import.SUSPICIOUS_NUMBER", 1)
    file = edited(run, lambda features: features.__delitem__(slice(1, None)))
    with pytest.raises(BadInput, match="lacks 3 of 4 findings"):
        import_geojson(run.root, file, AB)
    assert import_geojson(run.root, file, Wanted(by="AB", missing="unsaid")).deleted == 0
    assert import_geojson(run.root, file, Wanted(by="AB", missing="no-cell")).deleted == 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f[0]["properties"]["classification"].update(name="HISL"), "class 'HISL' is not known"),
        (lambda f: f.append(f[0]), "two objects have the id"),
        (lambda f: f.append(feature(None, 5000, 10, "HSIL")), "outside the image"),
        (lambda f: f[0].update(geometry={"type": "Point", "coordinates": [3, 4]}), "has no area"),
        (lambda f: f.__delitem__(slice(None)), "holds no finding of this run"),
    ],
)
def test_what_cannot_be_understood_is_refused_and_nothing_kept(
    run: RunFolder, change: Change, says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        import_geojson(run.root, edited(run, change), AB)
    assert answers(run) == []


def test_findings_of_two_slides_or_another_slide_are_refused(run: RunFolder) -> None:
    other = json.loads(edited(run, lambda _: None, slot=2).read_text())["features"]
    with pytest.raises(BadInput, match=r"holds findings of 1-run-1, 2-run-1"):
        import_geojson(run.root, edited(run, lambda f: f.extend(other)), AB)
    with pytest.raises(BadInput, match=r"holds findings of 1-run-1"):
        import_geojson(run.root, edited(run, lambda _: None), Wanted(slide="2"))
