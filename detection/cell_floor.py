"""From which object score on does a detection count as a cell? Where as many count as there are.

A slide with too few squamous cells is unsatisfactory, so that a floor set by hand makes good slides so, or passes poor
ones.
"""

from collections.abc import Sequence

import numpy as np

from detection.classes import CellClass, Role
from detection.counting import adequate, count_cells
from detection.seen import Seen

LEAST_LABELLED = 200
LOWEST, HIGHEST = 0.1, 0.5
"""Below, hardly anything is a cell; above, hardly anything is not, and labels that leave cells out lead there."""


def labelled_cells(seen: Sequence[Seen], classes: Sequence[CellClass]) -> int:
    """How many squamous cells are labelled in these fields; 0 where nobody marked them all.

    That is so where no normal one is, and where of some places nobody knows: people who correct findings mark the most
    conspicuous cells.
    """
    normal = [i for i, entry in enumerate(classes) if entry.role is Role.SQUAMOUS]
    if any(field.partly for field in seen) or not any(np.isin(field.labels, normal).any() for field in seen):
        return 0
    return sum(int(np.isin(field.labels, adequate(classes)).sum()) for field in seen)


def counted_of_labelled(
    seen: Sequence[Seen], classes: Sequence[CellClass], cell_floor: float
) -> float | None:
    """Squamous cells counted in these fields for each that is labelled; None where too few are."""
    labelled = labelled_cells(seen, classes)
    if labelled < LEAST_LABELLED:
        return None
    return sum(count_cells(field.found, classes, cell_floor) for field in seen) / labelled


def level_floor(seen: Sequence[Seen], classes: Sequence[CellClass]) -> float | None:
    """The floor at which as many squamous cells count as are labelled, to three digits and from 0.1 to 0.5.

    None where fewer than 200 are labelled.
    """
    labelled = labelled_cells(seen, classes)
    if labelled < LEAST_LABELLED:
        return None
    among = adequate(classes)
    scores = [field.found.scores[np.isin(field.found.classes, among)] for field in seen]
    highest = np.sort(np.concatenate(scores))[::-1]
    if len(highest) < labelled:
        return LOWEST
    return round(float(np.clip(highest[labelled - 1], LOWEST, HIGHEST)), 3)
