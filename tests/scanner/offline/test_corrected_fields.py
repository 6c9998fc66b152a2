"""Do corrections become fields in which what a person said counts, and what nobody said does not?"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detection.detections import Detections
from detection.labelled import read_data, read_pixels
from detection.opening import open_detector
from detection.package import DetectorPackage
from detection.writing import write_package
from scanner.errors import BadInput
from scanner.model.correction import Via
from scanner.offline.corrected_fields import FIELD_PX, runs_in, write_fields
from scanner.offline.train import How, train
from scanner.review.correcting import Desk
from scanner.storage.reader import RunReader
from scanner.storage.run_folder import RunFolder
from tests.detection.untrained import field, untrained
from tests.scanner.corrected import FOUND, MISSED, ORIGIN_UM, SIDE, UM_PER_PX, build, picture


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> DetectorPackage:
    return write_package(
        untrained(), field(256, 256), "# untrained\n", tmp_path_factory.mktemp("packages") / "untrained"
    )


class Blind:
    """A detector that sees one cell, at the place of an unanswered one, and one at its own corner."""

    def __init__(self, package: DetectorPackage) -> None:
        self.package, self.provider = package, "none"

    def detect(self, images: Any, um_per_px: float) -> list[Detections]:
        assert um_per_px == UM_PER_PX
        corner = np.array([[0, 0, SIDE, SIDE]], np.float32)
        return [Detections.rounded(corner, np.zeros(1), np.ones(1), np.ones(1), np.zeros(1))]


def correct(run: RunFolder, what: Callable[[Desk], object], slot: int = 1) -> None:
    with RunReader.open(run.root) as reader:
        what(Desk(reader, reader.slides()[slot - 1], "AB", Via.NAPARI))


def some(desk: Desk) -> None:
    """One class changed, one rejected, the two others left alone, a missed cell added."""
    desk.name(desk.found[0], "NILM")
    desk.reject(desk.found[1])
    desk.add(ORIGIN_UM[0] + MISSED[0] * UM_PER_PX, ORIGIN_UM[1] + MISSED[1] * UM_PER_PX, "SCC")


def test_what_was_said_is_a_box_or_background_and_what_nobody_said_is_not_asked_about(
    package: DetectorPackage, tmp_path: Path
) -> None:
    run = build(tmp_path / "run", package)
    correct(run, some)
    assert write_fields([run.root], tmp_path / "out", Blind(package)) == 3
    data = read_data(tmp_path / "out")
    assert sorted(data.counts()) == ["NILM", "SCC"]
    assert data.um_per_px == UM_PER_PX
    assert {image.slide for image in data.images} == {"1-run-1"}
    whole = picture(1)
    (one,) = data.images
    pixels = read_pixels(one.file)
    assert pixels.shape[:2] == (700, 900)
    assert np.array_equal(pixels, whole)
    names = {data.classes[label].name: box for label, box in zip(one.labels, one.boxes.tolist(), strict=True)}
    assert names["NILM"] == [FOUND[0][0] - SIDE / 2, FOUND[0][1] - SIDE / 2, SIDE, SIDE]
    assert names["SCC"][:2] == [MISSED[0] - SIDE / 2, MISSED[1] - SIDE / 2]
    unsaid = {(FOUND[k][0] - SIDE / 2, FOUND[k][1] - SIDE / 2, SIDE, SIDE) for k in (2, 3)}
    assert {tuple(box) for box in one.ignored.tolist()} == {*unsaid, (0, 0, SIDE, SIDE)}


def test_a_field_is_as_large_as_the_detector_needs_and_shows_its_cell(
    package: DetectorPackage, tmp_path: Path
) -> None:
    from scanner.offline.corrected_fields import places

    class Large:
        width_px, height_px, um_per_px = 10_000, 8_000, 0.25

    side = 2 * FIELD_PX
    cells = np.array(
        [[5000, 5000, 40, 40], [5200, 5100, 40, 40], [5480, 5000, 40, 40], [3, 4, 40, 40]], np.float32
    )
    found = places(cells, side, Large())  # type: ignore[arg-type]  # reads nothing
    assert found == [(5020 - side // 2, 5020 - side // 2), (5500 - side // 2, 5020 - side // 2), (0, 0)]


def test_scans_of_one_glass_are_one_slide(package: DetectorPackage, tmp_path: Path) -> None:
    from scanner.model.report import Outcome, SlideReport, Verdict

    runs = [build(tmp_path / "runs" / name, package, run=name) for name in ("a", "b")]
    for run in runs:
        correct(run, some)
        name = f"1-{run.settings.run}"
        report = SlideReport(
            slot=1, slide_id=name, outcome=Outcome.DONE, verdict=Verdict.REVIEW, accession="CY26-1"
        )
        run.slide(name).report.write_text(report.model_dump_json())
    assert runs_in(tmp_path / "runs") == tuple(run.root for run in runs)
    write_fields(runs_in(tmp_path / "runs"), tmp_path / "out", Blind(package))
    text = (tmp_path / "out" / "boxes.json").read_text()
    assert {image["slide"] for image in json.loads(text)["images"]} == {"1-a"}
    assert "CY26" not in text


def test_nothing_corrected_or_only_rejected_is_refused(package: DetectorPackage, tmp_path: Path) -> None:
    run = build(tmp_path / "run", package)
    with pytest.raises(BadInput, match="nothing was corrected"):
        train(run.root, tmp_path / "out")
    correct(run, lambda desk: desk.reject(desk.found[0]))
    with pytest.raises(BadInput, match="no corrected cell that has a class"):
        train(run.root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_package_goes_on_from_the_detector_that_made_the_findings(
    package: DetectorPackage, tmp_path: Path
) -> None:
    pytest.importorskip("torch", reason="the extra 'torch' is not installed")
    run = build(tmp_path / "run", package, slides=2)
    for slot in (1, 2):
        correct(run, some, slot)
    result = train(run.root, tmp_path / "out", How(steps=1))
    after = DetectorPackage.load(tmp_path / "out")
    assert [entry.name for entry in after.classes] == [*(entry.name for entry in package.classes), "SCC"]
    assert after.config.rackscan.network == package.config.rackscan.network
    assert after.config.rackscan.second_look is None
    assert after.config.rackscan.training_data.startswith("6 corrections of 1 run, going on from untrained")
    rows = slice(5, 5 + len(package.classes))
    same, other = package.weights["head.weight"][rows], after.weights["head.weight"][rows]
    assert 0 < np.abs(same - other).max() < 0.01
    assert result.training_images + result.held_out_images == 2
    assert open_detector(tmp_path / "out").package.hash == result.hash


def test_a_detector_that_is_gone_has_to_be_named(package: DetectorPackage, tmp_path: Path) -> None:
    gone = write_package(untrained(2), field(256, 256), "# gone\n", tmp_path / "gone")
    run = build(tmp_path / "run", gone)
    correct(run, some)
    (tmp_path / "gone").rename(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match="no longer where it was"):
        train(run.root, tmp_path / "out")
