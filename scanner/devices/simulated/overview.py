"""How does the simulated overview camera photograph a whole slide?"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import DTypeLike, NDArray
from pymmcore_plus.experimental.unicore import CameraDevice

from scanner.devices.simulated.camera import sleep_until
from scanner.devices.simulated.specimen import OVERVIEW_SHAPE
from scanner.devices.simulated.wiring import Neighbours

_READOUT_MS = 60.0


class SimulatedOverview(CameraDevice):
    """1250 × 3750 RGB, 8 bits, 20 µm a pixel over glass and label, with a light of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._neighbours = Neighbours()
        self._exposure_ms = 10.0

    def get_exposure(self) -> float:
        """Exposure time in ms; the brightness does not depend on it."""
        return self._exposure_ms

    def set_exposure(self, exposure: float) -> None:
        """Exposure time in ms."""
        self._exposure_ms = float(exposure)

    def shape(self) -> tuple[int, int, int]:
        """(h, w, channels)."""
        return (*OVERVIEW_SHAPE, 3)

    def dtype(self) -> DTypeLike:
        """8 bits a channel."""
        return np.uint8

    def start_sequence(
        self, n: int | None, get_buffer: Callable[[Sequence[int], DTypeLike], NDArray[np.uint8]]
    ) -> Iterator[Mapping[str, str]]:
        """Photograph the slide ``n`` times, or until stopped."""
        done = 0
        while n is None or done < n:
            ready_s = time.perf_counter() + (self._exposure_ms + _READOUT_MS) / 1000
            picture = self._neighbours.world.overview()
            sleep_until(ready_s)
            get_buffer(self.shape(), np.uint8)[:] = picture
            done += 1
            yield {}
