"""What did a person say about a cell that a detector found, or missed?

A correction stands beside the findings and never changes them; an undo is a further correction.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Self
from uuid import UUID

from pydantic import AwareDatetime, Field, model_validator

from scanner.model.base import Value

WHO = r"^[A-Za-z0-9._-]{1,32}$"


class Said(StrEnum):
    """It is a cell of the class that is named, it is no cell at all, or what was said of it is taken back."""

    CELL = "cell"
    NO_CELL = "no-cell"
    WITHDRAWN = "withdrawn"


class Via(StrEnum):
    """Where it was said."""

    NAPARI = "napari"
    QUPATH = "qupath"


class Correction(Value):
    """One answer; whoever reads it needs no findings table.

    Attributes:
        cell: the cell: the id of its object in ``findings.geojson``; of one that the detector missed, a new one.
        rank: the finding's rank; None of a cell that the detector missed.
        said: what it is.
        name: its class as corrected; empty unless it is a cell.
        found: its class as found; empty where it was missed.
        score: P(abnormal) as found.
        x_px: left edge of the box, mosaic px; ``y_px`` its top, ``w_px`` and ``h_px`` its size.
        x_um: the centre of the box, slide µm; ``y_um`` too.
    """

    cell: UUID
    rank: int | None = Field(default=None, ge=1)
    said: Said
    name: str = ""
    found: str = ""
    score: float | None = Field(default=None, ge=0, le=1)
    x_px: float
    y_px: float
    w_px: float = Field(gt=0)
    h_px: float = Field(gt=0)
    x_um: float
    y_um: float

    @model_validator(mode="after")
    def _only_a_cell_has_a_class(self) -> Self:
        if bool(self.name) != (self.said is Said.CELL):
            raise ValueError("a cell has a class, and nothing else has one")
        return self

    @property
    def box_px(self) -> tuple[float, float, float, float]:
        """x, y, width, height, mosaic px."""
        return self.x_px, self.y_px, self.w_px, self.h_px


class Asked(Value):
    """Who answers, where, and what was asked about.

    Attributes:
        slide_id: SLOT-RUNID.
        by: a reviewer's short name; nothing about a patient.
        via: the program.
        detector_hash: of the package that made the findings; None where there was none.
        findings: SHA-256 of ``findings.parquet``; None where there is none.
    """

    slide_id: str
    by: str = Field(pattern=WHO)
    via: Via
    detector_hash: str | None = None
    findings: str | None = None


class Answers(Asked):
    """Corrections that were made at once: the content of one file.

    Attributes:
        number: counts from 1 in the folder of a slide.
        previous: SHA-256 of the file before this one, empty for the first: who alters one breaks the chain.
        at: when.
        corrections: what was said.
    """

    number: int = Field(ge=1)
    previous: str
    at: AwareDatetime
    corrections: tuple[Correction, ...] = Field(min_length=1)


def standing(answers: Iterable[Answers]) -> dict[UUID, Correction]:
    """The last word on every cell that anything is known of, in the order of the first words."""
    last = {correction.cell: correction for each in answers for correction in each.corrections}
    return {cell: said for cell, said in last.items() if said.said is not Said.WITHDRAWN}
