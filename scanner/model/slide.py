"""What is a rack, a slot, a slide, and where on the glass does a preparation put its cells?"""

from collections import Counter
from enum import StrEnum

from pydantic import Field, model_validator

from scanner.model.base import Value
from scanner.model.geometry import Point, Rect

UM_PER_MM = 1000.0
GLASS_UM = Rect(0.0, 0.0, 75_000.0, 25_000.0)
LABEL_UM = Rect(0.0, 0.0, 22_000.0, 25_000.0)


class Preparation(StrEnum):
    """How the cells came onto the glass."""

    THINPREP = "thinprep"
    SUREPATH = "surepath"
    SMEAR = "smear"

    @property
    def liquid_based(self) -> bool:
        """Liquid-based preparations need 5,000 squamous cells (Bethesda 2014)."""
        return self is not Preparation.SMEAR

    @property
    def least_cells(self) -> int:
        """Squamous cells an adequate slide shows: 5,000 liquid-based, 8,000 conventional (Bethesda 2014)."""
        return 5_000 if self.liquid_based else 8_000

    @property
    def deposit_um(self) -> Rect:
        """Where the cells normally lie: a 20 mm (ThinPrep) or 13 mm (SurePath) disc, or the clear glass."""
        if self is Preparation.SMEAR:
            return Rect(LABEL_UM.right, 0.0, GLASS_UM.w - LABEL_UM.w, GLASS_UM.h)
        diameter = 20_000.0 if self is Preparation.THINPREP else 13_000.0
        return Rect(45_000.0 - diameter / 2, 12_500.0 - diameter / 2, diameter, diameter)


class RackSlot(Value):
    """What the operator says lies in a slot; ``slide`` is the expected identity, None when unknown.

    ``focus_points``: where to focus before the first tile, x, y in mm of the slide frame; None for chosen ones.
    """

    slot: int = Field(ge=1)
    slide: str | None = Field(
        default=None, min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
    )
    preparation: Preparation = Preparation.THINPREP
    focus_points: tuple[tuple[float, float], ...] | None = Field(default=None, min_length=1, max_length=400)

    @property
    def focus_points_um(self) -> tuple[Point, ...] | None:
        """The same, slide µm."""
        if self.focus_points is None:
            return None
        return tuple(Point(x * UM_PER_MM, y * UM_PER_MM) for x, y in self.focus_points)


class Rack(Value):
    """The slots to scan, in the order they are scanned."""

    slots: tuple[RackSlot, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _each_slot_once(self) -> "Rack":
        twice = [slot for slot, n in Counter(entry.slot for entry in self.slots).items() if n > 1]
        if twice:
            raise ValueError(f"slot {', '.join(map(str, twice))} named more than once")
        return self


class Slide(Value):
    """One piece of glass in one run; ``slide_id`` is SLOT-RUNID, never a patient's number.

    ``accession`` is what the label or the rack file says; it stays in the ledger and the local report.
    ``focus_points_um`` are the places (slide µm) that a person gave to focus on, None where they are chosen.
    """

    slot: int = Field(ge=1)
    slide_id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]*$")
    preparation: Preparation = Preparation.THINPREP
    accession: str | None = None
    focus_points_um: tuple[Point, ...] | None = None
