"""Does a check tell a good package from a broken one, with every problem and without raising?"""

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from detection.package import default_package, sha256_of
from scanner.offline.check_detector import TILE_PX, check_detector, tile_showing


def _copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(default_package(), tmp_path / "copy"))


def test_the_shipped_package_passes_on_every_runtime_installed() -> None:
    result = check_detector(default_package())
    assert result.ok
    assert not result.problems
    assert "onnxruntime" in result.providers[0].provider
    assert all(p.box_px < 1 and p.score < 1e-3 and p.ms_per_tile > 0 for p in result.providers)
    assert result.classes["HSIL"] == "abnormal"
    assert any("self-test passed" in line for line in result.lines())


def test_every_problem_of_its_files_is_told(tmp_path: Path) -> None:
    folder = _copy(tmp_path)
    (folder / "self_test.png").unlink()
    (folder / "weights.pt").write_bytes(b"")
    result = check_detector(folder)
    assert not result.ok
    assert len(result.problems) >= 2
    assert any("weights.pt" in line for line in result.lines())


def test_weights_that_are_not_the_twins_fail_the_self_test(tmp_path: Path) -> None:
    """Files and hashes are in order, and still the package sees something else than it promises."""
    folder = _copy(tmp_path)
    expected = json.loads((folder / "self_test.json").read_text())
    expected["abnormal"] = [(score + 500) % 10_000 for score in expected["abnormal"]]
    (folder / "self_test.json").write_text(json.dumps(expected))
    config = json.loads((folder / "config.json").read_text())
    config["rackscan"]["sha256"]["self_test.json"] = sha256_of(folder / "self_test.json")
    (folder / "config.json").write_text(json.dumps(config))
    result = check_detector(folder)
    assert not result.ok
    assert "scores by up to" in result.problems[0]


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    folder = _copy(tmp_path)
    weights = {name: np.array(values) for name, values in load_file(folder / "model.safetensors").items()}
    next(iter(weights.values())).flat[0] = np.nan
    save_file(weights, folder / "model.safetensors")
    assert any("not finite" in problem for problem in check_detector(folder).problems)


def test_a_tile_that_is_timed_shows_the_packages_image_once() -> None:
    image = np.full((200, 300, 3), 210, np.uint8)
    image[90:110, 140:160] = 20
    tile = tile_showing(image)
    assert tile.shape == (TILE_PX, TILE_PX, 3)
    assert (tile[:200, :300] == image).all()
    assert (tile[200:] == 210).all()
    assert (tile[:, 300:] == 210).all()
    assert tile_showing(np.zeros((1500, 40, 3), np.uint8)).shape == tile.shape
