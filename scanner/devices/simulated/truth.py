"""Which things lie on a simulated slide, and what is true about each of them?"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class CellClass(StrEnum):
    """Everything a procedural slide holds; epithelial names follow the Bethesda system."""

    SUPERFICIAL = "superficial"
    INTERMEDIATE = "intermediate"
    PARABASAL = "parabasal"
    METAPLASTIC = "metaplastic"
    ENDOCERVICAL = "endocervical"
    REACTIVE = "reactive"
    BARE_NUCLEUS = "bare-nucleus"
    ASC_US = "ASC-US"
    LSIL = "LSIL"
    ASC_H = "ASC-H"
    HSIL = "HSIL"
    SCC = "SCC"
    AGC = "AGC"
    LEUCOCYTE = "leucocyte"
    LEUCOCYTE_CLUMP = "leucocyte-clump"
    CANDIDA = "candida"
    TRICHOMONAS = "trichomonas"
    FLORA = "flora"
    DEBRIS = "debris"
    MUCUS = "mucus"
    BUBBLE = "bubble"


ABNORMAL = frozenset(
    {CellClass.ASC_US, CellClass.LSIL, CellClass.ASC_H, CellClass.HSIL, CellClass.SCC, CellClass.AGC}
)
SQUAMOUS = frozenset(
    {
        CellClass.SUPERFICIAL,
        CellClass.INTERMEDIATE,
        CellClass.PARABASAL,
        CellClass.METAPLASTIC,
        CellClass.REACTIVE,
        CellClass.ASC_US,
        CellClass.LSIL,
        CellClass.ASC_H,
        CellClass.HSIL,
        CellClass.SCC,
    }
)


@dataclass(frozen=True, slots=True)
class TruthObject:
    """One object of a procedural slide.

    ``x_um, y_um`` is the centre of its box in the slide frame, ``w_um, h_um`` the box's size, ``height_um`` the
    stage z at which its nucleus is sharp when the focus drive has not drifted.
    """

    cell_class: CellClass
    x_um: float
    y_um: float
    w_um: float
    h_um: float
    height_um: float

    @property
    def abnormal(self) -> bool:
        """Is it one of the classes a screener must not miss?"""
        return self.cell_class in ABNORMAL


@dataclass(frozen=True, slots=True)
class Nuclei:
    """The nuclei of one field, one row each; objects drawn as a group lie at one height and are one row.

    ``places_px``: (n, 2) float32 u, v from the field's first pixel; ``heights_um``: (n,) float64 as in
    ``TruthObject``; ``areas_px``: (n,) int64 pixels; ``classes``: (n,) str, values of ``CellClass`` or ``tissue``.
    """

    places_px: NDArray[np.float32]
    heights_um: NDArray[np.float64]
    areas_px: NDArray[np.int64]
    classes: NDArray[np.str_]
