"""How does a package learn the classes of crops? Its trunk knows cells already; only the last layer is made for them.

A few hundred crops cannot teach a network to see. What one that was trained on many cells makes of them can be told
apart by a linear rule, in closed form.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from detection.crops import crop_views
from detection.descent import Progress
from detection.detections import Floats
from detection.discriminant import Numbers, Rule, discriminant, temperature_of
from detection.onnx_twin import NORM_EPSILON
from detection.package import SecondLook
from detection.second_networks import CropNet
from detection.training import Example

SHRINKAGE = 0.4
FOLDS = 5
NEVER = -30.0
"""The logit of "none of the classes": crops show one of them."""


def fit_crops(
    examples: Sequence[Example], look: SecondLook, trunk: dict[str, Floats], progress: Progress
) -> dict[str, Floats]:
    """The weights of a second look that tells the examples' classes apart.

    Args:
        examples: one crop each; labels are indices of the look's classes.
        look: the network, with ``trunk``'s shape.
        trunk: its weights up to the last layer.
        progress: told (crops done, crops in all, what).
    """
    labels = np.array([int(example.cells.labels[0]) for example in examples])
    features = _features(examples, look, trunk, progress)
    rule = _rule(features, labels, len(look.class_names))
    return dict(trunk) | _head(rule)


def _features(
    examples: Sequence[Example], look: SecondLook, trunk: dict[str, Floats], progress: Progress
) -> Numbers:
    """(n, 8, f) statistics of every crop laid down in 8 ways."""
    network = CropNet(look)
    fresh = network.state_dict()
    network.load_state_dict(
        fresh | {name: torch.from_numpy(np.array(values)) for name, values in trunk.items()}
    )
    network.eval()
    found = []
    for number, example in enumerate(examples):
        with torch.inference_mode():
            given = torch.from_numpy(crop_views(example.image, look.patch_px))
            found.append(network.features(given).numpy().astype(np.float64))
        progress(number + 1, len(examples), "looking at crops")
    return np.stack(found)


def _rule(features: Numbers, labels: NDArray[np.int64], classes: int) -> Rule:
    """The rule from all crops, as sure of itself as its like were on crops that they had not seen."""
    views = features.shape[1]
    flat, repeated = features.reshape(-1, features.shape[2]), np.repeat(labels, views)
    fold = _folds(labels)
    logits = np.zeros((len(labels), classes))
    for number in range(FOLDS):
        out = fold == number
        kept = np.repeat(~out, views)
        if out.any() and len(np.unique(labels[~out])) == classes:
            partial = discriminant(flat[kept], repeated[kept], classes, SHRINKAGE)
            logits[out] = (
                partial.logits(features[out].reshape(-1, flat.shape[1])).reshape(-1, views, classes).mean(1)
            )
    judged = np.abs(logits).sum(axis=1) > 0
    whole = discriminant(flat, repeated, classes, SHRINKAGE)
    return whole.softened(temperature_of(logits[judged], labels[judged])) if judged.any() else whole


def _folds(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) 0..4, every class spread evenly over them in the order of the crops."""
    fold = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        fold[own] = np.arange(len(own)) % FOLDS
    return fold


def _head(rule: Rule) -> dict[str, Floats]:
    """The rule as batch norm and linear layer of a second look, with a last output that is never chosen."""
    wide, classes = rule.weight.shape
    weight, bias = np.zeros((classes + 1, wide)), np.full(classes + 1, NEVER)
    weight[:classes], bias[:classes] = rule.weight.T, rule.bias
    norm = {
        "norm.weight": np.ones(wide),
        "norm.bias": np.zeros(wide),
        "norm.running_mean": rule.mean,
        "norm.running_var": np.maximum(rule.spread**2 - NORM_EPSILON, 0.0),
    }
    values = norm | {"head.weight": weight, "head.bias": bias}
    return {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in values.items()}
