"""What does a detector find in an image that already exists? Who looks at it, ``looking`` says."""

from contextlib import closing
from pathlib import Path

from detection.detector import Detector, Scale
from detection.errors import ImageRefused, PackageError
from detection.opening import open_detector
from detection.package import default_package
from scanner.errors import BadInput
from scanner.export.geojson import write_geojson
from scanner.model.base import Value
from scanner.offline.looking import Progress, looker
from scanner.pipeline.findings import Findings
from scanner.session.request import IN_PROCESS, NO_DETECTOR
from scanner.storage.atomic import AGAIN, write_atomic
from scanner.storage.images import StoredImage, open_image
from scanner.storage.tables import findings_table, write_table


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
        with looker(reader, workers, image) as eyes:
            found = eyes.look(picture, image, scale, progress or _silent)
    result = DetectResult(
        image=str(image),
        um_per_px=scale,
        scale=said,
        detector=reader.package.config.name,
        detector_hash=reader.package.hash,
        provider=eyes.provider,
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


def write_findings(out: Path, name: str, found: Findings, then: str) -> None:
    """``findings.parquet`` and ``findings.geojson`` of an image called ``name``; ``out`` is made where it is absent.

    ``then`` tells what a disk that refused means: see ``scanner.storage.atomic``.
    """
    out.mkdir(parents=True, exist_ok=True)
    write_table(out / "findings.parquet", findings_table(found.columns(name)), then)
    write_geojson(out / "findings.geojson", found, name, then)
