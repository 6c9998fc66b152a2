"""At which heights is a tile of a thick sample exposed, and do they hold the height where it is sharpest?

Every tile is taken at the same offsets from where the surface is believed to be; what its own frames say of their
focus moves that belief for the tiles that follow. A stack whose edge is the sharpest is soft: it is taken again,
centred where its curve peaks.
"""

from collections.abc import Sequence
from dataclasses import replace

from scanner.acquisition.acquire import Focusing
from scanner.acquisition.focus import TileFocusing
from scanner.errors import FocusRefused
from scanner.model.plan import Plan, PlannedTile
from scanner.model.profile import Profile
from scanner.model.tile import FocusState, Frame, TileFocus


def layered(focusing: TileFocusing, profile: Profile, plan: Plan) -> Focusing:
    """The same focusing for strategies of one plane; for the others one that exposes every tile at all layers.

    Raises:
        FocusRefused: a layer of a planned tile lies outside the limits of z; nothing moved for it.
    """
    if not profile.focus.layered:
        return focusing
    stacking = StackFocusing(focusing, profile)
    low, high = profile.limits.z_um
    beyond = [t for t in plan.tiles if min(stacking.planes(t)) < low or max(stacking.planes(t)) > high]
    if beyond:
        raise FocusRefused(
            f"{len(beyond)} of {len(plan.tiles)} tiles have layers outside z {low:g}..{high:g} µm, first tile "
            f"{beyond[0].tile}; no tile was taken. Take fewer or closer layers, or widen limits.z_um of the profile"
        )
    return stacking


class StackFocusing:
    """A fold over tiles in the order they are captured; satisfies ``acquire.Focusing``."""

    def __init__(self, focusing: TileFocusing, profile: Profile) -> None:
        self._focusing = focusing
        self._half_step_um = profile.focus.layer_step_um / 2
        up = profile.measured.z_sign.value if profile.measured.z_sign else 1
        self._offsets_um = tuple(up * offset for offset in profile.focus.layer_offsets_um)

    def planes(self, tile: PlannedTile) -> Sequence[float]:
        """The heights (z µm) to expose, bottom to top; the middle one where the tile is expected to be sharp."""
        middle_um, _ = self._focusing.predict(tile)
        return tuple(middle_um + offset for offset in self._offsets_um)

    def answer(self, tile: PlannedTile, frames: Sequence[Frame]) -> tuple[int, TileFocus]:
        """Which layer is the tile's sharpest, and what is known of its focus."""
        sharpest, focus = self._focusing.answer(tile, frames)
        return sharpest, self._checked(frames, focus)

    def _checked(self, frames: Sequence[Frame], focus: TileFocus) -> TileFocus:
        """A peak in the outer half step of the stack, or beyond it: the sample goes on there."""
        heights = [frame.z_um for frame in frames]
        low, high = min(heights) + self._half_step_um, max(heights) - self._half_step_um
        if focus.best_z_um is None or low <= focus.best_z_um <= high:
            return focus
        state = FocusState.USABLE if focus.state is FocusState.SHARP else focus.state
        return replace(focus, state=state, reason=f"{focus.reason}, at the edge of the stack")
