"""Does the shipped detector count the squamous cells of a slide that nobody trained it on?"""

import numpy as np
from numpy.typing import NDArray

from detection.counting import count_cells
from detection.opening import open_detector
from detection.package import default_package
from scanner.devices.simulated.specimen import DEPOSIT_CENTRE_UM, SMALL_DEPOSIT
from scanner.devices.simulated.truth import ABNORMAL, CellClass
from scanner.offline.simulated_fields import SlideUnderCamera

SQUAMOUS = {
    CellClass.SUPERFICIAL,
    CellClass.INTERMEDIATE,
    CellClass.PARABASAL,
    CellClass.METAPLASTIC,
    CellClass.REACTIVE,
    *ABNORMAL,
} - {CellClass.AGC}
SIDE_PX = 1024
APART_UM = (-1_800.0, -600.0, 600.0, 1_800.0)


def test_as_many_squamous_cells_are_counted_as_lie_there() -> None:
    slide = SlideUnderCamera((31, 7), {}, SMALL_DEPOSIT)
    detector = open_detector(default_package(), "onnx")
    package, (x_um, y_um) = detector.package, DEPOSIT_CENTRE_UM
    cells = np.array(
        [slide.grid.from_slide(t.x_um, t.y_um) for t in slide.truth() if t.cell_class in SQUAMOUS]
    )
    counted = there = 0
    for down in APART_UM:
        for across in APART_UM:
            field = slide.look((x_um + across, y_um + down), across / 3_000)
            (found,) = detector.detect([field.rgb], slide.grid.um_per_px)
            found = found.take(_inside(found.boxes[:, :2] + found.boxes[:, 2:] / 2))
            counted += count_cells(found, package.classes, package.config.rackscan.cell_floor)
            there += int(_inside(cells - field.corner).sum())
    assert there > 500
    assert abs(counted / there - 1) < 0.04


def _inside(middles: NDArray[np.floating]) -> NDArray[np.bool_]:
    return np.asarray(((middles >= 0) & (middles < SIDE_PX)).all(axis=1))
