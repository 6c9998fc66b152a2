"""How does the simulated slide loader look to Micro-Manager?"""

from typing import Any

from pymmcore_plus.experimental.unicore import StateDevice, pymm_property

from scanner.devices.simulated.wiring import Neighbours

SLOTS = 400


class SimulatedLoader(StateDevice):
    """Position 0 is no slide on the stage, position n that of slot n; ``OccupiedSlots`` says which hold glass."""

    def __init__(self) -> None:
        super().__init__({0: "none"} | {slot: f"slot {slot}" for slot in range(1, SLOTS + 1)})
        self._neighbours = Neighbours()

    def get_state(self) -> int:
        """The slot whose slide is on the stage or on its way there; 0 after a jam."""
        return self._neighbours.world.loader_position()

    def set_state(self, position: int) -> None:
        """Start to bring a slide; returns at once."""
        self._neighbours.world.load(position)

    def set_property_value(self, prop_name: str, value: Any) -> None:
        """Micro-Manager hands numbers over as text too."""
        super().set_property_value(prop_name, int(value) if prop_name == "State" else value)

    def busy(self) -> bool:
        """A slide is on its way."""
        return self._neighbours.world.loader_busy()

    @pymm_property(name="OccupiedSlots")
    def occupied_slots(self) -> str:
        """The slots in which the magazine's sensor sees glass, or from which it was taken: numbers with commas."""
        return ",".join(str(slot) for slot in self._neighbours.world.occupied_slots(SLOTS))
