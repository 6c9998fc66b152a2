import pytest

from scanner.devices.protocols import ZStage
from scanner.devices.rig import Rig
from scanner.errors import OutsideLimits

TOLERANCE_UM = 0.5


def focus_drive(rig: Rig) -> ZStage:
    assert rig.z is not None
    return rig.z


@pytest.mark.parametrize("offset_um", [3.0, -2.0, 40.0])
def test_a_z_move_ends_at_its_height_and_the_height_is_read_back(rig: Rig, offset_um: float) -> None:
    z, target = focus_drive(rig), rig.profile.focus.start_um + offset_um
    arrival = z.start_move(target).wait()
    assert abs(arrival.z_um - target) <= TOLERANCE_UM
    assert abs(z.position() - target) <= TOLERANCE_UM


@pytest.mark.parametrize("side", [0, 1])
def test_a_height_beyond_the_soft_limits_is_refused_and_nothing_moves(rig: Rig, side: int) -> None:
    z = focus_drive(rig)
    z.start_move(rig.profile.focus.start_um).wait()
    before = z.position()
    with pytest.raises(OutsideLimits, match="z"):
        z.start_move(rig.profile.limits.z_um[side] + (side - 0.5))
    assert abs(z.position() - before) <= TOLERANCE_UM
