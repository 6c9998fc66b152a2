"""How do boxes lie over an image so that any viewer shows them? As a label image of OME-Zarr 0.5 inside of it.

The value of a pixel is the number of its box, counted from 1 in the order given; where boxes overlap, the first shows.
It begins at a coarser level of its image than 0: a cell is some pixels across, and the end of a slide does not wait.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from scanner.errors import DamagedRun
from scanner.model.events import Json
from scanner.storage.ngff import CHUNK_PX, ZSTD_LEVEL, ImageSpec, level_sizes, transforms

FOLDER, NAME = "labels", "findings"
FIRST_LEVEL = 2
MOST = int(np.iinfo(np.uint16).max)

Boxes = NDArray[np.float64]
Chunk = NDArray[np.uint16]
Place = tuple[int, int, int]
"""Level of the labels, row and column of a chunk."""


def label_sizes(spec: ImageSpec) -> list[tuple[int, int]]:
    """(w, h) of every level of the labels: as many as the image has, the first a quarter of its size.

    Validators ask for the same number, so the last ones are small.
    """
    sizes = level_sizes(spec.width_px, spec.height_px)
    w, h = sizes[0]
    levels = range(FIRST_LEVEL, FIRST_LEVEL + len(sizes))
    return [(max(1, w >> level), max(1, h >> level)) for level in levels]


def chunks(spec: ImageSpec, boxes: Boxes) -> Iterator[tuple[Place, Chunk]]:
    """Every chunk that a box touches, (512, 512) uint16; it is overwritten by the next.

    Args:
        spec: of the image.
        boxes: (n, 4) float64 x, y, w, h in px of level 0; of more than 65,535 the first count.
    """
    drawn = np.empty((CHUNK_PX, CHUNK_PX), np.uint16)
    for level, size in enumerate(label_sizes(spec)):
        corners = _corners(boxes[:MOST] / 2 ** (level + FIRST_LEVEL), size)
        for (row, col), numbers in sorted(_touched(corners).items()):
            drawn.fill(0)
            y, x = row * CHUNK_PX, col * CHUNK_PX
            for number in reversed(numbers):
                left, top, right, bottom = corners[number]
                drawn[max(0, top - y) : bottom - y, max(0, left - x) : right - x] = number + 1
            yield (level, row, col), drawn


def _corners(boxes: Boxes, size: tuple[int, int]) -> list[list[int]]:
    """Left, top, right, bottom in whole px, on the canvas; a box is never less than a pixel."""
    last = np.array(size) - 1
    low = np.clip(np.floor(boxes[:, :2]), 0, last)
    high = np.clip(np.ceil(boxes[:, :2] + boxes[:, 2:]), low + 1, last + 1)
    corners: list[list[int]] = np.hstack([low, high]).astype(int).tolist()
    return corners


def _touched(corners: Sequence[Sequence[int]]) -> dict[tuple[int, int], list[int]]:
    """Which boxes, best first, lie in which chunk (row, col)."""
    found: dict[tuple[int, int], list[int]] = {}
    for number, (left, top, right, bottom) in enumerate(corners):
        for row in range(top // CHUNK_PX, (bottom - 1) // CHUNK_PX + 1):
            for col in range(left // CHUNK_PX, (right - 1) // CHUNK_PX + 1):
                found.setdefault((row, col), []).append(number)
    return found


def write_labels(
    folder: Path,
    spec: ImageSpec,
    boxes: Boxes,
    properties: Sequence[Mapping[str, Json]],
    colours: Sequence[Sequence[int]],
) -> None:
    """``labels`` in an empty ``folder``, with one label image, ``findings``.

    Args:
        folder: becomes ``labels`` in the folder of the image.
        spec: of the image.
        boxes: as for ``chunks``.
        properties: what viewers tell of each box.
        colours: red, green, blue of each, 0..255.

    Raises:
        OSError: the disk refuses.
    """
    _put(folder, {"node_type": "group", "attributes": {"ome": {"version": "0.5", "labels": [NAME]}}})
    own = folder / NAME
    for level, size in enumerate(label_sizes(spec)):
        _put(own / str(level), _array_metadata(size))
    for place, chunk in chunks(spec, boxes):
        path = chunk_file(folder, place)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(imagecodecs.zstd_encode(chunk.astype("<u2", copy=False).tobytes(), ZSTD_LEVEL))
    _put(own, _group_metadata(spec, properties[:MOST], colours[:MOST]))


def chunk_file(folder: Path, place: Place) -> Path:
    """Where a chunk lies below ``labels``."""
    level, row, col = place
    return folder.joinpath(NAME, str(level), "c", str(row), str(col))


def read_chunk(path: Path) -> Chunk:
    """A chunk that ``write_labels`` wrote, (512, 512) uint16.

    Raises:
        DamagedRun: it cannot be read.
    """
    try:
        values = np.frombuffer(imagecodecs.zstd_decode(path.read_bytes()), "<u2")
        return np.asarray(values.reshape(CHUNK_PX, CHUNK_PX), np.uint16)
    except (OSError, ValueError, RuntimeError) as error:
        raise DamagedRun(f"{path}: the labels cannot be read: {error}") from error


def _put(folder: Path, metadata: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"zarr_format": 3, **metadata})
    (folder / "zarr.json").write_text(text, encoding="utf-8")


def _array_metadata(size: tuple[int, int]) -> dict[str, Any]:
    return {
        "node_type": "array",
        "shape": [size[1], size[0]],
        "data_type": "uint16",
        "fill_value": 0,
        "dimension_names": ["y", "x"],
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [CHUNK_PX, CHUNK_PX]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": [
            {"name": "bytes", "configuration": {"endian": "little"}},
            {"name": "zstd", "configuration": {"level": ZSTD_LEVEL, "checksum": False}},
        ],
        "attributes": {},
    }


def _transforms(spec: ImageSpec, level: int) -> list[dict[str, Any]]:
    """Those of the image's level, without its channels and layers."""
    return [{"type": each["type"], each["type"]: each[each["type"]][-2:]} for each in transforms(spec, level)]


def _group_metadata(
    spec: ImageSpec,
    properties: Sequence[Mapping[str, Json]],
    colours: Sequence[Sequence[int]],
) -> dict[str, Any]:
    """https://ngff.openmicroscopy.org/0.5/#labels-md."""
    unit = {} if spec.um_per_px is None else {"unit": "micrometer"}
    multiscale = {
        "name": NAME,
        "type": "nearest",
        "axes": [{"name": axis, "type": "space", **unit} for axis in "yx"],
        "datasets": [
            {"path": str(level), "coordinateTransformations": _transforms(spec, level + FIRST_LEVEL)}
            for level in range(len(label_sizes(spec)))
        ],
    }
    numbered = [{"label-value": n, **said} for n, said in enumerate(properties, 1)]
    rgba = [{"label-value": n, "rgba": [*colour, 255]} for n, colour in enumerate(colours, 1)]
    said = {"colors": rgba, "properties": numbered} if numbered else {}
    image_label = {**said, "source": {"image": "../../"}}
    ome = {"version": "0.5", "multiscales": [multiscale], "image-label": image_label}
    return {"node_type": "group", "attributes": {"ome": ome}}
