"""How does a package look at images on a CPU? Through onnxruntime, on one thread, so that results never vary."""

from collections.abc import Sequence

import numpy as np
import onnxruntime

from detection.detections import Detections, Floats, Image
from detection.detector import find
from detection.errors import PackageError
from detection.package import CROP_TWIN, SECOND_TWIN, TWIN, DetectorPackage
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
        twins = {SECOND_TWIN: package.second_twin, CROP_TWIN: package.crop_twin}
        self._looks = {
            name: _session(package, name, twin) for name, twin in twins.items() if twin is not None
        }

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
        return self._looked(SECOND_TWIN, patches)

    def crop(self, patches: Floats) -> Floats:
        """See :class:`detection.detector.Networks`."""
        return self._looked(CROP_TWIN, patches)

    def _looked(self, twin: str, patches: Floats) -> Floats:
        if twin not in self._looks:
            raise PackageError(str(self._package.path), [f"it has no {twin}"])
        run = self._looks[twin].run
        answers = [run(None, {"density": batch})[0][:count] for batch, count in batches(patches)]
        return np.asarray(np.concatenate(answers), dtype=np.float32)
