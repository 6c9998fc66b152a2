"""What do the planes of the cells that were taken again add to a slide's findings, and to its score?

The first scores stand in the table. In the slide's score the further ones take their place where the operating point
was measured so; elsewhere they may only raise it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detection.scoring import slide_score
from scanner.pipeline.placement import Placed
from scanner.storage.cell_facts import CellReadFact, CellsChosenFact, ChosenCell


@dataclass(frozen=True, slots=True)
class ReadAgain:
    """The cells that were chosen, and of those whose field was captured what their sharpest plane shows."""

    chosen: CellsChosenFact
    reads: tuple[CellReadFact, ...]


@dataclass(frozen=True, slots=True)
class Again:
    """What stands beside the findings of a slide.

    Attributes:
        scores: (m,) float64, P(abnormal) in the planes around the sharpest, NaN for a finding that was not taken again.
        layers: (m,) int64, which plane is the sharpest, from 0 at the bottom; -1 likewise.
        finding_of: by chosen cell the index of its finding, None where merging kept none of it.
        slide_score: with ``scores`` in the place of the first ones, see ``counting``.
        raised: the slide's score as if every finding had the higher of its two scores.
    """

    scores: NDArray[np.float64]
    layers: NDArray[np.int64]
    finding_of: tuple[int | None, ...]
    slide_score: float
    raised: float


def again_of(
    boxes_px: NDArray[np.float64],
    first_scores: NDArray[np.float64],
    read: ReadAgain,
    placed: Mapping[int, Placed],
) -> Again:
    """Of the findings of a slide, best first.

    Args:
        boxes_px: (m, 4) x, y, w, h in mosaic px.
        first_scores: (m,) in 0..1.
        read: what was chosen and read again.
        placed: where every tile of the image lies.
    """
    scores, layers = np.full(len(boxes_px), np.nan), np.full(len(boxes_px), -1, np.int64)
    sure = np.ones(len(boxes_px), bool)
    finding_of = tuple(_finding(boxes_px, cell, placed) for cell in read.chosen.cells)
    for fact in read.reads:
        index = finding_of[fact.cell]
        if index is not None:
            sure[index] &= not (fact.held or fact.edge)
            if not scores[index] >= fact.score:
                scores[index], layers[index] = fact.score, fact.layer
    counted = counting(first_scores, scores, sure)
    return Again(scores, layers, finding_of, slide_score(counted), slide_score(np.fmax(first_scores, scores)))


def counting(
    first: NDArray[np.float64], again: NDArray[np.float64], sure: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """(m,) P(abnormal) that counts for the slide: what was read ``again``, NaN where nothing was.

    Where it is not ``sure`` that the cell was met, or met sharp, it is the higher of both.
    """
    return np.where(sure & ~np.isnan(again), again, np.fmax(first, again))


def _finding(boxes_px: NDArray[np.float64], cell: ChosenCell, placed: Mapping[int, Placed]) -> int | None:
    """The finding whose middle is nearest, unless that lies outside the cell."""
    corner = placed.get(cell.tile)
    if corner is None or not len(boxes_px):
        return None
    middle = np.array([corner.x_px + cell.x_px + cell.w_px / 2, corner.y_px + cell.y_px + cell.h_px / 2])
    apart = np.hypot(*(boxes_px[:, :2] + boxes_px[:, 2:] / 2 - middle).T)
    nearest = int(np.argmin(apart))
    return nearest if apart[nearest] <= max(cell.w_px, cell.h_px) / 2 else None


def left_out(read: ReadAgain) -> Sequence[int]:
    """The chosen cells, by number, that could not be read again."""
    known = {fact.cell for fact in read.reads}
    return [number for number in range(len(read.chosen.cells)) if number not in known]
