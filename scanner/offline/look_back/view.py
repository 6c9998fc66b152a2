"""What does a person see in the terminal while an archive is read, and what when it has been?"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from scanner.offline.look_back.look_back import Show
from scanner.offline.look_back.page import KINDS, PAGE
from scanner.offline.look_back.summary import LookBack

LINE_S = 30.0


@contextmanager
def archive_progress(
    silent: bool, console: Console | None = None, clock: Callable[[], float] = time.monotonic
) -> Iterator[Show]:
    """Something to tell how far it is: two bars in a terminal, else a line now and then; case numbers, no names."""
    target = console or Console(stderr=True)
    if silent:
        yield lambda done, cases, tile, tiles: None
    elif target.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=target, transient=True) as bar:
            yield _bars(bar)
    else:
        yield _lines(target, clock)


def _bars(bar: Progress) -> Show:
    archive, image = bar.add_task("images", total=None), bar.add_task("tiles of this one", total=None)

    def show(done: int, cases: int, tile: int, tiles: int) -> None:
        bar.update(archive, completed=done, total=cases)
        bar.update(image, completed=tile, total=tiles or None)

    return show


def _lines(target: Console, clock: Callable[[], float]) -> Show:
    last = clock()

    def show(done: int, cases: int, tile: int, tiles: int) -> None:
        nonlocal last
        if clock() - last >= LINE_S:
            last = clock()
            at = f", tile {tile} of {tiles} of the next" if tiles else ""
            target.print(f"{done} of {cases} images read{at}", highlight=False, soft_wrap=True)

    return show


def describe(summary: LookBack, out: Path) -> str:
    """The result for a person, a line each; no name of an image or a case."""
    answered = sum(summary.states.values())
    lines = [
        f"{_images(summary.images)}: {summary.read} read now, {answered - summary.read} known from before",
        *_notes(summary),
        *(
            f"suspicious from a slide score of {point.operating_point:.6g} ({_images(point.images)}): {point.said}"
            for point in summary.operating_points
        ),
    ]
    total = sum(summary.kinds.values())
    if not total:
        return "\n".join([*lines, "nothing disagrees with what was said then"])
    lines.append(f"{total} {'case needs' if total == 1 else 'cases need'} a person:")
    lines += [f"  {n} {words.name.lower()}" for kind, words in KINDS.items() if (n := summary.kinds[kind])]
    return "\n".join([*lines, f"look at {out / PAGE}, most dangerous first"])


def _notes(summary: LookBack) -> Iterator[str]:
    used = summary.diagnoses
    if used:
        yield (
            f"diagnoses: {used.lines} given, {used.without_image} of them without an image here; "
            f"{_images(used.images_without)} without one"
        )
    if summary.gone:
        yield f"read earlier and no longer in the source: {_images(summary.gone)}"
    if summary.without_image:
        yield f"slides of the runs that were never scanned: {summary.without_image}"
    if summary.troubles:
        yield f"slides of damaged runs, of which it is not known what was said: {len(summary.troubles)}"
    if summary.asked_then:
        yield (
            f"suspicious, and given to a person then: {_images(summary.asked_then)}; "
            "give --diagnoses to compare with what was signed out"
        )


def _images(n: int) -> str:
    return f"{n} image{'' if n == 1 else 's'}"
