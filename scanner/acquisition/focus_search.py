"""How does one search for focus run on a rig? z moves on while the last frame is read out and looked at."""

from dataclasses import dataclass

from autofocus.search import Answer, Look, Search
from autofocus.sharpness import Sharpness, measure
from scanner.devices.protocols import Exposure
from scanner.devices.rig import Rig
from scanner.errors import DeviceFault


@dataclass(slots=True)
class _Glimpse:
    """A frame that is exposed and perhaps not read yet; it is read and measured once, when somebody wants to know."""

    exposure: Exposure
    seen: Sharpness | None = None

    def see(self) -> Sharpness:
        if self.seen is None:
            self.seen = measure(self.exposure.read().pixels)
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
            last.see()
        z_um = move.wait().z_um
        exposure = rig.camera.start_exposure()
        exposure.exposed()
        last = _Glimpse(exposure)
        try:
            wanted_um = search.send(Look(z_um, last.see))
        except StopIteration as done:
            answer: Answer = done.value
            return answer
