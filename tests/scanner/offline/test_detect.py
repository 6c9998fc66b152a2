import json
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
import tifffile

from scanner.devices.simulated.scene import Look, render_scene
from scanner.devices.simulated.truth import CellClass
from scanner.errors import BadInput
from scanner.offline.detect import detect
from scanner.storage.images import open_image

CELLS = {CellClass.HSIL: 4, CellClass.INTERMEDIATE: 12, CellClass.LEUCOCYTE: 5}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("scene") / "scene.png"
    rgb = render_scene((700, 1200), 4, Look(clumping=0.0), counts=CELLS).rgb
    cv2.imwrite(str(file), np.ascontiguousarray(rgb[:, :, ::-1]))
    return file


def test_cells_of_a_simulated_field_are_found_and_written(scene: Path, tmp_path: Path) -> None:
    result = detect(scene, tmp_path / "out", um_per_px=0.5)
    table = pq.read_table(tmp_path / "out" / "findings.parquet")
    assert 8 <= result.cells <= 40
    assert table.num_rows == result.findings > 0
    assert max(table.column("score").to_pylist()) > 0.5
    assert json.loads((tmp_path / "out" / "findings.geojson").read_text())["features"]
    assert json.loads((tmp_path / "out" / "found.json").read_text())["detector_hash"] == result.detector_hash


def test_the_same_image_gives_the_same_findings(scene: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        detect(scene, tmp_path / name, um_per_px=0.5)
    assert (tmp_path / "a" / "findings.parquet").read_bytes() == (
        tmp_path / "b" / "findings.parquet"
    ).read_bytes()


def test_an_image_without_scale_needs_one(scene: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="um-per-px"):
        detect(scene, tmp_path / "out")


def test_an_image_too_coarse_is_refused_and_nothing_written(scene: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="coarse"):
        detect(scene, tmp_path / "out", um_per_px=2.0)
    assert not (tmp_path / "out").exists()


def test_an_occupied_folder_is_left_alone(scene: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(BadInput, match="not an empty folder"):
        detect(scene, tmp_path, um_per_px=0.5)
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_an_empty_package_is_refused(scene: Path, tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "config.json").write_text("{}")
    with pytest.raises(BadInput, match="not a usable detector package"):
        detect(scene, tmp_path / "out", um_per_px=0.5, detector=str(tmp_path / "package"))


def test_a_picture_with_an_opaque_alpha_channel_is_read_as_its_colours(scene: Path, tmp_path: Path) -> None:
    with closing(open_image(scene)) as image:
        rgb = image.read(0, 0, image.width_px, image.height_px)
    opaque = np.full((*rgb.shape[:2], 1), 255, np.uint8)
    tifffile.imwrite(
        tmp_path / "scene.tif", np.dstack([rgb, opaque]), photometric="rgb", extrasamples=["unassalpha"]
    )
    plain = detect(scene, tmp_path / "plain", um_per_px=0.5)
    again = detect(tmp_path / "scene.tif", tmp_path / "again", um_per_px=0.5)
    assert (again.cells, again.findings, again.slide_score) == (
        plain.cells,
        plain.findings,
        plain.slide_score,
    )


def test_detecting_without_a_detector_is_refused_in_words(scene: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="leave --detector out"):
        detect(scene, tmp_path / "out", um_per_px=0.5, detector="none")
    assert not (tmp_path / "out").exists()
