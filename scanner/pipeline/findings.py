"""Which cells of a slide does a person look at first, and where on the glass do they lie?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detection.classes import CellClass
from detection.counting import count_cells
from detection.detections import Detections
from detection.merging import Merged, TileDetections, merge
from detection.package import DetectorPackage
from detection.scoring import slide_score
from scanner.model.geometry import Affine, Point
from scanner.pipeline.again import Again
from scanner.pipeline.mosaic import ShownAt

LEAST_SCORE = 0.01
LEAST_FINDINGS = 50
Columns = dict[str, NDArray[np.generic] | list[str]]


@dataclass(frozen=True, slots=True)
class Findings:
    """The abnormal candidates of a slide, rank 1 first, and what counts for the verdict.

    Attributes:
        tiles: (m,) int64, the tile each was found in.
        classes: m names of abnormal classes.
        scores: (m,) float64, calibrated P(abnormal).
        boxes_px: (m, 4) float64 x, y, w, h in mosaic px.
        centres_um: (m, 2) float64, slide µm.
        cells: how many squamous cells the slide shows, abnormal ones included.
        slide_score: 0..1.
        again: what more planes show of some of them, where any were taken.
    """

    tiles: NDArray[np.int64]
    classes: tuple[str, ...]
    scores: NDArray[np.float64]
    boxes_px: NDArray[np.float64]
    centres_um: NDArray[np.float64]
    cells: int
    slide_score: float
    again: Again | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def columns(self, slide_id: str) -> Columns:
        """The columns of ``findings.parquet``."""
        x, y, w, h = self.boxes_px.T
        again = self.again
        more: Columns = {}
        if again is not None:
            layers = np.ma.masked_less(again.layers, 0)
            more = {"score_again": again.scores, "layer": layers}
        return {
            "slide_id": [slide_id] * len(self),
            "tile": self.tiles,
            "rank": np.arange(1, len(self) + 1),
            "class": list(self.classes),
            "score": self.scores,
            "x_px": x,
            "y_px": y,
            "w_px": w,
            "h_px": h,
            "x_um": self.centres_um[:, 0],
            "y_um": self.centres_um[:, 1],
            **more,
        }


def findings(
    answers: Mapping[int, Detections],
    places: Mapping[int, Point],
    tile_px: tuple[int, int],
    package: DetectorPackage,
    mosaic_to_slide: Affine,
    shown_at: ShownAt,
) -> Findings:
    """Merge what was found in the tiles of a slide: of a cell found in two, what the image shows counts.

    Args:
        answers: the detections of every accepted tile, boxes in its upright px.
        places: mosaic px of every tile's top-left pixel.
        tile_px: (width, height) of a tile.
        package: what the detector was made from.
        mosaic_to_slide: mosaic px to slide µm.
        shown_at: which tile the mosaic shows where.
    """
    tiles = [
        _with_shown(TileDetections(tile, places[tile].x, places[tile].y, *tile_px, answers[tile]), shown_at)
        for tile in sorted(answers)
    ]
    return from_merged(merge(tiles), package.classes, package.config.rackscan.cell_floor, mosaic_to_slide)


def _with_shown(tile: TileDetections, shown_at: ShownAt) -> TileDetections:
    boxes = tile.moved.boxes.astype(np.float64)
    return replace(tile, shown=shown_at(boxes[:, :2] + boxes[:, 2:] / 2) == tile.tile)


def from_merged(
    merged: Merged, classes: Sequence[CellClass], cell_floor: float, mosaic_to_slide: Affine
) -> Findings:
    """Every candidate down to 0.01, and the 50 best in any case."""
    found = merged.detections
    candidate = (found.abnormal_classes >= 0) & (np.arange(len(found)) < LEAST_FINDINGS)
    candidate |= (found.abnormal_classes >= 0) & (found.abnormal >= LEAST_SCORE)
    chosen = found.take(candidate)
    boxes = chosen.boxes.astype(np.float64)
    return Findings(
        tiles=merged.tiles[candidate],
        classes=tuple(classes[index].name for index in chosen.abnormal_classes),
        scores=np.asarray(np.round(chosen.abnormal.astype(np.float64), 4), dtype=np.float64),
        boxes_px=boxes,
        centres_um=mosaic_to_slide.apply_many(boxes[:, :2] + boxes[:, 2:] / 2),
        cells=count_cells(found, classes, cell_floor),
        slide_score=slide_score(found.abnormal),
    )
