"""How much does the lens bend the picture and split its colours, by blocks of frames that show the same?

Two frames that overlap are moved by the stage alone: what differs from one shift over their overlap is the lens.
Red and blue of a frame show what green shows: what differs from none at all is the lens again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.model.geometry import Point
from scanner.model.optics import ChannelShift, Chromatic, Distortion
from scanner.model.tile import Pixels
from scanner.pipeline.lens import half_diagonal_px
from scanner.pipeline.refinement import float32
from scanner.pipeline.registration import noise_of, register

Floats = NDArray[np.float64]

BLOCK_PX = 128
HIGH_PASS_PX = 33
TEXTURE = 3.0
"""A block must show this many times the noise."""
ALIKE = 0.6
OUTLYING = 2.0
TURNS = 12
PEAK_REACH_PX = 8


@dataclass(frozen=True, slots=True)
class Blocks:
    """The same things in two pictures: (n, 2) offsets x, y from the middle of each frame, px."""

    first: Floats
    second: Floats


def same_in_both(first: Pixels, second: Pixels, expected: Point, search_px: float) -> Blocks | None:
    """Blocks of two overlapping frames; None where they cannot be registered. ``expected`` as for ``register``."""
    noise = noise_of(first)
    pair = register(first, second, expected, search_px, noise)
    if not pair.accepted:
        return None
    by = (round(pair.dx_px), round(pair.dy_px))
    return _matched(_fine(first, 1), _fine(second, 1), by, noise)


def colours_apart(frame: Pixels) -> tuple[Blocks, Blocks]:
    """Blocks of (green, red) and of (green, blue) of an RGB frame."""
    noise, green = noise_of(frame), _fine(frame, 1)
    red, blue = (_matched(green, _fine(frame, n), (0, 0), noise) for n in (0, 2))
    return red, blue


def _fine(frame: Pixels, channel: int) -> NDArray[np.float32]:
    plane = float32(frame[..., channel] if frame.ndim == 3 else frame)
    box = (HIGH_PASS_PX, HIGH_PASS_PX)
    return plane - float32(cv2.blur(cv2.blur(plane, box), box))


def _matched(
    first: NDArray[np.float32], second: NDArray[np.float32], by: tuple[int, int], noise: float
) -> Blocks:
    """Blocks of ``second``, whose first pixel lies ``by`` (x, y) after that of ``first``."""
    h, w = first.shape
    middle = np.array([w - 1, h - 1]) / 2
    found = []
    for x, y in _corners(first.shape, by):
        one, other = _at(first, x, y), _at(second, x - by[0], y - by[1])
        lag = _peak(one, other, noise)
        if lag is not None:
            across, down = _weight_at(one)
            found.append(((x + across + lag[1], y + down + lag[0]), (x - by[0] + across, y - by[1] + down)))
    pairs = np.array(found, float).reshape(-1, 2, 2) - middle
    return Blocks(pairs[:, 0], pairs[:, 1])


def _weight_at(block: NDArray[np.float32]) -> tuple[float, float]:
    """Where in a block its texture lies (x, y): a lone cell tells of its own place, not of the block's middle."""
    energy = block.astype(np.float64) ** 2
    at, whole = np.arange(BLOCK_PX), float(energy.sum())
    return float(energy.sum(axis=0) @ at) / whole, float(energy.sum(axis=1) @ at) / whole


def _at(plane: NDArray[np.float32], x: int, y: int) -> NDArray[np.float32]:
    return plane[y : y + BLOCK_PX, x : x + BLOCK_PX]


def _corners(shape: tuple[int, ...], by: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """First pixels of the blocks that lie in both frames."""
    (top, bottom), (left, right) = ((max(0, b), min(n, n + b)) for n, b in zip(shape, by[::-1], strict=True))
    step = BLOCK_PX // 2
    for y in range(top, bottom - BLOCK_PX + 1, step):
        for x in range(left, right - BLOCK_PX + 1, step):
            yield x, y


def _peak(a: NDArray[np.float32], b: NDArray[np.float32], noise: float) -> tuple[float, float] | None:
    """Where ``b`` lies in ``a`` (y, x), by their correlation alone: colours need not be stained alike."""
    if min(float(a.std()), float(b.std())) < TEXTURE * max(noise, 0.3):
        return None
    reach = PEAK_REACH_PX
    core = b[reach:-reach, reach:-reach]
    surface = float32(
        cv2.matchTemplate(
            cv2.GaussianBlur(a, (0, 0), 1), cv2.GaussianBlur(core, (0, 0), 1), cv2.TM_CCOEFF_NORMED
        )
    )
    y, x = (int(n) for n in np.unravel_index(int(surface.argmax()), surface.shape))
    if surface[y, x] < ALIKE or not (0 < y < 2 * reach and 0 < x < 2 * reach):
        return None
    down, right = _vertex(surface[y - 1 : y + 2, x]), _vertex(surface[y, x - 1 : x + 2])
    return y - reach + down, x - reach + right


def _vertex(three: NDArray[np.float32]) -> float:
    low, mid, high = (float(v) for v in three)
    return (low - high) / (2 * (low - 2 * mid + high))


def fit_distortion(pairs: Sequence[Blocks], shape: tuple[int, int]) -> tuple[Distortion, float]:
    """k1 about the middle of the frame, from pairs of overlapping frames; each has its own unknown shift.

    Returns:
        The distortion, and the standard error of the displacement of a corner, px.

    Raises:
        ValueError: the frames have too few blocks in common.
    """
    pairs = [pair for pair in pairs if len(pair.first) >= 4]
    if sum(len(pair.first) for pair in pairs) < 40:
        raise ValueError("too few blocks are seen in two frames")
    half, k1 = half_diagonal_px(shape), 0.0
    error = np.inf
    for _ in range(3):
        rows = [
            _bend(_unbent(p.first, k1, half), half) - _bend(_unbent(p.second, k1, half), half) for p in pairs
        ]
        seen = np.concatenate([(p.first - p.second).ravel() for p in pairs])
        terms = np.column_stack([_own_shifts(rows), np.concatenate(rows).ravel()])
        (*_, k1), error = _robust(terms, seen)
    return Distortion(k1=round(k1, 7)), error * half


def _own_shifts(rows: Sequence[Floats]) -> Floats:
    """(2 n, 2 pairs): which pair and axis each value belongs to."""
    whose = np.repeat(np.arange(len(rows)), [len(one) for one in rows])
    columns = (2 * whose[:, None] + (0, 1)).ravel()
    return np.asarray(columns[:, None] == np.arange(2 * len(rows)), float)


def _bend(offsets: Floats, half_px: float) -> Floats:
    """What k1 = 1 would add to each place."""
    bent: Floats = offsets * (offsets**2).sum(axis=1, keepdims=True) / half_px**2
    return bent


def _unbent(raw: Floats, k1: float, half_px: float) -> Floats:
    ideal = raw
    for _ in range(4):
        ideal = raw - k1 * _bend(ideal, half_px)
    return ideal


def fit_chromatic(frames: Sequence[tuple[Blocks, Blocks]], shape: tuple[int, int]) -> tuple[Chromatic, float]:
    """Shift and magnification of red and blue against green from the blocks of some frames.

    Returns:
        Both, and the larger standard error of the displacement of a corner, px.

    Raises:
        ValueError: the frames have too few blocks.
    """
    found = [_fit_shift([frame[n] for frame in frames]) for n in (0, 1)]
    (red, red_error), (blue, blue_error) = found
    return Chromatic(red=red, blue=blue), max(red_error, blue_error) * half_diagonal_px(shape)


def _fit_shift(frames: Sequence[Blocks]) -> tuple[ChannelShift, float]:
    green = np.concatenate([one.first for one in frames])
    away = np.concatenate([one.second - one.first for one in frames])
    if len(green) < 40:
        raise ValueError("too few blocks show texture in all colours")
    ones, none = np.ones(len(green)), np.zeros(len(green))
    terms = np.concatenate(
        [np.column_stack([ones, none, green[:, 0]]), np.column_stack([none, ones, green[:, 1]])]
    )
    (x, y, larger), error = _robust(terms, np.concatenate([away[:, 0], away[:, 1]]))
    return ChannelShift(x_px=round(x, 4), y_px=round(y, 4), magnification=round(larger, 7)), error


def _robust(terms: Floats, seen: Floats) -> tuple[list[float], float]:
    """Least squares with Cauchy weights (Holland & Welsch 1977); the last value's standard error."""
    weight = np.ones(len(seen))
    at: Floats = np.zeros(terms.shape[1])
    scale = 1.0
    for _ in range(TURNS):
        normal = (terms * weight[:, None]).T @ terms
        at = np.asarray(np.linalg.solve(normal, terms.T @ (weight * seen)), np.float64)
        left = seen - terms @ at
        scale = max(1.4826 * float(np.median(np.abs(left))), 1e-6)
        weight = 1 / (1 + (left / (OUTLYING * scale)) ** 2)
    inverse = np.linalg.inv((terms * weight[:, None]).T @ terms)
    return [float(v) for v in at], scale * float(np.sqrt(inverse[-1, -1]))
