"""What does a person see in the terminal while a run goes on?

It never slows the run: no thread, at most four pictures a second, and a call in between costs a comparison.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from scanner.model.progress import Progress, SlideProgress
from scanner.model.report import Outcome, Verdict
from scanner.review.words import OUTCOMES, VERDICTS, amount, minutes

Show = Callable[[Progress], None]
Clock = Callable[[], float]

LIVE_S = 0.25
LINE_S = 5.0
TONES = {"good": "green", "warn": "yellow", "bad": "red", "quiet": "bright_black"}


@contextmanager
def progress_view(silent: bool = False, console: Console | None = None) -> Iterator[Show]:
    """Something to give every ``Progress`` to: a live picture in a terminal, else a line every few seconds.

    Args:
        silent: show nothing (``--json``).
        console: where to; stderr by default.
    """
    target = console or Console(stderr=True)
    if silent:
        yield lambda progress: None
    elif target.is_terminal:
        with Live(console=target, auto_refresh=False) as live:
            yield seldom(lambda progress: live.update(picture(progress), refresh=True), LIVE_S)
    else:
        yield seldom(lambda progress: target.print(line(progress), highlight=False, soft_wrap=True), LINE_S)


def seldom(show: Show, every_s: float, clock: Clock = time.monotonic) -> Show:
    """``show``, at most once in ``every_s`` seconds; a new slide, phase or finished slide is always shown."""
    last: tuple[float, object] = (-every_s, None)

    def maybe(progress: Progress) -> None:
        nonlocal last
        now, where = clock(), (progress.slot, progress.phase, progress.finished)
        if now - last[0] >= every_s or where != last[1]:
            last = now, where
            show(progress)

    return maybe


def line(progress: Progress) -> str:
    """A run in one line, for a log."""
    parts = [f"{progress.finished} of {len(progress.slides)} slides finished"]
    if progress.slot is not None:
        parts.append(f"slot {progress.slot}: {progress.phase.value}")
    if progress.tiles_planned:
        parts.append(f"{amount(progress.tiles_captured)} of {amount(progress.tiles_planned)} tiles")
    if progress.rate:
        parts.append(f"{progress.rate:.1f} tiles/s")
    if progress.rack_left_s:
        parts.append(f"{minutes(progress.rack_left_s)} left")
    if progress.warning:
        parts.append(f"last warning: {progress.warning}")
    return " · ".join(parts)


def picture(progress: Progress) -> RenderableType:
    """A run as a few lines of colour."""
    rows: list[RenderableType] = [_head(progress), _rack(progress), _tiles(progress), _seen(progress)]
    if progress.warning:
        rows.append(Text(f"last warning: {progress.warning}", "yellow", overflow="ellipsis", no_wrap=True))
    return Group(*rows)


def _head(progress: Progress) -> Text:
    head = Text.assemble(("rackscan", "bold cyan"), f"  run {progress.run}")
    if progress.rack_left_s:
        head.append(f"  ·  about {minutes(progress.rack_left_s)} to the end of the rack", "bright_black")
    return head


def _rack(progress: Progress) -> Text:
    """One mark a slide: waiting, on the stage, finished with its verdict's colour."""
    text = Text("rack   ")
    for slide in progress.slides:
        mark, style = _mark(slide, progress.slot)
        text.append(f"{slide.slot}{mark} ", style)
    return text.append(f"  {progress.finished} of {len(progress.slides)} slides finished", "bright_black")


def _mark(slide: SlideProgress, on_stage: int | None) -> tuple[str, str]:
    if slide.outcome is None:
        return ("▶", "bold cyan") if slide.slot == on_stage else ("·", "bright_black")
    if slide.outcome is not Outcome.DONE:
        return "◆", TONES[OUTCOMES[slide.outcome].tone]
    return "●", TONES[VERDICTS[slide.verdict or Verdict.REVIEW].tone]


def _tiles(progress: Progress) -> Table:
    where = "" if progress.slot is None else f"slot {progress.slot}  "
    counts = f"{amount(progress.tiles_captured)} / {amount(progress.tiles_planned)} tiles"
    pace = f"{progress.rate:.1f}/s" if progress.rate else ""
    left = f"{minutes(progress.slide_left_s)} left" if progress.slide_left_s else ""
    grid = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=max(progress.tiles_planned, 1), completed=progress.tiles_captured, width=28)
    grid.add_row(Text(f"{where}{progress.phase.value}", "bold"), bar, counts, pace, left)
    return grid


def _seen(progress: Progress) -> Text:
    text = Text.assemble("focus  ", (f"{progress.sharp} sharp", "green"))
    text.append(f"  {progress.soft} soft", "yellow" if progress.soft else "bright_black")
    text.append(f"  {progress.no_sample} without sample", "bright_black")
    if progress.z_um is not None:
        text.append(f"  z {progress.z_um:.2f} µm")
    return text.append(f"   read {progress.tiles_read} tiles, {progress.findings} findings", "cyan")
