"""Does the whole rig work through Micro-Manager, and tell the truth only through its physics?"""

from itertools import pairwise
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import zxingcpp
from pymmcore_plus.core import DeviceType

from scanner.devices.simulated.label import accession
from scanner.errors import LoaderFault

if TYPE_CHECKING:
    from tests.scanner.devices.simulated.conftest import Bench


def test_the_configuration_brings_every_device(bench: "Bench") -> None:
    kinds = {str(label): bench.core.getDeviceType(label) for label in bench.core.getLoadedDevices()}
    assert kinds["Camera"] == kinds["Overview"] == DeviceType.Camera
    assert kinds["XY"] == DeviceType.XYStage
    assert kinds["Z"] == DeviceType.Stage
    assert kinds["Loader"] == DeviceType.State
    assert bench.core.getExposure("Camera") == 5.0
    assert bench.core.getProperty("Faults", "Plan") == ""


def test_a_frame_comes_by_sequence_and_by_snap_in_colour(bench: "Bench") -> None:
    by_sequence = bench.frame()
    bench.core.snapImage()
    for picture in (by_sequence, bench.core.getImage()):
        assert picture.shape == (1024, 1024, 3)
        assert picture.dtype == np.uint8


def test_a_live_sequence_runs_until_it_is_stopped(bench: "Bench") -> None:
    bench.core.startContinuousSequenceAcquisition(0)
    while bench.core.getRemainingImageCount() < 2:
        bench.settle("XY")
    bench.core.stopSequenceAcquisition()
    assert not bench.core.isSequenceRunning()
    assert bench.core.getRemainingImageCount() >= 2


def test_the_stage_reports_what_was_asked_and_is_elsewhere_by_micrometres(bench: "Bench") -> None:
    bench.load(2)
    pictures = []
    for place in [(46_500.0 + 20 * n, 8_000.0) for n in range(3)]:
        bench.go(*place)
        assert bench.core.getXYPosition("XY") == pytest.approx(place, abs=1.0)
        pictures.append(bench.frame()[..., 1].astype(np.float32))
    window = cv2.createHanningWindow((1024, 1024), cv2.CV_32F)
    shifts = [-cv2.phaseCorrelate(a, b, window)[0][0] * 0.501 for a, b in pairwise(pictures)]
    errors = np.abs(np.array(shifts) - 20)
    assert (errors < 12).all()
    assert errors.max() > 0.05


def test_a_dark_lamp_gives_dark_frames(bench: "Bench") -> None:
    bench.core.setProperty("Lamp", "State", "0")
    assert bench.frame().max() <= 2
    bench.core.setShutterOpen(True)
    assert bench.frame().mean() > 150


def test_the_overview_shows_label_glass_and_seating(bench: "Bench") -> None:
    bench.load(2)
    picture = bench.overview()
    assert picture.shape == (1250, 3750, 3)
    label = np.ascontiguousarray(picture[:, :1150])
    assert accession(1, 2) in {code.text for code in zxingcpp.read_barcodes(label)}
    bare = picture[600, :, 1] < 100
    seen_px = float(bare[:10].sum()) - float(bare[-10:].sum())
    assert seen_px == pytest.approx(bench.state().seating_um[0] / 20, abs=1.6)


def test_no_slide_shows_the_bare_stage(bench: "Bench") -> None:
    assert bench.overview().mean() < 100


def test_targets_beyond_the_end_switches_are_refused(bench: "Bench") -> None:
    with pytest.raises(ValueError, match="end switches"):
        bench.core.setXYPosition("XY", 1e6, 0)
    with pytest.raises(ValueError, match="beyond the drive"):
        bench.core.setPosition("Z", 9_999.0)


def test_stop_halts_stage_and_focus_on_their_way(bench: "Bench") -> None:
    bench.core.setXYPosition("XY", 60_000, 20_000)
    bench.core.setPosition("Z", 2_000.0)
    for device in ("XY", "Z"):
        bench.core.stop(device)
        assert not bench.core.deviceBusy(device)
    assert bench.core.getXYPosition("XY")[0] < 60_000
    assert bench.core.getPosition("Z") < 2_000


def test_settings_from_the_command_line_choose_the_slides(bench: "Bench") -> None:
    bench.core.setProperty("World", "Seed", "9")
    bench.core.setProperty("World", "Slides", "2")
    bench.core.setProperty("World", "Diagnoses", "HSIL:3;normal")
    bench.core.setProperty("World", "TruthDir", "truth")
    assert bench.core.getProperty("Loader", "OccupiedSlots") == "1,2"
    bench.load(1)
    table = (bench.folder / "truth" / "slot1.csv").read_text().splitlines()
    assert table[0].startswith("class,abnormal,x_um,y_um")
    assert sum(line.startswith("HSIL,1,") for line in table) == 3


def test_a_picture_lies_in_a_slot_of_its_own(bench: "Bench") -> None:
    cv2.imwrite(str(bench.folder / "a.png"), np.full((300, 300, 3), 90, np.uint8))
    bench.core.setProperty("World", "Specimens", "a.png")
    bench.core.setProperty("World", "SpecimenUmPerPx", "0.5")
    assert bench.core.getProperty("Loader", "OccupiedSlots") == "1"
    bench.load(1)
    bench.go(45_000, 12_500)
    picture = bench.frame()
    assert picture[512, 512, 1] < 120
    assert picture[20, 20, 1] > 170


def test_a_truth_that_cannot_be_written_is_said_where_the_loader_is_asked(bench: "Bench") -> None:
    (bench.folder / "truth").write_text("a file stands where the folder should be")
    bench.core.setProperty("World", "TruthDir", "truth")
    bench.core.setState("Loader", 1)
    bench.settle("Loader")
    with pytest.raises(LoaderFault, match="truth"):
        bench.core.getState("Loader")
