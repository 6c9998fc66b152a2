"""A slide scanned on a rig without a flat field: even, white, said so, the same in a replay and to the detector."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from scanner.model.geometry import Rect
from scanner.model.report import RunResult, SlideReport
from scanner.offline.detect import detect
from scanner.offline.verify import verify
from scanner.run import RunRequest, replay_run, run_rack
from scanner.storage.ome_zarr import PyramidStore

PROFILES = Path(__file__).parents[2] / "hardware_profiles"
REGION = Rect(43_000.0, 11_000.0, 1_300.0, 1_300.0)


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    folder = tmp_path_factory.mktemp("light")
    shutil.copytree(PROFILES, folder / "rig", ignore=shutil.ignore_patterns("*.state.json*"))
    profile = folder / "rig" / "simulated.yaml"
    owners, measured = profile.read_text(encoding="utf-8").split("  flat_field:")
    assert "coefficients" in measured
    profile.write_text(owners + "image: {colour_profile: camera.icc}\n", encoding="utf-8")
    (folder / "rig" / "camera.icc").write_bytes(b"not looked into")
    request = RunRequest(
        profile=profile, out=folder / "run", slides=1, region_um=REGION, seed=3, keep_tiles=True
    )
    return folder / "run", run_rack(request)


def whole(run: Path, result: RunResult) -> NDArray[np.generic]:
    store = PyramidStore.open(run / str(result.slides[0].image))
    w, h = store.sizes[0]
    return store.read(0, 0, 0, h, w)


def test_glass_is_even_and_white_and_not_clipped(scanned: tuple[Path, RunResult]) -> None:
    levels = whole(*scanned)[:, 64:2048, 64:2048].astype(np.float32)
    bins = levels[:, :1984, :1984].reshape(3, 62, 32, 62, 32).mean(axis=(2, 4))
    for channel in bins:
        glass = np.quantile(channel, 0.9)
        assert abs(glass - 244) < 1.5
        corners = [
            np.quantile(part, 0.97)
            for half in (channel[:31], channel[31:])
            for part in (half[:, :31], half[:, 31:])
        ]
        assert np.ptp(corners) < 2.0
    assert (levels >= 254).mean() < 1e-3


def test_report_and_image_say_what_was_done(scanned: tuple[Path, RunResult]) -> None:
    run, result = scanned
    (file,) = (run / "slides").glob("*/report.json")
    report = SlideReport.model_validate_json(file.read_text())
    assert report.light.flat_field == "scan"
    assert report.light.background == 244
    assert any("no flat field in the profile" in words for words in report.warnings)
    assert "Light:" in (run / "report.html").read_text()
    facts = PyramidStore.open(run / str(result.slides[0].image)).facts
    assert facts["flat_field"] == {"source": "scan", "sigma": report.light.flat_field_sigma}
    assert json.loads(json.dumps(facts["white_balance"]))["gains"] == list(report.light.white_balance or ())
    assert json.loads(json.dumps(facts["colour_profile"]))["name"] == "camera.icc"
    assert verify(run).problems == ()


def test_a_replay_decides_the_same(scanned: tuple[Path, RunResult], tmp_path: Path) -> None:
    run, result = scanned
    again = replay_run(run, tmp_path / "again")
    assert np.array_equal(whole(run, result), whole(tmp_path / "again", again))
    assert verify(tmp_path / "again").problems == ()


def test_the_finished_image_holds_the_findings_of_the_scan(
    scanned: tuple[Path, RunResult], tmp_path: Path
) -> None:
    """The detector looks at optical density against the background: what it is brought to does not matter."""
    run, result = scanned
    detect(run / str(result.slides[0].image), tmp_path / "found")
    (table,) = (run / "slides").glob("*/findings.parquet")
    live, later = (
        pq.read_table(path).to_pylist() for path in (table, tmp_path / "found" / "findings.parquet")
    )
    store = PyramidStore.open(run / str(result.slides[0].image))
    w, h = store.sizes[0]
    sure = [
        one for one in live if one["score"] > 0.3 and 40 < one["x_px"] < w - 80 and 40 < one["y_px"] < h - 80
    ]
    places = np.array([(one["x_px"] + one["w_px"] / 2, one["y_px"] + one["h_px"] / 2) for one in later])
    assert sure
    for one in sure:
        at = np.array([one["x_px"] + one["w_px"] / 2, one["y_px"] + one["h_px"] / 2])
        near = int(np.argmin(np.hypot(*(places - at).T)))
        assert np.hypot(*(places[near] - at)) < 8
        assert abs(later[near]["score"] - one["score"]) < 0.25
