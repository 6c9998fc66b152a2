"""How do the simulated devices of one core find the world they share?

Micro-Manager builds each Python device without arguments and tells it neither its core nor the file that named it.
Both are on the call stack while the device is built (pymmcore-plus 0.18: ``UniMMCore.loadDevice`` and
``load_system_configuration``), so they are looked up there, once; only the core's table of devices is kept, which
does not keep the core alive.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Protocol, runtime_checkable

from pymmcore_plus.experimental.unicore import UniMMCore

from scanner.devices.simulated.world import World
from scanner.errors import DeviceFault


@runtime_checkable
class HasWorld(Protocol):
    """The device that owns the world."""

    world: World


class Neighbours:
    """The other devices of the core that is loading a device right now.

    ``folder`` is that of the configuration file, or the working folder where devices are loaded one by one.
    """

    def __init__(self) -> None:
        self._world: World | None = None
        self._devices: Mapping[str, object] = {}
        self.folder = Path.cwd()
        for frame in _callers():
            core, path = frame.f_locals.get("self"), frame.f_locals.get("path")
            if isinstance(core, UniMMCore) and not self._devices:
                self._devices = core._pydevices._devices
            if frame.f_code.co_name == "load_system_configuration" and isinstance(path, Path):
                self.folder = path.parent
                return

    @property
    def world(self) -> World:
        """The world of the World device in the same core.

        Raises:
            DeviceFault: where the configuration has none.
        """
        if self._world is None:
            owners = [device for device in self._devices.values() if isinstance(device, HasWorld)]
            if len(owners) != 1:
                raise DeviceFault(
                    "World", f"the .cfg must name exactly one SimulatedWorld, it names {len(owners)}"
                )
            self._world = owners[0].world
        return self._world


def _callers() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back
