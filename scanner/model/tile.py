"""What travels down the road: a frame, the tile it belongs to, and what was judged of it."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from scanner.model.plan import PlannedTile

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


class FocusState(StrEnum):
    """How far a tile lies from the height where its own sharpness curve peaks."""

    SHARP = "sharp"
    USABLE = "usable"
    UNREADABLE = "unreadable"
    NO_SAMPLE = "no-sample"
    UNMEASURED = "unmeasured"

    @property
    def soft(self) -> bool:
        """With sample and not sharp: worth a second plan."""
        return self in (FocusState.USABLE, FocusState.UNREADABLE)

    @property
    def blur(self) -> int:
        """Of two tiles the one with less is likely the sharper; one without sample has nothing to be soft."""
        return _BLUR[self]


_BLUR = {
    FocusState.SHARP: 0,
    FocusState.NO_SAMPLE: 0,
    FocusState.UNMEASURED: 1,
    FocusState.USABLE: 1,
    FocusState.UNREADABLE: 2,
}


@dataclass(frozen=True, slots=True)
class Frame:
    """What the camera gave at one z.

    ``pixels`` are raw camera pixels, (h, w, 3) or (h, w), uint8 or uint16. ``x_um``, ``y_um`` is where the stage
    reported to be (stage µm), ``z_um`` the reported height; times are seconds since the slide's scan began.
    """

    pixels: Pixels
    x_um: float
    y_um: float
    z_um: float
    t_trigger_s: float
    t_read_s: float


@dataclass(frozen=True, slots=True)
class TileFocus:
    """A tile's own focus answer.

    Attributes:
        state: how far the kept plane lies from where the tile's own curve peaks.
        z_um: the height it was captured at.
        sigma_um: how sure the answer is (1 sigma).
        best_z_um: where the tile would be sharp, where that was measured.
        reason: in words.
        level_um: height of the layer of objects in it, ± level_sigma_um: what the focus map learns.
        again: whether taking it once more could make it sharp.
    """

    state: FocusState
    z_um: float
    sigma_um: float
    best_z_um: float | None = None
    reason: str = ""
    level_um: float | None = None
    level_sigma_um: float | None = None
    again: bool = True

    @property
    def retake(self) -> bool:
        """Is it worth a place in a further plan?"""
        return self.state.soft and self.again


@dataclass(frozen=True, slots=True)
class Layer:
    """One height of a tile's stack; its pixels wait in the spool, ``content`` is their hash."""

    z_um: float
    t_trigger_s: float
    t_read_s: float
    content: str


@dataclass(frozen=True, slots=True)
class Tile:
    """One capture of a planned tile: acknowledged by the ledger, its pixels in the spool.

    ``frame`` is None when the spool no longer holds the pixels (a resume, all of its blocks are written).
    ``reported_x_um``/``reported_y_um`` are slide µm of the field's centre as read back. ``layers`` are the heights of
    a stack, bottom to top; ``frame`` is the sharpest of them. A tile of one plane has none.
    """

    planned: PlannedTile
    plan: int
    attempt: int
    frame: Frame | None
    content: str
    reported_x_um: float
    reported_y_um: float
    focus: TileFocus
    frames: int
    layers: tuple[Layer, ...] = ()

    @property
    def layer(self) -> int | None:
        """Which of its layers ``frame`` is; None for a tile of one plane."""
        return next((n for n, layer in enumerate(self.layers) if layer.content == self.content), None)

    @property
    def key(self) -> tuple[int, int]:
        """(tile, plan): a tile is accepted at most once in a plan."""
        return self.planned.tile, self.plan

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels it carries."""
        return 0 if self.frame is None else self.frame.pixels.nbytes


@dataclass(frozen=True, slots=True)
class EndOfPlan:
    """Follows the last tile of a plan down the road, so that every step may settle what it held for it.

    ``last_frame_s`` is the ``time.perf_counter`` reading when the last frame was read, None for a replay.
    """

    plan: int
    last_frame_s: float | None


@dataclass(frozen=True, slots=True)
class Judged:
    """A tile with upright, flat-field-corrected pixels and its quality.

    ``pixels`` (h, w, 3) or (h, w) of the camera's dtype, or None like the tile's frame. ``quality`` is the share of
    the tile that holds sample times its relative sharpness, 0..1. ``sample`` says which edges still hold sample.
    """

    tile: Tile
    pixels: Pixels | None
    quality: float
    sample_share: float
    sample_edges: tuple[bool, bool, bool, bool]

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels it carries, raw and corrected."""
        return self.tile.nbytes + (0 if self.pixels is None else self.pixels.nbytes)
