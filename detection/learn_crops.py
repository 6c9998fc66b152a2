"""What becomes of a detector that is shown crops of single cells? It finds cells as it did, and names them anew.

Crops tell nothing of where cells lie, nor of all that a slide shows besides: the first look stays that of the package
that one starts from. The second one learns the crops' classes.
"""

from collections.abc import Sequence

import numpy as np

from detection.classes import CellClass, Role, plain
from detection.crop_training import fit_crops
from detection.crops import CROP_PX
from detection.descent import Progress
from detection.detections import Floats
from detection.package import (
    SECOND_PREFIX,
    DetectorPackage,
    Network,
    SecondCalibration,
    SecondLook,
    crop_trunk,
    second_weights,
)
from detection.training import Example
from detection.writing import Trained

UNKNOWN_BIAS = -20.0
"""The first look never says a class that it was not taught."""
SHARED = 0.5


def with_crops(
    start: DetectorPackage, classes: Sequence[CellClass], examples: Sequence[Example], progress: Progress
) -> Trained:
    """``start`` with a second look for ``classes``; the examples' labels are their indices."""
    known = {plain(entry.name): entry for entry in start.classes}
    named = [known.get(plain(entry.name), entry) for entry in classes]
    fresh = [entry for entry in named if plain(entry.name) not in known]
    trunk, network = _trunk(start)
    look = SecondLook(
        class_names=tuple(entry.name for entry in named),
        network=network,
        patch_px=CROP_PX,
        calibration=_calibration(start, named),
        taught_by_crops=True,
    )
    second = fit_crops(examples, look, trunk, progress)
    first = {name: values for name, values in start.weights.items() if not name.startswith(SECOND_PREFIX)}
    weights = _with_classes(first, len(fresh)) | {SECOND_PREFIX + name: v for name, v in second.items()}
    together = (*start.classes, *fresh)
    extension = start.config.rackscan.model_copy(update={"classes": together, "second_look": look})
    update = {
        "num_classes": len(together),
        "class_names": tuple(entry.name for entry in together),
        "rackscan": extension,
    }
    return Trained(start.config.model_copy(update=update), weights)


def _trunk(start: DetectorPackage) -> tuple[dict[str, Floats], Network]:
    """The weights that know single cells best, without the last layer, and their network.

    A second look that keeps places knows the middle of its patch: its levels' statistics tell crops apart less well.
    """
    extension = start.config.rackscan
    weights, network = start.weights, extension.network
    if extension.second_look is not None:
        if extension.second_look.places:
            return crop_trunk()
        weights, network = second_weights(start.weights), extension.second_look.network
    layers = ("stem.", "blocks.")
    return {name: values for name, values in weights.items() if name.startswith(layers)}, network


def _calibration(start: DetectorPackage, classes: Sequence[CellClass]) -> SecondCalibration:
    """Both looks count where the crops show normal cells too; else the second only names what the first suspects."""
    before = start.config.rackscan.calibration
    knows_normal = any(entry.role is Role.SQUAMOUS for entry in classes)
    share = SHARED if knows_normal else 0.0
    return SecondCalibration(
        second=share, first=(1 - share) * before.slope, offset=(1 - share) * before.offset
    )


def _with_classes(weights: dict[str, Floats], more: int) -> dict[str, Floats]:
    """The first look's weights with ``more`` classes that it never says."""
    weight, bias = weights["head.weight"], weights["head.bias"]
    rows = np.zeros((more, *weight.shape[1:]), np.float32)
    return weights | {
        "head.weight": np.concatenate([weight, rows]),
        "head.bias": np.concatenate([bias, np.full(more, UNKNOWN_BIAS, np.float32)]),
    }
