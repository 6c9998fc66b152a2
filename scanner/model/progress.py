"""How far is a run? One small value that the road sends and a terminal shows."""

from dataclasses import dataclass
from enum import StrEnum

from scanner.model.report import Outcome, Verdict


class Phase(StrEnum):
    """What happens on the stage right now."""

    LOADING = "loading"
    LOCATING = "finding the sample"
    FOCUSING = "focusing"
    SCANNING = "scanning"
    RETAKING = "taking soft tiles again"
    CELLS = "taking suspicious cells again"
    FINISHING = "finishing"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class SlideProgress:
    """A slide of the rack; ``outcome`` and ``verdict`` once it is finished."""

    slot: int
    outcome: Outcome | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """A snapshot of a run.

    ``slides`` in the order of the scan, ``slot`` the one on the stage. ``tiles_captured`` of ``tiles_planned`` of its
    plans so far, ``scan_s`` seconds since its first survey move. ``sharp``, ``soft`` and ``no_sample`` count its tiles,
    ``z_um`` is the last height, ``tiles_read`` what analysis has finished, ``findings`` what it found.
    """

    run: str
    slides: tuple[SlideProgress, ...]
    phase: Phase
    slot: int | None = None
    tiles_captured: int = 0
    tiles_planned: int = 0
    scan_s: float = 0.0
    sharp: int = 0
    soft: int = 0
    no_sample: int = 0
    z_um: float | None = None
    tiles_read: int = 0
    findings: int = 0
    warning: str = ""

    @property
    def rate(self) -> float:
        """Tiles per second of this slide's scan; 0 before there is one."""
        return self.tiles_captured / self.scan_s if self.scan_s > 0 else 0.0

    @property
    def slide_left_s(self) -> float | None:
        """Seconds to the last frame of this slide at the pace so far; None before a pace is known."""
        return (self.tiles_planned - self.tiles_captured) / self.rate if self.rate else None

    @property
    def finished(self) -> int:
        """Slides that have an outcome."""
        return sum(slide.outcome is not None for slide in self.slides)

    @property
    def rack_left_s(self) -> float | None:
        """Seconds to the end of the rack, if every slide still waiting takes as long as this one."""
        if self.slide_left_s is None:
            return None
        waiting = sum(slide.outcome is None and slide.slot != self.slot for slide in self.slides)
        return self.slide_left_s + waiting * (self.scan_s + self.slide_left_s)
