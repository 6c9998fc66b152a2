"""Which images does an archive hold? Each once, and none that only shows a label or a thumbnail of another."""

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scanner.errors import BadInput, Problem
from scanner.storage.images import FLAT, KNOWN, TIFFS

SLIDE_IMAGE = "image.ome.zarr"
ZARR_FILES = ("zarr.json", ".zgroup", ".zattrs")


@dataclass(frozen=True, slots=True)
class Place:
    """Where something lies, and how it is called: its path below the source, with forward slashes."""

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class Holdings:
    """What was found: images that stand alone, and the folders of slides that runs made."""

    images: tuple[Place, ...]
    slides: tuple[Place, ...]


def is_archive(source: Path) -> bool:
    """Is this a folder of images or runs, and not itself an image?"""
    return source.is_dir() and not is_zarr(source)


def is_zarr(folder: Path) -> bool:
    """Is this folder an OME-Zarr image? Nothing in it is an image of its own."""
    return folder.name.lower().endswith(".zarr") or any((folder / name).is_file() for name in ZARR_FILES)


def run_of(slide: Path) -> Path | None:
    """The run folder that the folder of a slide belongs to, None where it is no folder of a slide."""
    root = slide.parent.parent
    return root if slide.parent.name == "slides" and _is_run(root) else None


def holdings(source: Path, leave_out: Path) -> Holdings:
    """Everything below ``source``, links followed once, hidden names and the folder ``leave_out`` ignored.

    Raises:
        BadInput: ``source`` is not there or holds no image, or a folder cannot be looked into (all of them named).
    """
    if not source.exists():
        raise BadInput.one("there is no such image or folder", "check the path", file=str(source))
    if run_of(source.parent) is not None and source.name == SLIDE_IMAGE:
        source = source.parent
    walk = _Walk(source, leave_out)
    found = walk.all() if is_archive(source) else [source]
    if walk.closed:
        raise BadInput(walk.closed)
    runs = [path for path in found if _is_slide(path)]
    images = [path for path in found if not _is_slide(path)]
    if not found:
        raise BadInput.one("holds no image that can be read", KNOWN, file=str(source))
    return Holdings(_named(images, source), _named(runs, source))


def _named(paths: list[Path], source: Path) -> tuple[Place, ...]:
    """In the order of their names, and each thing once: under its own name rather than that of a link to it."""
    own: dict[str, tuple[bool, str, Path]] = {}
    root = os.path.realpath(source)
    for path in paths:
        real = os.path.realpath(path)
        linked = path != source and real != str(Path(root) / path.relative_to(source))
        here = (linked, _said(path, source), path)
        own[real] = min(own.get(real, here), here)
    return tuple(Place(path, name) for _, name, path in sorted(own.values(), key=lambda one: one[1]))


def _said(path: Path, source: Path) -> str:
    """The path below the source; bytes that are no text (names of an older system) are escaped."""
    below = path.relative_to(source).as_posix() if path != source else path.name
    return below.encode("utf-8", "backslashreplace").decode()


def _is_run(folder: Path) -> bool:
    return (folder / "run.json").is_file() and (
        (folder / "run.sqlite").is_file() or (folder / "slides").is_dir()
    )


def _is_slide(path: Path) -> bool:
    return path.is_dir() and not is_zarr(path)


class _Walk:
    """One way through all folders, real ones before links; ``closed`` says which could not be looked into."""

    def __init__(self, source: Path, leave_out: Path) -> None:
        self._folders = deque([source])
        self._links: deque[Path] = deque()
        self._seen = {os.path.realpath(leave_out)}
        self.closed: list[Problem] = []

    def all(self) -> list[Path]:
        """Images, and the folders of slides."""
        return [path for folder in self._unseen() for path in self._in(folder)]

    def _unseen(self) -> Iterator[Path]:
        while self._folders or self._links:
            folder = self._folders.popleft() if self._folders else self._links.popleft()
            real = os.path.realpath(folder)
            if real not in self._seen:
                self._seen.add(real)
                yield folder

    def _in(self, folder: Path) -> Iterator[Path]:
        try:
            if _is_run(folder):
                yield from _visible(folder / "slides") if (folder / "slides").is_dir() else ()
            elif run_of(folder) is not None:
                yield folder
            else:
                yield from (path for path in _visible(folder) if self._is_image(path))
        except OSError as error:
            problem = f"cannot be looked into: {error.strerror}"
            self.closed.append(Problem(problem, "make it readable, or move it away", str(folder)))

    def _is_image(self, path: Path) -> bool:
        if not path.is_dir():
            return path.suffix.lower() in TIFFS | FLAT
        if not is_zarr(path):
            (self._links if path.is_symlink() else self._folders).append(path)
            return False
        return True


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
