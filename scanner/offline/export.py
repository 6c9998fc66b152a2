"""Which images of a run, or which one image, are written as OME-TIFF, and may they be?

Nothing is written before every image asked for was found fit, and no identifier leaves with it.
"""

import importlib.metadata
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from scanner.errors import BadInput, DamagedRun, Problem
from scanner.export.ome_tiff import QUALITY, Encoding, Packing, write_ome_tiff
from scanner.export.ome_xml import Said
from scanner.storage.atomic import AGAIN, disk_error
from scanner.storage.ome_zarr import PyramidStore
from scanner.storage.run_folder import RunFolder, SlidePaths

ENDINGS = (".tif", ".tiff", ".btf")
STANDING_ALONE = "image"  # the name of an image that no run made: its file's name may hold anything
INCOMPLETE = "INCOMPLETE: exported before the scan had captured everything that was planned"
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Exported:
    """One file that was written; ``times_smaller`` compares it with the full-resolution pixels alone."""

    source: str
    file: str
    width_px: int
    height_px: int
    levels: int
    layers: int
    compression: str
    complete: bool
    bytes: int
    times_smaller: float
    seconds: float


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What ``rackscan export --json`` prints."""

    images: tuple[Exported, ...]
    without_image: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options of the command.

    ``slide``: of a run, only this one, by id or slot. ``quality``: of JPEG, 1..100, which 8 bits are packed with
    unless ``lossless``; more than 8 bits always are. ``incomplete``: also images whose scan was not finished.
    """

    slide: str | None = None
    quality: int | None = None
    lossless: bool = False
    incomplete: bool = False


DEFAULT = Wanted()


@dataclass(frozen=True, slots=True)
class _Source:
    """An image, what it may be called, and when the run that made it began."""

    path: Path
    name: str
    begun: datetime | None


@dataclass(frozen=True, slots=True)
class _Job:
    """An image that was found fit, and where it goes."""

    source: _Source
    store: PyramidStore
    complete: bool
    encoding: Encoding
    out: Path


def _silent(done: int, total: int) -> None:
    """Nobody wants to know."""


def export(source: Path, out: Path, wanted: Wanted = DEFAULT, progress: Progress = _silent) -> ExportResult:
    """Write OME-TIFFs of a run folder's slides, or of one image.

    Args:
        source: a run folder, a slide's folder in it, or an OME-Zarr image of ours.
        out: the file, where there is one image; else, and wherever it has no TIFF ending, a folder for them.
        wanted: which slides, and how.
        progress: told how many tiles of the image at hand are done.

    Raises:
        BadInput: something asked for cannot be exported; nothing was written.
        RackscanError: the disk refused; files written before are whole.
    """
    sources, without = _sources(source, wanted.slide)
    targets = _targets(out, sources)
    jobs = _fit(sources, targets, wanted)
    _make_folder(out if targets[0].parent == out else out.parent)
    return ExportResult(tuple(_write(job, progress) for job in jobs), without)


def describe(result: ExportResult) -> str:
    """The result for a person, a line each."""
    lines = [f"slide {name} has no image" for name in result.without_image]
    for image in result.images:
        state = "" if image.complete else ", INCOMPLETE"
        lines.append(f"{image.file}: {image.compression}, {image.times_smaller:.1f} times smaller{state}")
    return "\n".join(lines)


def _sources(source: Path, slide: str | None) -> tuple[list[_Source], tuple[str, ...]]:
    if (source / "run.json").is_file():
        return _of_run(RunFolder.open(source), slide)
    if slide is not None:
        mend = "give the run folder, or leave --slide out"
        raise BadInput.one("is no run folder, so no slide can be chosen", mend, file=str(source))
    path = SlidePaths(source).image if SlidePaths(source).image.is_dir() else source
    if not (path / "zarr.json").is_file():
        mend = "give a run folder or an image.ome.zarr that rackscan wrote"
        raise BadInput.one("holds no image", mend, file=str(source))
    return [_of_image(path)], ()


def _of_run(folder: RunFolder, slide: str | None) -> tuple[list[_Source], tuple[str, ...]]:
    there = sorted(path.name for path in folder.slides.iterdir()) if folder.slides.is_dir() else []
    chosen = [name for name in there if slide in (None, name, name.split("-")[0])]
    found = [name for name in chosen if (folder.slide(name).image / "zarr.json").is_file()]
    if not found:
        what = f"has no image of slide {slide}" if slide is not None else "has no image"
        raise BadInput.one(what, f"its slides: {', '.join(there) or 'none'}", file=str(folder.root))
    sources = [_Source(folder.slide(name).image, name, _begun(folder, name)) for name in found]
    return sources, tuple(name for name in chosen if name not in found)


def _of_image(path: Path) -> _Source:
    """An image that lies in a run folder is called as its slide is; of any other nothing is known."""
    slide = path.absolute().parent
    root = slide.parent.parent
    if slide.parent.name != "slides" or not (root / "run.json").is_file():
        return _Source(path, STANDING_ALONE, None)
    what = path.name.removesuffix(".ome.zarr")
    name = slide.name if what == "image" else f"{slide.name} {what}"
    return _Source(path, name, _begun(RunFolder.open(root), slide.name))


def _begun(folder: RunFolder, slide_id: str) -> datetime | None:
    """When the scan began; a replay does not know when its tiles were taken."""
    settings = folder.settings
    return settings.begun if slide_id.endswith(f"-{settings.run}") else None


def _targets(out: Path, sources: list[_Source]) -> list[Path]:
    """Where each image goes, none of them there yet."""
    one_file = out.suffix.lower() in ENDINGS
    if one_file and len(sources) > 1:
        mend = "give a folder as --out, or one slide by --slide"
        raise BadInput.one(f"is one file, but there are {len(sources)} images", mend, file=str(out))
    targets = [out] if one_file else [out / f"{source.name.replace(' ', '-')}.ome.tif" for source in sources]
    there = [Problem("is there already", "choose another name", str(t)) for t in targets if t.exists()]
    if not one_file and out.exists() and not out.is_dir():
        there = [Problem("is a file without a TIFF ending", "give NAME.ome.tif or a folder", str(out))]
    if there:
        raise BadInput(there)
    return targets


def _fit(sources: list[_Source], targets: list[Path], wanted: Wanted) -> list[_Job]:
    """Every image opened, or every reason why not."""
    jobs: list[_Job] = []
    problems: list[Problem] = []
    for source, out in zip(sources, targets, strict=True):
        try:
            job = _job(source, out, wanted)
            problems += _unfit(job, wanted)
            jobs.append(job)
        except BadInput as error:
            problems += error.problems
        except DamagedRun as error:
            problems.append(Problem(str(error), "run `rackscan verify`", str(source.path)))
    if problems:
        raise BadInput(problems)
    return jobs


def _job(source: _Source, out: Path, wanted: Wanted) -> _Job:
    store = PyramidStore.open(source.path)
    whole = wanted.lossless or store.spec.dtype != "uint8"
    encoding = Encoding(Packing.DEFLATE if whole else Packing.JPEG, wanted.quality or QUALITY)
    return _Job(source, store, store.facts.get("complete") is True, encoding, out)


def _unfit(job: _Job, wanted: Wanted) -> Iterator[Problem]:
    where = str(job.source.path)
    if not job.complete and not wanted.incomplete:
        mend = "go on with `rackscan resume`, or export it as it is with --incomplete"
        yield Problem("is not complete", mend, where)
    if wanted.quality is not None and job.encoding.packing is not Packing.JPEG:
        what = (
            "was asked for lossless" if wanted.lossless else f"holds {job.store.spec.dtype}, JPEG only 8 bits"
        )
        yield Problem(f"{what}, so --quality means nothing", "leave it out", where)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise BadInput.one("is a file", "give another --out", file=str(folder)) from error
    except OSError as error:
        raise disk_error(error, folder, AGAIN) from error


def _write(job: _Job, progress: Progress) -> Exported:
    began = time.perf_counter()
    spec, levels = job.store.spec, len(job.store.sizes)
    write_ome_tiff(job.store, job.out, job.encoding, _said(job), progress)
    size, raw = job.out.stat().st_size, spec.width_px * spec.height_px * spec.channels * (spec.layers or 1)
    item = {"uint8": 1, "uint16": 2, "float32": 4}[spec.dtype]
    lossy = job.encoding.packing is Packing.JPEG
    return Exported(
        source=str(job.source.path),
        file=str(job.out),
        width_px=spec.width_px,
        height_px=spec.height_px,
        levels=levels,
        layers=spec.layers or 1,
        compression=f"jpeg {job.encoding.quality}" if lossy else str(job.encoding.packing),
        complete=job.complete,
        bytes=size,
        times_smaller=round(raw * item / size, 2),
        seconds=round(time.perf_counter() - began, 3),
    )


def _said(job: _Job) -> Said:
    spec = job.store.spec
    facts = {"complete": str(job.complete).lower()}
    if spec.um_per_px is not None:
        facts |= {"origin_x_um": repr(spec.origin_um[0]), "origin_y_um": repr(spec.origin_um[1])}
    if spec.layers is not None:
        facts |= {"middle_layer": str(spec.middle)}
    creator = f"rackscan {importlib.metadata.version('rackscan')}"
    return Said(job.source.name, creator, job.source.begun, "" if job.complete else INCOMPLETE, facts)
