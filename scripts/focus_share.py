"""What share of a scan's time does focusing take, by the profile's own kinematics?

The floor of ``scanner.acquisition.floor``: a further plane costs its exposure and the readout or z move before it,
a look at the last plane costs its readout; a survey costs its moves and frames.
"""

from collections.abc import Iterable, Sequence

from autofocus.tile import TilePolicy
from scanner.model.profile import Profile
from scanner.storage.profiles import read_profile
from scripts.focus_tiles import PROFILE, STEP_UM, SlideRecord, TileRecord

SURVEY_MOVE_UM = 4_000.0


def share_of(records: Sequence[SlideRecord]) -> float:
    """Focusing over everything, on the default rig."""
    costs = Costs(read_profile(PROFILE))
    focus_s = sum(costs.survey_s(r) + sum(costs.tile_s(t) for t in r.tiles) for r in records)
    scan_s = focus_s + costs.base_s * sum(len(r.tiles) for r in records)
    return focus_s / scan_s


def tiles_share(tiles: Iterable[TileRecord]) -> float:
    """The same of tiles alone."""
    costs = Costs(read_profile(PROFILE))
    each = [costs.tile_s(tile) for tile in tiles]
    return sum(each) / (sum(each) + costs.base_s * len(each))


class Costs:
    """Seconds of the default rig."""

    def __init__(self, profile: Profile) -> None:
        measured = profile.measured
        if measured.xy_kinematics is None or measured.z_kinematics is None or measured.readout_ms is None:
            raise ValueError("the profile was not measured")
        self._xy = measured.xy_kinematics.value
        z_s = measured.z_kinematics.value.seconds(1.3)
        exposure_s, readout_s = profile.camera.exposure_ms / 1000, measured.readout_ms.value / 1000
        self.base_s = self._xy.seconds(STEP_UM) + exposure_s
        self._plane_s = max(z_s, readout_s) + exposure_s
        self._look_s, self._z_s, self._exposure_s = readout_s, z_s, exposure_s

    def tile_s(self, tile: TileRecord) -> float:
        """What focusing a tile took beyond exposing it once; a retake counts whole."""
        planned = min(tile.planes, 2)
        # after every plane but the last possible one the stage stands until it is looked at
        looks = min(tile.planes, TilePolicy().most - 1) - 1 if tile.waited else 0
        seconds = (planned - 1) * self._plane_s + looks * self._look_s
        # a plane that was decided on waits for its move
        seconds += (tile.planes - planned) * (self._z_s + self._exposure_s)
        return seconds + tile.retaken * self.base_s

    def survey_s(self, record: SlideRecord) -> float:
        """Moves between the points, and their frames."""
        moves = record.survey_points * self._xy.seconds(SURVEY_MOVE_UM)
        return moves + record.survey_frames * (self._plane_s)
