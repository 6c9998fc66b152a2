"""How does the simulated main camera expose, read out and hand over its frames?"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import DTypeLike, NDArray
from pymmcore_plus.experimental.unicore import CameraDevice

from scanner.devices.simulated.faults import Fault
from scanner.devices.simulated.field import NOMINAL_EXPOSURE_MS, SIDE_PX
from scanner.devices.simulated.wiring import Neighbours
from scanner.devices.simulated.world import Shot

READOUT_MS = 25.0


class SimulatedCamera(CameraDevice):
    """1024 × 1024 RGB, 8 bits; a frame is there 25 ms after its exposure, and is computed from the middle of it on."""

    def __init__(self) -> None:
        super().__init__()
        self._neighbours = Neighbours()
        self._exposure_ms = NOMINAL_EXPOSURE_MS
        self._last: NDArray[np.uint8] | None = None

    def get_exposure(self) -> float:
        """Exposure time in ms."""
        return self._exposure_ms

    def set_exposure(self, exposure: float) -> None:
        """Exposure time in ms, 0.01 to 10,000; a .cfg hands it over as text."""
        value_ms = float(exposure)
        if not 0.01 <= value_ms <= 10_000:
            raise ValueError(f"an exposure of {exposure} ms is not within 0.01 and 10,000 ms")
        self._exposure_ms = value_ms

    def get_readout_time(self) -> float:
        """Readout time in ms."""
        return READOUT_MS

    def shape(self) -> tuple[int, int, int]:
        """(h, w, channels)."""
        return SIDE_PX, SIDE_PX, 3

    def dtype(self) -> DTypeLike:
        """8 bits a channel."""
        return np.uint8

    def start_sequence(
        self, n: int | None, get_buffer: Callable[[Sequence[int], DTypeLike], NDArray[np.uint8]]
    ) -> Iterator[Mapping[str, str]]:
        """Expose from now on: ``n`` frames, or frames until the sequence is stopped."""
        return self._frames(n, get_buffer, time.perf_counter())

    def _frames(
        self,
        n: int | None,
        get_buffer: Callable[[Sequence[int], DTypeLike], NDArray[np.uint8]],
        began_s: float,
    ) -> Iterator[Mapping[str, str]]:
        done = 0
        while n is None or done < n:
            middle_s, exposed_s = (began_s + share * self._exposure_ms / 1000 for share in (0.5, 1.0))
            sleep_until(middle_s)
            shot = self._neighbours.world.shoot(middle_s)
            frame = self._read_out(shot)
            sleep_until(exposed_s + READOUT_MS / 1000)
            done += 1
            began_s = time.perf_counter()
            if frame is not None:
                get_buffer(self.shape(), np.uint8)[:] = frame
                yield {"ExposureIndex": str(shot.index)}

    def _read_out(self, shot: Shot) -> NDArray[np.uint8] | None:
        """The frame, or what a fault makes of it: none, black, or the last one again."""
        faults = self._neighbours.world.faults
        if faults.hits(Fault.DROPPED_FRAME, shot.count):
            return None
        if faults.hits(Fault.ZERO_FRAME, shot.count):
            return np.zeros(self.shape(), np.uint8)
        if faults.hits(Fault.REPEATED_FRAME, shot.count) and self._last is not None:
            return self._last
        self._last = self._neighbours.world.picture(shot, self._exposure_ms)
        return self._last


def sleep_until(when_s: float) -> None:
    """Wait for a moment of ``time.perf_counter``; the last stretch in short steps, because sleeps overshoot."""
    while (left := when_s - time.perf_counter()) > 0:
        time.sleep(left - 0.0007 if left > 0.002 else min(left, 0.0003))
