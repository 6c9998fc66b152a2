"""How do the simulated XY stage and focus drive look to Micro-Manager?"""

from pymmcore_plus.core import FocusDirection
from pymmcore_plus.experimental.unicore import StageDevice, XYStageDevice

from scanner.devices.simulated.wiring import Neighbours
from scanner.errors import DeviceFault


class SimulatedXY(XYStageDevice):
    """A motor stage: 100 ms for a field of 461 µm with settling; repeats, has slack and a thread as a real one has."""

    def __init__(self) -> None:
        super().__init__()
        self._neighbours = Neighbours()

    def set_position_um(self, x: float, y: float) -> None:
        """Start to move; returns at once."""
        self._neighbours.world.move_xy(x, y)

    def get_position_um(self) -> tuple[float, float]:
        """What the encoder says."""
        return self._neighbours.world.xy_reported()

    def busy(self) -> bool:
        """Moving or settling."""
        return self._neighbours.world.xy_busy()

    def stop(self) -> None:
        """Halt."""
        self._neighbours.world.stop_xy()

    def home(self) -> None:
        """Drive to the origin."""
        self._neighbours.world.move_xy(0.0, 0.0)

    def set_origin_x(self) -> None:
        """The origin is fixed by the end switches."""
        raise DeviceFault("XY", "the simulated stage keeps its origin")

    def set_origin_y(self) -> None:
        """The origin is fixed by the end switches."""
        raise DeviceFault("XY", "the simulated stage keeps its origin")


class SimulatedZ(StageDevice):
    """A focus drive; larger z is further from the stage."""

    def __init__(self) -> None:
        super().__init__()
        self._neighbours = Neighbours()

    def set_position_um(self, val: float) -> None:
        """Start to move; returns at once."""
        self._neighbours.world.move_z(val)

    def get_position_um(self) -> float:
        """What the drive says."""
        return self._neighbours.world.z_reported()

    def busy(self) -> bool:
        """Moving."""
        return self._neighbours.world.z_busy()

    def stop(self) -> None:
        """Halt."""
        self._neighbours.world.stop_z()

    def home(self) -> None:
        """Drive to 0."""
        self._neighbours.world.move_z(0.0)

    def set_origin(self) -> None:
        """The origin is fixed by the end switches."""
        raise DeviceFault("Z", "the simulated focus drive keeps its origin")

    def get_focus_direction(self) -> FocusDirection:
        """Away from the sample, as the .cfg of a real rig would say."""
        return FocusDirection.AwayFromSample
