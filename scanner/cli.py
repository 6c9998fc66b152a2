"""Which words on the command line call which function? Thin: every command imports what it needs when it runs.

Exit codes: 0 all good, 1 finished and a person is needed, 2 bad input and nothing touched, 3 stopped by a fault
and resumable, 130 stopped by the operator.
"""

import contextlib
import math
import sys
import traceback
from collections.abc import Iterator, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scanner.errors import BadInput, RackscanError
from scanner.model.extras import missing_extra
from scanner.model.json_text import json_text

if TYPE_CHECKING:
    from scanner.model.geometry import Rect
    from scanner.model.report import RunResult
    from scanner.session.request import RunRequest

FAULT = 3

app = typer.Typer(
    name="rackscan",
    help="From a rack of glass slides to focused, stitched, searched and reported images in one stream.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
profile_app = typer.Typer(no_args_is_help=True, help="Check, import and measure a rig's profile.")
app.add_typer(profile_app, name="profile")


def _positive(value: float | None) -> float | None:
    if value is not None and not 0 < value < math.inf:
        raise typer.BadParameter(f"{value} is no size; give µm, such as 0.5")
    return value


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]
RunDir = Annotated[Path, typer.Argument(metavar="DIR", help="A run folder.")]
ProfileFile = Annotated[Path, typer.Argument(metavar="PROFILE", help="A rig's YAML.")]
Region = Annotated[
    str | None, typer.Option(metavar="X,Y,W,H", help="Only this rectangle: mm from the glass's top left.")
]
Detector = Annotated[
    str | None, typer.Option(metavar="none|PACKAGE", help="A detector package; default: the shipped one.")
]
UmPerPx = Annotated[
    float | None,
    typer.Option(
        metavar="S",
        callback=_positive,
        help="Scale of images that do not say theirs.",
    ),
]


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
    specimen: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Image to scan on a simulated rig; repeat for more."),
    ] = None,
    um_per_px: UmPerPx = None,
    region: Region = None,
    detector: Detector = None,
    keep_tiles: Annotated[
        bool, typer.Option("--keep-tiles", help="Keep every frame, so that the run can be replayed.")
    ] = False,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Seed of a simulated rig.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Plan, time and disk needed; nothing moves.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Scan a rack, stitch it and read it in one stream."""
    from scanner.console import progress_view
    from scanner.run import RunRequest, run_rack

    request = RunRequest(
        profile=profile,
        out=out,
        rack=rack,
        slides=slides,
        specimens=tuple(specimen or ()),
        um_per_px=um_per_px,
        region_um=_region(region),
        detector=detector,
        keep_tiles=keep_tiles,
        seed=seed,
    )
    if dry_run:
        return _foretell(request, as_json)
    with _quiet_stdout(as_json), progress_view(silent=as_json) as show:
        result = run_rack(request, show)
    return _finish(result, as_json, out)


def _foretell(request: "RunRequest", as_json: bool) -> None:
    from scanner.session.forecast import describe, forecast

    expected = forecast(request)
    _emit(expected) if as_json else typer.echo(describe(expected))


@app.command(epilog="Example: rackscan resume runs/first")
def resume(run_dir: RunDir, as_json: Json = False) -> None:
    """Go on after a stop, a fault or a kill; a finished run prints its result again."""
    from scanner.console import progress_view
    from scanner.run import resume_run

    with _quiet_stdout(as_json), progress_view(silent=as_json) as show:
        result = resume_run(run_dir, show)
    _finish(result, as_json, run_dir)


@app.command(epilog="Example: rackscan replay runs/first --out runs/again")
def replay(
    run_dir: RunDir,
    out: Annotated[Path, typer.Option(metavar="DIR2", help="A new or empty folder.")],
    as_json: Json = False,
) -> None:
    """The road again from kept tiles, without hardware."""
    from scanner.console import progress_view
    from scanner.run import replay_run

    with _quiet_stdout(as_json), progress_view(silent=as_json) as show:
        result = replay_run(run_dir, out, show)
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
        _say(line)
    _emit(result) if as_json else typer.echo("consistent" if result.ok else _count(result.problems))
    raise typer.Exit(0 if result.ok else 1)


@profile_app.command("check", epilog="Example: rackscan profile check hardware_profiles/simulated.yaml")
def profile_check(profile: ProfileFile, as_json: Json = False) -> None:
    """Every problem of a profile at once, with its line and the mend."""
    from scanner.storage.profiles import check_profile, profile_warnings

    problems = check_profile(profile)
    warnings = [] if problems else profile_warnings(profile)
    if as_json:
        _emit({"ok": not problems, "problems": problems, "warnings": warnings})
    else:
        for problem in [*problems, *warnings]:
            _say(str(problem))
        typer.echo("good" if not problems else _count(problems))
    raise typer.Exit(BadInput.exit_code if problems else 0)


@profile_app.command("import", epilog="Example: rackscan profile import MMConfig.cfg > rig.yaml")
def profile_import(cfg: Annotated[Path, typer.Argument(metavar="X.cfg")]) -> None:
    """A profile skeleton, on stdout, from an existing Micro-Manager configuration."""
    from scanner.storage.profile_import import import_cfg

    typer.echo(import_cfg(cfg), nl=False)


@profile_app.command("measure", epilog="Example: rackscan profile measure rig.yaml")
def profile_measure(
    profile: ProfileFile,
    region: Region = None,
) -> None:
    """Move the rig, measure flips, rotation, µm/px, backlash and settling, and write them into the profile."""
    from scanner.acquisition.measure import measure_profile

    measure_profile(profile, _region(region), _say)
    _say(f"{profile} now holds what was measured")


@app.command(
    epilog="Examples: rackscan focus STACK.tif --z-step-um 0.5\n\nrackscan focus FOLDER --report focus.html"
)
def focus(
    stack: Annotated[Path, typer.Argument(metavar="STACK", help="A multi-page TIFF or a folder of planes.")],
    z_step_um: Annotated[
        float | None,
        typer.Option(metavar="S", callback=_positive, help="Distance between planes; default: the file's."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="OUT.html", help="Also write a page: curves, field, surface.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Best plane of a z-stack, whole and on a 4 × 4 grid of blocks: 0 found or no sample, 1 refused."""
    from scanner.offline.focus_page import focus_with_page
    from scanner.offline.focus_table import progress_bar, show

    with _quiet_stdout(as_json), progress_bar(silent=as_json) as told:
        result = focus_with_page(stack, z_step_um, report, told)
    _emit(result) if as_json else show(result, report)
    raise typer.Exit(1 if result.state == "refused" else 0)


@app.command(epilog="Example: rackscan stitch tiles.csv --out slide.ome.zarr")
def stitch(
    layout: Annotated[Path, typer.Argument(metavar="LAYOUT.csv", help="Columns file,x_px,y_px.")],
    out: Annotated[Path, typer.Option(metavar="X.ome.zarr", help="The image to write.")],
    as_json: Json = False,
) -> None:
    """Stitch tiles that another system took; writes X.positions.csv beside the image."""
    from scanner.offline.stitch import stitch as stitch_tiles

    with _quiet_stdout(as_json):
        result = stitch_tiles(layout, out, _told)
    for note in () if as_json else result.notes:
        _say(note)
    if as_json:
        _emit(result)
    else:
        typer.echo(f"{result.placed} of {result.tiles} tiles placed: {result.image}")


@app.command(
    epilog="Examples: rackscan export runs/first --out tiffs\n\n"
    "rackscan export stitched.ome.zarr --out stitched.ome.tif --lossless"
)
def export(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A run folder or an OME-Zarr image.")],
    out: Annotated[Path, typer.Option(metavar="X.ome.tif|DIR", help="The file, or a folder for many.")],
    slide: Annotated[str | None, typer.Option(metavar="ID|SLOT", help="Only this slide of a run.")] = None,
    quality: Annotated[
        int | None, typer.Option(metavar="Q", min=1, max=100, help="Of JPEG; default: 90.")
    ] = None,
    lossless: Annotated[bool, typer.Option(help="Deflate; 16 bits always are.")] = False,
    incomplete: Annotated[bool, typer.Option(help="Also unfinished scans; the file says so.")] = False,
    as_json: Json = False,
) -> None:
    """Write slides as pyramidal OME-TIFF, for QuPath, OMERO, OpenSlide and others; no label goes along."""
    from scanner.offline.export import Wanted, describe
    from scanner.offline.export import export as write

    with _quiet_stdout(as_json):
        result = write(source, out, Wanted(slide, quality, lossless, incomplete), _told)
    _emit(result) if as_json else typer.echo(describe(result))


@app.command(epilog="Example: rackscan detect slide.svs --out found")
def detect(
    image: Annotated[Path, typer.Argument(metavar="IMAGE")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new or empty folder.")],
    um_per_px: UmPerPx = None,
    detector: Detector = None,
) -> None:
    """Find cells in an existing image or archive."""
    from scanner.offline.detect import detect as detect_cells

    detect_cells(image, out, um_per_px=um_per_px, detector=detector, progress=_told)
    _say(f"written to {out}")


@app.command(epilog="Example: rackscan train --data crops --out my-detector")
def train(
    data: Annotated[Path, typer.Option(metavar="DIR", help="Class folders, COCO boxes or QuPath GeoJSON.")],
    out: Annotated[Path, typer.Option(metavar="PACKAGE", help="The detector package to write.")],
    seed: Annotated[int, typer.Option(metavar="N")] = 0,
) -> None:
    """Train a detector package (needs the extra `torch`)."""
    from scanner.offline.train import train as train_detector

    train_detector(data, out, seed=seed, progress=_told)
    _say(f"written to {out}")


@app.command(epilog="Example: rackscan evaluate my-detector --data crops")
def evaluate(
    package: Annotated[Path, typer.Argument(metavar="PACKAGE")],
    data: Annotated[Path, typer.Option(metavar="DIR")],
    as_json: Json = False,
) -> None:
    """A detector's figures with confidence intervals."""
    from scanner.offline.evaluate import evaluate as evaluate_detector

    with _quiet_stdout(as_json):
        result = evaluate_detector(package, data, _told)
    _emit(result, indent=None if as_json else 2)


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


@app.command(epilog="Example: rackscan view runs/first")
def view(run_dir: RunDir) -> None:
    """Napari on a finished or a running scan (needs the extra `view`)."""
    from scanner.review.napari_viewer import view as open_viewer

    open_viewer(run_dir)


def _region(text: str | None) -> "Rect | None":
    from scanner.session.region import parse_region

    return None if text is None else parse_region(text)


def needs_a_person(result: "RunResult") -> bool:
    """Is any slide neither excluded as negative nor an empty slot?"""
    from scanner.model.report import Outcome, Verdict

    return not all(
        slide.outcome is Outcome.EMPTY
        or (slide.outcome is Outcome.DONE and slide.verdict is Verdict.NEGATIVE_EXCLUDED)
        for slide in result.slides
    )


def _finish(result: "RunResult", as_json: bool, folder: Path) -> None:
    if as_json:
        _emit(result)
    else:
        for slide in result.slides:
            typer.echo(f"slot {slide.slot}: {slide.outcome}, {slide.verdict}")
        typer.echo(f"report: {folder / 'report.html'}")
    raise typer.Exit(1 if needs_a_person(result) else 0)


@contextlib.contextmanager
def _quiet_stdout(as_json: bool) -> Iterator[None]:
    """Whatever a library prints while we work goes to stderr where stdout is one JSON object."""
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        yield


def _count(problems: Sized) -> str:
    return f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"


def _emit(value: object, indent: int | None = None) -> None:
    typer.echo(json_text(value, indent))


def _told(done: int, total: int, what: str = "tiles") -> None:
    """How far a long command is, in one line that is overwritten; nothing where nobody watches."""
    if sys.stderr.isatty():
        typer.echo(f"\r{what}: {done} of {total}", err=True, nl=done >= total)


def _say(text: str) -> None:
    typer.echo(text, err=True)


def main() -> None:
    """The entry point: errors become words on stderr and an exit code."""
    try:
        app()
    except RackscanError as error:
        _say(f"rackscan: {error}")
        sys.exit(error.exit_code)
    except Exception as error:  # noqa: BLE001  a fault of ours must not look like exit code 1, which means "finished"
        problem = missing_extra(error)
        if problem is None:
            traceback.print_exc()
            sys.exit(FAULT)
        _say(f"rackscan: {problem}")
        sys.exit(BadInput.exit_code)


if __name__ == "__main__":
    main()
