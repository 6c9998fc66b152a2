"""At which heights do the planes of a stack say they were taken: in a TIFF's metadata, or in the names of files?"""

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import tifffile

Heights = tuple[float, ...]

_UM_PER = {
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "\\u00B5m", "micrometer"), 1.0),
    "nm": 1e-3,
    "mm": 1e3,
}
_MICRO_MANAGER = 51123
_IN_UM = re.compile(r"(?:(?<!\d)[+-])?\d+(?:\.\d+)?\s?(?:um|µm|μm|microns?)", re.IGNORECASE)
_AFTER_Z = re.compile(r"(?<![a-z])z[=_ ]?[+-]?\d+\.\d+", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
_INDEX = re.compile(r"^(.*?)(\d+)(\D*)$")


def heights_um(file: tifffile.TiffFile, planes: int) -> Heights | None:
    """One for every plane, as OME-XML or Micro-Manager wrote them; None where neither did for all of them."""
    found = _ome_positions(file.ome_metadata or "") or _micro_manager_positions(file)
    return found if len(found) == planes else None


def step_um(file: tifffile.TiffFile) -> float | None:
    """Distance between planes in ImageJ's or OME's words; None where they say nothing in a unit of length."""
    imagej = file.imagej_metadata or {}
    if imagej.get("spacing") is not None and str(imagej.get("unit", "")) in _UM_PER:
        return float(imagej["spacing"]) * _UM_PER[str(imagej["unit"])]
    pixels = _pixels(file.ome_metadata or "")
    size = None if pixels is None else pixels.get("PhysicalSizeZ")
    unit = "µm" if pixels is None else pixels.get("PhysicalSizeZUnit", "µm")
    return float(size) * _UM_PER[unit] if size is not None and unit in _UM_PER else None


def _pixels(ome: str) -> ET.Element | None:
    try:
        root = ET.fromstring(ome)
    except ET.ParseError:
        return None
    return root.find(".//{*}Pixels")


def _ome_positions(ome: str) -> Heights:
    """Of the first channel and time, in the order of TheZ."""
    pixels = _pixels(ome)
    places: dict[int, float] = {}
    for plane in [] if pixels is None else pixels.findall("{*}Plane"):
        unit = plane.get("PositionZUnit", "µm")
        first = plane.get("TheC", "0") == "0" and plane.get("TheT", "0") == "0"
        if first and plane.get("PositionZ") is not None and unit in _UM_PER:
            places[int(plane.get("TheZ", "0"))] = float(plane.get("PositionZ", "nan")) * _UM_PER[unit]
    return tuple(places[z] for z in sorted(places))


def _micro_manager_positions(file: tifffile.TiffFile) -> Heights:
    found = []
    for page in file.pages:
        tag = page.tags.get(_MICRO_MANAGER) if isinstance(page, tifffile.TiffPage) else None
        value = tag.value.get("ZPositionUm") if tag is not None and isinstance(tag.value, dict) else None
        if value is not None:
            found.append(float(value))
    return tuple(found)


def in_order(files: Sequence[Path]) -> tuple[list[Path], Heights, bool]:
    """Numbered files in order, with their heights, and whether these are µm (else steps of the numbering).

    A number with a unit (``-1.5um``) or a decimal one after a z (``z1.50``) is a height. Files that have a counter as
    well are put in its order, and the heights are as they come: whoever uses them must check that they rise.
    A gap in the numbering is a gap in the heights.
    """
    named = _named(files)
    if named:
        return [file for _, _, file in named], tuple(um for _, um, _ in named), True
    counted = sorted((int(_counter(file.stem)), file) for file in files)
    first = counted[0][0]
    step = math.gcd(*(number - first for number, _ in counted)) or 1
    return [file for _, file in counted], tuple((number - first) / step for number, _ in counted), False


def _counter(name: str) -> str:
    match = _INDEX.match(name)
    return match[2] if match else "0"


def _named(files: Sequence[Path]) -> list[tuple[int, float, Path]]:
    """Counter, µm and file; empty where not every name holds a height, or all hold the same number."""
    found = []
    for file in files:
        said = _IN_UM.search(file.stem) or _AFTER_Z.search(file.stem)
        number = _NUMBER.search(said[0]) if said else None
        if said is None or number is None:
            return []
        counter = int(_counter(file.stem.replace(said[0], "")))
        found.append((counter, float(number[0]), file))
    return sorted(found) if len({um for _, um, _ in found}) > 1 else []


def family(name: str) -> tuple[str, str] | None:
    """What a plane's name shares with those of the same stack; None for a name without a number."""
    said = _IN_UM.search(name) or _AFTER_Z.search(name)
    rest = name.replace(said[0], "") if said else name
    match = _INDEX.match(rest)
    if match:
        return match[1], match[3]
    return (rest, "") if said else None
