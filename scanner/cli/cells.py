"""Which words find cells, and train and judge what finds them?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from scanner.cli.shared import Json, UmPerPx, Workers, count, emit, quiet_stdout, say, told
from scanner.errors import BadInput, Stopped

if TYPE_CHECKING:
    from scanner.offline.look_back.look_back import Asked

Source = Annotated[
    Path,
    typer.Argument(metavar="SOURCE", help="SVS, TIFF, PNG, JPEG, OME-Zarr; or a run; or a folder of these."),
]
Package = Annotated[
    str | None, typer.Option(metavar="PACKAGE", help="A detector package; default: the shipped one.")
]
Diagnoses = Annotated[
    Path | None,
    typer.Option(metavar="CSV", help="What was signed out: case,diagnosis or file,diagnosis (Bethesda)."),
]
SuspiciousFrom = Annotated[
    float | None,
    typer.Option(
        metavar="S",
        min=0.0,
        max=1.0,
        help="Slide score from which a case of an archive is suspicious; default: the evaluation record's of "
        "this detector on the rig of a run, else 0.5.",
    ),
]

app = typer.Typer()
detector_app = typer.Typer(no_args_is_help=True, help="Look into a detector package.")


@app.command(
    epilog="Examples: rackscan detect slide.svs --out found\n\n"
    "rackscan detect archive --diagnoses signed-out.csv --out again\n\n"
    "rackscan detect runs --detector new-detector --operating-point 0.9 --out again"
)
def detect(
    source: Source,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="A new or empty folder; of an archive also its own.")
    ],
    um_per_px: UmPerPx = None,
    detector: Package = None,
    diagnoses: Diagnoses = None,
    operating_point: SuspiciousFrom = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Find cells in an image; read an archive again and list where old verdicts and a newer detector disagree.

    Of an archive: 0 nothing disagrees, 1 some cases need a person, 2 bad input, 3 a fault (the same command goes on).
    """
    from scanner.offline.look_back.archive import is_archive
    from scanner.session.request import IN_PROCESS

    at = workers or IN_PROCESS
    if is_archive(source) or diagnoses is not None or operating_point is not None:
        from scanner.offline.look_back.look_back import Asked

        _look_back(Asked(source, out, um_per_px, detector, diagnoses, operating_point, at), as_json)
    from scanner.offline.detect import detect as detect_cells

    with quiet_stdout(as_json):
        result = detect_cells(source, out, um_per_px, detector, progress=told, workers=at)
    if as_json:
        emit(result)
    say(f"written to {out}")


def _look_back(asked: "Asked", as_json: bool) -> NoReturn:
    from scanner.offline.look_back.look_back import look_back
    from scanner.offline.look_back.view import archive_progress, describe

    try:
        with quiet_stdout(as_json), archive_progress(silent=as_json) as show:
            summary = look_back(asked, show)
    except KeyboardInterrupt:
        raise Stopped("stopped; what was read is kept, and the same command goes on") from None
    emit(summary) if as_json else typer.echo(describe(summary, asked.out))
    raise typer.Exit(1 if summary.discordant else 0)


@app.command(
    epilog="Examples: rackscan train --data crops --out my-detector\n\n"
    "rackscan train --data runs --start my-detector --out my-next-detector"
)
def train(
    data: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="Class folders, COCO boxes, QuPath GeoJSON; or runs with corrections."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="PACKAGE", help="The detector package to write.")],
    seed: Annotated[int, typer.Option(metavar="N")] = 0,
    start: Annotated[
        Path | None,
        typer.Option(
            metavar="PACKAGE", help="Go on from it; of corrections: from the one that made the findings."
        ),
    ] = None,
    um_per_px: UmPerPx = None,
    steps: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="How long it learns; default: 2,400, from corrections 400."),
    ] = None,
) -> None:
    """Train a detector package (needs the extra `torch`)."""
    from scanner.offline.train import How
    from scanner.offline.train import train as train_detector

    how = How(seed=seed, steps=steps, start=start, um_per_px=um_per_px)
    result = train_detector(data, out, how, told)
    for note in result.notes:
        say(note)
    say(f"learnt from {result.training_images} images, {result.held_out_images} more held out by slide")
    say(f"written to {out}")


@app.command(
    epilog="Examples: rackscan evaluate my-detector --data crops\n\n"
    "rackscan evaluate my-detector --data fields --sensitivity 0.99 --stress --report figures.html"
)
def evaluate(
    package: Annotated[Path, typer.Argument(metavar="PACKAGE")],
    data: Annotated[Path, typer.Option(metavar="DIR", help="Class folders, COCO boxes or QuPath GeoJSON.")],
    sensitivity: Annotated[
        float | None,
        typer.Option(
            metavar="S", help="Operating point: the highest that reaches it; default: below all abnormal."
        ),
    ] = None,
    operating_point: Annotated[
        float | None, typer.Option(metavar="SCORE", help="Operating point: this slide score.")
    ] = None,
    stress: Annotated[
        bool, typer.Option("--stress", help="Also with white level ± 15 % and scale ± 10 %: 4 more passes.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(metavar="OUT.html", help="Also write a page: curves, and failures as pictures."),
    ] = None,
    as_json: Json = False,
) -> None:
    """A detector's figures with confidence intervals."""
    from detection.assess import Question
    from scanner.offline.evaluate import evaluate as evaluate_detector
    from scanner.offline.evaluate import rule_of
    from scanner.offline.evaluate_table import show

    with quiet_stdout(as_json):
        question = Question(rule_of(sensitivity, operating_point), stress)
        result = evaluate_detector(package, data, told, question, report)
    emit(result) if as_json else show(result, report)


@detector_app.command("check", epilog="Example: rackscan detector check my-detector")
def detector_check(
    package: Annotated[Path, typer.Argument(metavar="PACKAGE", help="The folder of a detector package.")],
    as_json: Json = False,
) -> None:
    """May it be used here? Files, hashes, the self-test on every runtime, ms a tile: 0 good, 2 not."""
    from scanner.offline.check_detector import check_detector

    with quiet_stdout(as_json):
        result = check_detector(package)
    if as_json:
        emit(result)
    else:
        for line in result.lines():
            say(line)
        typer.echo("good" if result.ok else count(result.problems))
    raise typer.Exit(0 if result.ok else BadInput.exit_code)
