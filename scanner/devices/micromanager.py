"""How do stage, focus, camera and lamp of a Micro-Manager configuration become our devices?

The only door to Micro-Manager. All calls come from the control thread, except those that ``stop()`` makes. It never
falls back to a simulation: what the configuration names is what moves.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mm_test_adapters
from pymmcore_plus import CMMCorePlus, FocusDirection, find_micromanager
from pymmcore_plus._pymmcore import CMMCore
from pymmcore_plus.experimental.unicore import UniMMCore

from scanner.devices.arrival import POLL_S, Driven, StopLatch, Travel
from scanner.devices.protocols import Arrival, ZArrival
from scanner.errors import BadInput, DeviceFault, RackscanError
from scanner.model.geometry import Point
from scanner.model.profile import LightSpec


@contextmanager
def naming(device: str, doing: str) -> Iterator[None]:
    """A driver's own exception (they raise any class) becomes a ``DeviceFault`` that names the device."""
    try:
        yield
    except RackscanError:
        raise
    except Exception as error:
        raise DeviceFault(
            device, f"{doing} failed: {error}. Check its power and cable, then resume"
        ) from error


class MicroManager:
    """One loaded configuration; a context manager."""

    def __init__(self, core: UniMMCore) -> None:
        self.core = core
        self._open = True

    @classmethod
    def open(cls, cfg: Path) -> "MicroManager":
        """Load C++ and Python devices from a ``.cfg``.

        Raises:
            BadInput: the file is missing, or Micro-Manager refuses it.
        """
        if not cfg.is_file():
            raise BadInput.one("no such Micro-Manager configuration", "correct devices.cfg", str(cfg))
        mm = cls(UniMMCore(adapter_paths=adapter_folders()))
        try:
            mm.core.loadSystemConfiguration(cfg)
        except Exception as error:
            mm.close()
            if isinstance(error, RackscanError):
                raise
            mend = "load the same file in Micro-Manager, and check that the devices are on and nobody else uses them"
            raise BadInput.one(f"Micro-Manager cannot load it: {error}", mend, str(cfg)) from error
        # A process that ends with callbacks registered aborts, and nobody here listens to them.
        CMMCore.registerCallback(mm.core, None)
        return mm

    def close(self) -> None:
        """Unload every device; may be called twice."""
        if not self._open:
            return
        self._open = False
        CMMCore.registerCallback(self.core, None)
        if self.core.isSequenceRunning():
            self.core.stopSequenceAcquisition(self.core.getCameraDevice())
        self.core.unloadAllDevices()

    def __enter__(self) -> "MicroManager":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_open(self) -> bool:
        """Are the devices loaded?"""
        return self._open

    def labels(self) -> frozenset[str]:
        """The labels of all loaded devices."""
        return frozenset(self.core.getLoadedDevices())

    def has_property(self, device: str, name: str) -> bool:
        """Does the device exist and have the property?"""
        return device in self.labels() and self.core.hasProperty(device, name)

    def get(self, device: str, name: str) -> str:
        """A property's value as text."""
        with naming(device, f"reading {name}"):
            return str(self.core.getProperty(device, name))

    def set(self, device: str, name: str, value: str) -> None:
        """Write a property."""
        with naming(device, f"setting {name} to {value}"):
            self.core.setProperty(device, name, value)

    def state(self, device: str) -> int:
        """The position of a state device."""
        with naming(device, "asking for its position"):
            return int(self.core.getState(device))

    def wait_idle(self, device: str, deadline_s: float, latch: StopLatch) -> None:
        """Poll a device's own busy.

        Raises:
            DeviceFault: still busy at the deadline.
            Stopped: a stop was requested.
        """
        end_s = time.perf_counter() + deadline_s
        while self.core.deviceBusy(device):
            latch.check()
            if time.perf_counter() > end_s:
                raise DeviceFault(device, f"still busy after its deadline of {deadline_s:g} s")
            time.sleep(POLL_S)

    def z_sign(self, device: str) -> int | None:
        """+1 where the configuration says that a larger z is further from the sample, -1 nearer, None silent."""
        direction = self.core.getFocusDirection(device)
        signs = {FocusDirection.AwayFromSample: 1, FocusDirection.TowardSample: -1}
        return signs.get(FocusDirection(direction))

    def snapshot(self) -> dict[str, dict[str, str]]:
        """Every property of every device; a property that cannot be read says so in its value."""
        return {device: self._properties(device) for device in sorted(self.labels())}

    def _properties(self, device: str) -> dict[str, str]:
        values = {}
        for name in self.core.getDevicePropertyNames(device):
            try:
                values[str(name)] = self.get(device, name)
            except DeviceFault as unreadable:
                values[str(name)] = f"unreadable: {unreadable}"
        return values


def adapter_folders() -> list[str]:
    """Where drivers are looked for: an installed Micro-Manager first, then the test adapters that come with us."""
    installed = find_micromanager(return_first=False)
    return list(dict.fromkeys([*installed, mm_test_adapters.device_adapter_path()]))


class MMStageDrive:
    """An XY stage below arrival rules and limits; µm."""

    def __init__(self, mm: MicroManager, label: str) -> None:
        self.label = label
        self._core: CMMCorePlus = mm.core

    def command(self, target: Point) -> None:
        """Set it going; returns at once."""
        with naming(self.label, "the move command"):
            self._core.setXYPosition(self.label, target.x, target.y)

    def busy(self) -> bool:
        """Does it say that it moves?"""
        with naming(self.label, "asking whether it moves"):
            return bool(self._core.deviceBusy(self.label))

    def position(self) -> Point:
        """Read back."""
        with naming(self.label, "reading the position"):
            return Point(*self._core.getXYPosition(self.label))

    def halt(self) -> None:
        """Stop now."""
        with naming(self.label, "stopping"):
            self._core.stop(self.label)

    def distance(self, a: Point, b: Point) -> float:
        """µm, Euclidean."""
        return a.distance(b)


class MMZDrive:
    """A focus drive below arrival rules and limits; µm."""

    def __init__(self, mm: MicroManager, label: str) -> None:
        self.label = label
        self._core: CMMCorePlus = mm.core

    def command(self, target: float) -> None:
        """Set it going; returns at once."""
        with naming(self.label, "the z move command"):
            self._core.setPosition(self.label, target)

    def busy(self) -> bool:
        """Does it say that it moves?"""
        with naming(self.label, "asking whether it moves"):
            return bool(self._core.deviceBusy(self.label))

    def position(self) -> float:
        """Read back."""
        with naming(self.label, "reading the height"):
            return float(self._core.getPosition(self.label))

    def halt(self) -> None:
        """Stop now."""
        with naming(self.label, "stopping"):
            self._core.stop(self.label)

    def distance(self, a: float, b: float) -> float:
        """µm."""
        return abs(a - b)


class MMMove:
    """An XY move under way."""

    def __init__(self, travel: Travel[Point]) -> None:
        self._travel = travel

    def wait(self) -> Arrival:
        """See ``protocols.Move.wait``."""
        landing = self._travel.finish()
        return Arrival(landing.position, landing.seconds, landing.retried)


class MMStage(Driven[Point]):
    """``protocols.Stage`` without soft limits: those are ``safety.SafeStage``'s."""

    def start_move(self, target: Point) -> MMMove:
        """See ``protocols.Stage.start_move``."""
        return MMMove(self.start(target))


class MMZMove:
    """A z move under way."""

    def __init__(self, travel: Travel[float]) -> None:
        self._travel = travel

    def wait(self) -> ZArrival:
        """See ``protocols.ZMove.wait``."""
        landing = self._travel.finish()
        return ZArrival(landing.position, landing.seconds, landing.retried)


class MMZStage(Driven[float]):
    """``protocols.ZStage`` without soft limits: those are ``safety.SafeZStage``'s."""

    def start_move(self, target_um: float) -> MMZMove:
        """See ``protocols.ZStage.start_move``."""
        return MMZMove(self.start(target_um))


class MMLight:
    """A lamp behind one property."""

    def __init__(self, mm: MicroManager, spec: LightSpec, deadline_s: float, latch: StopLatch) -> None:
        self._mm, self._spec, self._deadline_s, self._latch = mm, spec, deadline_s, latch

    def switch(self, on: bool) -> None:
        """On or off; returns when the lamp says so.

        Raises:
            DeviceFault: the property reads back otherwise.
        """
        value = self._spec.on if on else self._spec.off
        self.command(on)
        self._mm.wait_idle(self._spec.device, self._deadline_s, self._latch)
        told = self._mm.get(self._spec.device, self._spec.property)
        if not _same_value(told, value):
            raise DeviceFault(self._spec.device, f"{self._spec.property} was set to {value} and reads {told}")

    def command(self, on: bool) -> None:
        """Switch without waiting for the answer; any thread."""
        value = self._spec.on if on else self._spec.off
        self._mm.set(self._spec.device, self._spec.property, value)


def _same_value(a: str, b: str) -> bool:
    """Properties come back as the driver writes them: 1 as 1.0000 or True."""
    as_numbers = {"True": "1", "False": "0"}
    a, b = as_numbers.get(a, a), as_numbers.get(b, b)
    try:
        return a == b or float(a) == float(b)
    except ValueError:
        return False
