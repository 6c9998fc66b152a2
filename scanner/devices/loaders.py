"""How does the next slide come onto the stage: by a motor, by the stage's own insert, or by a person?"""

import time
from collections.abc import Callable

from scanner.devices.arrival import POLL_S, StopLatch
from scanner.devices.micromanager import MicroManager, naming
from scanner.errors import DeviceFault, LoaderFault

# The property with which a motor says which of its slots hold a slide: their numbers, comma separated.
OCCUPIED_PROPERTY = "OccupiedSlots"

Ask = Callable[[str], bool]


def check_slot(device: str, slot: int, slots: int) -> None:
    """Raise for a slot the loader does not have."""
    if not 1 <= slot <= slots:
        raise LoaderFault(device, f"has no slot {slot}, only 1 to {slots}; nothing moved")


class MotorLoader:
    """A Micro-Manager state device: position 0 is nothing on the stage, n the slide of slot n."""

    def __init__(
        self, mm: MicroManager, label: str, slots: int, deadline_s: float, settle_s: float, latch: StopLatch
    ) -> None:
        self._mm, self._label, self._slots = mm, label, slots
        self._deadline_s, self._settle_s, self._latch = deadline_s, settle_s, latch

    @property
    def slots(self) -> int:
        """How many slots the loader holds."""
        return self._slots

    def occupied(self, slot: int) -> bool | None:
        """What the motor's sensor says; None without one."""
        check_slot(self._label, slot, self._slots)
        if not self._mm.has_property(self._label, OCCUPIED_PROPERTY):
            return None
        held = self._mm.get(self._label, OCCUPIED_PROPERTY)
        return str(slot) in [entry.strip() for entry in held.split(",")]

    def load(self, slot: int) -> None:
        """See ``protocols.Loader.load``."""
        check_slot(self._label, slot, self._slots)
        self._mm.wait_idle(self._label, self._deadline_s, self._latch)  # a killed program's move goes on
        if self.loaded() == slot:
            return
        if self.occupied(slot) is False:
            raise LoaderFault(self._label, f"slot {slot} is empty; nothing moved")
        self.unload()
        try:
            self._go(slot)
        except LoaderFault:
            self._go(0)
            raise
        self._settle()

    def unload(self) -> None:
        """See ``protocols.Loader.unload``."""
        if self.loaded() is not None:
            self._go(0)

    def loaded(self) -> int | None:
        """The slot the motor says is on the stage."""
        return self._mm.state(self._label) or None

    def _go(self, position: int) -> None:
        where = f"slot {position}" if position else "its empty position"
        try:
            with naming(self._label, f"moving to {where}"):
                self._mm.core.setState(self._label, position)
            self._mm.wait_idle(self._label, self._deadline_s, self._latch)
        except DeviceFault as error:
            raise LoaderFault(self._label, f"did not reach {where}: {error}") from error
        if (self.loaded() or 0) != position:
            raise LoaderFault(
                self._label,
                f"jammed: did not reach {where}, it reports position {self.loaded() or 0}. Free it by hand",
            )

    def _settle(self) -> None:
        end_s = time.perf_counter() + self._settle_s
        while time.perf_counter() < end_s:
            self._latch.check()
            time.sleep(POLL_S)


class InsertLoader:
    """All slides lie on the stage; loading one is only choosing it."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._loaded: int | None = None

    @property
    def slots(self) -> int:
        """How many slides the insert holds."""
        return self._slots

    def occupied(self, slot: int) -> bool | None:
        """An insert has no sensor."""
        check_slot("insert", slot, self._slots)
        return None

    def load(self, slot: int) -> None:
        """Choose a slide."""
        check_slot("insert", slot, self._slots)
        self._loaded = slot

    def unload(self) -> None:
        """Choose none."""
        self._loaded = None

    def loaded(self) -> int | None:
        """The slide chosen."""
        return self._loaded


class ManualLoader:
    """A person changes the slide. ``ask`` shows a sentence and says whether it was done; False is the way out."""

    def __init__(self, slots: int, ask: Ask) -> None:
        self._slots, self._ask = slots, ask
        self._loaded: int | None = None

    @property
    def slots(self) -> int:
        """How many slides the operator will bring."""
        return self._slots

    def occupied(self, slot: int) -> bool | None:
        """Only the operator knows."""
        check_slot("operator", slot, self._slots)
        return None

    def load(self, slot: int) -> None:
        """See ``protocols.Loader.load``."""
        check_slot("operator", slot, self._slots)
        if self._loaded == slot:
            return
        self.unload()
        if not self._ask(f"Put slide {slot} on the stage, label to the left, cover slip up"):
            raise LoaderFault("operator", f"slide {slot} was not loaded")
        self._loaded = slot

    def unload(self) -> None:
        """See ``protocols.Loader.unload``."""
        if self._loaded is None:
            return
        if not self._ask(f"Take slide {self._loaded} off the stage"):
            raise LoaderFault("operator", f"slide {self._loaded} was not taken off")
        self._loaded = None

    def loaded(self) -> int | None:
        """What the operator said."""
        return self._loaded
