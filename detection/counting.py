"""Which detections count as squamous cells? A slide with too few of them is unsatisfactory."""

from collections.abc import Sequence

import numpy as np

from detection.classes import CellClass, Role
from detection.detections import Detections


def adequate(classes: Sequence[CellClass]) -> list[int]:
    """The classes that adequacy counts: squamous cells, normal or not."""
    return [i for i, entry in enumerate(classes) if entry.role in (Role.SQUAMOUS, Role.ABNORMAL)]


def count_cells(found: Detections, classes: Sequence[CellClass], cell_floor: float) -> int:
    """How many squamous cells these detections are."""
    return int(((found.scores >= cell_floor) & np.isin(found.classes, adequate(classes))).sum())
