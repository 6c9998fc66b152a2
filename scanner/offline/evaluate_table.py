"""What does a person see of ``rackscan evaluate`` in a terminal? Tables of figures with their intervals, and notes."""

from collections.abc import Iterable
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from detection.figures import Figures
from scanner.offline.evaluate_rows import FigureTable, tables


def show(figures: Figures, report: Path | None, console: Console | None = None) -> None:
    """All levels that the data have, and where the page lies, on stdout."""
    target = console or Console()
    target.print(", ".join(f"{count} {name}" for name, count in figures.n.items()), highlight=False)
    for table in tables(figures):
        target.print(drawn(table))
    if report is not None:
        target.print(f"report: {report}", markup=False, highlight=False, soft_wrap=True)


def drawn(given: FigureTable) -> RenderableType:
    """One table with what stands below."""
    table = Table(
        title=given.title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False
    )
    table.add_column("", min_width=44)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("95 %", justify="right", no_wrap=True)
    for name, value, interval in given.rows:
        between = "" if interval is None else f"{interval[0]:.3f} – {interval[1]:.3f}"
        table.add_row(Text(name), "–" if value is None else f"{value:.3f}", between)
    return Group(table, *([Text(given.remark)] if given.remark else []), *_below(given.notes))


def _below(notes: Iterable[str]) -> list[Text]:
    return [Text(f"note: {note}", "yellow") for note in notes]
