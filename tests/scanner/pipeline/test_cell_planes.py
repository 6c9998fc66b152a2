"""Is a field found on the image, and is the sharpest plane of a cell its own?"""

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
import pytest

from detection.classes import CellClass, cell_class
from detection.detections import Detections
from detection.scoring import slide_score
from scanner.model.geometry import Point
from scanner.model.plan import PlannedTile
from scanner.model.tile import FocusState, Layer, Pixels, Tile, TileFocus
from scanner.pipeline.again import ReadAgain, again_of
from scanner.pipeline.cell_planes import FieldPlace, find_field, read_with, said_of, sharpest
from scanner.pipeline.placement import Placed
from scanner.session.field_reading import FieldReader, LookWork, Plane, SharpAt
from scanner.storage.cell_facts import CellReadFact, CellsChosenFact, ChosenCell
from tests.scanner.pipeline.conftest import as_pixels, cells_on_glass


@dataclass
class Known:
    """Of what a reader works with only that of which it is asked here."""

    package: "Known | None" = None
    classes: tuple[CellClass, ...] = ()

    def __post_init__(self) -> None:
        self.package, self.classes = self, CLASSES


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


def planes_of(count: int) -> Tile:
    """A field of so many planes, of which nothing else is asked."""
    planned = PlannedTile(tile=9, row=0, col=0, x_um=0.0, y_um=0.0)
    layer = Layer(0.0, 0.0, 0.0, "0" * 64)
    focus = TileFocus(FocusState.SHARP, 0.0, 0.1)
    return Tile(planned, 2, 1, None, "", 0.0, 0.0, focus, 9, layers=(layer,) * count)


def test_a_cell_is_read_in_its_sharpest_plane_and_those_beside_it() -> None:
    assert [list(read_with(layer, 5)) for layer in (0, 2, 4)] == [[0, 1], [1, 2, 3], [3, 4]]
    reader = FieldReader(
        cast(LookWork, Known()), CellsChosenFact(cells=(), plan=None, waited_s=0.0), {}, {}, ()
    )
    place, tile = FieldPlace(5.0, 6.0, held=False), planes_of(5)
    middle, end = SharpAt(0, (10, 10, 20, 20), 1), SharpAt(1, (60, 10, 20, 20), 0)
    boxes = np.array([(10, 10, 20, 20), (60, 10, 20, 20)], float)
    facts = []
    for layer, said in enumerate([(0.3, 0.8), (0.6, 0.4), (0.9, 0.1)]):
        cells = tuple(cell for cell in (middle, end) if layer in read_with(cell.layer, 5))
        found = Detections.rounded(boxes, np.zeros(2), np.full(2, 0.9), np.array(said), np.array([0, 1]))
        facts.append(list(reader.facts(Plane(tile, place, layer, cells), found)))
    assert [[fact.cell for fact in told] for told in facts] == [[], [1], [0]]
    (at_the_end,), (inside,) = facts[1], facts[2]
    assert (inside.score, inside.name, inside.layer, inside.edge) == (0.6, "HSIL", 1, False)
    assert (at_the_end.score, at_the_end.name, at_the_end.layer, at_the_end.edge) == (0.6, "LSIL", 0, True)


def test_a_second_score_belongs_to_the_finding_at_its_place() -> None:
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
    assert again.slide_score == slide_score(np.array([0.1, 0.8, 0.4]))
    assert again.raised == slide_score(np.array([0.9, 0.8, 0.4]))
    untouched = again_of(boxes, first, ReadAgain(chosen, ()), placed)
    assert untouched.slide_score == untouched.raised == slide_score(first)


@pytest.mark.parametrize("doubt", ["held", "edge"])
def test_a_cell_that_was_not_surely_met_sharp_never_makes_a_slide_less_suspicious(doubt: str) -> None:
    """Nobody knows whether a field that the image could not place shows the cell, nor how it looks beyond the stack."""
    boxes = np.array([(110, 10, 20, 20), (210, 10, 20, 20)], float)
    placed = {0: Placed(0, 0, 0, 100.0, 0.0, False, 0.1), 1: Placed(1, 0, 1, 200.0, 0.0, False, 0.1)}
    chosen = CellsChosenFact(
        cells=(chosen_cell(0, 10, 0.9), chosen_cell(1, 13, 0.5)), plan=None, waited_s=0.0
    )
    first = np.array([0.9, 0.5])
    reads = (read_cell(0, 0.1, 3).model_copy(update={doubt: True}), read_cell(1, 0.2, 2))
    again = again_of(boxes, first, ReadAgain(chosen, reads), placed)
    assert again.scores.tolist() == [0.1, 0.2]
    assert again.slide_score == slide_score(np.array([0.9, 0.2]))
