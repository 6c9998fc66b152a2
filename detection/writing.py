"""How does a trained network become a package on disk that proves itself at every load?"""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from safetensors.numpy import save

from detection.detections import Detections, Floats, Image
from detection.onnx_detector import OnnxDetector
from detection.onnx_twin import cellnet_twin, second_twin
from detection.package import (
    CARD,
    CONFIG,
    CROP_PREFIX,
    CROP_TWIN,
    SECOND_PREFIX,
    SECOND_TWIN,
    SELF_TEST,
    SELF_TEST_IMAGE,
    TWIN,
    WEIGHTS,
    DetectorPackage,
    PackageConfig,
    SecondLook,
    sha256_of,
    weights_of,
)


@dataclass(frozen=True, slots=True)
class Trained:
    """A network in memory: its description and its weights (float32 by name)."""

    config: PackageConfig
    weights: dict[str, Floats]

    def opened(self, image: Image) -> OnnxDetector:
        """A detector on the CPU, without any file; ``image`` stands in as self-test image."""
        twin = cellnet_twin(self.weights, self.config.rackscan.network)
        nothing, extension = Detections.none(), self.config.rackscan
        twins = (
            self._twin(extension.second_look, SECOND_PREFIX),
            self._twin(extension.crop_look, CROP_PREFIX),
        )
        package = DetectorPackage(
            Path("unsaved"), self.config, self.weights, twin, image, nothing, "", *twins
        )
        return OnnxDetector(package)

    def _twin(self, look: SecondLook | None, prefix: str) -> bytes | None:
        return None if look is None else second_twin(weights_of(self.weights, prefix), look)


def write_package(trained: Trained, self_test_image: Image, card: str, out: Path) -> DetectorPackage:
    """Write all files of a package and load it again.

    Args:
        trained: its config may carry any hashes; they are made here.
        self_test_image: (h, w, 3) uint8 RGB at the package's scale.
        card: the model card, Markdown.
        out: a folder that is made; files of the same names are replaced.
    """
    out.mkdir(parents=True, exist_ok=True)
    detector = trained.opened(self_test_image)
    (expected,) = detector.detect([self_test_image], trained.config.spacing_um_px)
    (out / WEIGHTS).write_bytes(_saved(trained.weights))
    (out / TWIN).write_bytes(detector.package.twin)
    twins = {SECOND_TWIN: detector.package.second_twin, CROP_TWIN: detector.package.crop_twin}
    for name, twin in twins.items():
        if twin is not None:
            (out / name).write_bytes(twin)
    _write_png(out / SELF_TEST_IMAGE, self_test_image)
    (out / SELF_TEST).write_text(json.dumps(expected.to_json()))
    (out / CARD).write_text(card)
    (out / CONFIG).write_text(_with_hashes(trained.config, out).model_dump_json(indent=1) + "\n")
    return DetectorPackage.load(out)


def _saved(weights: dict[str, Floats]) -> bytes:
    """The safetensors file. Its writer ignores strides: arrays must be contiguous, which channels-last ones are not."""
    return save({name: np.ascontiguousarray(values) for name, values in weights.items()})


def _with_hashes(config: PackageConfig, folder: Path) -> PackageConfig:
    hashes = {name: sha256_of(folder / name) for name in config.hashed}
    return config.model_copy(update={"rackscan": config.rackscan.model_copy(update={"sha256": hashes})})


def _write_png(file: Path, image: Image) -> None:
    if not cv2.imwrite(str(file), np.ascontiguousarray(image[:, :, ::-1])):
        raise OSError(f"cannot write {file}")
