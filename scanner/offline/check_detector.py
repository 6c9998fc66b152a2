"""May this detector package be used here? Its files, its self-test on all that can run it, what a tile costs."""

import importlib.util
import time
from pathlib import Path

import cv2
import numpy as np

from detection.detections import Image
from detection.detector import self_test
from detection.errors import PackageError
from detection.normalisation import white_level
from detection.opening import on_provider
from detection.package import DetectorPackage
from scanner.model.base import Value

TILE_PX = 1024
TIMES = 3


class ProviderCheck(Value):
    """One runtime: the largest differences from the expected detections, and what a tile takes.

    The tile is one of 1024 x 1024 px that shows the package's own image once.
    """

    provider: str
    box_px: float
    score: float
    ms_per_tile: float


class DetectorCheck(Value):
    """What ``rackscan detector check`` prints; without problems the package is good on every runtime listed."""

    ok: bool
    package: str
    problems: tuple[str, ...] = ()
    name: str = ""
    hash: str = ""
    architecture: str = ""
    um_per_px: float = 0.0
    classes: dict[str, str] = {}
    training_data: str = ""
    intended_use: str = ""
    providers: tuple[ProviderCheck, ...] = ()

    def lines(self) -> list[str]:
        """The same for a person."""
        if not self.name:
            return [f"{self.package}: {problem}" for problem in self.problems]
        roles = ", ".join(f"{name} ({role})" for name, role in self.classes.items())
        return [
            f"{self.name}: {self.intended_use}",
            f"trained on {self.training_data}",
            f"{self.architecture} at {self.um_per_px:g} µm/px, sha256 {self.hash[:16]}…",
            f"classes: {roles}",
            *(
                f"{p.provider}: self-test passed (boxes within {p.box_px:.2f} px, scores within {p.score:.4f}), "
                f"{p.ms_per_tile:.0f} ms a tile of {TILE_PX} x {TILE_PX} px that shows that image once"
                for p in self.providers
            ),
            *self.problems,
        ]


def check_detector(path: Path) -> DetectorCheck:
    """Load a package, and run it with every runtime that is installed; every problem found is told, none raised."""
    try:
        package = DetectorPackage.load(path)
    except PackageError as error:
        return DetectorCheck(ok=False, package=str(path), problems=error.problems)
    runtimes = ["onnx", *(["torch"] if importlib.util.find_spec("torch") else [])]
    passed: list[ProviderCheck] = []
    problems: list[str] = []
    for runtime in runtimes:
        try:
            passed.append(_tried(package, runtime))
        except PackageError as error:
            problems += error.problems
    extension = package.config.rackscan
    return DetectorCheck(
        ok=not problems,
        package=str(path),
        problems=tuple(problems),
        name=package.config.name,
        hash=package.hash,
        architecture=package.config.architecture,
        um_per_px=package.config.spacing_um_px,
        classes={entry.name: entry.role.value for entry in package.classes},
        training_data=extension.training_data,
        intended_use=extension.intended_use,
        providers=tuple(passed),
    )


def _tried(package: DetectorPackage, runtime: str) -> ProviderCheck:
    detector = on_provider(package, runtime)
    box, score = self_test(detector)
    tile = tile_showing(package.self_test_image)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    start = time.perf_counter()
    for _ in range(TIMES):
        detector.detect([tile], package.config.spacing_um_px)
    took = (time.perf_counter() - start) / TIMES
    cv2.setNumThreads(threads)
    return ProviderCheck(provider=detector.provider, box_px=box, score=score, ms_per_tile=1000 * took)


def tile_showing(image: Image) -> Image:
    """A tile of glass that shows the package's own image once: all over, it would be nothing but suspicious cells."""
    tile = np.empty((TILE_PX, TILE_PX, 3), np.uint8)
    tile[:] = white_level(image)
    shown = image[:TILE_PX, :TILE_PX]
    tile[: shown.shape[0], : shown.shape[1]] = shown
    return tile
