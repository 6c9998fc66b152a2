"""What does a lens do to a picture beside enlarging it, and what should the finished image look like?"""

from typing import Annotated

from pydantic import Field

from scanner.model.base import Value

SEEN_PX = 0.1
"""A displacement below this, at the corner of a frame, is left alone: undoing it would cost more than it mends."""


class Distortion(Value):
    """Radial distortion (D. C. Brown, Photogrammetric Engineering 37, 1971) of raw camera frames.

    What a perfect lens would show at the offset p from ``centre`` is seen at p (1 + k1 r² + k2 r⁴), r = |p| over half
    the frame's diagonal; ``centre`` in half widths and half heights from the middle, x right, y down. ``k1`` + ``k2``
    is thus the displacement of a corner as a share of half the diagonal.
    """

    k1: float
    k2: float = 0.0
    centre: tuple[float, float] = (0.0, 0.0)


class ChannelShift(Value):
    """Where a channel shows what green shows at the offset p from the middle: at p (1 + magnification) + (x, y)."""

    x_px: float = 0.0
    y_px: float = 0.0
    magnification: float = 0.0


class Chromatic(Value):
    """How red and blue lie against green, in raw camera px."""

    red: ChannelShift = ChannelShift()
    blue: ChannelShift = ChannelShift()


class Look(Value):
    """How a finished colour image of 8 bits looks; images of other formats keep their levels.

    Empty glass has ``background`` in every channel, or stays as the lamp shows it where that is None.
    ``even_exposures`` takes the lamp's flicker out, whatever the format. ``colour_profile``: an ICC file of the camera
    beside the profile, kept with the image; nothing is converted.
    """

    background: Annotated[float, Field(ge=128, le=245)] | None = 244.0
    even_exposures: bool = True
    colour_profile: str | None = None
