"""How do findings reach QuPath? As GeoJSON objects in level-0 pixels, which QuPath opens by drag and drop."""

import json
import uuid
from pathlib import Path

from scanner.model.events import Json
from scanner.pipeline.findings import Findings
from scanner.storage.atomic import RESUME, write_atomic

MOST = 2_000
NAMESPACE = uuid.UUID("5c0c6c9e-6c0b-5d7e-9a55-5f6b7e2f3a10")
COLOURS = {
    "ASC-US": [240, 200, 60],
    "LSIL": [250, 160, 40],
    "ASC-H": [240, 110, 40],
    "HSIL": [220, 40, 40],
    "SCC": [150, 20, 90],
    "AGC": [160, 70, 200],
}
OTHER = [90, 90, 220]


def feature_collection(findings: Findings, slide_id: str) -> dict[str, Json]:
    """A FeatureCollection with one rectangle a finding, at most the 2,000 highest-scoring: the table holds all.

    Ids depend on slide and rank only.
    """
    return {
        "type": "FeatureCollection",
        "features": [_feature(findings, index, slide_id) for index in range(min(MOST, len(findings)))],
    }


def colour_of(name: str) -> list[int]:
    """Red, green, blue, 0..255, of a class."""
    return list(COLOURS.get(name, OTHER))


def object_id(slide_id: str, rank: int) -> uuid.UUID:
    """The id of the finding of a rank, also of one beyond the 2,000 that are written."""
    first = uuid.uuid5(NAMESPACE, slide_id).int & ~0xFFFFFFFF
    return uuid.UUID(int=first + rank - 1)


def write_geojson(path: Path, findings: Findings, slide_id: str, then: str = RESUME) -> None:
    """``findings.geojson``, in one step; ``then`` as for ``scanner.storage.atomic.replacing``.

    Raises:
        RackscanError: the disk is full or read-only.
    """
    text = json.dumps(feature_collection(findings, slide_id), separators=(",", ":"))
    write_atomic(path, text, then)


def _feature(findings: Findings, index: int, slide_id: str) -> dict[str, Json]:
    x, y, w, h = (float(value) for value in findings.boxes_px[index])
    corners: list[Json] = [[x, y], [x + w, y], [x + w, y + h], [x, y + h], [x, y]]
    name = findings.classes[index]
    classification: dict[str, Json] = {"name": name, "color": [*colour_of(name)]}
    return {
        "type": "Feature",
        "id": str(object_id(slide_id, index + 1)),
        "geometry": {"type": "Polygon", "coordinates": [corners]},
        "properties": {
            "objectType": "detection",
            "name": f"{index + 1}",
            "classification": classification,
            "measurements": {
                "rank": index + 1,
                "P(abnormal)": float(findings.scores[index]),
                "x um": round(float(findings.centres_um[index, 0]), 2),
                "y um": round(float(findings.centres_um[index, 1]), 2),
            },
        },
    }
