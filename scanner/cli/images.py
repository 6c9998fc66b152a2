"""Which words work on images that exist already: focus, stitch, export?"""

from pathlib import Path
from typing import Annotated

import typer

from scanner.cli.shared import Json, emit, positive, quiet_stdout, say, told

app = typer.Typer()


@app.command(
    epilog="Examples: rackscan focus STACK.tif --z-step-um 0.5\n\nrackscan focus FOLDER --report focus.html"
)
def focus(
    stack: Annotated[Path, typer.Argument(metavar="STACK", help="A multi-page TIFF or a folder of planes.")],
    z_step_um: Annotated[
        float | None,
        typer.Option(metavar="S", callback=positive, help="Distance between planes; default: the file's."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="OUT.html", help="Also write a page: curves, field, surface.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Best plane of a z-stack, whole and on a 4 × 4 grid of blocks: 0 found or no sample, 1 refused."""
    from scanner.offline.focus_page import focus_with_page
    from scanner.offline.focus_table import progress_bar, show

    with quiet_stdout(as_json), progress_bar(silent=as_json) as told:
        result = focus_with_page(stack, z_step_um, report, told)
    emit(result) if as_json else show(result, report)
    raise typer.Exit(1 if result.state == "refused" else 0)


@app.command(epilog="Example: rackscan stitch tiles.csv --out slide.ome.zarr")
def stitch(
    layout: Annotated[Path, typer.Argument(metavar="LAYOUT.csv", help="Columns file,x_px,y_px.")],
    out: Annotated[Path, typer.Option(metavar="X.ome.zarr", help="The image to write.")],
    as_json: Json = False,
) -> None:
    """Stitch tiles that another system took; writes X.positions.csv beside the image."""
    from scanner.offline.stitch import stitch as stitch_tiles

    with quiet_stdout(as_json):
        result = stitch_tiles(layout, out, told)
    for note in () if as_json else result.notes:
        say(note)
    if as_json:
        emit(result)
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

    with quiet_stdout(as_json):
        result = write(source, out, Wanted(slide, quality, lossless, incomplete), told)
    emit(result) if as_json else typer.echo(describe(result))
