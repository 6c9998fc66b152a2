"""Where may a border fade, and how? Over a few pixels, and only between tiles that are known to fit there.

A border between tiles that nothing joins, or that do not lie as they were measured, stays hard: fading would show its
cells twice. What was measured, and why this narrow: docs/decisions/0078.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scanner.model.geometry import Point
from scanner.model.tile import Pixels
from scanner.pipeline.lattice import Box, IntArray, meeting
from scanner.pipeline.placement import Placed
from scanner.pipeline.registration import PairMeasurement

FADE_PX = 4  # that each tile shows on beyond its border
AWAY = np.arange(FADE_PX)
FALLING = (0.5 - (AWAY + 0.5) / (2 * FADE_PX)).astype(np.float32)
FITS_PX = 0.5  # by which places may miss what was measured: less than the finest detail that the optics show

Fits: TypeAlias = Callable[[Placed, Placed], bool]
"""Do two tiles lie as the texture that both show says?"""


@dataclass(frozen=True, slots=True)
class Fade:
    """How much of each pixel in ``box`` (mosaic px) a tile shows beyond its border: (h, w, 1) float32 below a half."""

    box: Box
    shares: NDArray[np.float32]

    def cut(self, to: Box) -> "Fade | None":
        """What of it lies within a box."""
        box = self.box.cut(to)
        if box.empty:
            return None
        rows = slice(box.y0 - self.box.y0, box.y1 - self.box.y0)
        return Fade(box, self.shares[rows, box.x0 - self.box.x0 : box.x1 - self.box.x0])


class Joined:
    """What is measured between tiles that may still be drawn; asked, it says which fit."""

    def __init__(self) -> None:
        self._offsets: dict[int, dict[int, Point]] = {}

    def learn(self, tile: int, pairs: Iterable[tuple[int, PairMeasurement]]) -> None:
        """A tile's pairs (neighbour, displacement from it); of a tile taken again only the last ones count."""
        self.forget(tile)
        for other, pair in pairs:
            if pair.accepted:
                self._offsets.setdefault(tile, {})[other] = Point(pair.dx_px, pair.dy_px)
                self._offsets.setdefault(other, {})[tile] = Point(-pair.dx_px, -pair.dy_px)

    def forget(self, tile: int) -> None:
        """It is taken again, or no block can show it any more."""
        for other in self._offsets.pop(tile, {}):
            self._offsets[other].pop(tile, None)

    def __call__(self, one: Placed, two: Placed) -> bool:
        """See ``Fits``."""
        offset = self._offsets.get(two.tile, {}).get(one.tile)
        if offset is None:
            return False
        return offset.distance(Point(two.x_px - one.x_px, two.y_px - one.y_px)) <= FITS_PX


def fades(first: list[Box], second: list[Box], side_by_side: bool) -> tuple[Fade, Fade] | None:
    """How two tiles fade beyond the border between what they show: the first into the second, and the reverse.

    The second lies right of the first where they are ``side_by_side``, else below it. None where they do not meet.
    """
    turn = (lambda box: box) if side_by_side else Box.swapped
    lines, ends = meeting([turn(box) for box in first], [turn(box) for box in second])
    if not len(lines):
        return None
    right, left = ends[:, None] + AWAY, ends[:, None] - 1 - AWAY
    both = _fade(lines, right), _fade(lines, left)
    one, two = both if side_by_side else (Fade(f.box.swapped(), f.shares.transpose(1, 0, 2)) for f in both)
    return one, two


def _fade(lines: IntArray, at: IntArray) -> Fade:
    """One whose pixels lie ``at`` (n, FADE_PX) in each line, those next to the border first."""
    box = Box(int(at.min()), int(lines.min()), int(at.max()) + 1, int(lines.max()) + 1)
    found = np.zeros((box.y1 - box.y0, box.x1 - box.x0, 1), np.float32)
    found[lines[:, None] - box.y0, at - box.x0, 0] = FALLING
    return Fade(box, found)


def blend(sheet: Pixels, fading: Pixels, fade: Fade) -> None:
    """Let a tile's pixels (h, w, channels) shine through what ``sheet``, of the same size, shows."""
    shown = sheet.astype(np.float32)
    shown += (fading - shown) * fade.shares
    np.rint(shown, out=shown)
    sheet[...] = shown
