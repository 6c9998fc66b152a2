"""Which words find cells, and train and judge what finds them?"""

from pathlib import Path
from typing import Annotated

import typer

from scanner.cli.shared import Detector, Json, UmPerPx, count, emit, quiet_stdout, say, told
from scanner.errors import BadInput

app = typer.Typer()
detector_app = typer.Typer(no_args_is_help=True, help="Look into a detector package.")


@app.command(epilog="Example: rackscan detect slide.svs --out found")
def detect(
    image: Annotated[Path, typer.Argument(metavar="IMAGE")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new or empty folder.")],
    um_per_px: UmPerPx = None,
    detector: Detector = None,
) -> None:
    """Find cells in an existing image or archive."""
    from scanner.offline.detect import detect as detect_cells

    detect_cells(image, out, um_per_px=um_per_px, detector=detector, progress=told)
    say(f"written to {out}")


@app.command(epilog="Example: rackscan train --data crops --out my-detector")
def train(
    data: Annotated[Path, typer.Option(metavar="DIR", help="Class folders, COCO boxes or QuPath GeoJSON.")],
    out: Annotated[Path, typer.Option(metavar="PACKAGE", help="The detector package to write.")],
    seed: Annotated[int, typer.Option(metavar="N")] = 0,
) -> None:
    """Train a detector package (needs the extra `torch`)."""
    from scanner.offline.train import train as train_detector

    train_detector(data, out, seed=seed, progress=told)
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
