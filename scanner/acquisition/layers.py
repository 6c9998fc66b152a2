"""At which heights is a tile of a thick sample exposed, and do they hold the height where it is sharpest?

Every tile is taken at the same offsets from where the surface is believed to be; what its own frames say of their
focus moves that belief for the tiles that follow. A stack whose edge is the sharpest is soft: it is taken again,
centred where its curve peaks. A plan of cells brings offsets of its own, on any rig that focuses.
"""

from collections.abc import Sequence
from dataclasses import replace

from autofocus.answers import Look
from scanner.acquisition.acquire import Focusing
from scanner.acquisition.focus import TileFocusing
from scanner.errors import FocusRefused
from scanner.model.plan import Plan, PlannedTile
from scanner.model.profile import Profile
from scanner.model.tile import FocusState, TileFocus

LOOKED_AT_DEPTHS = (
    2.0  # layers this far apart say where the peak is; measuring all of them would hold up the stage
)
DRIVE_SCATTER_UM = 0.1  # layers a depth of field apart lie that much further apart now and then


def layered(focusing: TileFocusing, profile: Profile, plan: Plan) -> Focusing:
    """The same focusing for strategies of one plane; for the others one that exposes every tile at all layers.

    Raises:
        FocusRefused: a layer of a planned tile lies outside the limits of z; nothing moved for it.
    """
    if not profile.focus.layered:
        return focusing
    stacking = StackFocusing(focusing, profile, profile.focus.layer_offsets_um)
    low, high = profile.limits.z_um
    beyond = [t for t in plan.tiles if min(stacking.planes(t)) < low or max(stacking.planes(t)) > high]
    if beyond:
        raise FocusRefused(
            f"{len(beyond)} of {len(plan.tiles)} tiles have layers outside z {low:g}..{high:g} µm, first tile "
            f"{beyond[0].tile}; no tile was taken. Take fewer or closer layers, or widen limits.z_um of the profile"
        )
    return stacking


class StackFocusing:
    """A fold over tiles in the order they are captured; satisfies ``acquire.Focusing``.

    ``offsets_um`` lie over the surface, away from the glass, bottom to top.
    """

    def __init__(self, focusing: TileFocusing, profile: Profile, offsets_um: Sequence[float]) -> None:
        spec, depth_um = profile.focus, profile.active_objective.depth_of_field_um()
        up = profile.measured.z_sign.value if profile.measured.z_sign else 1
        step_um = offsets_um[1] - offsets_um[0]
        self._focusing = focusing
        self._offsets_um = tuple(up * offset for offset in offsets_um)
        self._half_step_um = step_um / 2
        self._sharp_um, self._usable_um = depth_um / 2 + DRIVE_SCATTER_UM, spec.usable_um
        self._stride = max(1, round(LOOKED_AT_DEPTHS * depth_um / step_um))

    def planes(self, tile: PlannedTile) -> Sequence[float]:
        """The heights (z µm) to expose, bottom to top; the middle one where the tile is expected to be sharp."""
        middle_um, _ = self._focusing.predict(tile)
        return tuple(middle_um + offset for offset in self._offsets_um)

    def more(self, tile: PlannedTile, looks: Sequence[Look]) -> float | None:
        """No height beside the layers: the stage need not wait for what they show."""
        return None

    def judged(self, tile: PlannedTile, looks: Sequence[Look]) -> tuple[int, TileFocus]:
        """Which layer is the tile's sharpest, and what is known of its focus."""
        _, focus = self._focusing.judged(tile, looks[:: self._stride])
        if focus.best_z_um is None:
            middle = len(looks) // 2
            return middle, replace(focus, z_um=looks[middle].z_um)
        away_um = [focus.best_z_um - look.z_um for look in looks]
        sharpest = min(range(len(looks)), key=lambda n: abs(away_um[n]))
        inside = self._holds(focus.best_z_um, [look.z_um for look in looks])
        side = "above" if away_um[sharpest] > 0 else "below"
        words = f"sharpest {abs(away_um[sharpest]):.2f} µm {side} layer {sharpest + 1} of {len(looks)}"
        return sharpest, replace(
            focus,
            state=self._state(abs(away_um[sharpest]), inside),
            z_um=looks[sharpest].z_um,
            reason=words if inside else f"{words}, at the edge of the stack",
            again=True,
        )

    def _holds(self, best_um: float, heights_um: Sequence[float]) -> bool:
        """Not in the outer half step of the stack, nor beyond it: there the sample goes on."""
        return min(heights_um) + self._half_step_um <= best_um <= max(heights_um) - self._half_step_um

    def _state(self, away_um: float, inside: bool) -> FocusState:
        if inside and away_um <= self._sharp_um:
            return FocusState.SHARP
        return FocusState.USABLE if away_um <= self._usable_um else FocusState.UNREADABLE
