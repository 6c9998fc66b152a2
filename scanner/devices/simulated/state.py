"""What does the simulated rig remember when the program is killed, and who may use it?

A real microscope does not forget where its stage stands; the simulated one keeps that in a small file, locked while one
program has the microscope. It is written at every move and exposure, so it is one record of fixed length, written in
one call: a kill leaves the old record or the new one, and it costs microseconds.
"""

import fcntl
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from scanner.devices.simulated.motion import Parked
from scanner.errors import BadInput, DeviceFault

_RECORD_BYTES = 1024


class RigState(BaseModel):
    """The mechanics at one moment. ``loaded`` is the slot whose slide lies on the stage, 0 for none."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    exposures: int = 0
    loads: int = 0
    loaded: int = 0
    seating_um: tuple[float, float] = (0.0, 0.0)
    motor_um: tuple[float, float] = (0.0, 0.0)
    direction: tuple[float, float] = (1.0, 1.0)
    error_um: tuple[float, float] = (0.0, 0.0)
    z_um: float = 0.0
    z_error_um: float = 0.0

    @property
    def parked(self) -> Parked:
        """The XY stage's mechanics."""
        return Parked(self.motor_um, self.direction, self.error_um)


class StateFile:
    """The file that keeps a RigState, locked while open.

    Raises:
        DeviceFault: where another program has the same microscope.
        BadInput: where the file cannot be read or written, or does not hold a state.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise _unusable(path, error) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            message = f"another program has this microscope ({path}); end it first, then start again"
            raise DeviceFault("World", message) from error

    def read(self) -> RigState:
        """The state kept, or a fresh rig's."""
        record = os.pread(self._file, _RECORD_BYTES, 0).strip()
        try:
            return RigState.model_validate_json(record) if record else RigState()
        except ValidationError as error:
            self.close()
            raise _unusable(self._path, error) from error

    def write(self, state: RigState) -> None:
        """Replace the record."""
        os.pwrite(self._file, state.model_dump_json().encode().ljust(_RECORD_BYTES), 0)

    def close(self) -> None:
        """Give the microscope back."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _unusable(path: Path, error: Exception) -> BadInput:
    return BadInput.one(
        f"the microscope's state cannot be kept: {error}",
        "delete the file or name a writable one in the .cfg",
        file=str(path),
        field="World.StateFile",
    )
