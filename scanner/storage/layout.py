"""Which tiles did another system take, where did it think they lie, and what do they show?

Nothing is believed of a tile's file before it was read: formats differ by system, and grids have holes.
"""

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile

from scanner.errors import BadInput, Problem
from scanner.model.geometry import Point
from scanner.model.tile import Pixels

COLUMNS = ("file", "x_px", "y_px")
TIFF = (".tif", ".tiff")
MEND = "give a CSV with the columns file,x_px,y_px; files relative to it"


@dataclass(frozen=True, slots=True)
class LaidOut:
    """A tile of the layout: the name as listed, its file, the top-left it is said to have (px)."""

    name: str
    file: Path
    at: Point


def read_layout(layout_csv: Path) -> list[LaidOut]:
    """The tiles listed in a CSV with the columns file,x_px,y_px (others are ignored), as they stand there.

    Raises:
        BadInput: every line that cannot be used.
    """
    try:
        with layout_csv.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            absent = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            rows = [] if absent else [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput.one(f"cannot be read: {error}", MEND, file=str(layout_csv)) from error
    if absent:
        raise BadInput.one(f"has no column {', '.join(absent)}", MEND, file=str(layout_csv))
    if not rows:
        raise BadInput.one("lists no tile", MEND, file=str(layout_csv))
    return _tiles(layout_csv, rows)


def _tiles(layout_csv: Path, rows: list[tuple[int, dict[str, str | None]]]) -> list[LaidOut]:
    tiles: list[LaidOut] = []
    problems: list[Problem] = []
    seen: dict[Path, str] = {}
    for line, row in rows:
        name = (row["file"] or "").strip()
        file = (layout_csv.parent / name).resolve()
        at = [_number(row[axis]) for axis in ("x_px", "y_px")]
        bad = _complaint(name, at, seen.get(file))
        if bad:
            problems.append(Problem(bad, "correct the line", file=str(layout_csv), line=line))
        else:
            tiles.append(LaidOut(name, layout_csv.parent / name, Point(at[0], at[1])))
        seen.setdefault(file, name)
    if problems:
        raise BadInput(problems)
    return tiles


def _complaint(name: str, at: list[float], listed_as: str | None) -> str:
    """What is wrong with a line; ``listed_as`` is how an earlier line names the same file."""
    if not name:
        return "names no file"
    if listed_as is not None:
        return f"lists {name} a second time" + ("" if listed_as == name else f", before as {listed_as}")
    return "" if all(math.isfinite(v) and abs(v) < 1e9 for v in at) else f"{name} has no usable x_px and y_px"


def _number(text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        return math.nan


def read_tile(file: Path) -> Pixels:
    """(h, w) or (h, w, 3) red, green, blue, uint8 or uint16, of a TIFF, PNG or JPEG.

    Raises:
        BadInput: where it cannot be decoded or has another pixel format.
    """
    try:
        pixels = _first_page(file) if file.suffix.lower() in TIFF else _decoded(file)
    except (OSError, ValueError, IndexError, RuntimeError, tifffile.TiffFileError, cv2.error) as error:
        raise BadInput.one(f"cannot be read: {error}", "replace the file", file=str(file)) from error
    if pixels.ndim == 3 and pixels.shape[0] == 3 and pixels.shape[2] != 3:
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.ndim == 3 and pixels.shape[2] in (1, 4):
        pixels = pixels[..., :3] if pixels.shape[2] == 4 else pixels[..., 0]
    known = pixels.dtype in (np.uint8, np.uint16) and (pixels.ndim == 2 or pixels.shape[2:] == (3,))
    if not known or min(pixels.shape[:2]) < 16:
        what = f"holds {pixels.shape} of {pixels.dtype}"
        raise BadInput.one(what, "give gray or RGB tiles of 8 or 16 bits", file=str(file))
    return np.ascontiguousarray(pixels)


def _first_page(file: Path) -> Any:  # whatever it holds; looked at by the caller
    """Some decoders fill in what a file cut short lacks, so its length is looked at first."""
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        ends = [at + size for at, size in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if max(ends, default=0) > tiff.filehandle.size:
            raise ValueError("the file ends before its pixels do")
        return np.asarray(page.asarray())


def _decoded(file: Path) -> Pixels:
    found = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None:
        raise ValueError("not an image")
    rgb = found if found.ndim == 2 else cv2.cvtColor(found[..., :3], cv2.COLOR_BGR2RGB)
    return np.asarray(rgb, np.uint8) if found.dtype == np.uint8 else np.asarray(rgb, np.uint16)
