"""How high does the sample lie at every place of the mosaic? Blocks of the height map, from the heights of tiles."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from scanner.pipeline.fusing import HEIGHT_BIN_PX
from scanner.pipeline.lattice import Box
from scanner.pipeline.mosaic import BlockId, Strokes
from scanner.pipeline.placement import Placed

Heights = NDArray[np.float32]
BIN = HEIGHT_BIN_PX


def paint_heights(
    block: BlockId, strokes: Strokes, heights_um: Callable[[int], Heights], side_px: int
) -> Heights | None:
    """(1, side, side) float32 µm, a pixel for 8 × 8 of the mosaic, NaN where no tile shows; None where none does.

    ``heights_um`` gives a tile's upright heights, one for 8 × 8 of its pixels.
    """
    if not strokes:
        return None
    sheet = np.full((1, side_px, side_px), np.nan, np.float32)
    corner = (block[0] * side_px, block[1] * side_px)
    for stroke in strokes:
        placed = stroke.placed
        heights = heights_um(placed.tile)
        for box in map(_middles_in, stroke.boxes):
            if not box.empty:
                rows = slice(box.y0 - corner[0], box.y1 - corner[0])
                sheet[0, rows, box.x0 - corner[1] : box.x1 - corner[1]] = _cut(heights, placed, box)
    return sheet


def _middles_in(box: Box) -> Box:
    """The coarse pixels whose middle lies in a box of the mosaic."""
    x0, y0, x1, y1 = (-((BIN // 2 - edge) // BIN) for edge in (box.x0, box.y0, box.x1, box.y1))
    return Box(x0, y0, x1, y1)


def _cut(heights: Heights, placed: Placed, box: Box) -> Heights:
    """The nearest height of the tile for every coarse pixel of the mosaic in ``box``."""
    rows, cols = (
        np.clip(np.floor((np.arange(start, stop) * BIN + BIN / 2 - at) / BIN).astype(int), 0, size - 1)
        for start, stop, at, size in (
            (box.y0, box.y1, placed.y_px, heights.shape[0]),
            (box.x0, box.x1, placed.x_px, heights.shape[1]),
        )
    )
    return heights[np.ix_(rows, cols)]
