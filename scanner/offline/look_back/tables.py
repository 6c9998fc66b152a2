"""Which tables does reading an archive again leave? They alone say where images lie: they stay in the lab."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from scanner.offline.look_back.discordance import Discordant, Judged
from scanner.storage.atomic import SAME_COMMAND, write_atomic

_FOUND = ("case", "image", "slide_score", "old", "cells")
_WORST = ("worst_class", "worst_score", "worst_x_px", "worst_y_px", "worst_x_um", "worst_y_um")
_WHY = ("operating_point", "why")
DISCORDANT = ("rank", "kind", *_FOUND, *_WORST, *_WHY)
CASES = (*_FOUND, "state", *_WORST, *_WHY)


def write_tables(out: Path, cases: Iterable[Judged], found: Iterable[Discordant]) -> None:
    """``discordant.csv``, rank 1 first, and ``cases.csv`` with every image that was read."""
    rows = [(one.rank, one.kind, *_facts(one.judged), *_rest(one.judged)) for one in found]
    _write(out / "discordant.csv", DISCORDANT, rows)
    every = [(*_facts(one), one.state, *_rest(one)) for one in cases]
    _write(out / "cases.csv", CASES, every)


def _facts(one: Judged) -> tuple[object, ...]:
    found = one.found
    return f"{found.case:04d}", found.image, _score(found.slide_score), one.past.word, found.cells


def _rest(one: Judged) -> tuple[object, ...]:
    worst = one.found.worst
    place = (worst.name, worst.score, worst.x_px, worst.y_px, worst.x_um, worst.y_um) if worst else ("",) * 6
    return *place, f"{one.point.value:.6g}", one.found.unreadable


def _score(score: float | None) -> str:
    return "" if score is None else f"{score:.6f}"


def _write(file: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_atomic(file, text.getvalue(), SAME_COMMAND)
