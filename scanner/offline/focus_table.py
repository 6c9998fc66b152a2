"""What does a person see of ``rackscan focus`` in a terminal: how far it is, and the 4 × 4 blocks with their curves?"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.box import ROUNDED
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from scanner.offline.focus import FocusBlock, FocusResult

BARS = "▁▂▃▄▅▆▇█"
SPARK_CHARS = 14
_SIDE = 4
_TONES = {"found": "green", "no-sample": "bright_black", "refused": "red"}


@contextmanager
def progress_bar(silent: bool, console: Console | None = None) -> Iterator[Callable[[int, int, str], None]]:
    """Something to tell how far it is: a bar on stderr that goes when all is done, nothing where nobody watches."""
    target = console or Console(stderr=True)
    if silent or not target.is_terminal:
        yield lambda done, total, what: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("planes"))
    with Progress(*columns, console=target, transient=True) as bar:
        task = bar.add_task("reading", total=None)
        yield lambda done, total, what: bar.update(task, completed=done, total=total, description=what)


def show(result: FocusResult, report: Path | None, console: Console | None = None) -> None:
    """The answer, the blocks, and where the page lies, on stdout."""
    target = console or Console()
    target.print(answer(result), markup=False, highlight=False, soft_wrap=True)
    if result.blocks:
        target.print(picture(result))
    if report is not None:
        target.print(f"report: {report}", markup=False, highlight=False, soft_wrap=True)


def answer(result: FocusResult) -> str:
    """The whole field in one line: ``found plane 14, 7.02 µm``."""
    plane = "" if result.best_plane is None else f" plane {result.best_plane}"
    height = "" if result.z_um is None else f", {result.z_um:.2f} µm"
    return f"{result.state}{plane}{height} {result.reason}".rstrip()


def picture(result: FocusResult) -> RenderableType:
    """The blocks as a table of 4 × 4, with what there is to know below."""
    table = Table(box=ROUNDED, show_header=False, show_lines=True, padding=(0, 1))
    for row in range(0, len(result.blocks), _SIDE):
        table.add_row(*(_cell(block) for block in result.blocks[row : row + _SIDE]))
    return Group(table, *_remarks(result))


def _cell(block: FocusBlock) -> RenderableType:
    tone = _TONES[block.state]
    height = "" if block.z_um is None else f"  {block.z_um:.2f} µm"
    word = "thick" if block.thick else block.state
    head = Text(word if block.best_plane is None else f"{block.best_plane}{height}", f"bold {tone}")
    return Group(head, Text(spark(block.curve), "cyan" if block.best_plane is not None else "bright_black"))


def spark(curve: Sequence[float], width: int = SPARK_CHARS) -> str:
    """A (n,) curve of 0 … 1 as at most ``width`` characters, each as high as the highest plane in it."""
    if not curve:
        return ""
    parts = np.array_split(np.clip(curve, 0.0, 1.0), min(width, len(curve)))
    return "".join(BARS[min(int(part.max() * len(BARS)), len(BARS) - 1)] for part in parts)


def _remarks(result: FocusResult) -> Iterator[Text]:
    for note in result.notes:
        yield Text(note)
    for number, block in enumerate(result.blocks):
        for remark in (*([block.reason] if block.state == "refused" else []), *block.notes):
            yield Text(f"row {number // _SIDE + 1}, column {number % _SIDE + 1}: {remark}", "bright_black")
