"""Which words take back what people said about findings?"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from scanner.cli.shared import By, Json, RunDir, emit, quiet_stdout

app = typer.Typer(no_args_is_help=True, help="What people said about the findings of a run.")


@app.command("import", epilog="Example: rackscan review import runs/first edited.geojson --by AB")
def import_(
    run_dir: RunDir,
    edited: Annotated[Path, typer.Argument(metavar="EDITED.geojson", help="As QuPath exported it.")],
    slide: Annotated[
        str | None, typer.Option(metavar="ID|SLOT", help="Where no finding of the file tells it.")
    ] = None,
    by: By = None,
    missing: Annotated[
        Literal["no-cell", "unsaid"] | None,
        typer.Option(help="What a finding means that is not in the file; default: no cell, if they are few."),
    ] = None,
    looked_at: Annotated[
        int, typer.Option(metavar="N", min=0, help="The N best were all looked at: unchanged is confirmed.")
    ] = 0,
    as_json: Json = False,
) -> None:
    """Take in a findings.geojson that was edited in QuPath: classes changed, objects deleted or added."""
    from scanner.offline.review_import import Wanted, import_geojson

    with quiet_stdout(as_json):
        result = import_geojson(run_dir, edited, Wanted(slide, by, missing, looked_at))
    emit(result) if as_json else typer.echo(result.line())


@app.command("list", epilog="Example: rackscan review list runs/first --json")
def list_(run_dir: RunDir, as_json: Json = False) -> None:
    """What holds now of all that was said, slide by slide."""
    from scanner.offline.review_words import said_of

    result = said_of(run_dir)
    if as_json:
        emit(result)
    else:
        for line in result.lines():
            typer.echo(line)
