"""Do the readers that people have open the findings, each its own format, and see the same cells?"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
import yaozarrs
import zarr
from ome_zarr_models.v05.image import Image
from ome_zarr_models.v05.image_label import ImageLabel
from ome_zarr_models.v05.labels import Labels

from scanner.errors import DamagedRun, RackscanError
from scanner.export.geojson import write_geojson
from scanner.export.ome_findings import boxes_of, write_ome_findings
from scanner.pipeline.findings import Findings
from scanner.storage import labels
from scanner.storage.ngff import ImageSpec
from scanner.storage.ome_zarr import PyramidStore
from scanner.storage.roi_table import read_roi_table
from scanner.storage.tables import findings_table, write_table

UM = 0.5
LAYERS = pytest.mark.parametrize("layers", [None, 3])


def found(n: int = 40, width_px: int = 3000, height_px: int = 2500) -> Findings:
    """``n`` boxes of cells, some of them overlapping, some over the edge."""
    rng = np.random.default_rng(5)
    at = rng.uniform(-10, [width_px - 10, height_px - 10], (n, 2))
    boxes = np.hstack([at, rng.uniform(20, 120, (n, 2))])
    if n > 1:
        boxes[1, :2] = boxes[0, :2] + 9
    return Findings(
        tiles=np.arange(n),
        classes=tuple(("HSIL", "LSIL", "ASC-US")[i % 3] for i in range(n)),
        scores=np.round(np.sort(rng.uniform(0.01, 1, n))[::-1], 4),
        boxes_px=boxes,
        centres_um=(boxes[:, :2] + boxes[:, 2:] / 2) * UM + 900,
        cells=n,
        slide_score=0.9,
    )


def written(folder: Path, findings: Findings, layers: int | None = None) -> Path:
    """An image with the findings in it, their Parquet and GeoJSON beside it."""
    size = {"width_px": 3000, "height_px": 2500, "um_per_px": UM, "origin_um": (900, 900)}
    asked = {"name": "1-r", "dtype": "uint8", "channels": 3, "layers": layers, **size}
    store = PyramidStore.create(folder / "image.ome.zarr", ImageSpec.model_validate(asked))
    table = findings_table(findings.columns("1-r"))
    write_table(folder / "findings.parquet", table)
    write_geojson(folder / "findings.geojson", findings, "1-r")
    write_ome_findings(store, table)
    return store.path


@LAYERS
@pytest.mark.parametrize("n", [0, 1, 40])
def test_an_image_with_findings_is_valid_to_both_validators(
    tmp_path: Path, n: int, layers: int | None
) -> None:
    image = written(tmp_path, found(n), layers)
    for part in (image, image / "labels", image / "labels" / "findings"):
        yaozarrs.validate_zarr_store(str(part))
    Image.from_zarr(zarr.open_group(image, mode="r"))
    assert Labels.from_zarr(zarr.open_group(image / "labels", mode="r")).attributes.ome.labels == ["findings"]
    ImageLabel.from_zarr(zarr.open_group(image / "labels" / "findings", mode="r"))


def test_a_parquet_reader_and_a_geojson_reader_see_the_same_cells(tmp_path: Path) -> None:
    findings = found()
    written(tmp_path, findings)
    rows = pq.read_table(tmp_path / "findings.parquet").to_pylist()
    shapes = shapely.from_geojson((tmp_path / "findings.geojson").read_text()).geoms
    assert len(rows) == len(shapes) == 40
    for row, shape in zip(rows, shapes, strict=True):
        box = (row["x_px"], row["y_px"], row["x_px"] + row["w_px"], row["y_px"] + row["h_px"])
        assert shape.is_valid
        assert shape.bounds == pytest.approx(box)


def test_labels_show_every_box_in_its_place_and_the_better_one_on_top(tmp_path: Path) -> None:
    findings = found()
    image = written(tmp_path, findings)
    group = zarr.open_group(image / "labels" / "findings", mode="r")
    for level in (0, 1):
        shown, scale = np.asarray(group[str(level)]), 2.0 ** (2 + level)
        assert shown.shape == (2500 // scale, 3000 // scale)
        assert set(np.unique(shown)) >= {0, 1, 3, 40}
        expected = np.zeros_like(shown)
        for number in range(40, 0, -1):
            x, y, w, h = findings.boxes_px[number - 1] / scale
            expected[max(0, int(y)) : int(np.ceil(y + h)), max(0, int(x)) : int(np.ceil(x + w))] = number
        assert np.array_equal(shown, expected)


def test_labels_lie_where_the_image_lies(tmp_path: Path) -> None:
    image = written(tmp_path, found(3))
    own = json.loads((image / "labels" / "findings" / "zarr.json").read_text())["attributes"]["ome"]
    theirs = json.loads((image / "zarr.json").read_text())["attributes"]["ome"]
    first = own["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    third = theirs["multiscales"][0]["datasets"][2]["coordinateTransformations"]
    assert [t[t["type"]] for t in first] == [t[t["type"]][-2:] for t in third]
    assert own["image-label"]["properties"][0] == {"label-value": 1, "class": "HSIL", "score": 0.9744}
    assert own["image-label"]["colors"][0] == {"label-value": 1, "rgba": [220, 40, 40, 255]}


READ = """
import json, sys, warnings
warnings.simplefilter("ignore")  # of libraries that this reader brings
{0}
"""

NGIO = """
from ngio import open_ome_zarr_container
image = open_ome_zarr_container(sys.argv[1], mode="r")
table = image.get_table("findings")
rois = table.rois()
masked = image.get_masked_image("findings") if rois else None
print(json.dumps({
    "kind": type(table).__name__, "tables": image.list_tables(), "labels": image.list_labels(),
    "rows": [[r.label, r["x"].start, r["y"].start, r["x"].length, r["y"].length,
              r.model_extra["class_name"], r.model_extra["score"]] for r in rois],
    "crop": list(image.get_image().get_roi_as_numpy(rois[2]).shape) if rois else None,
    "masked": list(masked.get_roi_masked_as_numpy(3).shape) if rois else None,
}))
"""

NAPARI = """
from napari_ome_zarr import napari_get_reader
layers = napari_get_reader(sys.argv[1])(sys.argv[1])
(levels, how), = [(data, how) for data, how, kind in layers if kind == "labels"]
print(json.dumps({
    "shapes": [list(level.shape) for level in levels], "scale": list(how["scale"]),
    "properties": how["properties"], "best": int((levels[0] == 1).sum().compute()),
}))
"""


def read_by(script: str, library: str, image: Path) -> Any:
    """What a reader in a process of its own sees; skipped where it is not installed."""
    pytest.importorskip(library, reason=f"{library} is not installed: the extra `test` brings it")
    command = [sys.executable, "-c", READ.format(script), str(image)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def ngio_sees(image: Path) -> Any:
    return read_by(NGIO, "ngio", image)


@LAYERS
def test_ngio_opens_the_findings_as_regions_and_as_masks(tmp_path: Path, layers: int | None) -> None:
    findings = found()
    seen = ngio_sees(written(tmp_path, findings, layers))
    assert seen["kind"] == "MaskingRoiTableV1"
    assert (seen["tables"], seen["labels"]) == (["findings"], ["findings"])
    for rank, row in enumerate(seen["rows"], 1):
        assert row[0] == rank
        assert row[1:5] == pytest.approx((findings.boxes_px[rank - 1] * UM).tolist())
        assert row[5:] == [findings.classes[rank - 1], findings.scores[rank - 1]]
    assert len(seen["rows"]) == 40
    w, h = findings.boxes_px[2, 2:]
    assert seen["crop"][-2:] == pytest.approx([h, w], abs=1.5)
    assert seen["masked"] == seen["crop"]


def test_ngio_opens_a_slide_without_a_finding(tmp_path: Path) -> None:
    assert ngio_sees(written(tmp_path, found(0)))["rows"] == []


@LAYERS
def test_napari_shows_the_findings_as_labels_with_class_and_score(tmp_path: Path, layers: int | None) -> None:
    findings = found()
    seen = read_by(NAPARI, "napari_ome_zarr", written(tmp_path, findings, layers))
    assert seen["shapes"][0] == [625, 750]
    assert seen["scale"][-2:] == [2.0, 2.0]
    assert seen["properties"]["index"] == list(range(1, 41))
    assert seen["properties"]["class"] == list(findings.classes)
    assert seen["properties"]["score"] == findings.scores.tolist()
    assert seen["best"] > 0


def test_the_same_findings_are_the_same_bytes_and_what_was_there_before_goes(tmp_path: Path) -> None:
    image = written(tmp_path, found())
    before = {path: path.read_bytes() for path in image.rglob("*") if path.is_file()}
    store, table = PyramidStore.open(image), pq.read_table(tmp_path / "findings.parquet")
    write_ome_findings(store, findings_table(found(60).columns("1-r")))
    (image / ".labels.0123.rackscan.tmp" / "findings").mkdir(parents=True)
    assert store.sweep() == 1
    write_ome_findings(store, table)
    assert {path: path.read_bytes() for path in image.rglob("*") if path.is_file()} == before


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = written(tmp_path, found(3))
    before = sorted(image.rglob("*"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(labels, "write_labels", full)
    with pytest.raises(RackscanError, match="disk is full"):
        write_ome_findings(PyramidStore.open(image), pq.read_table(tmp_path / "findings.parquet"))
    assert sorted(image.rglob("*")) == before


def test_more_findings_than_a_label_can_number_are_in_the_table_alone(tmp_path: Path) -> None:
    boxes = np.tile([10.0, 10.0, 40.0, 40.0], (labels.MOST + 5, 1))
    spec = ImageSpec(name="x", width_px=600, height_px=600, dtype="uint8", channels=3)
    shown = {int(value) for _, chunk in labels.chunks(spec, boxes) for value in np.unique(chunk)}
    assert shown == {0, 1}
    boxes[-1, :2] = 300
    assert max(chunk.max() for _, chunk in labels.chunks(spec, boxes[5:])) == labels.MOST
    assert max(chunk.max() for _, chunk in labels.chunks(spec, boxes)) == 1


def test_a_damaged_table_or_chunk_is_said_so(tmp_path: Path) -> None:
    image = written(tmp_path, found(3))
    chunk = next((image / "labels" / "findings" / "0" / "c").glob("*/*"))
    chunk.write_bytes(b"none")
    with pytest.raises(DamagedRun, match="labels"):
        labels.read_chunk(chunk)
    (image / "tables" / "findings" / "table.parquet").write_bytes(b"none")
    with pytest.raises(DamagedRun, match="table"):
        read_roi_table(image)


def test_boxes_are_taken_from_the_table_as_they_stand_there() -> None:
    table: pa.Table = findings_table(found(2).columns("1-r"))
    assert np.array_equal(boxes_of(table), found(2).boxes_px)
