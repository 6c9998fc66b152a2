"""What becomes of a detector that is shown crops of single cells? It finds cells as it did, and names them anew.

Crops tell nothing of where cells lie, nor of all that a slide shows besides: both looks of the package that one starts
from stay as they are. One more learns the crops' classes and names what they suspect.
"""

from collections.abc import Sequence

import numpy as np

from detection.classes import CellClass, Role, plain
from detection.crop_training import fit_crops
from detection.crops import CROP_PX
from detection.descent import Progress
from detection.detections import Floats
from detection.package import (
    CROP_PREFIX,
    SECOND_PREFIX,
    DetectorPackage,
    Network,
    SecondCalibration,
    SecondLook,
    crop_trunk,
    first_weights,
    named,
    weights_of,
)
from detection.training import Example
from detection.writing import Trained

UNKNOWN_BIAS = -20.0
"""The first look never says a class that it was not taught."""
SHARED = 0.5
SUSPECTED = 0.02


def with_crops(
    start: DetectorPackage, classes: Sequence[CellClass], examples: Sequence[Example], progress: Progress
) -> Trained:
    """``start`` with a look that crops taught ``classes``; the examples' labels are their indices."""
    known = {plain(entry.name): entry for entry in start.classes}
    own = [known.get(plain(entry.name), entry) for entry in classes]
    fresh = [entry for entry in own if plain(entry.name) not in known]
    trunk, network = _trunk(start)
    look = SecondLook(
        class_names=tuple(entry.name for entry in own),
        network=network,
        patch_px=CROP_PX,
        floor=_floor(start),
        calibration=_calibration(own),
    )
    taught = fit_crops(examples, look, trunk, progress)
    weights = _with_classes(first_weights(start.weights), len(fresh))
    weights |= named(weights_of(start.weights)) | named(taught, CROP_PREFIX)
    together = (*start.classes, *fresh)
    extension = start.config.rackscan.model_copy(update={"classes": together, "crop_look": look})
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
    for look, prefix in ((extension.crop_look, CROP_PREFIX), (extension.second_look, SECOND_PREFIX)):
        if look is not None:
            if look.places:
                return crop_trunk()
            weights, network = weights_of(start.weights, prefix), look.network
            break
    layers = ("stem.", "blocks.")
    return {name: values for name, values in weights.items() if name.startswith(layers)}, network


def _floor(start: DetectorPackage) -> float:
    """That of the second look: both are shown the same cells."""
    second = start.config.rackscan.second_look
    return SUSPECTED if second is None else second.floor


def _calibration(classes: Sequence[CellClass]) -> SecondCalibration:
    """What crops say of a cell's being abnormal counts where they show normal ones too; else they only name it."""
    knows_normal = any(entry.role is Role.SQUAMOUS for entry in classes)
    share = SHARED if knows_normal else 0.0
    return SecondCalibration(second=share, first=1 - share)


def _with_classes(weights: dict[str, Floats], more: int) -> dict[str, Floats]:
    """The first look's weights with ``more`` classes that it never says."""
    weight, bias = weights["head.weight"], weights["head.bias"]
    rows = np.zeros((more, *weight.shape[1:]), np.float32)
    return weights | {
        "head.weight": np.concatenate([weight, rows]),
        "head.bias": np.concatenate([bias, np.full(more, UNKNOWN_BIAS, np.float32)]),
    }
