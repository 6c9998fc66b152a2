"""Who searches tiles for cells, and what are they told of each? The pixels, or, on other machines, where they lie.

In this process, in one of its own or on a cluster, the same class searches, so that the findings are the same.
"""

import dataclasses
import importlib.metadata
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import tifffile

from detection.detections import Detections, Image
from detection.detector import Detector
from detection.errors import DetectionError
from detection.normalisation import rgb8
from detection.opening import open_detector, provider_here
from detection.package import DetectorPackage, default_package
from scanner.answering import Here, Workers
from scanner.errors import DamagedRun, RackscanError, StepFailed
from scanner.model.profile import Profile
from scanner.model.tile import Pixels
from scanner.pipeline.flat_field import Correction
from scanner.pipeline.search_keys import READING
from scanner.storage.hashes import content_hash
from scanner.storage.images import StoredImage, open_image
from scanner.storage.light_facts import FlatFieldFact
from scanner.stream import Worker


class Job(Protocol):
    """One tile to search."""

    @property
    def name(self) -> str:
        """Which answer it asks for: the same for the same question alone."""
        ...

    @property
    def um_per_px(self) -> float:
        """Its scale."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of its pixels, here or where they lie."""
        ...

    def image(self) -> Image:
        """(h, w, 3) uint8.

        Raises:
            DamagedRun: what it refers to is gone, or is not what it was.
        """
        ...


@dataclass(frozen=True, slots=True)
class PixelJob:
    """The pixels themselves, for this machine."""

    name: str
    pixels: Image
    um_per_px: float

    @property
    def nbytes(self) -> int:
        """Of the pixels."""
        return self.pixels.nbytes

    def image(self) -> Image:
        """The pixels."""
        return self.pixels


@dataclass(frozen=True, slots=True)
class FrameJob:
    """A frame of the spool by its path and the hash of its content, and what makes it upright and even.

    ``profile`` and ``light`` are the JSON of a ``Profile`` and of a ``FlatFieldFact``.
    """

    name: str
    path: Path
    content: str
    profile: str
    light: str
    um_per_px: float
    nbytes: int

    def image(self) -> Image:
        """The tile as the judge saw it, from its raw frame.

        Raises:
            DamagedRun: the frame is gone, or is not the one that was captured.
        """
        try:
            raw = tifffile.imread(self.path)
        except (OSError, ValueError) as error:
            raise DamagedRun(f"{self.path}: the frame cannot be read: {error}") from error
        if content_hash(raw) != self.content:
            raise DamagedRun(f"{self.path}: the frame is not the one that was captured")
        return as_rgb8(_correction(self.profile, self.light)(raw))


@dataclass(frozen=True, slots=True)
class ImageJob:
    """A rectangle of a file that exists already; size and time say that it is still the same file."""

    name: str
    path: Path
    stamp: tuple[int, int]
    x: int
    y: int
    w: int
    h: int
    um_per_px: float

    @property
    def nbytes(self) -> int:
        """As 8 bit RGB."""
        return 3 * self.w * self.h

    def image(self) -> Image:
        """The rectangle.

        Raises:
            DamagedRun: the file is another one by now, or its decoder cannot read it.
            OSError: the disk refused.
        """
        try:
            return rgb8(_picture(self.path, self.stamp).read(self.x, self.y, self.w, self.h), 16)
        except RackscanError:
            raise
        except Exception as error:  # decoders raise what they like, also an OSError without a number
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise DamagedRun(f"{self.path}: {str(error) or type(error).__name__}") from error


def stamp_of(path: Path) -> tuple[int, int]:
    """Size in bytes and time of the last change, ns; of a folder those of its own entry."""
    said = path.stat()
    return said.st_size, said.st_mtime_ns


def as_rgb8(pixels: Pixels) -> Image:
    """(h, w, 3) uint8 of a gray or colour frame of 8 or 16 bits."""
    eight = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    return np.asarray(eight if eight.ndim == 3 else np.repeat(eight[..., None], 3, axis=2), np.uint8)


@cache
def _correction(profile: str, light: str) -> Correction:
    return Correction.decided(Profile.model_validate_json(profile), FlatFieldFact.model_validate_json(light))


@cache
def _picture(path: Path, stamp: tuple[int, int]) -> StoredImage:
    if not sees(path, stamp):
        raise DamagedRun(f"{path}: the image is gone, or was changed since it was opened")
    return open_image(path)


class Search:
    """A package opened on its device and tested against its own image; it answers one job at a time."""

    def __init__(self, package: Path) -> None:
        self.detector: Detector = open_detector(package)

    def __call__(self, job: Job) -> Detections:
        """The cells of one tile, boxes in its px."""
        return self.detector.detect([job.image()], job.um_per_px)[0]


def search_alone(package: Path) -> Search:
    """In a process of its own that leaves the other processors to the road."""
    cv2.setNumThreads(1)
    return Search(package)


@dataclass(frozen=True, slots=True)
class CellSearch:
    """Who searches; ``provider`` is the runtime, its version and device: answers are the same bytes only within one.

    ``by_reference``: jobs must not carry pixels.
    """

    workers: Workers[Job, Detections]
    provider: str
    by_reference: bool = False


def in_process(package: Path) -> CellSearch:
    """In the thread that asks: nothing is started, and the road waits for each answer."""
    return CellSearch(Here(partial(Search, package), "detector"), provider_here())


def in_own_process(package: Path) -> CellSearch:
    """In one process of its own, at a lower priority than the road."""
    return CellSearch(Worker(partial(search_alone, package), "detector", nice=10), provider_here())


@dataclass(frozen=True, slots=True)
class Means:
    """What a worker would search with: all that decides about an answer beside the job."""

    package_hash: str
    provider: str
    libraries: str
    rackscan: str

    def unlike(self, other: "Means") -> str:
        """In words, where two differ; empty where they do not."""
        pairs = ((f.name, getattr(self, f.name), getattr(other, f.name)) for f in dataclasses.fields(self))
        return "; ".join(
            f"{name}: {one or 'none'} and {two or 'none'}" for name, one, two in pairs if one != two
        )


def libraries_here() -> str:
    """Those that resample and correct, with their versions."""
    return f"numpy {np.__version__}, OpenCV {cv2.__version__}"


def rackscan_here() -> str:
    """The version of this program, and of how it reads tiles."""
    return f"{importlib.metadata.version('rackscan')} (reading {READING})"


def means_of(package: Path, package_hash: str) -> Means:
    """What this process searches with; no hash where it has the package neither at ``package`` nor shipped."""
    found = _package(package, package_hash)
    if found is None:
        return Means("", "", libraries_here(), rackscan_here())
    return Means(package_hash, _search(found).detector.provider, libraries_here(), rackscan_here())


def sees(path: Path, stamp: tuple[int, int]) -> bool:
    """Is that very file or folder here, by the same path?"""
    return path.exists() and stamp_of(path) == stamp


@dataclass(frozen=True, slots=True)
class RemoteSearch:
    """What a worker of a cluster does with a job: it refuses where its means are others than those agreed on."""

    package: Path
    means: Means

    def __call__(self, job: Job) -> Detections:
        """As ``Search``.

        Raises:
            StepFailed: this worker would give another answer than the others.
        """
        found = _package(self.package, self.means.package_hash)
        unlike = means_of(self.package, self.means.package_hash).unlike(self.means)
        if found is None or unlike:
            raise StepFailed(f"a worker that came later searches by other means: {unlike}")
        return _search(found)(job)


@cache
def _package(path: Path, package_hash: str) -> Path | None:
    """Where this machine has the package of that hash: at ``path``, or the one that its rackscan ships."""
    for place in (path, default_package()):
        try:
            if DetectorPackage.load(place).hash == package_hash:
                return place
        except DetectionError:
            continue
    return None


@cache
def _search(package: Path) -> Search:
    return search_alone(package)
