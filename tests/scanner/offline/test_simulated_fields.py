import numpy as np
import pytest

from scanner.devices.simulated.truth import ABNORMAL, CellClass
from scanner.offline.simulated_fields import SlideUnderCamera


@pytest.fixture(scope="module")
def slide() -> SlideUnderCamera:
    return SlideUnderCamera((5, 1), {CellClass.SCC: 3})


def test_a_true_box_lies_where_the_camera_sees_its_cell(slide: SlideUnderCamera) -> None:
    cell = next(t for t in slide.truth() if t.cell_class in ABNORMAL)
    field = slide.look((cell.x_um, cell.y_um), 0.0)
    index = field.classes.index(CellClass.SCC)
    x, y, w, h = field.boxes[index]
    assert abs(x + w / 2 - 512) < 2
    assert abs(y + h / 2 - 512) < 2
    inside = field.rgb[int(y) : int(y + h), int(x) : int(x + w)]
    assert inside.min() < np.median(field.rgb) - 60


def test_fields_are_evenly_lit(slide: SlideUnderCamera) -> None:
    field = slide.look((60_000.0, 2_000.0), 0.0)
    blocks = field.rgb.reshape(8, 128, 8, 128, 3).mean(axis=(1, 3))
    assert np.ptp(blocks, axis=(0, 1)).max() < 3


def test_boxes_stay_inside_the_field(slide: SlideUnderCamera) -> None:
    field = slide.look((45_000.0, 12_500.0), 0.5)
    assert len(field.boxes) == len(field.classes)
    assert (field.boxes[:, :2] >= 0).all()
    assert (field.boxes[:, :2] + field.boxes[:, 2:] <= 1024).all()
