"""What do all commands share: their common options, and how they speak on stdout and stderr."""

import contextlib
import math
import sys
from collections.abc import Iterator, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scanner.model.json_text import json_text

if TYPE_CHECKING:
    from scanner.model.geometry import Rect


def positive(value: float | None) -> float | None:
    """A size that was given, refused unless it is a finite number above 0."""
    if value is not None and not 0 < value < math.inf:
        raise typer.BadParameter(f"{value} is no size; give µm, such as 0.5")
    return value


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]
RunDir = Annotated[Path, typer.Argument(metavar="DIR", help="A run folder.")]
ProfileFile = Annotated[Path, typer.Argument(metavar="PROFILE", help="A rig's YAML.")]
By = Annotated[
    str | None, typer.Option(metavar="NAME", help="Who answers, a short name; default: your account's.")
]
Region = Annotated[
    str | None, typer.Option(metavar="X,Y,W,H", help="Only this rectangle: mm from the glass's top left.")
]
Detector = Annotated[
    str | None, typer.Option(metavar="none|PACKAGE", help="A detector package; default: the shipped one.")
]
Workers = Annotated[
    str | None,
    typer.Option(
        metavar="in-process|local|tls://HOST:PORT",
        help="Where the detector is at work: here, in a process of its own (default of a scan), or on a Dask cluster.",
    ),
]
UmPerPx = Annotated[
    float | None,
    typer.Option(
        metavar="S",
        callback=positive,
        help="Scale of images that do not say theirs.",
    ),
]


def region_of(text: str | None) -> "Rect | None":
    """What ``--region`` says, slide µm."""
    from scanner.session.region import parse_region

    return None if text is None else parse_region(text)


@contextlib.contextmanager
def quiet_stdout(as_json: bool) -> Iterator[None]:
    """Whatever a library prints while we work goes to stderr where stdout is one JSON object."""
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        yield


def count(problems: Sized) -> str:
    """How many problems, in words."""
    return f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"


def emit(value: object, indent: int | None = None) -> None:
    """One JSON object on stdout."""
    typer.echo(json_text(value, indent))


def told(done: int, total: int, what: str = "tiles") -> None:
    """How far a long command is, in one line that is overwritten; nothing where nobody watches."""
    if sys.stderr.isatty():
        typer.echo(f"\r{what}: {done} of {total}", err=True, nl=done >= total)


def say(text: str) -> None:
    """A line on stderr."""
    typer.echo(text, err=True)
