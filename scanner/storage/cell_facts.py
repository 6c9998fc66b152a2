"""What does the ledger keep of the cells that were taken again with more planes?"""

from pydantic import Field

from scanner.model.plan import Plan
from scanner.storage.facts import Fact


class ChosenCell(Fact):
    """A cell worth more planes: what the detector said of it in a tile of the image; the box in px of that tile.

    ``field`` is the number of the further plan's field that shows it.
    """

    tile: int
    plan: int
    name: str
    score: float
    x_px: float
    y_px: float
    w_px: float
    h_px: float
    field: int


class CellsChosenFact(Fact):
    """Kind ``cells-chosen``: the most suspicious cells, best first, when the slide's image was captured.

    ``plan`` takes them again, None where there are none. ``unanswered`` are the tiles of which the detector had said
    nothing (or nothing of their last capture) after ``waited_s`` seconds: their cells could not be chosen.
    """

    cells: tuple[ChosenCell, ...]
    plan: Plan | None
    unanswered: tuple[int, ...] = ()
    waited_s: float = Field(ge=0)


class CellReadFact(Fact):
    """Kind ``cell-read``, key the cell's place among the chosen: what the planes around its sharpest show.

    ``x_px``, ``y_px`` is the top-left of its ``field`` in the image, mosaic px, ``held`` where the image's texture did
    not tell and the stage is believed. ``layer`` is the sharpest plane, from 0 at the bottom; ``edge``: it is an end
    of the stack. ``score`` is the mean of what the detector says of the cell there and in the planes beside it, 0 where
    it finds nothing abnormal; ``name`` is the class of the highest.
    """

    cell: int
    field: int
    x_px: float
    y_px: float
    held: bool
    layer: int
    edge: bool
    score: float
    name: str
