"""How does one search for focus run on a rig? A frame is measured while the next one is read out."""

from collections.abc import Callable

from autofocus.answers import Answer, Look, Search
from scanner.devices.protocols import Exposure
from scanner.devices.rig import Rig
from scanner.errors import DeviceFault
from scanner.model.tile import Pixels


def search_focus(rig: Rig, search: Search) -> Answer:
    """Drive a search at the place the stage is at.

    Raises:
        MoveFailed, OutsideLimits, Stopped: from the focus drive.
        CameraFault: a frame did not come or is not to be trusted.
        DeviceFault: the rig has no focus drive.
    """
    if rig.z is None:
        raise DeviceFault("Z", "this rig has no focus drive; choose the focus strategy fixed")
    um_per_px = rig.profile.active_objective.um_per_px
    wanted_um = next(search)
    last: Look | None = None
    before: Look | None = None
    while True:
        move = rig.z.start_move(wanted_um)
        if before is not None:
            _ = before.view.nuclei, before.energy
        if last is not None:
            _ = last.image
        z_um = move.wait().z_um
        exposure = rig.camera.start_exposure()
        exposure.exposed()
        before, last = last, Look(z_um, _reading(exposure), um_per_px)
        try:
            wanted_um = search.send(last)
        except StopIteration as done:
            answer: Answer = done.value
            return answer


def _reading(exposure: Exposure) -> Callable[[], Pixels]:
    return lambda: exposure.read().pixels
