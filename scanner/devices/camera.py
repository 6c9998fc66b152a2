"""How does a trigger become a checked frame, with the stage already moving while it is read out?"""

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scanner.devices.arrival import POLL_S, StopLatch, nap
from scanner.devices.frame_checks import FrameForm, fault, rgb_or_gray
from scanner.devices.micromanager import MicroManager, naming
from scanner.devices.protocols import Picture
from scanner.errors import CameraFault
from scanner.model.tile import Pixels

# Micro-Manager's sequence buffer is a pool that is walked from end to end, so its size is memory really used.
FRAMES_BUFFERED = 4
LEAST_BUFFER_MB = 16
# A camera rounds its exposure; a frame well before its end belongs to an earlier trigger.
EARLIEST_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class CameraRules:
    """``overlap``: the readout was measured, so the stage may leave when the exposure ends, before the frame is in.

    ``readout_ms`` is when to expect the frame after that. ``form`` is None for a camera whose frames may
    have any shape and may repeat (an overview of the same glass); ``deadline_s`` counts from the exposure's end.
    """

    exposure_ms: float
    deadline_s: float
    form: FrameForm | None
    overlap: bool
    readout_ms: float = 0.0


class MMCamera:
    """``protocols.Camera``: single exposures as sequences of one, so that a trigger does not wait for the readout."""

    def __init__(self, mm: MicroManager, label: str, rules: CameraRules, latch: StopLatch) -> None:
        self._core, self.label, self.rules, self.latch = mm.core, label, rules, latch
        self._last: Pixels | None = None
        with naming(label, "setting the exposure"):
            self._core.setExposure(label, rules.exposure_ms)
            self._select()

    def _select(self) -> None:
        """Make this the core's camera; cameras share the buffer, so it takes this one's size."""
        if self._core.getCameraDevice() != self.label:
            self._core.setCameraDevice(self.label)
        self._core.setCircularBufferMemoryFootprint(self._buffer_mb())

    def _buffer_mb(self) -> int:
        # Python cameras report a wrong number of bytes per pixel: 8 is the widest format there is.
        pixels = self._core.getImageWidth() * self._core.getImageHeight()
        return max(LEAST_BUFFER_MB, FRAMES_BUFFERED * pixels * 8 // 2**20 + 1)

    def start_exposure(self) -> "MMExposure":
        """Trigger one exposure; returns at once.

        Raises:
            CameraFault: it is still busy with an earlier one at the deadline, or refuses.
            Stopped: a stop was requested.
        """
        self.latch.check()
        self._finish_earlier()
        if self._core.getCameraDevice() != self.label:
            self._select()
        triggered_s = time.perf_counter()
        try:
            self._core.startSequenceAcquisition(self.label, 1, 0.0, True)
        except Exception as error:
            raise CameraFault(self.label, f"the trigger was refused: {error}") from error
        return MMExposure(self, triggered_s)

    def _finish_earlier(self) -> None:
        """Wait for whichever camera is exposing: a forgotten frame is thrown away.

        A C++ camera refuses a new sequence for some 0.1 ms after its frame came, and cameras cannot be switched.
        """
        end_s = time.perf_counter() + self.rules.exposure_ms / 1000 + self.rules.deadline_s
        while self._core.isSequenceRunning():
            if time.perf_counter() > end_s:
                self.abandon()
                raise CameraFault(self.label, "still busy with an earlier exposure at its deadline")
            time.sleep(POLL_S)

    def arrived(self) -> bool:
        """Is a frame in the buffer? Raises where none can come any more."""
        running = self._core.isSequenceRunning(self.label)
        if self._core.getRemainingImageCount() > 0:
            return True
        if not running:
            raise CameraFault(self.label, "dropped: the exposure ended without a frame")
        return False

    def pop(self) -> NDArray[np.generic]:
        """The oldest frame in the buffer as the driver laid it out."""
        with naming(self.label, "fetching the frame"):
            raw: NDArray[np.generic] = self._core.popNextImage(fix=False)
            return raw

    def abandon(self) -> None:
        """Give the exposure under way up, so that its late frame cannot be taken for the next one."""
        with naming(self.label, "ending the exposure"):
            self._core.stopSequenceAcquisition(self.label)

    def checked(self, pixels: Pixels) -> Pixels:
        """The same pixels, or the fault they show; they become what the next frame must differ from."""
        reason = fault(pixels, self.rules.form, self._last)
        if reason is not None:
            raise CameraFault(self.label, f"frame refused, {reason}")
        self._last = pixels if self.rules.form else None
        return pixels


class MMExposure:
    """An exposure under way."""

    def __init__(self, camera: MMCamera, triggered_s: float) -> None:
        self._camera, self._triggered_s = camera, triggered_s
        self._lit_until_s = triggered_s + camera.rules.exposure_ms / 1000

    def exposed(self) -> None:
        """Until the sensor is no longer lit: the exposure's end, or the frame itself on an unmeasured camera."""
        if not self._camera.rules.overlap:
            self._await_frame()
        while (left_s := self._lit_until_s - time.perf_counter()) > 0:
            time.sleep(min(left_s, POLL_S))

    def read(self) -> Picture:
        """See ``protocols.Exposure.read``."""
        try:
            self._await_frame()
        except CameraFault:
            self._camera.abandon()
            raise
        read_s = time.perf_counter()
        pixels = self._camera.checked(rgb_or_gray(self._camera.pop()))
        return Picture(pixels, self._triggered_s, read_s)

    def _await_frame(self) -> None:
        camera = self._camera
        end_s = self._lit_until_s + camera.rules.deadline_s
        due_s = self._lit_until_s + camera.rules.readout_ms / 1000
        with naming(camera.label, "waiting for the frame"):
            while not camera.arrived():
                camera.latch.check()
                if time.perf_counter() > end_s:
                    late = f"no frame {camera.rules.deadline_s:g} s after the exposure"
                    raise CameraFault(camera.label, f"dropped: {late}")
                nap(due_s)
        if time.perf_counter() - self._triggered_s < EARLIEST_SHARE * camera.rules.exposure_ms / 1000:
            raise CameraFault(camera.label, "stale: the frame came before its own exposure had ended")


class MMOverview:
    """``protocols.Overview``: the second camera, the same exposures."""

    def __init__(self, camera: MMCamera) -> None:
        self._camera = camera

    def picture(self) -> Pixels:
        """See ``protocols.Overview.picture``.

        Raises:
            CameraFault: no frame, or a frame without colour.
        """
        pixels = self._camera.start_exposure().read().pixels
        if pixels.ndim != 3 or pixels.dtype != np.uint8:
            raise CameraFault(
                self._camera.label, f"the overview must be 8-bit RGB, {pixels.shape} {pixels.dtype} came"
            )
        return pixels
