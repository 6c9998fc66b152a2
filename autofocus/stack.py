"""Which plane of a recorded z-stack is sharpest, in each part of the field?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from autofocus.errors import FocusInputError
from autofocus.gray import Image, background, focus_channel
from autofocus.metrics import FloatArray, FocusMetric, SmoothedBrenner
from autofocus.sharpness import Sharpness, measure

State = Literal["found", "no-sample", "refused"]

GRID = 4
LEAST_PLANES = 3
FLAT_RATIO = 1.25
FALLS_BY_LEAST = 0.02
LEAST_CONTRAST = 0.02
_BLOCK_PX = 32


@dataclass(frozen=True, slots=True)
class StackAnswer:
    """One part of the field: its place in px, and the plane and height where it is sharpest (None where refused).

    ``curve``: (n,) sharpness of each plane relative to the best, empty where light or heights forbid one.
    """

    x_px: int
    y_px: int
    w_px: int
    h_px: int
    state: State
    reason: str
    best_plane: int | None
    z_um: float | None
    curve: FloatArray


@dataclass(frozen=True, slots=True)
class StackFocus:
    """The whole field and its 4 × 4 parts, row by row; the reason says what is wrong with a refused one."""

    whole: StackAnswer
    blocks: tuple[StackAnswer, ...]


_ROBUST = SmoothedBrenner()


def focus_stack(planes: Sequence[Image], z_um: ArrayLike, metric: FocusMetric = _ROBUST) -> StackFocus:
    """Focus a stack: n planes of one shape, (h, w[, 3|4]) uint8 or uint16, at the (n,) heights ``z_um``.

    A stack that cannot be focused (too few planes, heights unordered or repeated, no light) is refused, not raised.

    Raises:
        FocusInputError: for pixels of another type, or planes of different shapes.
    """
    if len({plane.shape for plane in planes}) > 1:
        raise FocusInputError("the planes of a stack have different shapes")
    heights = np.asarray(z_um, float)
    seen = [measure(plane, metric, _BLOCK_PX) for plane in planes]
    fault = _fault(seen, heights)
    if fault or not planes:
        return _nothing(planes, "refused", fault)
    if not any(plane.has_sample for plane in seen):
        return _nothing(planes, "no-sample", "nothing absorbs light here")
    blocks = np.array([plane.blocks for plane in seen])
    contrast = _contrast(planes)
    h, w = planes[0].shape[:2]
    whole = _answer((0, 0, w, h), blocks, heights, contrast)
    return StackFocus(whole, tuple(_parts((h, w), blocks, heights, contrast)))


def _fault(seen: Sequence[Sharpness], heights: FloatArray) -> str:
    if len(seen) < LEAST_PLANES:
        return f"a stack needs at least {LEAST_PLANES} planes, not {len(seen)}"
    if heights.shape != (len(seen),) or not np.isfinite(heights).all():
        return "every plane needs a finite height"
    steps = np.diff(heights)
    if not ((steps > 0).all() or (steps < 0).all()):
        return "the heights are unordered or repeated"
    faults = {plane.light_fault for plane in seen}
    return "" if "" in faults else f"the light is wrong: {', '.join(sorted(faults))}"


def _contrast(planes: Sequence[Image]) -> FloatArray:
    """Standard deviation of the light in each block relative to the background, at its largest: (rows, columns)."""
    strongest: FloatArray = np.max([_deviation(plane) for plane in planes], axis=0)
    return strongest


def _deviation(plane: Image) -> FloatArray:
    gray = focus_channel(plane)
    smooth = cv2.GaussianBlur(gray, (0, 0), 2.0).astype(np.float32)
    rows, columns = (max(1, round(side / _BLOCK_PX)) for side in gray.shape)
    mean = cv2.resize(smooth, (columns, rows), interpolation=cv2.INTER_AREA)
    square = cv2.resize(smooth * smooth, (columns, rows), interpolation=cv2.INTER_AREA)
    deviation: FloatArray = np.sqrt(np.clip(square - mean * mean, 0, None)).astype(float) / background(gray)
    return deviation


def _parts(
    shape: tuple[int, int], blocks: FloatArray, heights: FloatArray, contrast: FloatArray
) -> list[StackAnswer]:
    """Answers of the 4 × 4 parts; a part is made of whole blocks, its place given in px."""
    row_cuts, col_cuts = (_cuts(count) for count in blocks.shape[1:])
    y_cuts, x_cuts = ([round(i * side / GRID) for i in range(GRID + 1)] for side in shape)
    answers = []
    for r in range(GRID):
        for c in range(GRID):
            part = np.s_[row_cuts[r] : row_cuts[r + 1], col_cuts[c] : col_cuts[c + 1]]
            place = (x_cuts[c], y_cuts[r], x_cuts[c + 1] - x_cuts[c], y_cuts[r + 1] - y_cuts[r])
            answers.append(_answer(place, blocks[(np.s_[:], *part)], heights, contrast[part]))
    return answers


def _cuts(count: int) -> NDArray[np.int64]:
    return np.maximum(
        np.round(np.linspace(0, count, GRID + 1)), np.arange(GRID + 1) * (count >= GRID)
    ).astype(np.int64)


def _answer(
    place: tuple[int, int, int, int], blocks: FloatArray, heights: FloatArray, contrast: FloatArray
) -> StackAnswer:
    curve = np.clip(blocks.reshape(len(heights), -1).mean(axis=1), 0.0, None) if blocks.size else heights * 0
    relative = curve / max(float(curve.max()), 1e-12)
    state, reason = _judged(relative, float(contrast.max(initial=0.0)))
    if state != "found":
        return StackAnswer(*place, state, reason, None, None, relative)
    best = int(np.argmax(relative))
    return StackAnswer(*place, state, "", best, _between_planes(heights, relative, best), relative)


def _judged(relative: FloatArray, contrast: float) -> tuple[State, str]:
    best = int(np.argmax(relative))
    if contrast < LEAST_CONTRAST or relative.max() <= 0:
        return "no-sample", "nothing absorbs light here"
    if relative.max() < FLAT_RATIO * float(relative.min()):
        return "refused", "the curve is flat"
    sides = (relative[:best], relative[best + 1 :])
    if any(side.min(initial=1.0) > 1 - FALLS_BY_LEAST for side in sides):
        return "refused", "the peak lies at the edge of the stack"
    return "found", ""


def _between_planes(heights: FloatArray, relative: FloatArray, best: int) -> float:
    """Peak of the parabola through the best plane and its neighbours, at most half a step away."""
    left, middle, right = relative[best - 1 : best + 2]
    bend = left - 2 * middle + right
    shift = float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5)) if bend < 0 else 0.0
    step = heights[best + 1] - heights[best] if shift > 0 else heights[best] - heights[best - 1]
    return float(heights[best] + shift * step)


def _nothing(planes: Sequence[Image], state: State, reason: str) -> StackFocus:
    h, w = planes[0].shape[:2] if planes else (0, 0)
    ys, xs = ([round(i * side / GRID) for i in range(GRID + 1)] for side in (h, w))
    places = [(xs[c], ys[r], xs[c + 1] - xs[c], ys[r + 1] - ys[r]) for r in range(GRID) for c in range(GRID)]
    empty = np.zeros(0)
    whole = StackAnswer(0, 0, w, h, state, reason, None, None, empty)
    return StackFocus(whole, tuple(StackAnswer(*p, state, reason, None, None, empty) for p in places))
