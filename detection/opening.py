"""Which runtime looks at images here, and is it the detector that its package promises?"""

import ctypes.util
import importlib.metadata
import importlib.util
from pathlib import Path

from detection.detector import Detector, self_test
from detection.package import DetectorPackage


def open_detector(path: Path, provider: str = "auto") -> Detector:
    """A detector that passed its self-test on the device it will use.

    Args:
        path: the package's folder.
        provider: ``onnx`` (CPU), ``torch`` (CUDA where there is one), or ``auto``: torch only with CUDA.

    Raises:
        PackageError: where the package or its self-test is not in order.
    """
    package = DetectorPackage.load(path)
    wanted = provider if provider != "auto" else ("torch" if cuda_may_be_here() else "onnx")
    detector = on_provider(package, wanted)
    self_test(detector)
    return detector


def provider_here() -> str:
    """What ``open_detector`` chooses by itself, as far as can be told without loading it: runtime, version, device.

    Whether torch then finds its CUDA device, and which, is known to the detector alone.
    """
    if cuda_may_be_here():
        return f"torch {importlib.metadata.version('torch')}, CUDA where there is a device"
    return f"onnxruntime {importlib.metadata.version('onnxruntime')} on CPU"


def on_provider(package: DetectorPackage, provider: str) -> Detector:
    """The package on ``onnx`` or ``torch``, not yet tested.

    Raises:
        PackageError: where its network cannot be built from its files.
    """
    if provider == "torch":
        from detection.torch_detector import torch_detector

        return torch_detector(package)
    from detection.onnx_detector import OnnxDetector

    return OnnxDetector(package)


def cuda_may_be_here() -> bool:
    """Are torch and an NVIDIA driver installed? Asked without importing torch, which takes seconds."""
    driver = any(ctypes.util.find_library(name) for name in ("cuda", "nvcuda"))
    return driver and importlib.util.find_spec("torch") is not None
