"""Which layers show a slide, and with what data? Arrays and places only; the viewer is ``napari_viewer``.

Everything is read from the run folder at the moment it is looked at, so that a running scan fills in by itself.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanner.errors import DamagedRun
from scanner.model.correction import Correction
from scanner.model.events import Kind
from scanner.model.report import FocusPointFact, Outcome
from scanner.review.growing import GrowingStore
from scanner.review.pictures import STATE_COLOURS
from scanner.review.rows import TileRows, finding_rows, tile_rows
from scanner.review.slide_page import title, um_per_px
from scanner.review.words import OUTCOMES, VERDICTS
from scanner.storage.ome_zarr import PyramidStore
from scanner.storage.reader import RunReader

Index = int | slice
Floats = NDArray[np.float64]
LEAST_POINT_UM = 12.0
CORRECTED_UM = 30.0
RED = (0.89, 0.14, 0.1)
GREEN = (0.1, 0.75, 0.2, 1.0)
FOCUS_COLOURS = {"found": (0.1, 0.45, 0.9), "no-sample": (0.6, 0.6, 0.6)}


@dataclass(frozen=True, slots=True)
class LevelArray:
    """One level of an image as an array of ([z,] h, w[, 3]) that reads only what is sliced out of it."""

    store: PyramidStore
    level: int

    @property
    def shape(self) -> tuple[int, ...]:
        """([z,] h, w[, 3]): layers and colours where the image has them."""
        w, h = self.store.sizes[self.level]
        spec = self.store.spec
        layers = () if spec.layers is None else (spec.layers,)
        return (*layers, h, w) if spec.channels == 1 else (*layers, h, w, spec.channels)

    @property
    def ndim(self) -> int:
        """2, 3 or 4."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many values."""
        return int(np.prod(self.shape))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the camera; float32 for heights."""
        return np.dtype(self.store.spec.dtype)

    def __getitem__(self, index: Index | tuple[Index, ...]) -> NDArray[Any]:
        """Read (z,) y, x (and channel) by whole numbers and slices; steps are taken after reading."""
        given = index if isinstance(index, tuple) else (index,)
        full = (*given, *(slice(None),) * (self.ndim - len(given)))
        if self.store.spec.layers is None:
            return self._plane(0, full)
        planes = range(self.store.spec.layers)[full[0]]
        if isinstance(planes, int):
            return self._plane(planes, full[1:])
        return np.stack([self._plane(z, full[1:]) for z in planes])

    def _plane(self, z: int, index: tuple[Index, ...]) -> NDArray[Any]:
        h, w = self.store.sizes[self.level][::-1]
        (y, rest_y), (x, rest_x) = (_part(i, n) for i, n in zip(index[:2], (h, w), strict=True))
        block = self.store.read(self.level, y.start, x.start, y.stop - y.start, x.stop - x.start, z)
        pixels = block[0] if len(block) == 1 else np.moveaxis(block, 0, -1)
        found: NDArray[Any] = np.ascontiguousarray(pixels)[(rest_y, rest_x, *index[2:])]
        return found

    def __array__(self, dtype: np.dtype[np.generic] | None = None, copy: bool | None = None) -> NDArray[Any]:
        """The whole level."""
        return np.asarray(self[:], dtype=dtype)


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
    """A pyramid; ``scale_um`` ([z,] y, x) of level 0, ``origin_um`` the middle of its first pixel, slide µm.

    z counts from the focus surface; ``shown`` is the range of values that is shown.
    """

    levels: tuple[LevelArray, ...]
    scale_um: tuple[float, ...]
    origin_um: tuple[float, ...]
    shown: tuple[float, float]


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
    """What is shown of one slide.

    ``edf`` and ``height`` where its layers were fused, ``cells`` where suspicious cells were taken again: their planes,
    on the slide's own canvas.
    """

    slide_id: str
    name: str
    image: ImageLayer
    tiles: OutlineLayer
    findings: PointLayer
    focus: FocusLayer
    edf: ImageLayer | None = None
    height: ImageLayer | None = None
    cells: ImageLayer | None = None


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
    return SlideLayers(
        slide_id,
        slide_name(reader, slide_id),
        image_layer(GrowingStore.open(paths.image)),
        _outlines(reader, slide_id),
        _points(reader, slide_id),
        focus_layer(reader.focus_points(slide_id)),
        edf=image_layer(GrowingStore.open(paths.edf)) if paths.edf in paths.images else None,
        height=image_layer(PyramidStore.open(paths.height)) if paths.height in paths.images else None,
        cells=image_layer(PyramidStore.open(paths.cells)) if paths.cells in paths.images else None,
    )


def image_layer(store: PyramidStore) -> ImageLayer:
    """All levels of an image, and where it lies on the slide."""
    spec, um, (x, y) = store.spec, um_per_px(store), store.spec.origin_um
    levels = tuple(LevelArray(store, level) for level in range(len(store.sizes)))
    scale: tuple[float, ...] = (um, um)
    origin: tuple[float, ...] = (y + um / 2, x + um / 2)
    if spec.layers is not None:
        scale, origin = (spec.layer_um, *scale), (-spec.layer_um * spec.middle, *origin)
    return ImageLayer(levels, scale, origin, spec.shown or (0.0, spec.fill))


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


def correction_layer(said: Sequence[Correction]) -> PointLayer:
    """What people said of cells, green: the class or ``no cell`` beside each."""
    um = [(c.y_um, c.x_um) for c in said]
    return PointLayer(
        np.array(um, float).reshape(-1, 2),
        np.full(len(said), CORRECTED_UM),
        np.tile(np.array([GREEN]), (len(said), 1)),
        {"said": np.array([c.name or "no cell" for c in said], dtype=object)},
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
        {
            "rank": found.rank,
            "class": found.name,
            "score": found.score,
            "tile": found.tile,
            "layer": found.layer,
        },
    )
