"""What does a look that crops of single cells taught say of the cells that the other looks suspect?

It knows only the classes that it was shown. Between these it shares out anew what the others gave them; how abnormal a
cell is, it may change only where its crops showed normal cells too.
"""

import numpy as np
from numpy.typing import NDArray

from detection.classes import CellClass, Role, plain
from detection.decoding import softmax, together
from detection.package import SecondLook

ORGANISM = "organism"
Numbers = NDArray[np.float64]


def named_by_crops(
    classes: Numbers,
    abnormal: Numbers,
    answers: NDArray[np.floating],
    look: SecondLook,
    entries: tuple[CellClass, ...],
) -> tuple[Numbers, Numbers]:
    """(n, k) class probabilities and (n,) P(abnormal) of n cells after the crop look.

    Args:
        classes: (n, k) of the package's classes ``entries``, as the other looks say it.
        abnormal: (n,) likewise, calibrated.
        answers: (n, outputs) of the crop look.
        look: its classes and how much it counts.
        entries: the package's classes.
    """
    names = [entry.name for entry in entries]
    column = np.array([names.index(name) for name in look.class_names])
    shares = softmax(answers[:, : len(look.class_names) + 1])[:, :-1]
    known = np.isin(np.arange(len(names)), column) | _in_general(entries, column)
    changed = np.where(known, 0.0, classes)
    changed[:, column] = classes[:, known].sum(axis=1, keepdims=True) * shares
    how = look.calibration
    if not how.second:
        return changed, abnormal
    suspicion = shares[:, [entries[index].role is Role.ABNORMAL for index in column]].sum(axis=1)
    return changed, together(how, suspicion, abnormal)


def _in_general(entries: tuple[CellClass, ...], column: NDArray[np.intp]) -> NDArray[np.bool_]:
    """(k,) the class "organism", where the look knows organisms by name."""
    special = any(entries[index].role is Role.OTHER for index in column)
    return np.array([special and plain(entry.name) == ORGANISM for entry in entries], bool)
