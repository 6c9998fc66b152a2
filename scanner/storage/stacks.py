"""How is a recorded z-stack read: a multi-page TIFF, or a folder of numbered planes?"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from scanner.errors import BadInput
from scanner.storage.stack_heights import Heights, family, heights_um, in_order, step_um

Plane = NDArray[Any]
Told = Callable[[int, int], None]

PLANE_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"})
KNOWN = "give a multi-page TIFF, or a folder of numbered PNG, JPEG or TIFF planes"
_STACK_AXES = "ZIQT"
_DAMAGED = ("invalid page offset", "corrupted", "invalid value offset", "missing data")
_LOOSE_PAGES = {"generic", "uniform"}
_JPEG_END, _TAIL_BYTES = b"\xff\xd9", 1024


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack as it was stored.

    Attributes:
        planes: each (h, w), (h, w, 3) RGB or (h, w, 4), in order.
        z_step_um: None where the file says nothing.
        heights_um: (n,) where the file or the names say it for each plane, as they say it: perhaps unordered.
        steps: (n,) places of the planes in steps; where a number is missing in a folder, one is left out.
    """

    planes: tuple[Plane, ...]
    z_step_um: float | None
    heights_um: Heights | None
    steps: Heights


def read_stack(path: Path, told: Told | None = None) -> Stack:
    """All planes of a stack, in memory; ``told`` hears how many are read.

    Raises:
        BadInput: it is not there, is cut off, or holds no planes that can be read.
    """
    if not path.exists():
        raise BadInput.one("there is no such stack", "check the path", file=str(path))
    return _folder(path, told) if path.is_dir() else _tiff(path)


def _folder(path: Path, told: Told | None) -> Stack:
    """The largest family of files that differ in one number; others (a fused image, notes) are left alone."""
    families: dict[tuple[str, ...], list[Path]] = {}
    for file in sorted(path.iterdir()):
        kin = family(file.stem)
        if kin is not None and file.suffix.lower() in PLANE_ENDINGS and file.is_file():
            families.setdefault((*kin, file.suffix.lower()), []).append(file)
    if not families:
        raise BadInput.one("holds no numbered planes", KNOWN, file=str(path))
    files, heights, in_um = in_order(max(families.values(), key=len))
    if len(files) == 1 and files[0].suffix.lower().startswith(".tif"):
        return _tiff(files[0])
    planes = tuple(_pictures(files, told))
    steps = tuple(float(n) for n in range(len(files))) if in_um else heights
    return Stack(planes, None, heights if in_um else None, steps)


def _pictures(files: Sequence[Path], told: Told | None) -> Iterator[Plane]:
    for number, file in enumerate(files, start=1):
        yield _picture(file)
        if told is not None:
            told(number, len(files))


def _picture(path: Path) -> Plane:
    if path.suffix.lower() in {".jpg", ".jpeg"} and _JPEG_END not in path.read_bytes()[-_TAIL_BYTES:]:
        raise BadInput.one("is cut off", "copy it again from its source", file=str(path))
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise BadInput.one("is not a readable image", KNOWN, file=str(path))
    if pixels.ndim == 3 and pixels.shape[2] >= 3:
        swap = cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
        pixels = cv2.cvtColor(pixels, swap)
    return np.asarray(pixels)


def _tiff(path: Path) -> Stack:
    try:
        with _complaints() as heard, tifffile.TiffFile(path) as file:
            kinds = {(page.shape, page.dtype) for page in file.pages}  # before series, which assumes one kind
            series = file.series[0]
            if len(kinds) > 1 and series.kind in _LOOSE_PAGES:
                raise BadInput.one("its pages differ in shape or type", KNOWN, file=str(path))
            planes = tuple(_planes(_coloured(series), series.axes, path))
            found = Stack(planes, step_um(file), heights_um(file, len(planes)), _counted(planes))
    except (tifffile.TiffFileError, IndexError, OSError, ValueError, RuntimeError) as error:
        raise BadInput.one(f"is not a readable TIFF: {error}", KNOWN, file=str(path)) from error
    damage = next((text for text in heard if any(word in text for word in _DAMAGED)), None)
    if damage is not None:
        raise BadInput.one(
            f"is cut off or damaged: {damage}", "copy it again from its source", file=str(path)
        )
    return found


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """What tifffile only logs: that pages are missing from the end of a file, for one."""
    heard: list[str] = []
    listener = logging.Handler(logging.WARNING)
    listener.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]  # one line
    logger = logging.getLogger("tifffile")
    logger.addHandler(listener)
    try:
        yield heard
    finally:
        logger.removeHandler(listener)


def _counted(planes: Sequence[Plane]) -> Heights:
    return tuple(float(number) for number in range(len(planes)))


def _coloured(series: tifffile.TiffPageSeries) -> Plane:
    """The pixels; indices into a palette become RGB."""
    values = series.asarray()
    page = series.keyframe
    if page.photometric != tifffile.PHOTOMETRIC.PALETTE or page.colormap is None:
        return values
    return np.moveaxis((page.colormap >> 8).astype(np.uint8)[:, values], 0, -1)


def _planes(values: Plane, axes: str, path: Path) -> list[Plane]:
    """Split along the z axis; colour goes last, any other axis must be of length one."""
    axes = axes + "S" * (values.ndim - len(axes))
    along = next((axis for axis in _STACK_AXES if axis in axes), None)
    colour = next((axis for axis in "SC" if axis in axes), None)
    for axis in [a for a in axes if a not in {along, colour, "Y", "X"}]:
        if values.shape[axes.index(axis)] != 1:
            raise BadInput.one(f"has more than one position along {axis}", KNOWN, file=str(path))
        values, axes = np.squeeze(values, axes.index(axis)), axes.replace(axis, "")
    order = [axes.index(axis) for axis in (along, "Y", "X", colour) if axis is not None]
    ordered = np.transpose(values, order)
    if colour is not None and ordered.shape[-1] not in (3, 4):
        ordered = ordered[..., 0]
    return list(ordered) if along is not None else [ordered]
