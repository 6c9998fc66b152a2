"""What is told to the person who watches, as the run goes on?"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from time import perf_counter

from scanner.model.plan import Plan, PlanReason
from scanner.model.progress import Phase, Progress, SlideProgress
from scanner.model.report import SlideReport
from scanner.model.slide import RackSlot
from scanner.model.tile import EndOfPlan, FocusState, Tile
from scanner.storage.log import PACKAGES

Show = Callable[[Progress], None]
PHASES = {PlanReason.RETAKE: Phase.RETAKING, PlanReason.CELLS: Phase.CELLS}


def nobody(_: Progress) -> None:
    """For runs that nobody watches."""


class Teller:
    """Gathers what the steps say into one ``Progress`` and hands it to ``show``."""

    def __init__(self, run: str, slots: Sequence[RackSlot], show: Show) -> None:
        slides = tuple(SlideProgress(entry.slot) for entry in slots)
        self._now = Progress(run=run, slides=slides, phase=Phase.LOADING)
        self._show = show
        self._begun_s = perf_counter()
        self._warnings: list[str] = []

    def phase(self, phase: Phase, slot: int | None = None) -> None:
        """What happens on the stage; a slot begins a new slide."""
        if slot is not None:
            self._now = Progress(run=self._now.run, slides=self._now.slides, phase=phase, slot=slot)
        self._tell(phase=phase)

    def planned(self, plan: Plan) -> None:
        """A plan whose tiles will come."""
        if plan.number == 1:
            self._begun_s = perf_counter()
        phase = PHASES.get(plan.reason, Phase.SCANNING)
        self._tell(phase=phase, tiles_planned=self._now.tiles_planned + len(plan.tiles))

    def passed(self, items: Iterable[Tile | EndOfPlan]) -> Iterator[Tile | EndOfPlan]:
        """The same items, counted."""
        for item in items:
            yield item
            if isinstance(item, Tile):
                self._tile(item)

    def finished(self, report: SlideReport) -> None:
        """A slide and what became of it."""
        slides = tuple(
            SlideProgress(s.slot, report.outcome, report.verdict) if s.slot == report.slot else s
            for s in self._now.slides
        )
        self._tell(slides=slides)

    def done(self) -> None:
        """The rack is finished."""
        self._tell(phase=Phase.DONE)

    def warned(self, words: str) -> None:
        """Something that the operator may want to know; the slide's report repeats it."""
        self._warnings.append(words)
        self._now = replace(self._now, warning=words)

    def take_warnings(self) -> tuple[str, ...]:
        """What was warned of since the last call."""
        taken, self._warnings = tuple(self._warnings), []
        return taken

    def _tile(self, tile: Tile) -> None:
        now, state = self._now, tile.focus.state
        self._tell(
            tiles_captured=now.tiles_captured + 1,
            tiles_read=now.tiles_read + 1,
            scan_s=perf_counter() - self._begun_s,
            sharp=now.sharp + (state is FocusState.SHARP),
            soft=now.soft + state.soft,
            no_sample=now.no_sample + (state is FocusState.NO_SAMPLE),
            z_um=tile.focus.z_um,
        )

    def _tell(self, **known: object) -> None:
        self._now = replace(self._now, **known)  # type: ignore[arg-type]  # fields of Progress by name
        self._show(self._now)


class Ear(logging.Handler):
    """Hears every warning that the packages log, and hands it to a teller."""

    def __init__(self, teller: Teller) -> None:
        super().__init__(logging.WARNING)
        self._teller = teller

    def emit(self, record: logging.LogRecord) -> None:
        """One record."""
        self._teller.warned(record.getMessage())


@contextmanager
def listening(teller: Teller) -> Iterator[None]:
    """While the block runs, the teller hears of every warning."""
    ear = Ear(teller)
    loggers = [logging.getLogger(name) for name in PACKAGES]
    for logger in loggers:
        logger.addHandler(ear)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(ear)
