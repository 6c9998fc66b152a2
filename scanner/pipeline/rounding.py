"""What becomes of a block's pixels where an image is kept within the camera's noise? They take the nearest level."""

import cv2
import numpy as np

from scanner.model.rounding import Levels, Rounding
from scanner.pipeline.pyramid import Block

LINES = 64  # of 16 bit pixels looked up at once: numpy copies what it looks up by


def rounder(rounding: Rounding | None, dtype: str) -> Levels | None:
    """The table of levels, None where every pixel stays as it is."""
    return None if rounding is None or dtype == "float32" else rounding.table(np.dtype(dtype))


def round_into(block: Block, table: Levels) -> None:
    """Give every pixel of (channels, side, side) its level, in place."""
    lines = block.transpose(1, 2, 0).reshape(block.shape[1], -1)
    if not np.shares_memory(lines, block):
        lines = block.reshape(-1, block.shape[2])
    if block.dtype == np.uint8:
        cv2.LUT(lines, table, dst=lines)
        return
    for start in range(0, len(lines), LINES):
        lines[start : start + LINES] = table[lines[start : start + LINES]]
