"""How is the simulated lamp switched?"""

from pymmcore_plus.experimental.unicore import ShutterDevice, pymm_property

from scanner.devices.simulated.wiring import Neighbours


class SimulatedLamp(ShutterDevice):
    """The light under the stage, as a shutter and as a property ``State`` of 0 or 1."""

    def __init__(self) -> None:
        super().__init__()
        self._neighbours = Neighbours()

    def get_open(self) -> bool:
        """Is there light?"""
        return self._neighbours.world.light

    def set_open(self, open: bool) -> None:  # noqa: A002  # Micro-Manager's name
        """Light on or off."""
        self._neighbours.world.light = open

    @pymm_property(name="State")
    def state(self) -> int:
        """1 for light, 0 for none."""
        return int(self.get_open())

    @state.setter
    def _set_state(self, value: int) -> None:
        number = int(value)
        if number not in (0, 1):
            raise ValueError(f"the lamp knows 0 and 1, not {value}")
        self.set_open(bool(number))
