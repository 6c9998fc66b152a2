import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from detection.errors import PackageError
from detection.opening import open_detector
from detection.package import DetectorPackage, default_package, sha256_of
from detection.writing import Trained, write_package
from tests.detection.untrained import field, untrained


@pytest.fixture
def copy(package: DetectorPackage, tmp_path: Path) -> Path:
    return Path(shutil.copytree(package.path, tmp_path / "copy"))


def _rewritten(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def _problems(folder: Path) -> str:
    with pytest.raises(PackageError) as refused:
        DetectorPackage.load(folder)
    return "\n".join(refused.value.problems)


def test_a_package_that_was_written_is_the_one_that_is_read(package: DetectorPackage) -> None:
    again = DetectorPackage.load(package.path)
    assert again.hash == package.hash
    assert again.config == package.config
    assert [entry.name for entry in again.classes] == ["HSIL", "LSIL", "NILM", "leucocyte"]


def test_a_file_that_changed_is_refused(copy: Path) -> None:
    with (copy / "model.onnx").open("ab") as file:
        file.write(b"\0")
    assert "model.onnx is not the file" in _problems(copy)


def test_a_missing_file_is_named(copy: Path) -> None:
    (copy / "self_test.png").unlink()
    assert "self_test.png is missing" in _problems(copy)


def test_a_pickle_is_never_opened(copy: Path) -> None:
    (copy / "model.pt").write_bytes(pickle.dumps({"weights": 1}))
    assert "model.pt may hold a pickle" in _problems(copy)


def test_a_missing_class_list_is_refused(copy: Path) -> None:
    _rewritten(copy, lambda config: config.pop("class_names"))
    assert "class_names" in _problems(copy)


def test_classes_that_contradict_each_other_are_refused(copy: Path) -> None:
    _rewritten(copy, lambda config: config.update(class_names=["LSIL", "HSIL", "NILM", "leucocyte"]))
    assert "do not say the same classes" in _problems(copy)


def test_weights_that_are_not_finite_are_refused_even_with_a_right_hash(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    weights["head.bias"][0] = np.nan
    save_file(weights, copy / "model.safetensors")

    def rehash(config: dict[str, Any]) -> None:
        config["rackscan"]["sha256"]["model.safetensors"] = sha256_of(copy / "model.safetensors")

    _rewritten(copy, rehash)
    assert "head.bias holds values that are not finite" in _problems(copy)


def test_every_problem_is_said_at_once(copy: Path) -> None:
    (copy / "self_test.png").unlink()
    (copy / "evil.pkl").write_bytes(b"x")
    (copy / "model.onnx").write_bytes(b"no")
    problems = _problems(copy)
    assert "self_test.png" in problems
    assert "evil.pkl" in problems
    assert "model.onnx" in problems


def test_an_empty_folder_and_no_folder_are_refused(tmp_path: Path) -> None:
    assert "config.json is missing" in _problems(tmp_path)
    assert "no such folder" in _problems(tmp_path / "none")


def test_a_detector_that_sees_something_else_than_promised_is_refused(copy: Path) -> None:
    body = json.loads((copy / "self_test.json").read_text())
    assert body["boxes"], "the self-test image must show something"
    body["boxes"][0] += 100
    (copy / "self_test.json").write_text(json.dumps(body))

    def rehash(config: dict[str, Any]) -> None:
        config["rackscan"]["sha256"]["self_test.json"] = sha256_of(copy / "self_test.json")

    _rewritten(copy, rehash)
    with pytest.raises(PackageError, match="self-test"):
        open_detector(copy, "onnx")


def test_the_hash_is_that_of_all_files_together(package: DetectorPackage, copy: Path) -> None:
    _rewritten(copy, lambda config: config.update(name="another"))
    assert DetectorPackage.load(copy).hash != package.hash


def test_the_shipped_package_passes_its_own_self_test() -> None:
    detector = open_detector(default_package(), "onnx")
    assert "simulated" in detector.package.config.rackscan.training_data
    assert "not for diagnosis" in detector.package.config.rackscan.intended_use.lower()
    size = sum(file.stat().st_size for file in default_package().glob("model.safetensors"))
    assert size <= 4_000_000


def test_weights_in_any_memory_order_are_written_right(tmp_path: Path) -> None:
    trained = untrained(4)
    strided = {name: np.asarray(values, order="F") for name, values in trained.weights.items()}
    plain, turned = (
        write_package(Trained(trained.config, weights), field(64, 64), "# t\n", tmp_path / name)
        for name, weights in (("plain", trained.weights), ("turned", strided))
    )
    assert plain.hash == turned.hash
