"""How do the layers of a thick tile become one plane in focus everywhere, and a map of its heights, during the scan?

A tile is fused once, as soon as it is judged; then its raw layers may go. What comes out is a function of the layers
alone, so that a resume and a replay give the same bytes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from autofocus.edf import ExtendedFocus, FocusStacker
from autofocus.stain import GREEN
from scanner.model.events import Kind
from scanner.model.tile import EndOfPlan, Judged, Pixels, Tile
from scanner.storage.facts import FusedFact, tile_key
from scanner.storage.fused import FusedSpool
from scanner.storage.ledger import Ledger
from scanner.storage.spool import Spool

HEIGHT_BIN_PX = 8
GLASS_BIN_PX = 8


@dataclass(frozen=True, slots=True)
class FuseWork:
    """What the step works with: where layers wait, where what is made of them waits, and where it is booked.

    ``channel`` of a colour frame tells which layer is sharp.
    """

    slide_id: str
    layers: Spool
    fused: FusedSpool
    ledger: Ledger
    channel: int = GREEN


def with_fused(items: Iterator[Judged | EndOfPlan], work: FuseWork) -> Iterator[Judged | EndOfPlan]:
    """The same tiles; the fused plane of each is on disk and booked when it is handed on.

    Raises:
        DamagedRun: a layer is gone or is not what was captured.
    """
    known = {event.key for event in work.ledger.events(Kind.FUSED, work.slide_id)}
    for item in items:
        if isinstance(item, Judged) and item.pixels is not None:
            if tile_key(*item.tile.key) not in known:
                _fuse_one(item.tile, work)
            work.layers.drop_other_layers(work.slide_id, item.tile)
        yield item


def _fuse_one(tile: Tile, work: FuseWork) -> None:
    planes = ((layer.z_um, _pixels(tile, n, work)) for n, layer in enumerate(tile.layers))
    fused = fuse(planes, work.channel)
    content = work.fused.put(work.slide_id, tile, fused.image, coarse(fused.height_um))
    fact = FusedFact(tile=tile.planned.tile, plan=tile.plan, content=content)
    work.ledger.append(Kind.FUSED, work.slide_id, tile_key(*tile.key), fact.body())


def fuse(planes: Iterable[tuple[float, Pixels]], channel: int = GREEN) -> ExtendedFocus:
    """One plane from (height, pixels) of several, each in memory only while it is added.

    A lamp flickers by a per cent, which would show as patches and as a step at the edge of the tile: every plane is lit
    as the first, and what comes out as the mean of all. Of planes at one height, the first counts.
    """
    stacker, levels = FocusStacker(channel), dict[float, float]()
    for z_um, pixels in planes:
        if z_um not in levels:
            levels[z_um] = glass_level(pixels)
            stacker.add(_lit(pixels, levels[z_um], next(iter(levels.values()))), z_um)
    fused, lit = stacker.result(), list(levels.values())
    return ExtendedFocus(_lit(fused.image, lit[0], sum(lit) / len(lit)), fused.height_um)


def glass_level(pixels: Pixels) -> float:
    """What the brightest twentieth of a frame shows, averaged over 8 × 8 px: glass, or the thinnest sample."""
    size = (max(1, pixels.shape[1] // GLASS_BIN_PX), max(1, pixels.shape[0] // GLASS_BIN_PX))
    bins = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return float(np.quantile(bins.reshape(*bins.shape[:2], -1).mean(axis=2), 0.95))


def _lit(pixels: Pixels, level: float, wanted: float) -> Pixels:
    if level <= 0 or level == wanted:
        return pixels
    if pixels.dtype == np.uint8:
        return np.asarray(cv2.convertScaleAbs(pixels, alpha=wanted / level), np.uint8)
    scaled = np.rint(pixels * np.float32(wanted / level))
    return np.asarray(np.minimum(scaled, np.iinfo(np.uint16).max), np.uint16)


def _pixels(tile: Tile, layer: int, work: FuseWork) -> Pixels:
    if tile.frame is not None and layer == tile.layer:
        return tile.frame.pixels
    name = (work.slide_id, tile.planned.tile, tile.plan, tile.attempt)
    return work.layers.get(*name, tile.layers[layer].content, layer)


def coarse(heights_um: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means over 8 × 8 px: (h, w) → (⌈h/8⌉, ⌈w/8⌉) float32; an incomplete last bin counts its last line again."""
    h, w = heights_um.shape
    down, right = -h % HEIGHT_BIN_PX, -w % HEIGHT_BIN_PX
    whole = cv2.copyMakeBorder(heights_um, 0, down, 0, right, cv2.BORDER_REPLICATE)
    size = ((w + right) // HEIGHT_BIN_PX, (h + down) // HEIGHT_BIN_PX)
    return np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), np.float32)
