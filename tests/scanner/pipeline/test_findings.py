import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from detection.classes import CellClass, cell_class
from detection.detections import Detections
from detection.merging import TileDetections, merge
from detection.package import DetectorPackage, default_package
from scanner.export.geojson import feature_collection, write_geojson
from scanner.model.geometry import Affine, Point, Space
from scanner.pipeline.findings import Findings, findings, from_merged
from scanner.storage.tables import FINDING_COLUMNS, findings_table

CLASSES: tuple[CellClass, ...] = tuple(cell_class(name) for name in ("HSIL", "LSIL", "NILM", "leucocyte"))
TO_SLIDE = Affine(Space.MOSAIC, Space.SLIDE, ((0.5, 0.0), (0.0, 0.5)), (35_000.0, 2_500.0))


def _found(abnormal: list[float], classes: list[int] | None = None) -> Findings:
    n = len(abnormal)
    boxes = np.stack([np.arange(n) * 40.0, np.full(n, 10.0), np.full(n, 20.0), np.full(n, 30.0)], axis=1)
    found = Detections.rounded(
        boxes,
        np.array(classes or [0] * n),
        np.full(n, 0.9),
        np.array(abnormal),
        np.arange(n) % 2,
    )
    merged = merge([TileDetections(7, 100.0, 200.0, 100_000, 1024, found)])
    return from_merged(merged, CLASSES, 0.3, TO_SLIDE)


def test_rank_one_is_the_most_abnormal_cell_in_mosaic_pixels_and_slide_micrometres() -> None:
    found = _found([0.2, 0.9, 0.4])
    columns = found.columns("1-r")
    assert found.scores.tolist() == [0.9, 0.4, 0.2]
    assert found.boxes_px[0].tolist() == [140, 210, 20, 30]
    assert found.centres_um[0].tolist() == [35_000 + 150 * 0.5, 2_500 + 225 * 0.5]
    assert found.classes[0] == "LSIL"
    table = findings_table(columns)
    assert table.schema.equals(FINDING_COLUMNS)
    assert table.column("rank").to_pylist() == [1, 2, 3]
    assert set(table.column("tile").to_pylist()) == {7}


def test_a_cell_on_a_border_is_found_in_the_tile_that_shows_it() -> None:
    """The tile that is shown says 0.3, the other one, which sees it as well, 0.8: a border hides no suspicion."""
    package = DetectorPackage.load(default_package())
    places = {0: Point(0.0, 0.0), 1: Point(90.0, 0.0)}

    def seen(x_px: float, abnormal: float) -> Detections:
        box = np.array([[x_px - 5, 40.0, 10.0, 10.0]])
        return Detections.rounded(box, np.zeros(1), np.full(1, 0.9), np.full(1, abnormal), np.zeros(1))

    for cell_x, border, of in ((105.0, 104.0, 1), (105.0, 106.0, 0), (105.0, 200.0, 0)):
        answers = {0: seen(cell_x, 0.8 - 0.5 * (of == 0)), 1: seen(cell_x - 90, 0.8 - 0.5 * (of == 1))}

        def shown_at(at: NDArray[np.float64], border: float = border) -> NDArray[np.int64]:
            return (at[:, 0] >= border).astype(np.int64)

        found = findings(answers, places, (130, 100), package, TO_SLIDE, shown_at)
        assert found.tiles.tolist() == [of]
        assert found.scores.tolist() == [0.8]


def test_unlikely_candidates_are_kept_only_among_the_fifty_best() -> None:
    assert len(_found([0.001] * 80)) == 50
    assert len(_found([0.02] * 80)) == 80
    assert len(_found([0.02] * 10 + [0.001] * 80)) == 50


def test_normal_and_abnormal_squamous_cells_are_counted_and_leucocytes_are_not() -> None:
    assert _found([0.1] * 5, classes=[0, 1, 2, 2, 3]).cells == 4


def test_a_slide_without_cells_has_no_findings_and_the_least_score() -> None:
    found = _found([])
    assert (len(found), found.cells) == (0, 0)
    assert found.slide_score == pytest.approx(1e-4)
    assert findings_table(found.columns("1-r")).num_rows == 0


def test_geojson_holds_one_named_rectangle_a_finding(tmp_path: Path) -> None:
    found = _found([0.2, 0.9])
    write_geojson(tmp_path / "f.geojson", found, "1-r")
    read = json.loads((tmp_path / "f.geojson").read_text())
    first = read["features"][0]
    assert first["geometry"]["coordinates"][0][0] == [140, 210]
    assert first["geometry"]["coordinates"][0][2] == [160, 240]
    assert first["properties"]["classification"]["name"] == "LSIL"
    assert first["properties"]["objectType"] == "detection"
    assert first["properties"]["measurements"]["P(abnormal)"] == 0.9


def test_the_same_findings_have_the_same_ids_and_others_do_not() -> None:
    def first_id(name: str) -> Any:
        written: Any = feature_collection(_found([0.5]), name)
        return written["features"][0]["id"]

    assert first_id("1-r") == first_id("1-r") != first_id("2-r")
