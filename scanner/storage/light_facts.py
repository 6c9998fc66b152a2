"""What was decided about the light of a slide, and measured of it on every tile, as facts of the ledger?"""

from enum import StrEnum

from pydantic import Field

from scanner.model.profile import FlatField
from scanner.storage.facts import Fact


class Source(StrEnum):
    """Where a value came from."""

    PROFILE = "profile"
    SCAN = "scan"
    NONE = "none"


class FlatFieldFact(Fact):
    """Kind ``flat-field``: what every frame of the slide is divided by, decided before the first tile is read.

    ``field`` only where it came from the scan: the profile is frozen with the run. ``tiles`` it was estimated from,
    ``sigma`` half of what two halves of them differ by, as a share of the light. ``doubt`` in words, or empty.
    """

    source: Source
    field: FlatField | None = None
    tiles: int = 0
    sigma: float | None = None
    doubt: str = ""


class Tie(Fact):
    """How much brighter a tile is than ``other``, ln, where both show the same, and how sure that is."""

    other: int
    ratio: float
    sigma: float


class LightFact(Fact):
    """Kind ``light``: the level of empty glass in a tile, DN a channel, where there is some, and its ties."""

    glass: tuple[float, ...] | None = None
    ties: tuple[Tie, ...] = Field(default=())


class BackgroundFact(Fact):
    """Kind ``background``: what empty glass has on this slide, DN a channel, and what it is brought to.

    ``level`` None: no glass was seen and the profile knows none. ``white`` None: levels stay as they are, ``why``.
    """

    source: Source
    level: tuple[float, ...] | None = None
    white: float | None = None
    tiles: int = 0
    why: str = ""
