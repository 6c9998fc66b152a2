"""Which layers show a slide, and with what data? Arrays and places only; the viewer is ``napari_viewer``.

Everything is read from the run folder at the moment it is looked at, so that a running scan fills in by itself.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scanner.errors import DamagedRun
from scanner.model.events import Kind
from scanner.model.report import FocusPointFact, Outcome
from scanner.model.tile import Pixels
from scanner.review.growing import GrowingStore
from scanner.review.pictures import STATE_COLOURS
from scanner.review.rows import TileRows, finding_rows, tile_rows
from scanner.review.slide_page import seen, title, um_per_px
from scanner.review.words import OUTCOMES, VERDICTS
from scanner.storage.ome_zarr import PyramidStore
from scanner.storage.reader import RunReader

Index = int | slice
Floats = NDArray[np.float64]
LEAST_POINT_UM = 12.0
RED = (0.89, 0.14, 0.1)
FOCUS_COLOURS = {"found": (0.1, 0.45, 0.9), "no-sample": (0.6, 0.6, 0.6)}


@dataclass(frozen=True, slots=True)
class LevelArray:
    """One level of an image as an array of (h, w, 3) or (h, w) that reads only what is sliced out of it."""

    store: PyramidStore
    level: int

    @property
    def shape(self) -> tuple[int, ...]:
        """(h, w, 3) or (h, w)."""
        w, h = self.store.sizes[self.level]
        return (h, w) if self.store.spec.channels == 1 else (h, w, self.store.spec.channels)

    @property
    def ndim(self) -> int:
        """2 or 3."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many values."""
        return int(np.prod(self.shape))

    @property
    def dtype(self) -> np.dtype[np.uint8] | np.dtype[np.uint16]:
        """Of the camera."""
        return np.dtype(self.store.spec.dtype)

    def __getitem__(self, index: Index | tuple[Index, ...]) -> Pixels:
        """Read y, x (and channel) by whole numbers and slices; steps are taken after reading."""
        given = index if isinstance(index, tuple) else (index,)
        full = (*given, *(slice(None),) * (self.ndim - len(given)))
        (y, rest_y), (x, rest_x) = (_part(i, n) for i, n in zip(full[:2], self.shape[:2], strict=True))
        pixels = seen(self.store, self.level, y.start, x.start, y.stop - y.start, x.stop - x.start)
        found: Pixels = pixels[(rest_y, rest_x, *full[2:])]
        return found

    def __array__(
        self, dtype: np.dtype[np.generic] | None = None, copy: bool | None = None
    ) -> NDArray[np.generic]:
        """The whole level."""
        return np.asarray(self[:, :], dtype=dtype)


def _part(index: Index, size: int) -> tuple[slice, Index]:
    """What to read of an axis, and what to take of that."""
    if isinstance(index, slice):
        start, stop, step = index.indices(size)
        return (
            (slice(start, max(start, stop)), slice(None, None, step)) if step > 0 else (slice(0, size), index)
        )
    at = index + size if index < 0 else index
    return slice(at, at + 1), 0


@dataclass(frozen=True, slots=True)
class ImageLayer:
    """The pyramid; ``scale_um`` a pixel of level 0, ``origin_um`` (y, x) the middle of its first pixel, slide µm."""

    levels: tuple[LevelArray, ...]
    scale_um: float
    origin_um: tuple[float, float]
    brightest: float


@dataclass(frozen=True, slots=True)
class OutlineLayer:
    """Tile outlines as line segments: (4 n, 2, 2) of start and displacement, (y, x) slide µm; (4 n, 4) RGBA 0..1."""

    segments: Floats
    colours: Floats


@dataclass(frozen=True, slots=True)
class PointLayer:
    """Findings, best first: (n, 2) places (y, x) slide µm, (n,) diameters in µm, their features.

    ``colours`` (n, 4) RGBA 0..1: the lower the score, the fainter.
    """

    places_um: Floats
    diameters_um: Floats
    colours: Floats
    features: Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class FocusLayer:
    """Focus points in the order they were visited: (n, 2) places (y, x) slide µm, (n, 4) RGBA 0..1.

    ``labels``: a word or a height beside each.
    """

    places_um: Floats
    colours: Floats
    labels: tuple[str, ...]
    features: Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class SlideLayers:
    """What is shown of one slide."""

    slide_id: str
    name: str
    image: ImageLayer
    tiles: OutlineLayer
    findings: PointLayer
    focus: FocusLayer


def slide_name(reader: RunReader, slide_id: str) -> str:
    """A line of the rack: slot, accession and verdict; a slide without a report is still being scanned."""
    report = reader.report(slide_id)
    slot = slide_id.split("-", maxsplit=1)[0]
    if report is None:
        return f"{slot} · being scanned"
    if report.outcome is Outcome.EMPTY:
        return f"{slot} · {OUTCOMES[report.outcome].name}"
    return f"{slot} · {title(report)} · {VERDICTS[report.verdict].name}"


def slide_state(reader: RunReader, slide_id: str) -> tuple[int, ...]:
    """Changes whenever there is more to see of a slide."""
    kinds = (Kind.BLOCK, Kind.TILE, Kind.TILE_FINISHED, Kind.PLACED, Kind.SLIDE_FINISHED)
    newest = (reader.ledger.latest(kind, slide_id) for kind in kinds)
    findings = reader.paths(slide_id).findings
    return (
        *(event.seq if event else 0 for event in newest),
        findings.stat().st_mtime_ns if findings.is_file() else 0,
    )


def slide_layers(reader: RunReader, slide_id: str) -> SlideLayers | None:
    """The layers of a slide; None while it has no image yet.

    Raises:
        DamagedRun: a table or the image cannot be read.
    """
    paths = reader.paths(slide_id)
    if not (paths.image / "zarr.json").is_file():
        return None
    store = GrowingStore.open(paths.image)
    return SlideLayers(
        slide_id,
        slide_name(reader, slide_id),
        _image(store),
        _outlines(reader, slide_id),
        _points(reader, slide_id),
        focus_layer(reader.focus_points(slide_id)),
    )


def _image(store: PyramidStore) -> ImageLayer:
    um, (x, y) = um_per_px(store), store.spec.origin_um
    levels = tuple(LevelArray(store, level) for level in range(len(store.sizes)))
    return ImageLayer(levels, um, (y + um / 2, x + um / 2), store.spec.fill)


def _outlines(reader: RunReader, slide_id: str) -> OutlineLayer:
    plans = reader.plans(slide_id)
    if not plans:
        raise DamagedRun(f"{slide_id} has an image and no plan")
    failed = {failure.tile for failure in reader.failures(slide_id)}
    tiles = tile_rows(reader.tiles(slide_id), failed)
    return outline_layer(tiles, plans[0].grid.field_um)


def outline_layer(tiles: TileRows, field_um: tuple[float, float]) -> OutlineLayer:
    """Rectangles of ``field_um`` (x, y) around every captured or failed tile, in the colour of its state."""
    shown = tiles.state != "skipped"
    centres = np.stack([tiles.y_um, tiles.x_um], axis=1)[shown]
    w, h = field_um
    starts = np.array([(-h / 2, -w / 2), (-h / 2, w / 2), (h / 2, w / 2), (h / 2, -w / 2)])
    sides = np.array([(0.0, w), (h, 0.0), (0.0, -w), (-h, 0.0)])
    segments = np.empty((len(centres), 4, 2, 2))
    segments[:, :, 0] = centres[:, None] + starts
    segments[:, :, 1] = sides
    rgb = np.array(
        [STATE_COLOURS.get(str(state), STATE_COLOURS["failed"]) for state in tiles.state[shown]], float
    )
    rgba = np.concatenate([rgb.reshape(-1, 3) / 255, np.ones((len(centres), 1))], axis=1)
    return OutlineLayer(segments.reshape(-1, 2, 2), np.repeat(rgba, 4, axis=0))


def focus_layer(points: Sequence[FocusPointFact]) -> FocusLayer:
    """Blue where a height was found, gray without sample, red where the answer was refused."""
    unknown = math.nan
    return FocusLayer(
        np.array([(p.y_um, p.x_um) for p in points], float).reshape(-1, 2),
        np.array([(*FOCUS_COLOURS.get(p.state, RED), 1.0) for p in points], float).reshape(-1, 4),
        tuple(p.state if p.z_um is None else f"{p.z_um:.2f}" for p in points),
        {
            "z_um": np.array([unknown if p.z_um is None else p.z_um for p in points], float),
            "sigma_um": np.array([unknown if p.sigma_um is None else p.sigma_um for p in points], float),
            "state": np.array([p.state for p in points], dtype=object),
        },
    )


def _points(reader: RunReader, slide_id: str) -> PointLayer:
    found = finding_rows(reader.findings(slide_id))
    um = 1.0
    if len(found):
        um = um_per_px(PyramidStore.open(reader.paths(slide_id).image))
    return PointLayer(
        np.stack([found.y_um, found.x_um], axis=1),
        np.maximum(np.maximum(found.w_px, found.h_px) * um * 1.3, LEAST_POINT_UM),
        np.stack([*(np.full(len(found), c) for c in RED), np.clip(0.15 + found.score, 0, 1)], axis=1),
        {"rank": found.rank, "class": found.name, "score": found.score, "tile": found.tile},
    )
