"""Which classes of cells are there, and which of them make a slide abnormal?

A class that nobody told us about counts as abnormal: the mistake that sends a slide to a person is the safe one.
"""

import re
from collections.abc import Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Role(StrEnum):
    """What a class means for the slide: a reason to look, a cell that adequacy counts, or neither."""

    ABNORMAL = "abnormal"
    SQUAMOUS = "squamous"
    OTHER = "other"


class CellClass(BaseModel):
    """A class that a detector tells apart."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    role: Role


ABNORMAL = ("ASC-US", "LSIL", "ASC-H", "HSIL", "SCC", "AGC")

_ROLES = {
    Role.ABNORMAL: (
        *ABNORMAL,
        *(
            "light dysplastic",
            "moderate dysplastic",
            "severe dysplastic",
            "carcinoma in situ",
            "adenocarcinoma",
        ),
    ),
    Role.SQUAMOUS: (
        *("NILM", "squamous", "superficial", "intermediate", "parabasal", "metaplastic", "reactive"),
        *("normal", "normal superficial", "normal superficiel", "normal intermediate"),
    ),
    Role.OTHER: (
        *(
            "normal columnar",
            "columnar",
            "endocervical",
            "leucocyte",
            "leukocyte",
            "organism",
            "debris",
            "mucus",
        ),
        *(
            "trichomonas",
            "candida",
            "flora",
            "herps",
            "herpes",
            "actinomyces",
            "bubble",
            "clump",
            "fold",
            "bare",
        ),
    ),
}


def plain(name: str) -> str:
    """A class name without case, blanks and punctuation: ``ASC-US`` and ``ascus`` are the same class."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


_ROLE_OF = {plain(name): role for role, names in _ROLES.items() for name in names}
_BETHESDA = {plain(name): name for name in (*ABNORMAL, "NILM")}


def is_known(name: str) -> bool:
    """Has this name a role of its own, or is it only taken for abnormal to be safe?"""
    return plain(name) in _ROLE_OF


def cell_class(name: str) -> CellClass:
    """The class of that name, in the Bethesda spelling where it has one."""
    return CellClass(name=_BETHESDA.get(plain(name), name), role=_ROLE_OF.get(plain(name), Role.ABNORMAL))


def indices(classes: Sequence[CellClass], role: Role) -> list[int]:
    """Where the classes of a role stand."""
    return [index for index, entry in enumerate(classes) if entry.role is role]
