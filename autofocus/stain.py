"""Which channel of a colour frame carries the contrast of a stain?

Taking out one channel costs a seventh of a weighted sum of the three, and each stain here has one that shows every
part of it. Absorption maxima: R. D. Lillie, "H. J. Conn's Biological Stains", 9th edition, 1977.
"""

from dataclasses import dataclass
from enum import StrEnum

RED, GREEN, BLUE = 0, 1, 2


class Stain(StrEnum):
    """How the slides of a rig are stained; ``other`` for what is not listed."""

    PAPANICOLAOU = "papanicolaou"
    HAEMATOXYLIN_EOSIN = "haematoxylin-eosin"
    GIEMSA = "giemsa"
    DAB = "dab"
    UNSTAINED = "unstained"
    FLUORESCENCE_RED = "fluorescence-red"
    FLUORESCENCE_GREEN = "fluorescence-green"
    FLUORESCENCE_BLUE = "fluorescence-blue"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class StainChannel:
    """``channel``: 0, 1, 2 for red, green, blue; ``reason``: why this one."""

    channel: int
    reason: str


STAIN_CHANNELS: dict[Stain, StainChannel] = {
    Stain.PAPANICOLAOU: StainChannel(
        GREEN,
        "nuclei (haematoxylin, 590 nm) and eosin (520 nm) both absorb in it; in red, orange cells vanish",
    ),
    Stain.HAEMATOXYLIN_EOSIN: StainChannel(
        GREEN, "eosin absorbs only here (520 nm), haematoxylin too; a field of stroma has no contrast in red"
    ),
    Stain.GIEMSA: StainChannel(
        GREEN, "chromatin with azure and eosin absorbs at 550 nm; red shows the azure alone"
    ),
    Stain.DAB: StainChannel(
        GREEN, "brown absorbs most in blue and the counterstain hardly there; in green both are dark"
    ),
    Stain.UNSTAINED: StainChannel(
        GREEN, "objectives are corrected best at 546 nm and a Bayer camera has most pixels of it"
    ),
    Stain.FLUORESCENCE_RED: StainChannel(RED, "the emission lies here, the other channels hold noise"),
    Stain.FLUORESCENCE_GREEN: StainChannel(GREEN, "the emission lies here, the other channels hold noise"),
    Stain.FLUORESCENCE_BLUE: StainChannel(BLUE, "the emission lies here, the other channels hold noise"),
    Stain.OTHER: StainChannel(GREEN, "the least noise: half the pixels of a Bayer camera are green"),
}


def focus_channel_of(stain: Stain) -> int:
    """The channel that focus is measured on: 0, 1, 2 for red, green, blue."""
    return STAIN_CHANNELS[stain].channel
