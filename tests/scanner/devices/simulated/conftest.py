"""The shipped simulated rig in a folder of its own, and one procedural slide."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pymmcore_plus.experimental.unicore import UniMMCore

from scanner.devices.simulated.slide import ProceduralSlide
from scanner.devices.simulated.specimen import CameraGrid
from scanner.devices.simulated.state import RigState
from scanner.devices.simulated.truth import CellClass

CFG = Path(__file__).parents[4] / "hardware_profiles" / "simulated.cfg"
PLAN_LINE = "#py Property,Faults,Plan,"


class Bench:
    """The rig as a person at the bench would use it."""

    def __init__(self, cfg: Path) -> None:
        self.folder = cfg.parent
        self.core = UniMMCore()
        self.core.loadSystemConfiguration(cfg)
        self.core.setProperty("Lamp", "State", "1")

    def settle(self, device: str, limit_s: float = 20.0) -> None:
        """Wait until a device is idle."""
        end = time.monotonic() + limit_s
        while self.core.deviceBusy(device):
            assert time.monotonic() < end, f"{device} stays busy"
            time.sleep(0.001)

    def load(self, slot: int) -> None:
        """Bring a slide and wait for it."""
        self.core.setState("Loader", slot)
        self.settle("Loader")

    def go(self, x_um: float, y_um: float) -> None:
        """Move the stage and wait."""
        self.core.setXYPosition("XY", x_um, y_um)
        self.settle("XY")

    def try_frame(self, limit_s: float = 5.0) -> NDArray[np.uint8] | None:
        """One frame in sequence mode, None where none comes."""
        self.core.startSequenceAcquisition(1, 0, True)
        end = time.monotonic() + limit_s
        while self.core.isSequenceRunning() and time.monotonic() < end:
            time.sleep(0.001)
        if not self.core.getRemainingImageCount():
            return None
        return np.asarray(self.core.popNextImage(), np.uint8)

    def frame(self) -> NDArray[np.uint8]:
        """One frame in sequence mode."""
        picture = self.try_frame()
        assert picture is not None
        return picture

    def overview(self) -> NDArray[np.uint8]:
        """The picture of the whole slide."""
        self.core.setCameraDevice("Overview")
        self.core.snapImage()
        self.core.setCameraDevice("Camera")
        return np.ascontiguousarray(self.core.getImage(), np.uint8)

    def state(self) -> RigState:
        """What the rig remembers."""
        return RigState.model_validate_json((self.folder / "simulated.state.json").read_bytes())


OpenBench = Callable[..., AbstractContextManager[Bench]]


@pytest.fixture(scope="session")
def abnormal() -> dict[CellClass, int]:
    return {CellClass.HSIL: 12, CellClass.LSIL: 5}


@pytest.fixture(scope="session")
def slide(abnormal: dict[CellClass, int]) -> ProceduralSlide:
    return ProceduralSlide((1, 2), abnormal, CameraGrid())


@pytest.fixture
def cfg(tmp_path: Path) -> Path:
    return Path(shutil.copy(CFG, tmp_path))


@pytest.fixture
def open_bench(cfg: Path) -> OpenBench:
    """Open the rig, with a fault plan where one is given."""

    @contextmanager
    def opened(faults: str = "") -> Iterator[Bench]:
        cfg.write_text(cfg.read_text().replace(PLAN_LINE, PLAN_LINE + faults))
        bench = Bench(cfg)
        try:
            yield bench
        finally:
            bench.core.unloadAllDevices()

    return opened


@pytest.fixture
def bench(open_bench: OpenBench) -> Iterator[Bench]:
    with open_bench() as opened:
        yield opened
