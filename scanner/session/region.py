"""Which rectangle of the glass do the four numbers after ``--region`` mean?"""

import math

from scanner.errors import BadInput
from scanner.model.geometry import Rect
from scanner.model.slide import GLASS_UM, UM_PER_MM

REGION_FIELDS = 4


def parse_region(text: str) -> Rect:
    """``X,Y,W,H`` in mm of the slide frame as a rectangle in slide µm.

    Raises:
        BadInput: not four finite numbers, no area, or not wholly on the glass.
    """
    try:
        numbers = [float(part) * UM_PER_MM for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != REGION_FIELDS or not all(map(math.isfinite, numbers)):
        raise _bad_region(f"{text} is not four numbers")
    if min(numbers[2:]) <= 0:
        raise _bad_region(f"{text} has no area")
    region = Rect(*numbers)
    if not GLASS_UM.covers(region):
        raise _bad_region(f"{text} leaves the glass of 75 × 25 mm")
    return region


def _bad_region(problem: str) -> BadInput:
    return BadInput.one(problem, "give X,Y,W,H in mm, such as 43,11,2,2", field="--region")
