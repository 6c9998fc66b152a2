"""How does a package look at images on a CPU? Through onnxruntime, on one thread, so that results never vary."""

from collections.abc import Sequence

import numpy as np
import onnxruntime

from detection.detections import Detections, Floats, Image
from detection.detector import find
from detection.errors import PackageError
from detection.package import SECOND_TWIN, TWIN, DetectorPackage
from detection.second_look import batches


def _session(package: DetectorPackage, file: str, twin: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(twin, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors have no common class
        raise PackageError(str(package.path), [f"{file} cannot be opened: {error}"]) from error


class OnnxDetector:
    """A :class:`detection.detector.Detector` on the CPU; every image is a batch of its own."""

    def __init__(self, package: DetectorPackage) -> None:
        self._package = package
        self._network = _session(package, TWIN, package.twin)
        second = package.second_twin
        self._second = None if second is None else _session(package, SECOND_TWIN, second)

    @property
    def package(self) -> DetectorPackage:
        """What it was made from."""
        return self._package

    @property
    def provider(self) -> str:
        """The runtime."""
        return f"onnxruntime {onnxruntime.__version__} on CPU"

    def detect(self, images: Sequence[Image], um_per_px: float) -> list[Detections]:
        """See :meth:`detection.detector.Detector.detect`."""
        return find(self, self._package, images, um_per_px)

    def maps(self, densities: Sequence[Floats]) -> list[Floats]:
        """See :class:`detection.detector.Networks`."""
        answers = [self._network.run(None, {"density": density[None]})[0][0] for density in densities]
        return [np.asarray(answer, dtype=np.float32) for answer in answers]

    def second(self, patches: Floats) -> Floats:
        """See :class:`detection.detector.Networks`."""
        if self._second is None:
            raise PackageError(str(self._package.path), ["it has no second look"])
        answers = [self._second.run(None, {"density": batch})[0][:count] for batch, count in batches(patches)]
        return np.asarray(np.concatenate(answers), dtype=np.float32)
