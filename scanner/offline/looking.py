"""Who looks at images that exist already: this process, one of its own, or a cluster? The findings are the same.

An image is looked at tile by tile, merged as in a scan; memory does not grow with it. Several are looked at one after
the other by the same workers.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

from detection.detections import Detections, Image
from detection.detector import Detector
from detection.merging import TileDetections, merge
from detection.normalisation import rgb8
from detection.package import DetectorPackage
from detection.patches import Patch, patches_over
from scanner.model.geometry import Affine, Space
from scanner.pipeline.cell_branch import AHEAD
from scanner.pipeline.findings import Findings, from_merged
from scanner.pipeline.searching import CellSearch, ImageJob, Job, PixelJob, stamp_of
from scanner.session.request import IN_PROCESS
from scanner.session.workers import searchers
from scanner.storage.images import StoredImage
from scanner.stream import Road

TILE_PX = 1024
OVERLAP_PX = 128
Progress = Callable[[int, int, str], None]


class Looker(Protocol):
    """Looks at one image after the other until its block ends; ``provider`` is the runtime that searches."""

    provider: str

    def __enter__(self) -> "Looker": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def look(self, picture: StoredImage, path: Path, um_per_px: float, progress: Progress) -> Findings:
        """What the detector finds.

        Args:
            picture: the image, open.
            path: where its file or folder lies.
            um_per_px: its scale.
            progress: told (tiles done, tiles in all, what).

        Raises:
            ImageRefused: its pixels are neither gray nor RGB.
            DamagedRun: a worker could not read it.
            StepFailed: the workers gave no answer.
            Exception: whatever ``picture`` raises. After any of these the next image may still be looked at.
        """
        ...


def looker(detector: Detector, workers: str, near: Path) -> Looker:
    """Who looks.

    Args:
        detector: open in this process.
        workers: ``in-process``, ``local`` or the address of a scheduler.
        near: the image, or the folder that the images lie in: workers of a cluster must see it by the same path.

    Raises:
        BadInput: there are no such workers; nothing was started.
    """
    return Here(detector) if workers == IN_PROCESS else Elsewhere(detector.package, workers, near)


class Here:
    """In this process, a tile at a time."""

    def __init__(self, detector: Detector) -> None:
        self._detector, self.provider = detector, detector.provider

    def __enter__(self) -> "Here":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """There is nothing to end."""

    def look(self, picture: StoredImage, path: Path, um_per_px: float, progress: Progress) -> Findings:
        """See :class:`Looker`."""
        tiles = list(_tiles(picture))

        def answered() -> Iterator[tuple[_Tile, Detections]]:
            for tile in tiles:
                yield tile, self._detector.detect([_pixels(picture, tile.patch)], um_per_px)[0]

        return _merged(_told(answered(), len(tiles), progress), self._detector.package, um_per_px)


class Elsewhere:
    """In a process of its own, which is given the pixels, or on a cluster, whose workers read the file themselves."""

    def __init__(self, package: DetectorPackage, workers: str, near: Path) -> None:
        self._package, self._workers, self._near = package, workers, near
        self._cells: CellSearch | None = searchers(package, workers, near, written=False)
        self.provider = self._cells.provider
        self._at_work = ExitStack()
        self._road = self._at_work.enter_context(Road())

    def __enter__(self) -> "Elsewhere":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def look(self, picture: StoredImage, path: Path, um_per_px: float, progress: Progress) -> Findings:
        """See :class:`Looker`; after a failure, which may leave jobs under way, the workers are begun anew.

        Raises:
            BadInput: they cannot be.
        """
        cells, reading = self._ready(), _Reading(picture, path.resolve(), um_per_px)
        tiles = list(_tiles(picture))
        try:
            jobs = reading.jobs(tiles, self._package.hash, cells.by_reference)
            answered = self._road.parallel(jobs, cells.workers, AHEAD, "detector")
            whole = ((tile, answer) for tile, answer in answered if answer is not None)
            return _merged(_told(whole, len(tiles), progress), self._package, um_per_px)
        except BaseException as error:
            self._end()
            if reading.failure is not None:
                raise reading.failure from error
            raise

    def _ready(self) -> CellSearch:
        if self._cells is None:
            self._cells = searchers(self._package, self._workers, self._near, written=False)
            self._road = self._at_work.enter_context(Road())
        return self._cells

    def _end(self) -> None:
        if self._cells is not None:
            self._cells.workers.kill()
        self._cells = None
        self._at_work.close()


@dataclass(frozen=True, slots=True)
class _Tile:
    number: int
    patch: Patch


def _tiles(picture: StoredImage) -> Iterator[_Tile]:
    patches = patches_over(picture.width_px, picture.height_px, TILE_PX, OVERLAP_PX)
    return (_Tile(number, patch) for number, patch in enumerate(patches))


class _Reading:
    """Makes the jobs of an image in the road's thread; ``failure`` is what the image raised there."""

    def __init__(self, picture: StoredImage, path: Path, um_per_px: float) -> None:
        self._picture, self._path, self._um_per_px = picture, path, um_per_px
        self.failure: Exception | None = None

    def jobs(
        self, tiles: Iterable[_Tile], detector: str, by_reference: bool
    ) -> Iterator[tuple[_Tile, Job | None]]:
        """One of every tile."""
        try:
            stamp = stamp_of(self._path)
            for tile in tiles:
                name = f"{self._path}.{stamp}.{tile.number}.{detector}.{self._um_per_px}"
                yield tile, self._job(name, stamp, tile.patch, by_reference)
        except Exception as error:
            self.failure = error
            raise

    def _job(self, name: str, stamp: tuple[int, int], patch: Patch, by_reference: bool) -> Job:
        if by_reference:
            place = (patch.x, patch.y, patch.w, patch.h)
            return ImageJob(name, self._path, stamp, *place, self._um_per_px)
        return PixelJob(name, _pixels(self._picture, patch), self._um_per_px)


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
