"""Does the finished image show where one tile ends and the next begins? A number for each seam, near 1 where not.

The score compares the image with itself: steps across the seam with steps across parallel lines a few pixels beside it,
in the same places and only where there is something to see. It reads one strip at a time.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scanner.pipeline.joints import Joint
from scanner.pipeline.lattice import Box, Lattice, meeting

FloatArray = NDArray[np.float32]
Look: TypeAlias = Callable[[Box], NDArray[np.uint8] | NDArray[np.uint16]]
"""Pixels of a box of the image's level 0: (h, w) or (h, w, channels)."""

HALF_PX = 6  # of a strip on either side of the seam
BESIDE_PX = 4  # lines further from the seam than this show other cells: no reference (docs/decisions/0072)
CORNER_PX = 32  # where four tiles meet, two seams mix
MEAN_PX = 4  # along the seam: noise falls by half, cells stay
WINDOW = 4  # means of a window
TEXTURED = 0.015  # of the bright level: mean step along the seam from which there is something to see
LEAST_WINDOWS = 6
GAIN_PX = 4  # on either side, to compare the brightness of two tiles
_AWAY = np.abs(np.arange(2 * HALF_PX - 1) - (HALF_PX - 1))
_BESIDE = np.flatnonzero(
    (_AWAY > 0) & (_AWAY <= BESIDE_PX)
)  # steps of a strip that lie wholly inside one tile


@dataclass(frozen=True, slots=True)
class SeamScore:
    """How a seam shows in the image.

    Over its ``windows`` textured windows, sums of the mean absolute step across the seam (``seen``), the same with the
    brightness of both tiles made equal (``torn``), and across the lines beside it (``inner``). ``sigma``: of torn over
    inner. ``step``: how much brighter ``second`` is, as a share. ``at``: (x, y) mosaic px of the window torn most.
    """

    joint: Joint
    windows: int
    seen: float
    torn: float
    inner: float
    sigma: float
    step: float
    at: tuple[int, int]

    @property
    def score(self) -> float | None:
        """What a person sees: steps across the seam over steps beside it; None where there is too little to see."""
        return self.seen / self.inner if self.windows >= LEAST_WINDOWS else None

    @property
    def misfit(self) -> float | None:
        """The score with brightness made equal: above 1 by what does not fit, in place or in focus."""
        return self.torn / self.inner if self.windows >= LEAST_WINDOWS else None


@dataclass(frozen=True, slots=True)
class Seamlessness:
    """The seams of an image together, each weighed by what there is to see; None where nothing is.

    ``seams`` were looked at, ``scored`` show enough. ``worst`` is the largest misfit less two of its sigmas; ``step``
    and ``worst_step`` the median and the largest of the absolute brightness steps, as shares.
    """

    seams: int
    scored: int
    score: float | None
    misfit: float | None
    worst: float | None
    step: float
    worst_step: float


def seam_score(joint: Joint, lattice: Lattice, look: Look) -> SeamScore | None:
    """How one seam shows; None where the two tiles do not meet in the image.

    Mean absolute difference across a border over that inside: the blockiness of Wang, Sheikh and Bovik (ICIP 2002), on
    the border that decides which tile owns a pixel. Windows are chosen by steps *along* the seam, which no misfit
    across it changes.
    """
    border = seam_line(joint, lattice)
    if len(border) < 2 * MEAN_PX * WINDOW:
        return None
    strip = _strip(border, joint.side_by_side, look)
    bright = max(1.0, float(np.percentile(strip[::4], 95)))
    means = strip[: len(strip) // MEAN_PX * MEAN_PX].reshape(-1, MEAN_PX, 2 * HALF_PX).mean(axis=1)
    before, after = means[:, HALF_PX - 1], means[:, HALF_PX]
    gain = _gain(means)
    beside = np.abs(np.diff(means, axis=1)[:, _BESIDE]).mean(axis=1)
    along = np.abs(np.diff(means, axis=0, prepend=means[:1])).mean(axis=1)
    seen, torn, inner, texture = (
        _windows(values) for values in (np.abs(after - before), np.abs(after / gain - before), beside, along)
    )
    textured = texture > TEXTURED * bright
    total = max(float(inner[textured].sum()), 1e-6)
    ratio = float(torn[textured].sum()) / total
    worst = int(np.argmax(np.where(textured, torn - inner, texture - 1e6)))
    place = border[min(len(border) - 1, int((worst + 0.5) * MEAN_PX * WINDOW))]
    return SeamScore(
        joint=joint,
        windows=int(textured.sum()),
        seen=float(seen[textured].sum()),
        torn=float(torn[textured].sum()),
        inner=total,
        sigma=float(np.linalg.norm((torn - ratio * inner)[textured])) / total,
        step=gain - 1,
        at=(int(place[0]), int(place[1])),
    )


def seamlessness(scores: Iterable[SeamScore]) -> Seamlessness:
    """All seams that were looked at as one verdict on the image."""
    listed = list(scores)
    told = [score for score in listed if score.score is not None]
    inner = sum(score.inner for score in told)
    steps = [abs(score.step) for score in listed]
    return Seamlessness(
        seams=len(listed),
        scored=len(told),
        score=sum(score.seen for score in told) / inner if told else None,
        misfit=sum(score.torn for score in told) / inner if told else None,
        worst=max(((score.misfit or 0.0) - 2 * score.sigma for score in told), default=None),
        step=float(np.median(steps)) if steps else 0.0,
        worst_step=max(steps, default=0.0),
    )


def seam_line(joint: Joint, lattice: Lattice) -> NDArray[np.int64]:
    """(n, 2) x, y of the first pixel of ``second`` in each line across the seam, corners left out.

    Only where both tiles reach it: beyond that a neighbour fills, and the seam lies elsewhere. A sharper tile shows as
    far as it reaches.
    """
    one, two = ((station.row, station.col) for station in (joint.first, joint.second))
    before, after = (lattice.reach(station.placed) for station in (joint.first, joint.second))
    reach = before.cut(after)
    if reach.empty:
        return np.zeros((0, 2), np.int64)
    own, other = lattice.owned(two, reach), lattice.owned(one, reach)
    if not joint.side_by_side:
        own, other, reach = [box.swapped() for box in own], [box.swapped() for box in other], reach.swapped()
    border = _border(own, other, reach)
    if joint.first.blur != joint.second.blur:
        border[:, 0] = reach.x1 if joint.first.blur < joint.second.blur else reach.x0
    return border if joint.side_by_side else border[:, ::-1]


def _border(own: list[Box], other: list[Box], reach: Box) -> NDArray[np.int64]:
    """In each line, where ``own`` begins and ``other`` ends: one x, with the strip's half width of both around it."""
    lines, at = meeting(other, own)
    inside = (at - HALF_PX >= reach.x0) & (at + HALF_PX <= reach.x1)
    lines, at = lines[inside], at[inside]
    if len(lines):
        between = (lines >= lines[0] + CORNER_PX) & (lines < lines[-1] - CORNER_PX)
        lines, at = lines[between], at[between]
    result: NDArray[np.int64] = np.column_stack([at, lines]).astype(np.int64)
    return result


def _strip(border: NDArray[np.int64], upright: bool, look: Look) -> FloatArray:
    """(n, 2 · half) brightness across the seam, one line a place of the border."""
    (x0, y0), (x1, y1) = border.min(axis=0), border.max(axis=0)
    wide, high = (HALF_PX, 0) if upright else (0, HALF_PX)
    box = Box(int(x0) - wide, int(y0) - high, int(x1) + wide + 1, int(y1) + high + 1)
    shown = look(box)
    grey = shown if shown.ndim == 2 else shown.mean(axis=2, dtype=np.float32)
    offsets = np.arange(-HALF_PX, HALF_PX)
    x, y = border[:, 0] - box.x0, border[:, 1] - box.y0
    if upright:
        return np.asarray(grey[y[:, None], x[:, None] + offsets], np.float32)
    return np.asarray(grey[y[:, None] + offsets, x[:, None]], np.float32)


def _gain(means: FloatArray) -> float:
    """How much brighter the pixels after a seam are than those before it: the median of ratios along it."""
    near = slice(HALF_PX - GAIN_PX, HALF_PX), slice(HALF_PX, HALF_PX + GAIN_PX)
    before, after = (np.maximum(means[:, side].mean(axis=1), 1.0) for side in near)
    return float(np.median(after / before))


def _windows(values: FloatArray) -> FloatArray:
    """(n,) as means of windows."""
    return np.asarray(values[: len(values) // WINDOW * WINDOW].reshape(-1, WINDOW).mean(axis=1), np.float32)
