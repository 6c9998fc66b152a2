"""What does a detector find in an image that already exists? Tile by tile, merged as in a scan."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from detection.detections import Detections, Image
from detection.detector import Detector, Scale
from detection.errors import ImageRefused, PackageError
from detection.merging import TileDetections, merge
from detection.normalisation import rgb8
from detection.opening import open_detector
from detection.package import DetectorPackage, default_package
from detection.patches import Patch, patches_over
from scanner.errors import BadInput
from scanner.export.geojson import write_geojson
from scanner.model.base import Value
from scanner.model.geometry import Affine, Space
from scanner.pipeline.cell_branch import AHEAD
from scanner.pipeline.findings import Findings, from_merged
from scanner.pipeline.searching import ImageJob, Job, PixelJob, stamp_of
from scanner.session.request import IN_PROCESS, NO_DETECTOR
from scanner.session.workers import searchers
from scanner.storage.atomic import AGAIN, write_atomic
from scanner.storage.images import StoredImage, open_image
from scanner.storage.tables import findings_table, write_table
from scanner.stream import Road

TILE_PX = 1024
OVERLAP_PX = 128
Progress = Callable[[int, int, str], None]


class DetectResult(Value):
    """``found.json``: how the image was read and what came of it."""

    image: str
    um_per_px: float
    scale: str
    detector: str
    detector_hash: str
    provider: str
    findings: int
    cells: int
    slide_score: float


def detect(
    image: Path,
    out: Path,
    um_per_px: float | None = None,
    detector: str | None = None,
    progress: Progress | None = None,
    workers: str = IN_PROCESS,
) -> DetectResult:
    """Look at an image and write ``findings.parquet``, ``findings.geojson`` and ``found.json`` into ``out``.

    Args:
        image: SVS, TIFF, PNG, JPEG or OME-Zarr.
        out: a new or empty folder.
        um_per_px: its scale, where the file does not say or is wrong.
        detector: a package's folder; the shipped one by default.
        progress: told (tiles done, tiles in all, what).
        workers: ``in-process``, ``local`` or the address of a scheduler.

    Raises:
        BadInput: no such image, no scale, too coarse, an unusable package, an occupied folder, no such workers;
            nothing was written.
    """
    _refuse_occupied(out)
    with closing(open_image(image)) as picture:
        scale = scale_of(picture, image, um_per_px)
        reader = opened(detector)
        said = refuse_too_coarse(scale, reader, image)
        if workers == IN_PROCESS:
            found, provider = look(picture, scale, reader, progress or _silent), reader.provider
        else:
            asked = _Asked(image.resolve(), picture, scale, progress or _silent)
            found, provider = _look_elsewhere(asked, reader.package, workers)
    result = DetectResult(
        image=str(image),
        um_per_px=scale,
        scale=said,
        detector=reader.package.config.name,
        detector_hash=reader.package.hash,
        provider=provider,
        findings=len(found),
        cells=found.cells,
        slide_score=found.slide_score,
    )
    write_findings(out, image.name, found, AGAIN)
    write_atomic(out / "found.json", result.model_dump_json(indent=1) + "\n", AGAIN)
    return result


def _silent(done: int, of: int, what: str) -> None:
    """Nobody listens."""


def _refuse_occupied(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput.one("is not an empty folder", "choose another --out", file=str(out))


def scale_of(picture: StoredImage, image: Path, given: float | None) -> float:
    """``given``, else what the image says; BadInput where neither does."""
    scale = given or picture.um_per_px
    if scale is None:
        raise BadInput.one("does not say its µm per pixel", "give --um-per-px", file=str(image))
    return scale


def opened(package: str | None) -> Detector:
    """The detector in the folder ``package``, else the shipped one.

    Raises:
        BadInput: it is no usable package, or none at all.
    """
    if package == NO_DETECTOR:
        problem, mend = (
            "nothing can be detected without a detector",
            "leave --detector out for the shipped one",
        )
        raise BadInput.one(problem, f"{mend}, or give the folder of a package", field="--detector")
    try:
        return open_detector(Path(package) if package else default_package())
    except PackageError as error:
        raise BadInput.one(str(error), "give the folder of a detector package", file=error.path) from error


def refuse_too_coarse(um_per_px: float, detector: Detector, image: Path) -> str:
    """How the image is brought to the detector's scale, in words; BadInput where its cells would be missed."""
    try:
        return Scale.between(um_per_px, detector.package.config.spacing_um_px).said
    except ImageRefused as error:
        raise BadInput.one(
            str(error), "give a finer image or the right --um-per-px", file=str(image)
        ) from error


@dataclass(frozen=True, slots=True)
class _Tile:
    number: int
    patch: Patch


def _tiles(picture: StoredImage) -> Iterator[_Tile]:
    patches = patches_over(picture.width_px, picture.height_px, TILE_PX, OVERLAP_PX)
    return (_Tile(number, patch) for number, patch in enumerate(patches))


def look(picture: StoredImage, um_per_px: float, detector: Detector, progress: Progress) -> Findings:
    """What the detector finds, a tile at a time: memory does not grow with the image.

    Raises:
        ImageRefused: its pixels are neither gray nor RGB.
    """
    tiles = list(_tiles(picture))

    def answered() -> Iterator[tuple[_Tile, Detections]]:
        for tile in tiles:
            yield tile, detector.detect([_pixels(picture, tile.patch)], um_per_px)[0]

    return _merged(_told(answered(), len(tiles), progress), detector.package, um_per_px)


def _pixels(picture: StoredImage, patch: Patch) -> Image:
    return rgb8(picture.read(patch.x, patch.y, patch.w, patch.h), 16)


def _told(
    answered: Iterable[tuple[_Tile, Detections]], of: int, progress: Progress
) -> Iterator[TileDetections]:
    """What was found in each tile, and how far it is."""
    for tile, answer in answered:
        patch = tile.patch
        yield TileDetections(tile.number, patch.x, patch.y, patch.w, patch.h, answer)
        progress(tile.number + 1, of, "looking")


def _merged(seen: Iterable[TileDetections], package: DetectorPackage, um_per_px: float) -> Findings:
    to_slide = Affine(Space.MOSAIC, Space.SLIDE, ((um_per_px, 0.0), (0.0, um_per_px)))
    return from_merged(merge(list(seen)), package.classes, package.config.rackscan.cell_floor, to_slide)


@dataclass(frozen=True, slots=True)
class _Asked:
    """An image to be looked at by others than this process."""

    path: Path
    picture: StoredImage
    um_per_px: float
    progress: Progress


def _look_elsewhere(asked: _Asked, package: DetectorPackage, workers: str) -> tuple[Findings, str]:
    """As ``look``; and the provider. A cluster reads the image's file itself, a process is given the pixels."""
    cells, tiles = searchers(package, workers, asked.path, written=False), list(_tiles(asked.picture))
    stamp = stamp_of(asked.path)

    def jobs() -> Iterator[tuple[_Tile, Job | None]]:
        for tile in tiles:
            patch, name = tile.patch, f"{asked.path}.{stamp}.{tile.number}.{package.hash}.{asked.um_per_px}"
            place = (patch.x, patch.y, patch.w, patch.h)
            if cells.by_reference:
                yield tile, ImageJob(name, asked.path, stamp, *place, asked.um_per_px)
            else:
                yield tile, PixelJob(name, _pixels(asked.picture, patch), asked.um_per_px)

    with Road() as road:
        answered = road.parallel(jobs(), cells.workers, AHEAD, "detector")
        whole = ((tile, answer) for tile, answer in answered if answer is not None)
        return _merged(_told(whole, len(tiles), asked.progress), package, asked.um_per_px), cells.provider


def write_findings(out: Path, name: str, found: Findings, then: str) -> None:
    """``findings.parquet`` and ``findings.geojson`` of an image called ``name``; ``out`` is made where it is absent.

    ``then`` tells what a disk that refused means: see ``scanner.storage.atomic``.
    """
    out.mkdir(parents=True, exist_ok=True)
    write_table(out / "findings.parquet", findings_table(found.columns(name)), then)
    write_geojson(out / "findings.geojson", found, name, then)
