"""Squares around places of a frame, one below the other in one picture: filters then cost only what they look at."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]
Indices = NDArray[np.int64]


def patches(image: Pixels, rows: Indices, columns: Indices, side: int, margin: int) -> Pixels:
    """Square blocks with a margin all around, mirrored at the frame's border.

    Args:
        image: (h, w[, c]).
        rows: (n,) of blocks of ``side`` px, from the top.
        columns: (n,) from the left.
        side: px.
        margin: px; as wide as what is done to the patches reaches, for they touch.

    Returns:
        (n · (side + 2 margin), side + 2 margin[, c]), contiguous.
    """
    wide = side + 2 * margin
    tall = np.empty((len(rows), wide, wide, *image.shape[2:]), image.dtype)
    corners = zip((rows * side - margin).tolist(), (columns * side - margin).tolist(), strict=True)
    for patch, (top, left) in zip(tall, corners, strict=True):
        part = image[max(top, 0) : top + wide, max(left, 0) : left + wide]
        patch[:] = part if part.shape[:2] == (wide, wide) else _mirrored(part, top, left, wide)
    return tall.reshape(-1, *tall.shape[2:])


def inner(tall: Pixels, side: int, margin: int) -> Pixels:
    """(n, side, side[, c]) the blocks without their margins; a view."""
    wide = side + 2 * margin
    blocks = tall.reshape(-1, wide, *tall.shape[1:])
    return blocks[:, margin : margin + side, margin : margin + side]


def _mirrored(part: Pixels, top: int, left: int, wide: int) -> Pixels:
    above, before = max(-top, 0), max(-left, 0)
    below, behind = wide - above - part.shape[0], wide - before - part.shape[1]
    return np.asarray(cv2.copyMakeBorder(part, above, below, before, behind, cv2.BORDER_REFLECT_101))
