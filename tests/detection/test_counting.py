from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from detection.cell_floor import counted_of_labelled, level_floor
from detection.classes import CellClass, Role
from detection.counting import count_cells
from detection.detections import Detections
from detection.seen import Seen
from tests.detection.seen_by_hand import field

CLASSES = (
    CellClass(name="HSIL", role=Role.ABNORMAL),
    CellClass(name="NILM", role=Role.SQUAMOUS),
    CellClass(name="leucocyte", role=Role.OTHER),
)
HSIL, NILM, LEUCOCYTE = range(3)


def _field(labels: Sequence[int], found: Sequence[tuple[int, float]]) -> Seen:
    """Labelled cells anywhere, and detections of a class with an object score."""
    plain = field("s", [(0.0, label) for label in labels], [(0.0, kind, 0.0) for kind, _ in found])
    scores = np.array([score for _, score in found], float)
    d = plain.found
    return replace(
        plain, found=Detections.rounded(d.boxes, d.classes, scores, d.abnormal, d.abnormal_classes)
    )


def test_as_many_cells_count_as_are_labelled() -> None:
    scores = np.linspace(0.9, 0.15, 320)
    seen = [
        _field([NILM] * 150 + [LEUCOCYTE] * 90, [(NILM, s) for s in scores[::2]]),
        _field([NILM] * 80 + [HSIL] * 10, [(HSIL if s > 0.8 else NILM, s) for s in scores[1::2]]),
    ]
    floor = level_floor(seen, CLASSES)
    assert floor == pytest.approx(scores[239], abs=1e-3)
    assert counted_of_labelled(seen, CLASSES, floor or 0) == pytest.approx(1.0, abs=0.01)
    assert counted_of_labelled(seen, CLASSES, 0.5) == pytest.approx((scores >= 0.5).sum() / 240)


def test_leucocytes_count_for_nothing() -> None:
    seen = _field([], [(LEUCOCYTE, 0.9), (NILM, 0.9), (HSIL, 0.9), (NILM, 0.2)])
    assert count_cells(seen.found, CLASSES, 0.3) == 2


def test_few_labels_or_labels_of_abnormal_cells_alone_tell_no_floor() -> None:
    found = [(NILM, 0.9)] * 400
    assert level_floor([_field([NILM] * 199, found)], CLASSES) is None
    assert level_floor([_field([HSIL] * 300, found)], CLASSES) is None
    assert counted_of_labelled([_field([HSIL] * 300, found)], CLASSES, 0.3) is None
    assert level_floor([], CLASSES) is None


def test_corrected_findings_tell_no_floor() -> None:
    """They are those cells that were suspected, and of the others nobody knows."""
    seen = _field([NILM] * 300, [(NILM, 0.9)] * 250)
    assert level_floor([seen], CLASSES) == 0.1
    assert level_floor([seen, replace(seen, partly=True)], CLASSES) is None
    assert counted_of_labelled([replace(seen, partly=True)], CLASSES, 0.3) is None


def test_labels_that_leave_cells_out_cannot_make_the_floor_absurd() -> None:
    assert level_floor([_field([NILM] * 200, [(NILM, 0.99)] * 900)], CLASSES) == 0.5
    assert level_floor([_field([NILM] * 900, [(NILM, 0.99)] * 200)], CLASSES) == 0.1
    assert level_floor([_field([NILM] * 900, [(NILM, 0.02)] * 1000)], CLASSES) == 0.1
