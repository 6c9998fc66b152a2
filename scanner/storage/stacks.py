"""How is a recorded z-stack read: a multi-page TIFF, or a folder of numbered planes?"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from scanner.errors import BadInput

Plane = NDArray[Any]

PLANE_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"})
KNOWN = "give a multi-page TIFF, or a folder of numbered PNG, JPEG or TIFF planes"
_NUMBERED = re.compile(r"^(.*?)(\d+)(\D*)$")
_STACK_AXES = "ZIQT"
_MICROMETRES = {"um", "µm", "micron", "microns", "\\u00B5m"}


@dataclass(frozen=True, slots=True)
class Stack:
    """``planes``: each (h, w), (h, w, 3) RGB or (h, w, 4), in order; ``z_step_um`` None where the file says nothing."""

    planes: tuple[Plane, ...]
    z_step_um: float | None


def read_stack(path: Path) -> Stack:
    """All planes of a stack, in memory.

    Raises:
        BadInput: it is not there, or holds no planes that can be read.
    """
    if not path.exists():
        raise BadInput.one("there is no such stack", "check the path", file=str(path))
    return _folder(path) if path.is_dir() else _tiff(path)


def _folder(path: Path) -> Stack:
    """The largest family of files that differ in one number; others (a fused image, notes) are left alone."""
    families: dict[tuple[str, str, str], list[tuple[int, Path]]] = {}
    for file in sorted(path.iterdir()):
        match = _NUMBERED.match(file.stem)
        if match and file.suffix.lower() in PLANE_ENDINGS and file.is_file():
            family = (match[1], match[3], file.suffix.lower())
            families.setdefault(family, []).append((int(match[2]), file))
    if not families:
        raise BadInput.one("holds no numbered planes", KNOWN, file=str(path))
    largest = max(families.values(), key=len)
    return Stack(tuple(_picture(file) for _, file in sorted(largest)), None)


def _picture(path: Path) -> Plane:
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise BadInput.one("is not a readable image", KNOWN, file=str(path))
    if pixels.ndim == 3 and pixels.shape[2] >= 3:
        swap = cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
        pixels = cv2.cvtColor(pixels, swap)
    return np.asarray(pixels)


def _tiff(path: Path) -> Stack:
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            return Stack(tuple(_planes(series.asarray(), series.axes, path)), _z_step_um(file))
    except (tifffile.TiffFileError, IndexError, OSError, ValueError) as error:
        raise BadInput.one(f"is not a readable TIFF: {error}", KNOWN, file=str(path)) from error


def _planes(values: Plane, axes: str, path: Path) -> list[Plane]:
    """Split along the z axis; colour goes last, any other axis must be of length one."""
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


def _z_step_um(file: tifffile.TiffFile) -> float | None:
    """From ImageJ's or OME's words."""
    imagej = file.imagej_metadata
    if imagej and imagej.get("spacing") and str(imagej.get("unit", "")) in _MICROMETRES:
        return float(imagej["spacing"])
    match = re.search(r'PhysicalSizeZ="([0-9.eE+-]+)"', file.ome_metadata or "")
    in_um = 'PhysicalSizeZUnit="' not in (file.ome_metadata or "") or 'PhysicalSizeZUnit="µm"' in (
        file.ome_metadata or ""
    )
    return float(match[1]) if match and in_um else None
