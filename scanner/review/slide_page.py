"""What does the report page show of one slide? Everything computed here, nothing decided."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import yaml

from scanner.errors import DamagedRun
from scanner.model.geometry import Rect
from scanner.model.profile import OverviewSpec
from scanner.model.report import FocusPointFact, SlideReport, Verdict
from scanner.model.tile import FocusState
from scanner.review.mosaic_view import (
    PICTURES_OF_REPORT,
    SEAMS_OF_REPORT,
    MosaicView,
    mosaic_view,
    slide_subject,
)
from scanner.review.pictures import (
    STATE_COLOURS,
    Crop,
    TileMap,
    crops,
    data_uri,
    eight_bit,
    height_map,
    jpeg,
    png,
    scale_bar_um,
    scan_path,
    shrunk,
    state_map,
)
from scanner.review.plane_strips import PlaneStrip, plane_strips
from scanner.review.rows import FindingRows, TileRows, finding_rows, tile_rows
from scanner.review.words import OUTCOMES, STATES, VERDICTS, Words, light_words
from scanner.storage.atomic import write_atomic
from scanner.storage.ome_zarr import PyramidStore
from scanner.storage.reader import RunReader

MOST_CROPS = 48
MOST_CROPS_EXCLUDED = 16
LABEL_PX = 180
GLASS_PX = 1200
THUMBNAIL_PX = 900


@dataclass(frozen=True, slots=True)
class Card:
    """One finding in the gallery; ``bar_share`` is the scale bar's length over the crop's side."""

    rank: int
    name: str
    score: float
    x_mm: float
    y_mm: float
    uri: str
    bar_um: float
    bar_share: float


@dataclass(frozen=True, slots=True)
class Dot:
    """A finding on the thumbnail, slide µm."""

    x_um: float
    y_um: float
    score: float
    label: str


@dataclass(frozen=True, slots=True)
class Glass:
    """The overview picture and the slide µm it shows."""

    uri: str
    extent: Rect


@dataclass(frozen=True, slots=True)
class State:
    """A line of the quality map's legend."""

    words: Words
    colour: str
    count: int


@dataclass(frozen=True, slots=True)
class Heights:
    """The focus surface: a map and the heights (µm) of its darkest and brightest colour."""

    map: TileMap
    low_um: float
    high_um: float


@dataclass(frozen=True, slots=True)
class SlidePage:
    """All that the page shows of one slide; pictures are data URIs, places slide µm. ``label`` where no ``glass``."""

    report: SlideReport
    verdict: Words
    outcome: Words
    glass: Glass | None
    label: str | None
    thumbnail: str | None
    canvas: Rect | None
    paths: tuple[str, ...]
    dots: tuple[Dot, ...]
    states: tuple[State, ...]
    state_map: TileMap | None
    heights: Heights | None
    cards: tuple[Card, ...]
    findings: int
    mosaic: MosaicView | None
    again: tuple[PlaneStrip, ...] = ()

    @property
    def title(self) -> str:
        """What a person calls the slide."""
        return title(self.report)

    @property
    def sharp_share(self) -> float | None:
        """Share of the tiles with sample that are sharp."""
        return sharp_share(self.report)

    @property
    def light(self) -> str:
        """What was done to the light of the image."""
        return light_words(self.report.light)

    @property
    def focus_points(self) -> tuple[FocusPointFact, ...]:
        """The points of the survey that have a height."""
        return tuple(point for point in self.report.focus_points if point.z_um is not None)


def title(report: SlideReport) -> str:
    """What a person calls the slide: its accession number, else its slot."""
    return report.accession or f"slide in slot {report.slot}"


def sharp_share(report: SlideReport) -> float | None:
    """Share of the tiles with sample that are sharp; None where no tile has sample."""
    states = report.quality.focus_states
    empty = states.get(FocusState.NO_SAMPLE.value, 0)
    with_sample = sum(states.values()) + report.tiles.failed - empty
    return states.get(FocusState.SHARP.value, 0) / with_sample if with_sample else None


def slide_page(reader: RunReader, report: SlideReport) -> SlidePage:
    """Everything the page shows of a finished slide; writes its thumbnail where it is missing.

    Raises:
        DamagedRun: a table or the image cannot be read.
    """
    paths = reader.paths(report.slide_id)
    failed = {failure.tile for failure in reader.failures(report.slide_id)}
    table = reader.tiles(report.slide_id)
    tiles = tile_rows(table, failed)
    findings = finding_rows(reader.findings(report.slide_id))
    store = PyramidStore.open(paths.image) if report.image and paths.image.is_dir() else None
    if store is not None and not paths.thumbnail.is_file():
        write_thumbnail(store, paths.thumbnail)
    most = MOST_CROPS_EXCLUDED if report.verdict is Verdict.NEGATIVE_EXCLUDED else MOST_CROPS
    glass = _glass(paths.folder / "overview.png", overview_spec(reader))
    has_tiles = len(tiles.tile) > 0
    surface = height_map(tiles) if has_tiles else None
    return SlidePage(
        report=report,
        verdict=VERDICTS[report.verdict],
        outcome=OUTCOMES[report.outcome],
        glass=glass,
        label=None if glass else picture_uri(paths.label, LABEL_PX),
        thumbnail=picture_uri(paths.thumbnail, THUMBNAIL_PX),
        canvas=_canvas(store) if store else None,
        paths=tuple(scan_path(tiles, int(plan)) for plan in np.unique(tiles.plan)) if has_tiles else (),
        dots=_dots(findings, most),
        states=_states(tiles),
        state_map=state_map(tiles) if has_tiles else None,
        heights=Heights(*surface) if surface else None,
        cards=_cards(findings, store, most) if store else (),
        findings=len(findings),
        mosaic=_mosaic(reader, report.slide_id, table) if store else None,
        again=_again(findings, paths.cells),
    )


def _again(findings: FindingRows, image: Path) -> tuple[PlaneStrip, ...]:
    """The cells that were taken again with more planes."""
    if not (image / "zarr.json").is_file():
        return ()
    store = PyramidStore.open(image)
    layers, read = store.spec.layers or 1, partial(store.picture, 0)
    return plane_strips(findings, layers, um_per_px(store), read, MOST_CROPS)


def write_thumbnail(store: PyramidStore, path: Path) -> None:
    """``thumbnail.png`` from the smallest level that is at least ``THUMBNAIL_PX`` wide or high."""
    level = max((n for n, size in enumerate(store.sizes) if max(size) >= THUMBNAIL_PX), default=0)
    w, h = store.sizes[level]
    write_atomic(path, png(shrunk(eight_bit(store.picture(level, 0, 0, h, w)), THUMBNAIL_PX)))


def _mosaic(reader: RunReader, slide_id: str, table: pa.Table) -> MosaicView | None:
    subject = slide_subject(reader, slide_id, table)
    return mosaic_view(subject, SEAMS_OF_REPORT, PICTURES_OF_REPORT) if subject else None


def um_per_px(store: PyramidStore) -> float:
    """Micrometres a pixel of level 0.

    Raises:
        DamagedRun: the image does not say; one of a slide always does.
    """
    if store.spec.um_per_px is None:
        raise DamagedRun(f"{store.path}: the image of a slide has no pixel size")
    return store.spec.um_per_px


def picture_uri(path: Path, longest_px: int) -> str | None:
    """A picture file at a size for the page, None where there is none."""
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB) if path.is_file() else None
    return None if pixels is None else data_uri(jpeg(shrunk(pixels.astype(np.uint8), longest_px)))


def overview_spec(reader: RunReader) -> OverviewSpec | None:
    """How the rig's overview camera is mounted, from the run's frozen profile; None where it has none."""
    profile = reader.folder.settings.profile
    devices = yaml.load(profile.text, yaml.CBaseLoader)["devices"] if profile else {}
    return OverviewSpec.model_validate(devices["overview"]) if devices.get("overview") else None


def _glass(path: Path, spec: OverviewSpec | None) -> Glass | None:
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB) if spec and path.is_file() else None
    if spec is None or pixels is None:
        return None
    h, w = pixels.shape[:2]
    extent = Rect(*spec.origin_um, w * spec.um_per_px, h * spec.um_per_px)
    return Glass(data_uri(jpeg(shrunk(pixels.astype(np.uint8), GLASS_PX), 80)), extent)


def _canvas(store: PyramidStore) -> Rect:
    um, (x, y) = um_per_px(store), store.spec.origin_um
    return Rect(x, y, store.spec.width_px * um, store.spec.height_px * um)


def _dots(findings: FindingRows, most: int) -> tuple[Dot, ...]:
    return tuple(
        Dot(
            float(findings.x_um[i]),
            float(findings.y_um[i]),
            float(findings.score[i]),
            f"{findings.rank[i]}: {findings.name[i]}, score {findings.score[i]:.2f}",
        )
        for i in range(min(most, len(findings)))
    )


def _states(tiles: TileRows) -> tuple[State, ...]:
    counts = tiles.counts()
    return tuple(
        State(words, "#{:02x}{:02x}{:02x}".format(*STATE_COLOURS[name]), counts[name])
        for name, words in STATES.items()
        if name in counts
    )


def _cards(findings: FindingRows, store: PyramidStore, most: int) -> tuple[Card, ...]:
    w, h = store.sizes[0]
    found = crops(findings, partial(store.picture, 0), w, h, most)
    return tuple(card(findings, crop, um_per_px(store)) for crop in found)


def card(findings: FindingRows, crop: Crop, um: float) -> Card:
    """A finding with its picture, ``um`` micrometres a pixel."""
    i, width_um = crop.index, crop.side_px * um
    bar_um = scale_bar_um(width_um)
    return Card(
        rank=int(findings.rank[i]),
        name=str(findings.name[i]),
        score=float(findings.score[i]),
        x_mm=float(findings.x_um[i]) / 1000,
        y_mm=float(findings.y_um[i]) / 1000,
        uri=crop.uri,
        bar_um=bar_um,
        bar_share=bar_um / width_um,
    )
