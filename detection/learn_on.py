"""How does a package go on learning without losing what it is not shown again? Its classes, second look and scale stay.

A few hundred corrections show some classes and not others: what they say nothing of is taken over as it was.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from detection.classes import CellClass, plain
from detection.detections import Floats
from detection.labelled import DataSet
from detection.package import DetectorPackage, SecondLook, weights_of

NEVER_SAID_BIAS = -4.0
"""Where the second look begins with a class that it has not met."""


def with_classes(data: DataSet, classes: Sequence[CellClass]) -> DataSet:
    """The data with ``classes`` first, in their order, and then those of its own that are new."""
    known = {plain(entry.name): index for index, entry in enumerate(classes)}
    fresh = [entry for entry in data.classes if plain(entry.name) not in known]
    known |= {plain(entry.name): len(classes) + index for index, entry in enumerate(fresh)}
    to_all = np.array([known[plain(entry.name)] for entry in data.classes], dtype=np.int64)
    images = tuple(replace(image, labels=to_all[image.labels]) for image in data.images)
    return replace(data, classes=(*classes, *fresh), images=images)


def second_of(
    start: DetectorPackage, classes: Sequence[CellClass]
) -> tuple[SecondLook, dict[str, Floats]] | None:
    """The second look of ``start`` and its weights, by their own names, for ``classes``; None where it has none."""
    look = start.config.rackscan.second_look
    if look is None:
        return None
    weights, names = weights_of(start.weights), [entry.name for entry in classes]
    if list(look.class_names) == names:
        return look, weights
    rows = {name: row for row, name in enumerate(look.class_names)}
    head, bias = weights["head.weight"], weights["head.bias"]
    rest = len(look.class_names)
    grown, offsets = np.zeros((len(names), head.shape[1]), np.float32), np.full(len(names), NEVER_SAID_BIAS)
    for here, name in enumerate(names):
        if name in rows:
            grown[here], offsets[here] = head[rows[name]], bias[rows[name]]
    grown, offsets = np.concatenate([grown, head[rest:]]), np.concatenate([offsets, bias[rest:]])
    again = look.model_copy(update={"class_names": tuple(names)})
    return again, weights | {"head.weight": grown, "head.bias": offsets.astype(np.float32)}
