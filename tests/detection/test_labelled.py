import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from detection.classes import Role, cell_class
from detection.errors import DataError
from detection.labelled import Kind, read_data


def _image(file: Path, height: int = 60, width: int = 80) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), np.full((height, width, 3), 200, np.uint8))


def _coco(folder: Path, box: list[float], category: int = 1) -> None:
    _image(folder / "images" / "a.png")
    body = {
        "info": {"um_per_px": 0.25},
        "categories": [{"id": 1, "name": "hsil"}],
        "images": [{"id": 7, "file_name": "a.png", "width": 80, "height": 60, "slide": "s1"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": category, "bbox": box}],
    }
    (folder / "boxes.json").write_text(json.dumps(body))


def test_folders_of_crops_are_read_and_other_files_ignored(tmp_path: Path) -> None:
    _image(tmp_path / "hsil" / "1.png")
    _image(tmp_path / "candida" / "2.jpg")
    (tmp_path / "hsil" / "notes.txt").write_text("x")
    (tmp_path / "labels.csv").write_text("x")
    data = read_data(tmp_path)
    assert data.kind is Kind.CROPS
    assert data.counts() == {"candida": 1, "HSIL": 1}
    assert data.images[1].boxes.tolist() == [[0, 0, 80, 60]]


def test_coco_boxes_are_read_with_their_slide_and_scale(tmp_path: Path) -> None:
    _coco(tmp_path, [5, 6, 20, 10])
    data = read_data(tmp_path)
    assert data.kind is Kind.FIELDS
    assert (data.images[0].slide, data.um_per_px, data.scale_known) == ("s1", 0.25, True)
    assert data.counts() == {"HSIL": 1}


def test_qupath_geojson_beside_an_image_is_read(tmp_path: Path) -> None:
    _image(tmp_path / "f.png")
    ring = [[10, 20], [30, 20], [30, 50], [10, 50], [10, 20]]
    named = {"classification": {"name": "LSIL"}}
    features = [
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": named},
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {}},
    ]
    (tmp_path / "f.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    data = read_data(tmp_path)
    assert data.images[0].boxes.tolist() == [[10, 20, 20, 30]]
    assert data.counts() == {"LSIL": 1}


@pytest.mark.parametrize("box", [[70, 5, 20, 10], [5, 5, 0, 10], [-9, 5, 20, 10]])
def test_boxes_outside_their_image_are_refused(tmp_path: Path, box: list[float]) -> None:
    _coco(tmp_path, box)
    with pytest.raises(DataError, match="outside the image"):
        read_data(tmp_path)


def test_an_unlisted_category_is_refused(tmp_path: Path) -> None:
    _coco(tmp_path, [5, 6, 20, 10], category=9)
    with pytest.raises(DataError, match="category 9 is not listed"):
        read_data(tmp_path)


def test_an_empty_class_is_refused(tmp_path: Path) -> None:
    _image(tmp_path / "hsil" / "1.png")
    (tmp_path / "lsil").mkdir()
    with pytest.raises(DataError, match="class LSIL has no example"):
        read_data(tmp_path)


def test_nothing_labelled_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no labelled image"):
        read_data(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        read_data(tmp_path / "none")


def test_an_unknown_class_counts_as_abnormal_to_be_safe() -> None:
    assert cell_class("something new").role is Role.ABNORMAL
    assert cell_class("asc_us").name == "ASC-US"
    assert cell_class("nilm").role is Role.SQUAMOUS
    assert cell_class("candida").role is Role.OTHER


def test_every_problem_of_a_folder_is_told_at_once(tmp_path: Path) -> None:
    _coco(tmp_path, [70, 5, 20, 10], category=9)
    body = json.loads((tmp_path / "boxes.json").read_text())
    body["images"].append({"id": 8, "file_name": "b.png", "width": 80, "height": 60})
    body["categories"].append({"id": 2, "name": "lsil"})
    (tmp_path / "boxes.json").write_text(json.dumps(body))
    with pytest.raises(DataError) as refused:
        read_data(tmp_path, lambda data: [f"{len(data.images)} image read"])
    assert refused.value.problems == (
        "a.png: category 9 is not listed",
        "a.png: 1 box is empty or lies outside the image of 80 × 60 px",
        "b.png is listed but not there",
        "class LSIL has no example",
        "1 image read",
    )


def test_boxes_are_held_against_the_image_and_not_against_what_the_file_says(tmp_path: Path) -> None:
    _coco(tmp_path, [5, 6, 20, 10])
    body = json.loads((tmp_path / "boxes.json").read_text())
    body["images"][0] |= {"width": 8, "height": 6, "group": "lab 1"}
    (tmp_path / "boxes.json").write_text(json.dumps(body))
    assert read_data(tmp_path).images[0].group == "lab 1"
    _image(tmp_path / "images" / "a.png", height=12, width=12)
    with pytest.raises(DataError, match="outside the image of 12 × 12 px"):
        read_data(tmp_path)


def test_unreadable_crops_are_named_all(tmp_path: Path) -> None:
    _image(tmp_path / "hsil" / "1.png")
    for name in ("2.png", "3.png"):
        (tmp_path / "hsil" / name).write_bytes(b"x")
    with pytest.raises(DataError) as refused:
        read_data(tmp_path)
    assert refused.value.problems == (
        "hsil/2.png is not a readable image",
        "hsil/3.png is not a readable image",
    )


def test_a_coco_file_that_lacks_what_it_must_say_is_refused_with_the_places(tmp_path: Path) -> None:
    _coco(tmp_path, [5, 6, 20, 10])
    body = json.loads((tmp_path / "boxes.json").read_text())
    body["info"]["um_per_px"] = "fine"
    del body["images"][0]["file_name"]
    del body["categories"][0]["id"]
    (tmp_path / "boxes.json").write_text(json.dumps(body))
    with pytest.raises(DataError) as refused:
        read_data(tmp_path)
    said = [problem.split(": ")[1] for problem in refused.value.problems]
    assert said == ["info.um_per_px", "images.0.file_name", "categories.0.id"]


def test_a_broken_geojson_is_refused_by_name(tmp_path: Path) -> None:
    _image(tmp_path / "f.png")
    (tmp_path / "f.geojson").write_text("{")
    with pytest.raises(DataError, match=r"f\.geojson: is no GeoJSON"):
        read_data(tmp_path)


def test_a_region_that_coco_calls_a_crowd_is_no_cell_and_not_asked_about(tmp_path: Path) -> None:
    _coco(tmp_path, [5, 6, 20, 10])
    body = json.loads((tmp_path / "boxes.json").read_text())
    body["annotations"].append(
        {"id": 2, "image_id": 7, "category_id": 1, "bbox": [40, 5, 30, 30], "iscrowd": 1}
    )
    (tmp_path / "boxes.json").write_text(json.dumps(body))
    data = read_data(tmp_path)
    assert data.counts() == {"HSIL": 1}
    assert data.images[0].ignored.tolist() == [[40, 5, 30, 30]]


def test_the_scale_of_a_field_is_what_its_labels_say_then_its_file_then_assumed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        _image(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    said = read_data(tmp_path, scale_of=lambda file: 0.25 if file.stem == "a" else None)
    assert [image.um_per_px for image in said.images] == [0.25, 0.0]
    assert not said.scale_known
    _coco(tmp_path, [5, 6, 20, 10])
    assert read_data(tmp_path, scale_of=lambda _: 1.0).um_per_px == 0.25
