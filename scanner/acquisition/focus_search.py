"""How does one search for focus run on a rig? A frame is read while z moves and measured during the next exposure."""

from dataclasses import dataclass

from autofocus.search import Answer, Look, Search
from autofocus.sharpness import Sharpness, measure
from scanner.devices.protocols import Exposure
from scanner.devices.rig import Rig
from scanner.errors import DeviceFault
from scanner.model.tile import Pixels


@dataclass(slots=True)
class _Glimpse:
    """A frame that is exposed; it is read once and measured once, at the latest when the search wants to know."""

    exposure: Exposure
    pixels: Pixels | None = None
    seen: Sharpness | None = None

    def read(self) -> Pixels:
        if self.pixels is None:
            self.pixels = self.exposure.read().pixels
        return self.pixels

    def see(self) -> Sharpness:
        if self.seen is None:
            self.seen = measure(self.read())
        return self.seen


def search_focus(rig: Rig, search: Search) -> Answer:
    """Drive a search at the place the stage is at.

    Raises:
        MoveFailed, OutsideLimits, Stopped: from the focus drive.
        CameraFault: a frame did not come or is not to be trusted.
        DeviceFault: the rig has no focus drive.
    """
    if rig.z is None:
        raise DeviceFault("Z", "this rig has no focus drive; choose the focus strategy fixed")
    wanted_um = next(search)
    last: _Glimpse | None = None
    while True:
        move = rig.z.start_move(wanted_um)
        if last is not None:
            last.read()
        z_um = move.wait().z_um
        exposure = rig.camera.start_exposure()
        if last is not None:
            last.see()
        exposure.exposed()
        last = _Glimpse(exposure)
        try:
            wanted_um = search.send(Look(z_um, last.see))
        except StopIteration as done:
            answer: Answer = done.value
            return answer
