"""What is a line of a bench? Shared by the parts of several."""

import itertools
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import cv2

Row = dict[str, Any]


def row(name: str, value: float | None, bar: float | None = None, met: bool | None = None) -> Row:
    """One line; ``value`` None: it could not be measured here."""
    return {"name": name, "value": None if value is None else round(value, 3), "bar": bar, "met": met}


def at_most(name: str, value: float | None, bar: float) -> Row:
    """One line with an upper bar."""
    return row(name, value, bar, None if value is None else value <= bar)


def at_least(name: str, value: float | None, bar: float) -> Row:
    """One line with a lower bar."""
    return row(name, value, bar, None if value is None else value >= bar)


def spread(entry: Row, rounds: Sequence[float]) -> Row:
    """A line of which the value is the median of some rounds, with the least and the most of them."""
    return entry | {"rounds": len(rounds), "least": round(min(rounds), 3), "most": round(max(rounds), 3)}


def line(entry: Row) -> str:
    """A line as people read it."""
    seen = f"; {entry['rounds']} rounds: {entry['least']} to {entry['most']}" if "rounds" in entry else ""
    return f"{entry['name']}: {entry['value']} (bar {entry['bar']}, met {entry['met']}{seen})"


def tell(rows: Iterable[Row]) -> None:
    """Print the lines as they come."""
    for entry in rows:
        print(line(entry), flush=True)


def bench(parts: Mapping[str, Callable[[bool], Iterable[Row]]], arguments: Sequence[str]) -> int:
    """Print the rows of all parts, or of those named by ``--only``, as they are found; returns the exit code.

    A part is told whether it is asked for the whole measurement: not with ``--quick``.
    """
    cv2.setNumThreads(1)
    named = [name for flag, name in itertools.pairwise(arguments) if flag == "--only"]
    told = sys.stderr if "--json" in arguments else sys.stdout
    found: list[Row] = []
    for part in named or parts:
        for entry in parts[part]("--quick" not in arguments):
            found.append(entry)
            print(line(entry), file=told, flush=True)
    if "--json" in arguments:
        print(json.dumps({"rows": found}))
    return 0
