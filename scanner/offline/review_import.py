"""What did a person change in QuPath? An edited ``findings.geojson`` held against what was exported, by object.

A class or a box that was changed, an object that was deleted, one that was added: these are corrections. An object
that is as it was exported says nothing, for nobody knows whether anybody looked at it, unless it is said how many were.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import BaseModel, Field, ValidationError

from detection.classes import cell_class, is_known
from scanner.errors import BadInput, Problem
from scanner.export.geojson import MOST, object_id
from scanner.model.base import Value
from scanner.model.correction import Correction, Said, Via
from scanner.review.correcting import Box, Desk, FoundCell, reviewer
from scanner.storage.reader import RunReader

SAME_PX = 0.51
IGNORED = "*"
"""QuPath's own mark of classes that do not count: ``Ignore*``."""
SUSPICIOUS_SHARE, SUSPICIOUS_NUMBER = 0.5, 10
Missing: TypeAlias = Literal["no-cell", "unsaid"]
"""What an exported finding means that the edited file lacks."""
MEND = "correct the class in QuPath and export again"


class ImportResult(Value):
    """What was taken in from one file."""

    slide_id: str
    renamed: int
    redrawn: int
    confirmed: int
    deleted: int
    added: int
    known: int
    """Said before in the same words, and so not said again."""

    def line(self) -> str:
        """In words."""
        parts = ("renamed", "redrawn", "confirmed", "deleted", "added")
        said = ", ".join(f"{getattr(self, name)} {name}" for name in parts)
        return f"{self.slide_id}: {said}; {self.known} known from before"


@dataclass(frozen=True, slots=True)
class Wanted:
    """How an edited file is understood.

    ``looked_at``: so many findings, rank 1 first, were all looked at, and what was left as it is, is confirmed.
    """

    slide: str | None = None
    by: str | None = None
    missing: Missing | None = None
    looked_at: int = 0


class _Geometry(BaseModel):
    coordinates: list[object] = Field(min_length=1)


class _Class(BaseModel):
    name: str | None = None


class _Properties(BaseModel):
    classification: _Class | None = None


class _Feature(BaseModel):
    id: str | None = None
    geometry: _Geometry
    properties: _Properties | None = None


class _Edited(BaseModel):
    features: list[_Feature]


@dataclass(frozen=True, slots=True)
class _Object:
    """One object of the edited file; ``name`` None where it has no class."""

    id: UUID | None
    name: str | None
    box_px: Box

    @property
    def ignored(self) -> bool:
        return self.name is not None and self.name.endswith(IGNORED)


def import_geojson(run_dir: Path, edited: Path, wanted: Wanted) -> ImportResult:
    """Keep what ``edited`` says about the findings of one slide of a run, all of it or nothing.

    Raises:
        BadInput: no run, not the export of one of its slides, unknown classes, objects outside the image, or so many
            findings missing that the file may be a part of the export; nothing was kept.
        RackscanError: the disk refuses; nothing was kept.
    """
    objects = _objects(edited)
    with RunReader.open(run_dir) as reader:
        slide_id = _slide(reader, objects, wanted.slide, edited)
        desk = Desk(reader, slide_id, reviewer(wanted.by), Via.QUPATH)
        said = _said(desk, objects, wanted, edited)
        new = {kind: [c for c in corrections if not _known(desk, c)] for kind, corrections in said.items()}
        desk.keep([correction for corrections in new.values() for correction in corrections])
    known = sum(map(len, said.values())) - sum(map(len, new.values()))
    return ImportResult(slide_id=slide_id, known=known, **{kind: len(each) for kind, each in new.items()})


def _said(
    desk: Desk, objects: Sequence[_Object], wanted: Wanted, edited: Path
) -> dict[str, list[Correction]]:
    exported = {cell.cell: cell for cell in desk.found[:MOST]}
    there = {each.id: each for each in objects if each.id in exported}
    absent = [cell for id_, cell in exported.items() if id_ not in there]
    _refuse_a_part(absent, exported, wanted.missing, edited)
    said: dict[str, list[Correction]] = {
        kind: [] for kind in ("renamed", "redrawn", "confirmed", "deleted", "added")
    }
    for id_, cell in exported.items():
        if id_ in there:
            kind, correction = _answer(desk, cell, there[id_], wanted.looked_at)
            said[kind] += [correction] if correction else []
    said["deleted"] += [desk.rejected(c) for c in absent if wanted.missing != "unsaid"]
    for each in objects:
        if each.id not in exported and each.name is not None and not each.ignored:
            cell_id = each.id or uuid5(NAMESPACE_URL, f"{desk.asked.slide_id}:{each.box_px}")
            said["added"].append(desk.missed(cell_id, each.box_px, cell_class(each.name).name))
    return said


def _answer(desk: Desk, cell: FoundCell, edited: _Object, looked_at: int) -> tuple[str, Correction | None]:
    """How an object differs from the finding that it was; one without a class says nothing."""
    if edited.ignored:
        return "deleted", desk.rejected(cell)
    if edited.name is None:
        return "confirmed", None
    name = cell_class(edited.name).name
    redrawn = max(abs(a - b) for a, b in zip(edited.box_px, cell.box_px, strict=True)) > SAME_PX
    if name != cell.name:
        return "renamed", desk.changed(cell, edited.box_px, name)
    if redrawn:
        return "redrawn", desk.changed(cell, edited.box_px, name)
    return "confirmed", desk.changed(cell, cell.box_px, name) if cell.rank <= looked_at else None


def _known(desk: Desk, correction: Correction) -> bool:
    before = desk.said.get(correction.cell)
    if before is None:
        return False
    same = max(abs(a - b) for a, b in zip(before.box_px, correction.box_px, strict=True)) <= SAME_PX
    return (before.said, before.name) == (correction.said, correction.name) and (
        same or correction.said is Said.NO_CELL
    )


def _refuse_a_part(
    absent: Sequence[FoundCell], exported: dict[UUID, FoundCell], missing: Missing | None, edited: Path
) -> None:
    few = len(absent) <= max(SUSPICIOUS_NUMBER, SUSPICIOUS_SHARE * len(exported))
    if missing is None and not few:
        what = f"lacks {len(absent)} of {len(exported)} findings: were they deleted, or only not exported?"
        raise BadInput.one(what, "say so with --missing no-cell or --missing unsaid", file=str(edited))


def _objects(edited: Path) -> list[_Object]:
    """The objects of the file.

    Raises:
        BadInput: it is no GeoJSON of QuPath, an object has a class that nobody knows, or two have one id.
    """
    try:
        body = json.loads(edited.read_text(encoding="utf-8"))
        features = _Edited.model_validate({"features": body} if isinstance(body, list) else body).features
        objects = [_object(feature) for feature in features]
    except (OSError, ValueError, ValidationError) as error:
        mend = "give the GeoJSON that QuPath exported"
        raise BadInput.one(f"cannot be read: {error}", mend, file=str(edited)) from error
    problems = [
        Problem(f"class {name!r} is not known", MEND, file=str(edited))
        for name in sorted({o.name for o in objects if o.name and not o.ignored and not is_known(o.name)})
    ]
    ids = Counter(each.id for each in objects if each.id is not None)
    twice = sorted(str(id_) for id_, times in ids.items() if times > 1)
    problems += [Problem(f"two objects have the id {id_}", "export again", str(edited)) for id_ in twice]
    if problems:
        raise BadInput(problems)
    return objects


def _object(feature: _Feature) -> _Object:
    points = list(_points(feature.geometry.coordinates))
    x, y = min(p[0] for p in points), min(p[1] for p in points)
    w, h = max(p[0] for p in points) - x, max(p[1] for p in points) - y
    named = feature.properties.classification if feature.properties else None
    id_ = UUID(feature.id) if feature.id else None
    if not (w > 0 and h > 0):
        raise ValueError(f"object {feature.id} has no area: draw a box around the cell")
    return _Object(id_, named.name if named else None, (x, y, w, h))


def _points(coordinates: object) -> list[tuple[float, float]]:
    """All points of a geometry, however deeply nested."""
    if not isinstance(coordinates, list) or not coordinates:
        raise ValueError("an object has no coordinates")
    if isinstance(coordinates[0], int | float):
        x, y = float(coordinates[0]), float(coordinates[1])
        return [(x, y)]
    return [point for part in coordinates for point in _points(part)]


def _slide(reader: RunReader, objects: Sequence[_Object], given: str | None, edited: Path) -> str:
    """The slide whose findings these objects are; else the one that was named by id or slot."""
    names = [name for name in reader.slides() if reader.paths(name).image.is_dir()]
    first = {object_id(name, 1).int >> 32: name for name in names}
    met = sorted({first[o.id.int >> 32] for o in objects if o.id and o.id.int >> 32 in first})
    named = [name for name in names if given in (name, name.split("-", maxsplit=1)[0])]
    if given is not None and not named:
        raise BadInput.one(f"there is no slide {given} with an image", f"give one of {', '.join(names)}")
    if len(met) > 1 or (met and named and met != named):
        what = f"holds findings of {', '.join(met)}"
        raise BadInput.one(what, "give one slide at a time, as it was exported", file=str(edited))
    if not met and not named:
        what = "holds no finding of this run"
        raise BadInput.one(
            what, "give the edited findings.geojson of one of its slides, or --slide", str(edited)
        )
    return (met or named)[0]
