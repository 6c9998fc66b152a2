"""Which words on the command line call which function? Thin: every command imports what it needs when it runs.

Exit codes: 0 all good, 1 finished and a person is needed, 2 bad input and nothing touched, 3 stopped by a fault
and resumable, 130 stopped by the operator.
"""

import sys
import traceback

import typer

from scanner.cli import cells, images, review, rigs, scans
from scanner.cli.shared import say
from scanner.errors import BadInput, RackscanError
from scanner.model.extras import missing_extra

FAULT = 3

app = typer.Typer(
    name="rackscan",
    help="From a rack of glass slides to focused, stitched, searched and reported images in one stream.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for part in (scans, images, cells):
    app.add_typer(part.app)
app.add_typer(rigs.app, name="profile")
app.add_typer(cells.detector_app, name="detector")
app.add_typer(review.app, name="review")


def main() -> None:
    """The entry point: errors become words on stderr and an exit code."""
    try:
        app()
    except RackscanError as error:
        say(f"rackscan: {error}")
        sys.exit(error.exit_code)
    except Exception as error:  # noqa: BLE001  a fault of ours must not look like exit code 1, which means "finished"
        problem = missing_extra(error)
        if problem is None:
            traceback.print_exc()
            sys.exit(FAULT)
        say(f"rackscan: {problem}")
        sys.exit(BadInput.exit_code)
