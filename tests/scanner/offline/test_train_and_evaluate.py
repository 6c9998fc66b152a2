import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from detection.package import DetectorPackage, default_package
from scanner.errors import BadInput
from scanner.offline.evaluate import evaluate
from scanner.offline.train import How, train


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crops")
    rng = np.random.default_rng(1)
    for name, level in (("hsil", 60), ("lsil", 120), ("candida", 200)):
        (folder / name).mkdir()
        for number in range(6):
            image = rng.normal(230, 3, (60, 80, 3))
            image[20:40, 25:55] = level
            cv2.imwrite(str(folder / name / f"{number}.png"), image)
    return folder


def test_a_package_is_trained_and_evaluated_on_crops(crops: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra 'torch' is not installed")
    steps: list[int] = []
    result = train(
        crops, tmp_path / "mine", How(seed=3, steps=4), progress=lambda done, of, what: steps.append(done)
    )
    assert result.hash == DetectorPackage.load(tmp_path / "mine").hash
    assert result.training_images + result.held_out_images == 18
    assert max(steps) >= 4
    figures = json.loads(evaluate(tmp_path / "mine", crops).model_dump_json())
    assert figures["n"] == {"crops": 18}
    assert sum(map(sum, figures["crop"]["confusion"])) == 18
    assert set(figures) == {"slide", "cell", "crop", "n"}


def test_a_package_carries_its_card_as_a_page_that_is_no_part_of_its_identity(
    crops: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torch", reason="the extra 'torch' is not installed")
    result = train(crops, tmp_path / "mine", How(seed=3, steps=2))
    page = tmp_path / "mine" / "MODEL_CARD.html"
    text = page.read_text(encoding="utf-8")
    assert "Model card: mine" in text
    assert f"{result.held_out_images} images of {crops.name} that were held out of training" in text
    assert result.hash in text
    page.unlink()
    assert DetectorPackage.load(tmp_path / "mine").hash == result.hash


def test_labels_beside_a_tiff_take_its_scale_and_an_assumed_one_is_said(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra 'torch' is not installed")
    data = tmp_path / "fields"
    data.mkdir()
    ring = [[40, 40], [70, 40], [70, 70], [40, 70], [40, 40]]
    named = {"classification": {"name": "HSIL"}}
    cell = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": named}
    for name, per_cm in (("a", 40_000), ("b", None)):
        image = np.full((128, 128, 3), 230, np.uint8)
        image[40:70, 40:70] = 80
        per_unit = None if per_cm is None else (per_cm, per_cm)
        tifffile.imwrite(data / f"{name}.tif", image, resolution=per_unit, resolutionunit="CENTIMETER")
        (data / f"{name}.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [cell]}))
    first = train(data, tmp_path / "one", How(steps=1))
    assert first.notes == (
        "1 of 2 images do not say their scale: 0.25 µm/px is assumed; --um-per-px says it",
    )
    assert DetectorPackage.load(tmp_path / "one").config.rackscan.training_data.endswith(
        "the data do not say it"
    )
    said = "the data do not say the scale of every image: 0.25 µm/px is taken"
    assert any(said in note for note in evaluate(tmp_path / "one", data).cell.notes)
    again = train(data, tmp_path / "two", How(steps=1, um_per_px=1.0, start=tmp_path / "one"))
    assert again.notes == ()
    assert "--start one --steps 1 --um-per-px 1.0" in (tmp_path / "two" / "MODEL_CARD.md").read_text()


def test_training_refuses_an_occupied_folder_and_keeps_it(crops: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(BadInput, match="not an empty folder"):
        train(crops, tmp_path)
    assert (tmp_path / "mine").read_text() == "keep"


def test_training_on_nothing_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra 'torch' is not installed")
    (tmp_path / "data").mkdir()
    with pytest.raises(BadInput, match="no labelled image"):
        train(tmp_path / "data", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_classes_unknown_to_the_package_are_refused_by_name(crops: Path) -> None:
    with pytest.raises(BadInput, match="class candida is unknown"):
        evaluate(default_package(), crops)


def test_no_package_is_refused(crops: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such folder"):
        evaluate(tmp_path / "none", crops)
