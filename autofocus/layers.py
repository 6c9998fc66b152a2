"""At which planes of a stack do the parts of a field become sharp, and which of them is sample and not dirt?

Every cell has one vote, however bright its edges: three specks on the cover slip outshine a hundred pale cells, and do
not outvote them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autofocus.metrics import FloatArray

NEAR_SHARE = 0.7
FEW_VOTES = 0.25
MANY_VOTES = 0.5
LEAST_VOTES = 4
SECOND_LAYER = 0.5
LOUD = 1.5
QUIET = 0.1
FAINT = 0.02
RISES_BY_LEAST = 2.0


@dataclass(frozen=True, slots=True)
class Layer:
    """Neighbouring planes ``first`` … ``last`` around the sharpest ``plane`` that ``votes`` of all cells chose."""

    plane: int
    first: int
    last: int
    votes: int


@dataclass(frozen=True, slots=True)
class Votes:
    """Where the textured cells of a part are sharpest: ``peaks`` (k,) planes, -1 for a cell without texture."""

    peaks: NDArray[np.int64]
    planes: int

    @property
    def voters(self) -> int:
        """How many cells have texture."""
        return int(np.count_nonzero(self.peaks >= 0))

    @property
    def histogram(self) -> NDArray[np.int64]:
        """(planes,) votes for each plane."""
        return np.bincount(self.peaks[self.peaks >= 0], minlength=self.planes)

    def within(self, layer: Layer) -> NDArray[np.bool_]:
        """(k,) cells that voted for a layer."""
        return (self.peaks >= layer.first) & (self.peaks <= layer.last)

    def layer(self, curve: FloatArray, plane: int) -> Layer:
        """The planes around ``plane`` that look nearly as sharp on a (planes,) curve, one further on both sides."""
        first, last = _reach(curve, plane)
        return Layer(plane, first, last, int(self.histogram[first : last + 1].sum()))


def votes(cells: FloatArray, textured: NDArray[np.bool_]) -> Votes:
    """Of (n, k) sharpness of k cells in n planes; only ``textured`` (k,) ones whose curve rises may vote."""
    top, bottom = cells.max(axis=0), np.clip(cells.min(axis=0), 0.0, None)
    speaks = textured & (top > RISES_BY_LEAST * bottom) & (top > 0)
    return Votes(np.where(speaks, cells.argmax(axis=0), -1), len(cells))


def popular(cast: Votes, taken: Layer, curve: FloatArray) -> Layer | None:
    """The layer outside ``taken`` with most votes, or None where nobody voted elsewhere."""
    elsewhere = cast.histogram.astype(float)
    elsewhere[taken.first : taken.last + 1] = 0.0
    if not elsewhere.any():
        return None
    width = max(1, (taken.last - taken.first) // 2)
    crowd = np.convolve(elsewhere, np.ones(2 * width + 1), "same")
    plane = int(np.argmax(crowd + 1e-6 * curve))
    first, last = max(0, plane - width), min(cast.planes - 1, plane + width)
    return Layer(plane, first, last, int(elsewhere[first : last + 1].sum()))


def is_dirt(loud: Layer, other: Layer | None, voters: int) -> bool:
    """Is the loudest layer a matter of few cells, while most of the field is sharp elsewhere?"""
    if other is None or other.votes < max(LEAST_VOTES, MANY_VOTES * voters):
        return False
    return loud.votes <= FEW_VOTES * other.votes


def main_layer(cast: Votes, curve: FloatArray) -> Layer:
    """The layer that most cells chose."""
    return cast.layer(curve, int(np.argmax(np.convolve(cast.histogram, np.ones(3), "same"))))


def specks(cells: FloatArray, cast: Votes, main: Layer) -> NDArray[np.bool_]:
    """Of (n, k) sharpness, the (k,) cells that hold dirt: loud, few, and at a height of their own.

    Between them and the main layer lie planes that hardly anyone chose; where the sample is tilted or thick, its
    votes go on from plane to plane. Cells that only a faint blur from next door reaches, sharpest anywhere, go too.
    """
    dirty = np.zeros(cells.shape[1], np.bool_)
    if main.votes < max(LEAST_VOTES, MANY_VOTES * cast.voters):
        return dirty
    top = cells.max(axis=0) / float(np.median(cells.max(axis=0)[cast.within(main)]))
    heard, loud = (cast.peaks >= 0) & (top > QUIET), (cast.peaks >= 0) & (top > LOUD)
    for side in (cast.peaks < main.first, cast.peaks > main.last):
        few = np.count_nonzero(loud & side) <= FEW_VOTES * main.votes
        if few and _stand_apart(cast.peaks[loud & side], cast.peaks[heard & side], main):
            dirty |= loud & side
    dirty |= (cast.peaks >= 0) & (top < FAINT) & ~cast.within(main)
    return dirty


def _stand_apart(loud: NDArray[np.int64], heard: NDArray[np.int64], main: Layer) -> bool:
    """Are there planes between the loud peaks and the main layer, with fewer votes than the loud ones have?"""
    if not loud.size:
        return False
    near = int(np.median(loud))
    low, high = sorted((near, main.last if near > main.last else main.first))
    between = np.count_nonzero((heard > low + 1) & (heard < high - 1))
    return high - low > 3 and bool(between <= loud.size)


def is_second(main: Layer, other: Layer | None) -> bool:
    """Do so many cells become sharp elsewhere that one plane does not show the part?"""
    return other is not None and other.votes >= max(LEAST_VOTES, SECOND_LAYER * main.votes)


def _reach(curve: FloatArray, plane: int) -> tuple[int, int]:
    low = curve >= NEAR_SHARE * curve[plane]
    first = last = plane
    while first > 0 and low[first - 1]:
        first -= 1
    while last < len(curve) - 1 and low[last + 1]:
        last += 1
    return max(0, first - 1), min(len(curve) - 1, last + 1)
