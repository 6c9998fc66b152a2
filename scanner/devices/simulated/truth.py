"""Which things lie on a simulated slide, and what is true about each of them?"""

from dataclasses import dataclass
from enum import StrEnum


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
