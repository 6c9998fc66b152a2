"""A detector without education, and fields for it to look at."""

import numpy as np

from detection.classes import cell_class
from detection.detections import Floats
from detection.package import (
    Extension,
    Network,
    PackageConfig,
    SecondCalibration,
    SecondLook,
    Transform,
    named,
)
from detection.writing import Trained

NAMES = ("HSIL", "LSIL", "NILM", "leucocyte")


def untrained(seed: int = 1, names: tuple[str, ...] = NAMES) -> Trained:
    """A network with random weights that fires often: real in every part but its education."""
    network = Network(channels=(8, 8, 16), dilations=(1, 2))
    rng = np.random.default_rng(seed)
    weights: dict[str, Floats] = {}
    sizes = [(3, 8), (8, 8), (8, 16)]
    for index, (inputs, outputs) in enumerate(sizes):
        weights |= _layer(rng, f"stem.{index}", inputs, outputs)
    for index in range(2):
        weights |= _layer(rng, f"blocks.{index}", 16, 16)
    weights["head.weight"] = rng.normal(0, 0.5, (5 + len(names), 16, 1, 1)).astype(np.float32)
    weights["head.bias"] = np.zeros(5 + len(names), np.float32)
    classes = tuple(cell_class(name) for name in names)
    config = PackageConfig(
        architecture="cellnet-s8",
        name="untrained",
        num_classes=len(names),
        class_names=tuple(entry.name for entry in classes),
        patch_size_pixels=256,
        spacing_um_px=0.5,
        transform=(Transform(name="WhiteNormalisedOpticalDensity"),),
        rackscan=Extension(
            classes=classes,
            network=network,
            provenance="random weights",
            training_data="none",
            intended_use="tests",
            sha256={},
        ),
    )
    return Trained(config, weights)


def seen_twice(seed: int = 1, places: int = 0, around: bool = False) -> Trained:
    """The same with separable blocks and a second look at nearly every candidate; with ``places`` it says boxes.

    ``around`` gives that look a second, wider view.
    """
    once = untrained(seed)
    rng = np.random.default_rng((seed, 2))
    look = SecondLook(
        class_names=("HSIL", "LSIL", "NILM"),
        network=Network(channels=(4, 8, 8), dilations=(1, 2)),
        patch_px=64,
        places=places,
        around=Network(channels=(4, 8, 8), dilations=(1, 2)) if around else None,
        floor=0.001,
        calibration=SecondCalibration(second=0.8, first=0.3, offset=-0.5),
    )
    weights = {name: values for name, values in once.weights.items() if not name.startswith("blocks.")}
    for index in range(2):
        weights |= _layer(rng, f"blocks.{index}.0", 1, 16) | _layer(
            rng, f"blocks.{index}.1", 16, 16, kernel=1
        )
    second: dict[str, Floats] = {}
    for view in ("", "around.") if around else ("",):
        second |= _layer(rng, f"{view}stem.0", 3, 4) | _layer(rng, f"{view}stem.1", 4, 8)
        second |= _layer(rng, f"{view}stem.2", 8, 8)
        second |= _layer(rng, f"{view}blocks.0", 8, 8) | _layer(rng, f"{view}blocks.1", 8, 8)
        if places:
            second |= _layer(rng, f"{view}places", 8, places, kernel=1)
    wide = look.features
    second |= {
        "norm.weight": rng.uniform(0.5, 1.5, wide).astype(np.float32),
        "norm.bias": rng.normal(0, 0.1, wide).astype(np.float32),
        "norm.running_mean": rng.normal(0, 0.1, wide).astype(np.float32),
        "norm.running_var": rng.uniform(0.5, 1.5, wide).astype(np.float32),
        "head.weight": rng.normal(0, 0.1, (look.outputs, wide)).astype(np.float32),
        "head.bias": rng.normal(0, 0.1, look.outputs).astype(np.float32),
    }
    weights |= named(second)
    network = once.config.rackscan.network.model_copy(update={"separable": True})
    extension = once.config.rackscan.model_copy(update={"second_look": look, "network": network})
    return Trained(once.config.model_copy(update={"rackscan": extension}), weights)


def _layer(
    rng: np.random.Generator, name: str, inputs: int, outputs: int, kernel: int = 3
) -> dict[str, Floats]:
    return {
        f"{name}.0.weight": rng.normal(
            0, (2 / (kernel**2 * inputs)) ** 0.5, (outputs, inputs, kernel, kernel)
        ).astype(np.float32),
        f"{name}.1.weight": rng.uniform(0.5, 1.5, outputs).astype(np.float32),
        f"{name}.1.bias": rng.normal(0, 0.1, outputs).astype(np.float32),
        f"{name}.1.running_mean": rng.normal(0, 0.1, outputs).astype(np.float32),
        f"{name}.1.running_var": rng.uniform(0.5, 1.5, outputs).astype(np.float32),
    }


def field(height_px: int, width_px: int, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """White glass with dark discs on it."""
    rng = np.random.default_rng(seed)
    image = rng.normal(235, 2, (height_px, width_px, 3))
    y, x = np.mgrid[0:height_px, 0:width_px]
    for _ in range(height_px * width_px // 4000):
        cy, cx, radius = rng.uniform(0, height_px), rng.uniform(0, width_px), rng.uniform(4, 12)
        image[(y - cy) ** 2 + (x - cx) ** 2 < radius**2] *= rng.uniform(0.2, 0.7, 3)
    return np.asarray(image.clip(0, 255).astype(np.uint8))
