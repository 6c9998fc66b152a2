"""Which detections of neighbouring tiles are the same cell?

Boxes of different tiles that share 0.6 of the smaller one's area are one cell; boxes of one tile are never merged.
The order of the tiles' arrival plays no part.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from detection.detections import Detections, concatenate

Pairs = NDArray[np.int64]

SAME_CELL_IOS = 0.6
CUT_MARGIN_PX = 2.0


@dataclass(frozen=True, slots=True)
class TileDetections:
    """What was found in one tile; the offset is where its top-left pixel lies in the common image, px.

    ``shown`` (m,) bool: of which of its cells the common image shows this tile's pixels; None: of all.
    """

    tile: int
    offset_x_px: float
    offset_y_px: float
    width_px: int
    height_px: int
    detections: Detections
    shown: NDArray[np.bool_] | None = None

    @property
    def moved(self) -> Detections:
        """Its detections in px of the common image."""
        return self.detections.moved(self.offset_x_px, self.offset_y_px)


@dataclass(frozen=True, slots=True)
class Merged:
    """Cells of the common image, ranked: most abnormal first.

    Attributes:
        tiles: (m,) int64, the tile whose box was kept.
        detections: their boxes in px of the common image.
    """

    tiles: NDArray[np.int64]
    detections: Detections


def merge(tiles: Sequence[TileDetections], least_ios: float = SAME_CELL_IOS) -> Merged:
    """One detection a cell.

    A whole box wins against one cut by its tile's edge, then the one whose pixels are shown, then the more abnormal.
    The one kept is as abnormal as the most abnormal whole view of its cell: a border makes no cell less suspicious. Of
    several that are kept a view belongs to the one it overlaps most: a nucleus inside a cell is not that cell.
    """
    everything = concatenate([t.moved for t in tiles])
    owner = np.repeat([t.tile for t in tiles], [len(t.detections) for t in tiles]).astype(np.int64)
    cut = np.concatenate([np.zeros(0, bool), *(_cut_by_edge(t) for t in tiles)])
    hidden = np.concatenate([np.zeros(0, bool), *(_hidden(t) for t in tiles)])
    order = _priority(everything, owner, hidden, cut)
    everything, owner, cut = everything.take(order), owner[order], cut[order]
    worst = _kept(
        everything.boxes.astype(np.float64), owner, least_ios, np.where(cut, -1.0, everything.abnormal)
    )
    kept = np.nonzero(worst >= 0)[0]
    suspicion = {name: getattr(everything, name)[worst[kept]] for name in ("abnormal", "abnormal_classes")}
    return _ranked(replace(everything.take(kept), **suspicion), owner[kept])


def _ranked(detections: Detections, owner: NDArray[np.int64]) -> Merged:
    order = _priority(detections, owner)
    return Merged(owner[order], detections.take(order))


def _cut_by_edge(tile: TileDetections) -> NDArray[np.bool_]:
    boxes = tile.detections.boxes
    ends = boxes[:, :2] + boxes[:, 2:]
    limit = np.array([tile.width_px, tile.height_px]) - CUT_MARGIN_PX
    return np.asarray((boxes[:, :2] < CUT_MARGIN_PX).any(axis=1) | (ends > limit).any(axis=1))


def _hidden(tile: TileDetections) -> NDArray[np.bool_]:
    return np.zeros(len(tile.detections), bool) if tile.shown is None else ~tile.shown


def _priority(found: Detections, owner: NDArray[np.int64], *worse: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Most abnormal first, but what is ``worse`` after all else; of several reasons the last one weighs most."""
    boxes = found.boxes
    keys: tuple[NDArray[np.generic], ...] = (
        boxes[:, 3],
        boxes[:, 2],
        boxes[:, 0],
        boxes[:, 1],
        owner,
        -found.scores,
        -found.abnormal,
    )
    return np.asarray(np.lexsort((*keys, *worse)))


def _kept(
    boxes: NDArray[np.float64], owner: NDArray[np.int64], least_ios: float, suspicion: NDArray[np.float64]
) -> NDArray[np.int64]:
    """(m,) for every box that is kept the most suspicious one of its cell, itself at first; -1 for the others."""
    pairs = _same_cell(boxes, owner, least_ios)
    kept = np.ones(len(boxes), bool)
    # greedy in canonical order: every pair of a box that may still fall was settled before its own turn
    for first, second in pairs.tolist():
        kept[second] &= not kept[first]
    worst = np.where(kept, np.arange(len(boxes)), -1)
    fallen = pairs[kept[pairs[:, 0]]]
    overlap = _iou(boxes[fallen[:, 0]], boxes[fallen[:, 1]])
    best_first = np.lexsort((fallen[:, 0], -overlap, fallen[:, 1]))
    _, heirs = np.unique(fallen[best_first, 1], return_index=True)
    for first, second in fallen[best_first[heirs]].tolist():
        if suspicion[second] > suspicion[worst[first]]:
            worst[first] = second
    return worst


def _same_cell(boxes: NDArray[np.float64], owner: NDArray[np.int64], least_ios: float) -> NDArray[np.int64]:
    """(p, 2) pairs i < j of different tiles that overlap enough, sorted."""
    pairs = _near(boxes)
    pairs = pairs[owner[pairs[:, 0]] != owner[pairs[:, 1]]]
    pairs = pairs[_ios(boxes[pairs[:, 0]], boxes[pairs[:, 1]]) >= least_ios]
    ordered: Pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    return ordered


def _near(boxes: NDArray[np.float64]) -> NDArray[np.int64]:
    """Pairs i < j whose boxes may touch: centres no further apart than the largest boxes reach.

    Boxes are put in classes of size (powers of two), so that a few large ones do not make every pair a candidate.
    """
    if len(boxes) < 2:
        return np.zeros((0, 2), np.int64)
    centres, reach = boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:].max(axis=1) / 2
    size = np.ceil(np.log2(np.maximum(reach, 1.0))).astype(int)
    found = [
        _between(centres, np.nonzero(size == a)[0], np.nonzero(size == b)[0], 2.0**a + 2.0**b)
        for a in np.unique(size)
        for b in np.unique(size[size >= a])
    ]
    return np.concatenate(found)


def _between(
    centres: NDArray[np.float64], some: NDArray[np.intp], others: NDArray[np.intp], reach: float
) -> NDArray[np.int64]:
    """Each pair once, i < j: boxes of one class of size find each other from both sides, those of two only once."""
    hits = cKDTree(centres[some]).sparse_distance_matrix(
        cKDTree(centres[others]), reach * 2**0.5, output_type="ndarray"
    )
    first, second = some[hits["i"]], others[hits["j"]]
    if some is not others and not np.array_equal(some, others):
        first, second = np.minimum(first, second), np.maximum(first, second)
    pairs = np.stack([first, second], axis=1).astype(np.int64)
    return pairs[pairs[:, 0] < pairs[:, 1]]


def _shared(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    low = np.maximum(a[:, :2], b[:, :2])
    high = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
    return np.asarray(np.clip(high - low, 0.0, None).prod(axis=1))


def _iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(p,) intersection over union of (p, 4) boxes, pair by pair."""
    shared = _shared(a, b)
    return np.asarray(shared / np.maximum(a[:, 2:].prod(axis=1) + b[:, 2:].prod(axis=1) - shared, 1e-9))


def _ios(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(p,) intersection over the smaller area of (p, 4) boxes."""
    shared = _shared(a, b)
    smaller = np.minimum(a[:, 2:].prod(axis=1), b[:, 2:].prod(axis=1))
    return np.asarray(shared / np.maximum(smaller, 1e-9))
