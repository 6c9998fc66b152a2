"""Is a field found on the image, and is the sharpest plane of a cell its own?"""

import cv2
import numpy as np
import pytest

from detection.classes import cell_class
from detection.detections import Detections
from scanner.model.geometry import Point
from scanner.model.tile import Pixels
from scanner.pipeline.again import ReadAgain, again_of
from scanner.pipeline.cell_planes import find_field, said_of, sharpest
from scanner.pipeline.placement import Placed
from scanner.storage.cell_facts import CellReadFact, CellsChosenFact, ChosenCell
from tests.scanner.pipeline.conftest import as_pixels, cells_on_glass

CLASSES = tuple(cell_class(name) for name in ("HSIL", "LSIL", "NILM"))


def sheet() -> Pixels:
    return as_pixels(cells_on_glass(700, 700, 3), deep=False)


@pytest.mark.parametrize("off", [(0.0, 0.0), (21.0, -17.0)])
def test_a_field_is_found_where_it_lies_and_not_where_the_stage_said(off: tuple[float, float]) -> None:
    image = sheet()

    def read(y: int, x: int, h: int, w: int) -> Pixels:
        return image[y : y + h, x : x + w]

    field = cv2.GaussianBlur(image[150:450, 200:500], (0, 0), 1.0).astype(np.uint8)
    place = find_field(field, Point(200 + off[0], 150 + off[1]), read)
    assert not place.held
    assert (place.x_px, place.y_px) == pytest.approx((200, 150), abs=0.5)


def test_a_field_of_empty_glass_stays_where_the_stage_said() -> None:
    rng = np.random.default_rng(0)

    def read(y: int, x: int, h: int, w: int) -> Pixels:
        return np.asarray(rng.normal(230, 2, (h, w)), np.uint8)

    place = find_field(read(0, 0, 300, 300), Point(200.25, 150.5), read)
    assert (place.x_px, place.y_px, place.held) == (200.25, 150.5, True)


def test_two_cells_of_a_field_may_be_sharp_in_different_planes() -> None:
    image = sheet()[:300, :600]
    planes = []
    for n in range(5):
        left, right = (
            cv2.GaussianBlur(part, (0, 0), 0.3 + abs(n - peak))
            for part, peak in ((image[:, :300], 1), (image[:, 300:], 3))
        )
        planes.append(np.hstack([left, right]).astype(np.uint8))
    assert sharpest(planes, (100, 100, 80, 80)) == 1
    assert sharpest(planes, (420, 100, 80, 80)) == 3
    assert sharpest(planes, (560, 260, 38, 38)) == 3


def test_what_is_said_of_a_box_is_the_most_abnormal_thing_in_it() -> None:
    boxes = np.array([(100, 100, 20, 20), (104, 104, 20, 20), (300, 300, 20, 20), (102, 102, 20, 20)], float)
    found = Detections.rounded(
        boxes, np.zeros(4), np.full(4, 0.9), np.array([0.2, 0.7, 0.9, 0.99]), np.array([0, 1, 0, -1])
    )
    assert said_of((98, 98, 30, 30), found, CLASSES) == (0.7, "LSIL")
    assert said_of((500, 98, 30, 30), found, CLASSES) == (0.0, "")
    assert said_of((98, 98, 30, 30), Detections.none(), CLASSES) == (0.0, "")


def chosen_cell(tile: int, x_px: float, score: float) -> ChosenCell:
    return ChosenCell(
        tile=tile, plan=1, name="HSIL", score=score, x_px=x_px, y_px=10, w_px=20, h_px=20, field=9
    )


def read_cell(cell: int, score: float, layer: int) -> CellReadFact:
    place = {"field": 9, "x_px": 0.0, "y_px": 0.0, "held": False, "edge": False, "name": "HSIL"}
    return CellReadFact(cell=cell, score=score, layer=layer, **place)


def test_a_second_score_belongs_to_the_finding_at_its_place_and_raises_a_slide_at_most() -> None:
    boxes = np.array([(110, 10, 20, 20), (210, 10, 20, 20), (410, 10, 20, 20)], float)
    placed = {0: Placed(0, 0, 0, 100.0, 0.0, False, 0.1), 1: Placed(1, 0, 1, 200.0, 0.0, False, 0.1)}
    cells = (chosen_cell(0, 10, 0.9), chosen_cell(1, 13, 0.5), chosen_cell(1, 300, 0.4))
    chosen = CellsChosenFact(cells=cells, plan=None, waited_s=0.0)
    first = np.array([0.9, 0.5, 0.4])
    reads = (read_cell(0, 0.1, 3), read_cell(1, 0.8, 2), read_cell(2, 0.7, 1))
    again = again_of(boxes, first, ReadAgain(chosen, reads), placed)
    assert again.finding_of == (0, 1, None)
    assert again.scores[:2].tolist() == [0.1, 0.8]
    assert np.isnan(again.scores[2])
    assert again.layers.tolist() == [3, 2, -1]
    lowered = again_of(boxes, first, ReadAgain(chosen, (read_cell(0, 0.1, 3),)), placed)
    untouched = again_of(boxes, first, ReadAgain(chosen, ()), placed)
    assert lowered.slide_score == untouched.slide_score < again.slide_score
