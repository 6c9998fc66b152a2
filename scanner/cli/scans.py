"""Which words start a scan, go on with it, prove it and show it?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scanner.cli.shared import (
    By,
    Detector,
    Json,
    Region,
    RunDir,
    UmPerPx,
    Workers,
    count,
    emit,
    quiet_stdout,
    region_of,
    say,
)
from scanner.errors import BadInput

if TYPE_CHECKING:
    from scanner.model.report import RunResult
    from scanner.session.request import RunRequest

Specimens = Annotated[
    list[Path] | None, typer.Option(metavar="FILE", help="Image to scan on a simulated rig; repeat for more.")
]
CaptureCells = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=0,
        max=100,
        help="Take the N most suspicious cells of a slide again, with more planes; default: as the profile says.",
    ),
]

app = typer.Typer()


@app.command(
    epilog="Example: rackscan run --profile hardware_profiles/simulated.yaml --slides 2 --out runs/first"
)
def run(
    profile: Annotated[Path, typer.Option(metavar="P", help="The rig's YAML.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new or empty folder for the run.")],
    rack: Annotated[
        Path | None, typer.Option(metavar="RACK.yaml", help="Which slides lie in which slots.")
    ] = None,
    slides: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="The first N slots; default: all.")
    ] = None,
    specimen: Specimens = None,
    um_per_px: UmPerPx = None,
    region: Region = None,
    detector: Detector = None,
    keep_tiles: Annotated[
        bool, typer.Option("--keep-tiles", help="Keep every frame, so that the run can be replayed.")
    ] = False,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Seed of a simulated rig.")] = None,
    capture_cells: CaptureCells = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Plan, time and disk needed; nothing moves.")
    ] = False,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Scan a rack, stitch it and read it in one stream."""
    from scanner.console import progress_view
    from scanner.run import RunRequest, run_rack
    from scanner.session.request import LOCAL

    request = RunRequest(
        profile=profile,
        out=out,
        rack=rack,
        slides=slides,
        specimens=tuple(specimen or ()),
        um_per_px=um_per_px,
        region_um=region_of(region),
        detector=detector,
        keep_tiles=keep_tiles,
        seed=seed,
        capture_cells=capture_cells,
        workers=workers or LOCAL,
    )
    if dry_run:
        return _foretell(request, as_json)
    with quiet_stdout(as_json), progress_view(silent=as_json) as show:
        result = run_rack(request, show)
    return _finish(result, as_json, out)


def _foretell(request: "RunRequest", as_json: bool) -> None:
    from scanner.session.forecast import describe, forecast

    expected = forecast(request)
    emit(expected) if as_json else typer.echo(describe(expected))


@app.command(epilog="Example: rackscan resume runs/first")
def resume(run_dir: RunDir, workers: Workers = None, as_json: Json = False) -> None:
    """Go on after a stop, a fault or a kill; a finished run prints its result again."""
    from scanner.console import progress_view
    from scanner.run import resume_run
    from scanner.session.request import LOCAL

    with quiet_stdout(as_json), progress_view(silent=as_json) as show:
        result = resume_run(run_dir, show, workers or LOCAL)
    _finish(result, as_json, run_dir)


@app.command(epilog="Example: rackscan replay runs/first --out runs/again")
def replay(
    run_dir: RunDir,
    out: Annotated[Path, typer.Option(metavar="DIR2", help="A new or empty folder.")],
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """The road again from kept tiles, without hardware."""
    from scanner.console import progress_view
    from scanner.run import replay_run
    from scanner.session.request import LOCAL

    with quiet_stdout(as_json), progress_view(silent=as_json) as show:
        result = replay_run(run_dir, out, show, workers or LOCAL)
    _finish(result, as_json, out)


@app.command(epilog="Example: rackscan verify runs/first --mosaic mosaic.html")
def verify(
    run_dir: RunDir,
    mosaic: Annotated[
        Path | None, typer.Option(metavar="OUT.html", help="Also write a page: how well the tiles fit.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Prove a run folder: counts, hashes, the ledger's chain, OME-Zarr validity. 0 consistent, 1 problems."""
    from scanner.offline.verify import verify as prove

    result = prove(run_dir, mosaic)
    for line in () if as_json else result.lines():
        say(line)
    emit(result) if as_json else typer.echo("consistent" if result.ok else count(result.problems))
    raise typer.Exit(0 if result.ok else 1)


@app.command(epilog="Example: rackscan points runs/first > rack.yaml")
def points(run_dir: RunDir) -> None:
    """A rack file with the focus points of a run, to be edited and given to the next one with --rack."""
    from scanner.review.focus_points import rack_with_points
    from scanner.storage.reader import RunReader

    with RunReader.open(run_dir) as reader:
        text = rack_with_points(reader)
    if not text:
        raise BadInput.one("no slide of this run has a focus point yet", "scan one first", file=str(run_dir))
    typer.echo(text, nl=False)


@app.command(epilog="Example: rackscan view runs/first --by AB")
def view(run_dir: RunDir, by: By = None) -> None:
    """Napari on a finished or a running scan, to look and to correct (needs the extra `view`)."""
    from scanner.review.napari_viewer import view as open_viewer

    open_viewer(run_dir, by)


def needs_a_person(result: "RunResult") -> bool:
    """Is any slide neither excluded as negative nor an empty slot?"""
    from scanner.model.report import Outcome

    return not all(slide.outcome is Outcome.EMPTY or slide.excluded for slide in result.slides)


def _finish(result: "RunResult", as_json: bool, folder: Path) -> None:
    if as_json:
        emit(result)
    else:
        for slide in result.slides:
            typer.echo(f"slot {slide.slot}: {slide.outcome}, {slide.verdict}")
        typer.echo(f"report: {folder / 'report.html'}")
    raise typer.Exit(1 if needs_a_person(result) else 0)
