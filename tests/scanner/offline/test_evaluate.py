"""Does an evaluation say how good a detector is, how sure that is, and what is wrong with the data?"""

import io
import json
import re
import shutil
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from detection.assess import Assessment, Question
from detection.figures import Figures
from detection.package import DetectorPackage, default_package
from detection.slide_level import Rule
from scanner import cli
from scanner.errors import BadInput
from scanner.offline.evaluate import evaluate, rule_of
from scanner.offline.evaluate_page import write_evaluation_page
from scanner.offline.evaluate_table import show
from scanner.offline.failure_pictures import SHOWN_PX, picture
from scanner.offline.simulated_labels import write


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("<fields>")
    write(folder, slides=4)
    return folder


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark squares called HSIL and light ones called NILM: darkness alone tells them apart."""
    folder = tmp_path_factory.mktemp("crops")
    rng = np.random.default_rng(1)
    for name, level in (("HSIL", 60), ("NILM", 170)):
        (folder / name).mkdir()
        for number in range(5):
            image = rng.normal(230, 3, (60, 80, 3))
            image[20:40, 25:55] = level
            cv2.imwrite(str(folder / name / f"{number}.png"), image)
    return folder


@pytest.fixture(scope="module")
def evaluated(fields: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Figures, str]:
    """Figures and page of the fields under stress."""
    page = tmp_path_factory.mktemp("page") / "f.html"
    question = Question(Rule(sensitivity=0.9), stress=True)
    return evaluate(default_package(), fields, question=question, report=page), page.read_text(
        encoding="utf-8"
    )


def test_the_contract_of_the_json_is_kept_and_only_added_to(evaluated: tuple[Figures, str]) -> None:
    body = json.loads(evaluated[0].model_dump_json())
    assert set(body) == {"slide", "cell", "crop", "n"}
    assert {"auc", "auc_ci95", "sensitivity", "excluded"} <= body["slide"].keys()
    assert {"ap50", "froc"} <= body["cell"].keys()
    assert {"balanced_accuracy", "auc_abnormal", "confusion"} <= body["crop"].keys()
    assert body["n"]["slides"] == 4


def test_stress_shows_the_same_figures_on_changed_images(evaluated: tuple[Figures, str]) -> None:
    figures = evaluated[0]
    names = ["white level × 0.85", "white level × 1.15", "scale − 10 %", "scale + 10 %"]
    assert [row.name for row in figures.slide.stress] == names
    assert [row.name for row in figures.cell.stress] == names
    values = [row.figures["ap50"] for row in figures.cell.stress]
    assert None not in values
    # A darker lamp is undone by the white level, but for rounding; another size is not.
    assert values[0] == pytest.approx(figures.cell.ap50, abs=0.15)
    assert len({figures.cell.ap50, *values}) > 2


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing(evaluated: tuple[Figures, str]) -> None:
    text = evaluated[1]
    assert re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', text) == []
    assert "<script" not in text
    assert "&lt;fields&gt;" in text
    assert "--sensitivity 0.9 --stress" in text
    assert "the highest threshold with a sensitivity of at least 0.9 on these slides" in text


def test_every_drawing_of_the_page_is_well_formed(evaluated: tuple[Figures, str]) -> None:
    drawings = re.findall(r"<svg.*?</svg>", evaluated[1], re.DOTALL)
    labels = [ET.fromstring(drawing).get("aria-label") for drawing in drawings]
    assert labels == [
        "ROC of slides",
        "FROC, abnormal cells",
        "Precision and recall, abnormal cells",
        "Reliability of P(abnormal)",
    ]


def test_the_page_shows_failures_as_pictures(evaluated: tuple[Figures, str]) -> None:
    pictures = re.findall(r'<img src="data:image/jpeg[^>]*alt="([^"]*)"', evaluated[1])
    assert 4 < len(pictures) <= 32
    assert "nothing labelled here" in pictures


def test_a_picture_has_the_box_in_its_middle_and_paper_beyond_the_image() -> None:
    image = np.full((50, 60, 3), 100, np.uint8)
    shown = picture(image, (0.0, 0.0, 20.0, 10.0))
    assert shown.shape == (SHOWN_PX, SHOWN_PX, 3)
    assert shown[0, 0].tolist() == [244] * 3
    assert shown[SHOWN_PX // 2, SHOWN_PX // 2].tolist() == [100] * 3
    zoom = SHOWN_PX / 96
    edge = shown[SHOWN_PX // 2, round(SHOWN_PX / 2 - 10 * zoom)]
    assert edge[0] > edge[1] + 50
    whole = picture(image, None)
    assert (whole == 244).all(axis=2).any()
    assert whole[SHOWN_PX // 2, 20].tolist() == [100] * 3


def test_the_table_shows_every_level_and_the_notes(evaluated: tuple[Figures, str]) -> None:
    stream = io.StringIO()
    show(evaluated[0], Path("f.html"), Console(file=stream, width=100))
    printed = stream.getvalue()
    for words in ("Slides: 2 abnormal, 2 normal", "by class", "by group", "scale + 10 %", "control", "note:"):
        assert words in printed
    assert "report: f.html" in printed


def test_crops_are_shown_beside_a_control_that_knows_no_cells(crops: Path, tmp_path: Path) -> None:
    figures = evaluate(default_package(), crops, question=Question(stress=True), report=tmp_path / "c.html")
    assert [c.auc for c in figures.crop.controls] == [1.0, 1.0]
    assert any("comes from cells" in note for note in figures.crop.notes)
    assert len(figures.crop.stress) == 4
    assert set(figures.crop.recall_of) == {"HSIL", "NILM"}
    text = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert 'class="count bad"' in text or 'class="count warn"' in text
    assert "What was called what" in text
    stream = io.StringIO()
    show(figures, None, Console(file=stream, width=100))
    assert "Recall by class" in stream.getvalue()


def test_all_that_is_wrong_with_the_data_is_told_at_once(fields: Path, tmp_path: Path) -> None:
    shutil.copytree(fields, tmp_path / "bad")
    file = tmp_path / "bad" / "boxes.json"
    body = json.loads(file.read_text())
    body["categories"] += [{"id": 90, "name": "yeti"}, {"id": 91, "name": "debris"}]
    body["annotations"][0] |= {"category_id": 90, "bbox": [310, 5, 40, 40]}
    body["annotations"].append({"image_id": 4711, "category_id": 0, "bbox": [1, 1, 5, 5]})
    body["annotations"].append({"image_id": 0, "category_id": 0})
    body["images"][1]["um_per_px"] = 2.0
    body["images"][2]["file_name"] = "lost.png"
    file.write_text(json.dumps(body))
    (tmp_path / "bad" / "images" / body["images"][3]["file_name"]).write_bytes(b"no image")
    with pytest.raises(BadInput) as refused:
        evaluate(default_package(), tmp_path / "bad")
    said = "\n".join(problem.problem for problem in refused.value.problems)
    for words in (
        "class yeti is unknown to the package, which knows AGC",
        "class debris has no example",
        "1 box is empty or lies outside the image of 320 × 320 px",
        "1 annotations are of no listed image",
        "1 annotations have no bbox",
        "more than twice as coarse",
        "lost.png is listed but not there",
        "is not a readable image",
    ):
        assert words in said


def test_normal_slides_alone_say_what_they_cannot_tell(fields: Path, tmp_path: Path) -> None:
    shutil.copytree(fields, tmp_path / "normal")
    file = tmp_path / "normal" / "boxes.json"
    body = json.loads(file.read_text())
    body["images"] = [image for image in body["images"] if image["slide"] in ("slide0", "slide2")]
    kept = {image["id"] for image in body["images"]}
    body["annotations"] = [a for a in body["annotations"] if a["image_id"] in kept]
    body["categories"] = [c for c in body["categories"] if c["name"] == "NILM"]
    body["info"] = {}
    file.write_text(json.dumps(body))
    page = tmp_path / "n.html"
    figures = evaluate(default_package(), tmp_path / "normal", report=page)
    assert (figures.slide.auc, figures.slide.sensitivity, figures.cell.ap50) == (None, None, None)
    assert any("no abnormal slide" in note for note in figures.slide.notes)
    assert any("0.5 µm/px is taken" in note for note in figures.cell.notes)
    assert "No abnormal cell is labelled in these data." in page.read_text(encoding="utf-8")


def test_operating_points_that_make_no_sense_are_refused_together() -> None:
    with pytest.raises(BadInput) as refused:
        rule_of(1.2, -3.0)
    assert len(refused.value.problems) == 3
    assert rule_of(0.99, None) == Rule(sensitivity=0.99)
    assert rule_of(None, 0.0) == Rule(threshold=0.0)


def test_a_page_that_cannot_be_written_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="report cannot be written there"):
        evaluate(tmp_path / "none", tmp_path, report=tmp_path / "no" / "f.html")


def test_the_command_prints_json_or_a_table(
    crops: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["rackscan", "evaluate", str(default_package()), "--data", str(crops)]
    printed = []
    for more in (["--json"], []):
        monkeypatch.setattr(sys, "argv", [*words, *more])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
        printed.append(capsys.readouterr().out)
    assert json.loads(printed[0])["n"] == {"crops": 10}
    assert "balanced accuracy" in printed[1]


def test_a_card_without_held_out_images_says_that_it_has_no_figures(tmp_path: Path) -> None:
    package = DetectorPackage.load(default_package())
    nothing = Assessment(Figures(n={"images": 0}))
    out = write_evaluation_page(
        tmp_path / "c.html", "Model card", package, nothing, "no image", "rackscan train"
    )
    text = out.read_text(encoding="utf-8")
    assert "No image was held out: there are no figures." in text
    assert package.hash in text
    assert "The worst misses" not in text
