"""Which errors can a caller act on? One tree, grouped by what the person in front of the rig has to do.

Every message says what happened, where, what was kept and what to do next.
"""

from collections.abc import Sequence
from dataclasses import dataclass


class RackscanError(Exception):
    """Anything that rackscan reports to a person; ``exit_code`` is what the command line returns."""

    exit_code = 3


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in something a person wrote, with the mend.

    ``file`` and ``line`` (1-based) say where it stands, ``field`` which value it is.
    """

    problem: str
    mend: str
    file: str = ""
    line: int | None = None
    field: str = ""

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.file, self.line) if part)
        what = f"{self.field}: {self.problem}" if self.field else self.problem
        return f"{where}: {what} ({self.mend})" if where else f"{what} ({self.mend})"


class BadInput(RackscanError):
    """Something given to us cannot be used; nothing was touched. Carries every problem at once."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)

    @classmethod
    def one(cls, problem: str, mend: str, file: str = "", field: str = "") -> "BadInput":
        """A single problem."""
        return cls([Problem(problem, mend, file=file, field=field)])


class Stopped(RackscanError):
    """The operator asked to stop; everything captured is kept and the run can be resumed."""

    exit_code = 130


class DeviceFault(RackscanError):
    """A device did not do what it was told. ``device`` is its Micro-Manager label."""

    def __init__(self, device: str, message: str) -> None:
        super().__init__(f"{device}: {message}")
        self.device = device


class MoveFailed(DeviceFault):
    """A stage did not arrive, or arrived elsewhere, also after the absolute retry."""


class OutsideLimits(DeviceFault):
    """A move was asked for that leaves the soft limits; it was not started."""


class CameraFault(DeviceFault):
    """No frame came before the deadline, or the frame is not of this exposure."""


class LoaderFault(DeviceFault):
    """The loader jammed, or the slide is not where it should be."""


class FocusRefused(RackscanError):
    """No trustworthy focus; the reason says why the curve was refused."""


class IdentityConflict(RackscanError):
    """The label read from the glass and the rack file name different slides."""


class DamagedRun(RackscanError):
    """A run folder contradicts itself: a hash, the chain or a count does not hold."""


class StepFailed(RackscanError):
    """A step of the road failed in its thread or process; ``__cause__`` is the original error."""
