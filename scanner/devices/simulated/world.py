"""What is true about the simulated microscope at this moment?

The one physical object that all simulated devices of a core share: stage, focus, lamp, slide, camera. Devices only
pass on to it what Micro-Manager tells them, and report what their own encoders say.
"""

import csv
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scanner.devices.simulated.faults import Fault, FaultPlan
from scanner.devices.simulated.field import FieldCamera
from scanner.devices.simulated.label import overview_picture
from scanner.devices.simulated.motion import (
    POSITION_SIGMA_UM,
    READ_BACK_SIGMA_UM,
    Z_SIGMA_UM,
    Parked,
    XYMove,
    ZMove,
    draw,
    xy_seconds,
    z_seconds,
)
from scanner.devices.simulated.rack import SimulatedRack
from scanner.devices.simulated.specimen import BareGlass, CameraGrid, Specimen
from scanner.devices.simulated.state import RigState, StateFile
from scanner.errors import LoaderFault, RackscanError

DRIFT_UM_PER_EXPOSURE = 3.0 * 0.105 / 3600
SEATING_UM = 50.0
LOAD_S = 0.5
Z_RANGE_UM = 5_000.0
XY_RANGE_UM = ((-5_000.0, 80_000.0), (-5_000.0, 30_000.0))


@dataclass(frozen=True, slots=True)
class Shot:
    """What the camera needs to know about one exposure after it is over."""

    index: int
    count: int
    centre_um: tuple[float, float]
    z_um: float
    light: bool
    slot: int


class World:
    """The microscope's mechanics, light and slides; every method may be called from any thread.

    ``clock`` gives seconds and only ever moves forward.
    """

    def __init__(
        self, rack: SimulatedRack | None = None, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.rack = rack or SimulatedRack()
        self.grid = CameraGrid()
        self.faults = FaultPlan()
        self.light = False
        self.truth_folder: Path | None = None
        self._clock = clock
        self._guard = threading.RLock()
        self._file: StateFile | None = None
        self._camera: FieldCamera | None = None
        self._drawing: threading.Thread | None = None
        self._trouble: Exception | None = None
        self._moves = 0
        self._shots = 0
        self._restore(RigState())

    # ------------------------------------------------------------------ what outlives a kill

    def keep_state_in(self, path: Path | None) -> None:
        """Take the state from ``path`` and keep it there from now on; None keeps it in memory only.

        Raises:
            DeviceFault: where another program has this microscope.
            BadInput: where the file is of no use.
        """
        with self._guard:
            self.release()
            if path is not None:
                self._file = StateFile(path)
                self._restore(self._file.read())

    def release(self) -> None:
        """Let another program have the microscope."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _restore(self, state: RigState) -> None:
        now = self._clock()
        self._state = state
        self._xy = XYMove(state.parked, state.parked, now, 0.0)
        self._z = ZMove(state.z_um, state.z_um, now, 0.0, state.z_error_um, state.z_error_um)
        self._arriving: tuple[int, float] | None = None

    def _change(self, **values: object) -> None:
        self._state = self._state.model_copy(update=values)
        if self._file is not None:
            self._file.write(self._state)

    # ------------------------------------------------------------------ stage

    def move_xy(self, x_um: float, y_um: float) -> None:
        """The XY controller accepted a target.

        Raises:
            ValueError: beyond the hardware's end switches.
        """
        for value, (low, high) in zip((x_um, y_um), XY_RANGE_UM, strict=True):
            if not low <= value <= high:
                raise ValueError(f"XY target {x_um:.1f}, {y_um:.1f} µm lies beyond the end switches")
        with self._guard:
            self._moves += 1
            if self.faults.hits(Fault.LOST_MOVE, self._moves):
                return
            now = self._clock()
            here = self._xy.halted(now) if not self._xy.done(now) else self._xy
            start = here.end
            if self.faults.since(Fault.STUCK_AXIS, self._moves):
                x_um = start.motor[0]
            self._begin_xy(start, (x_um, y_um), now)

    def _begin_xy(self, start: Parked, target: tuple[float, float], now: float) -> None:
        direction = (
            _direction(start.motor[0], target[0], start.direction[0]),
            _direction(start.motor[1], target[1], start.direction[1]),
        )
        rng = draw("xy", self.rack.seed, self._state.exposures, round(target[0], 1), round(target[1], 1))
        error = rng.normal(0, POSITION_SIGMA_UM, 2)
        end = Parked(target, direction, (float(error[0]), float(error[1])))
        distance = float(np.hypot(target[0] - start.motor[0], target[1] - start.motor[1]))
        if distance == 0:
            end = start
        self._xy = XYMove(start, end, now, xy_seconds(distance))
        self._change(motor_um=end.motor, direction=end.direction, error_um=end.error)

    def stop_xy(self) -> None:
        """Halt where the stage is now."""
        with self._guard:
            now = self._clock()
            if not self._xy.done(now):
                self._xy = self._xy.halted(now)
                self._change(motor_um=self._xy.end.motor, direction=self._xy.end.direction)

    def xy_busy(self) -> bool:
        """Is the stage moving or settling?"""
        return not self._xy.done(self._clock())

    def xy_reported(self) -> tuple[float, float]:
        """What the stage's encoder says, µm: the motor's place and a small reading error."""
        x, y = self._xy.motor(self._clock())
        error = draw("encoder", self.rack.seed, round(x, 2), round(y, 2)).normal(0, READ_BACK_SIGMA_UM, 2)
        return x + float(error[0]), y + float(error[1])

    # ------------------------------------------------------------------ focus

    def move_z(self, z_um: float) -> None:
        """The focus controller accepted a target.

        Raises:
            ValueError: beyond the drive's range.
        """
        if abs(z_um) > Z_RANGE_UM:
            raise ValueError(f"z target {z_um:.2f} µm lies beyond the drive's ± {Z_RANGE_UM:.0f} µm")
        with self._guard:
            now = self._clock()
            here = self._z.encoder(now)
            error = float(
                draw("z", self.rack.seed, self._state.exposures, round(z_um, 3)).normal(0, Z_SIGMA_UM)
            )
            start_error = self._z.error_um
            self._z = ZMove(here, z_um, now, z_seconds(abs(z_um - here)), start_error, error)
            self._change(z_um=z_um, z_error_um=error)

    def stop_z(self) -> None:
        """Halt where the drive is now."""
        with self._guard:
            now = self._clock()
            if not self._z.done(now):
                self._z = self._z.halted(now)
                self._change(z_um=self._z.end_um)

    def z_busy(self) -> bool:
        """Is the focus drive moving?"""
        return not self._z.done(self._clock())

    def z_reported(self) -> float:
        """What the focus drive says, µm."""
        return self._z.encoder(self._clock())

    # ------------------------------------------------------------------ slides

    def load(self, slot: int) -> None:
        """The loader takes the slide away (0) or brings the one of ``slot``; it lies a little elsewhere each time.

        Raises:
            BadInput: where the picture that should lie on the slide is of no use.
        """
        self.rack.check(slot)
        with self._guard:
            self._arriving = (slot, self._clock() + LOAD_S)
            jammed = self.faults.hits(Fault.LOADER_JAM, slot)
            loads = self._state.loads + 1
            seating = draw("seating", self.rack.seed, slot, loads).uniform(-SEATING_UM, SEATING_UM, 2)
            arrived = 0 if jammed else slot
            self._change(loads=loads, loaded=arrived, seating_um=(float(seating[0]), float(seating[1])))
            self._drawing = threading.Thread(target=self._prepare, name="slide on its way", daemon=True)
            self._drawing.start()

    def _prepare(self) -> None:
        """Have the slide and the camera ready when it arrives; what went wrong is raised where the loader is asked."""
        try:
            self._field_camera()
            specimen = self.specimen()
            if specimen is not None and self.truth_folder is not None:
                write_truth(specimen, self.truth_folder / f"slot{self._state.loaded}.csv")
        except (OSError, RackscanError) as error:
            self._trouble = error

    def loader_busy(self) -> bool:
        """Is a slide on its way?"""
        moving = self._arriving is not None and self._clock() < self._arriving[1]
        return moving or (self._drawing is not None and self._drawing.is_alive())

    def loader_position(self) -> int:
        """The slot whose slide is on the stage or on its way there; what lies there is drawn when this returns.

        Raises:
            LoaderFault: where the slide could not be drawn or its truth not be written.
        """
        if self._arriving is not None and self.loader_busy():
            return self._arriving[0]
        if self._trouble is not None:
            error, self._trouble = self._trouble, None
            raise LoaderFault("Loader", f"the slide cannot be shown: {error}") from error
        self.specimen()
        return self._state.loaded

    def occupied_slots(self, slots: int) -> list[int]:
        """The slots up to ``slots`` that hold a slide, the one on the stage included."""
        return [slot for slot in range(1, slots + 1) if self._present(slot)]

    def _present(self, slot: int) -> bool:
        return slot > 0 and self.rack.filled(slot) and not self.faults.hits(Fault.EMPTY_SLOT, slot)

    def specimen(self) -> Specimen | None:
        """What lies on the stage, None where there is no glass."""
        slot = self._state.loaded
        if not self._present(slot):
            return None
        return self.rack.specimen(slot, self.grid)

    # ------------------------------------------------------------------ light and cameras

    def shoot(self, middle_s: float) -> Shot:
        """Count an exposure of the main camera whose middle was at ``middle_s`` of the clock: where was everything?"""
        with self._guard:
            self._shots += 1
            index = self._state.exposures
            x, y = self._xy.true(middle_s)
            seating = self._state.seating_um
            z = self._z.true(middle_s) + index * DRIFT_UM_PER_EXPOSURE
            shot = Shot(
                index, self._shots, (x - seating[0], y - seating[1]), z, self.light, self._state.loaded
            )
            self._change(exposures=index + 1)
        return shot

    def picture(self, shot: Shot, exposure_ms: float) -> NDArray[np.uint8]:
        """(1024, 1024, 3) uint8 RGB of the main camera."""
        camera = self._field_camera()
        if not shot.light:
            return camera.dark(shot.index)
        specimen = self.specimen() or BareGlass()
        return camera.expose(specimen, shot.centre_um, shot.z_um, exposure_ms, shot.index)

    def overview(self) -> NDArray[np.uint8]:
        """(1250, 3750, 3) uint8 RGB of the overview camera, which has its own ring of light."""
        slot = self._state.loaded
        readable = not self.faults.hits(Fault.UNREADABLE_LABEL, slot)
        label = self.rack.label(slot) if readable else None
        key = (self.rack.seed, slot, self._state.loads)
        return overview_picture(self.specimen(), label, self._state.seating_um, key)

    def _field_camera(self) -> FieldCamera:
        with self._guard:
            if self._camera is None or self._camera.seed != self.rack.seed:
                self._camera = FieldCamera(self.rack.seed, self.grid)
            return self._camera


def write_truth(specimen: Specimen, path: Path) -> None:
    """Write what lies on a slide as CSV, places in slide µm."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["class", "abnormal", "x_um", "y_um", "w_um", "h_um", "height_um"])
        for t in specimen.truth():
            numbers = (f"{v:.3f}" for v in (t.x_um, t.y_um, t.w_um, t.h_um, t.height_um))
            table.writerow([t.cell_class.value, int(t.abnormal), *numbers])


def _direction(start: float, target: float, before: float) -> float:
    """The direction an axis was last driven in."""
    if target == start:
        return before
    return 1.0 if target > start else -1.0
