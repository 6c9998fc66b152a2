"""Where does a tissue section lie, how high, where is it torn or folded, and which block of tissue lies where?

All of it is held on the camera's grid, in pixels from the first one of the section's own corner.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.devices.simulated.bodies import wobble
from scanner.devices.simulated.specimen import Surface
from scanner.devices.simulated.textures import FloatImage
from scanner.devices.simulated.tissue import BLOCK_PX, MAP_PX, PAD_PX, TissueKind
from scanner.devices.simulated.tissue_bodies import grain, smooth_noise

HALF_SIZE_UM = (10_000.0, 7_500.0)
RELIEF_UM = 0.6
_RELIEF_LENGTHS_UM = (1_800.0, 600.0)
_RELIEF_PITCH_UM = 250.0
_RELIEF_SIDE = 128
_APART = 3
_WAYS = 8
_WAVE_PX = 18.0
_TEARS = (3, 6)
_FOLDS = (4, 7)
_FOLD_LIFT_UM = (3.0, 6.0)


class SectionSurface:
    """The height (stage z, µm) of the middle of a section: the glass's tilt and bow, and a relief from cutting.

    The relief is long along the direction of the knife and short across, with a standard deviation of 0.6 µm.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._glass = Surface(float(rng.uniform(-3, 3)), heading_rad=float(rng.uniform(0, 2 * math.pi)))
        along, across = (length / _RELIEF_PITCH_UM for length in _RELIEF_LENGTHS_UM)
        knife_rad = float(rng.uniform(-0.3, 0.3))
        self._relief = RELIEF_UM * grain(rng, _RELIEF_SIDE, (along, across), knife_rad)

    def height(self, x_um: float, y_um: float) -> float:
        """Height at a place of the slide."""
        return self._glass.height(x_um, y_um) + self._relief_at(x_um, y_um)

    def _relief_at(self, x_um: float, y_um: float) -> float:
        x, y = (x_um / _RELIEF_PITCH_UM) % _RELIEF_SIDE, (y_um / _RELIEF_PITCH_UM) % _RELIEF_SIDE
        column, row = int(x), int(y)
        right, down = (column + 1) % _RELIEF_SIDE, (row + 1) % _RELIEF_SIDE
        x, y, relief = x - column, y - row, self._relief
        upper = relief[row, column] * (1 - x) + relief[row, right] * x
        lower = relief[down, column] * (1 - x) + relief[down, right] * x
        return float(upper * (1 - y) + lower * y)


@dataclass(frozen=True, slots=True)
class Section:
    """Maps of one section.

    Attributes:
        corner_px: u, v of its first pixel on the camera's grid.
        blocks, turns: (rows, columns) int64, which block lies in each 512 px and which way.
        depth_um: (16 rows, 16 columns) float32, how far inside the tissue a place lies, negative on glass.
        fold: the same shape, 0 outside folds to 1 on them; ``lift_um``: by how much they are raised.
    """

    corner_px: tuple[int, int]
    blocks: NDArray[np.int64]
    turns: NDArray[np.int64]
    depth_um: FloatImage
    fold: FloatImage
    lift_um: FloatImage


def cut_section(
    rng: np.random.Generator, kinds: tuple[TissueKind, ...], centre_px: tuple[float, float], um_per_px: float
) -> Section:
    """A section about the deposit's centre.

    Args:
        rng: decides everything.
        kinds: what each of the blocks to be laid out holds.
        centre_px: the centre on the camera's grid.
        um_per_px: the camera's scale.
    """
    half = [math.ceil(size / um_per_px / BLOCK_PX) + 4 for size in HALF_SIZE_UM]
    corner = tuple(
        round(at / BLOCK_PX) * BLOCK_PX - n * BLOCK_PX for at, n in zip(centre_px, half, strict=True)
    )
    columns, rows = 2 * half[0], 2 * half[1]
    pitch = MAP_PX * um_per_px
    x = ((np.arange(columns * BLOCK_PX // MAP_PX) + 0.5) * MAP_PX + corner[0] - centre_px[0]) * um_per_px
    y = ((np.arange(rows * BLOCK_PX // MAP_PX) + 0.5) * MAP_PX + corner[1] - centre_px[1]) * um_per_px
    outline = _outline(rng, x.astype(np.float32)[None], y.astype(np.float32)[:, None])
    depth = outline.copy()
    for _ in range(int(rng.integers(*_TEARS))):
        np.minimum(depth, _crack(rng, outline, pitch, float(rng.uniform(10, 24))), out=depth)
    fold, lift = _folds(rng, outline, pitch)
    blocks, turns = _laid_out(rng, kinds, (rows, columns))
    return Section((corner[0], corner[1]), blocks, turns, depth, fold, lift)


def _outline(rng: np.random.Generator, x_um: FloatImage, y_um: FloatImage) -> FloatImage:
    """(rows, columns) float32: depth in µm below an irregular outline of about 20 × 15 mm."""
    around = wobble(rng, 0.07, 2, 12)
    angle = np.arctan2(y_um / HALF_SIZE_UM[1], x_um / HALF_SIZE_UM[0])
    radius = np.hypot(x_um / HALF_SIZE_UM[0], y_um / HALF_SIZE_UM[1])
    turn = np.append(np.linspace(-math.pi, math.pi, around.size, endpoint=False), math.pi)
    edge = np.interp(angle.ravel(), turn, np.append(around, around[0])).reshape(angle.shape)
    depth = (edge - radius) * (0.9 * HALF_SIZE_UM[1])
    side = max(depth.shape)
    rough = 45 * smooth_noise(rng, side, 9.0) + 12 * smooth_noise(rng, side, 2.0)
    return np.asarray(depth + rough[: depth.shape[0], : depth.shape[1]] - 60, np.float32)


def _crack(rng: np.random.Generator, depth: FloatImage, pitch_um: float, half_width_um: float) -> FloatImage:
    """Distance (µm) from the rim of a wandering line of 1 to 4 mm inside the tissue, negative on it."""
    rows, columns = np.nonzero(depth > 600)
    start = int(rng.integers(len(rows)))
    steps = int(rng.integers(10, 40))
    heading = rng.uniform(0, 2 * math.pi) + np.cumsum(rng.normal(0, 0.22, steps))
    u = columns[start] + np.cumsum(np.cos(heading)) * 100 / pitch_um
    v = rows[start] + np.cumsum(np.sin(heading)) * 100 / pitch_um
    line = np.zeros(depth.shape, np.uint8)
    cv2.polylines(line, [np.stack([u, v], 1).round().astype(np.int32)], False, 1)
    distance = cv2.distanceTransform(1 - line, cv2.DIST_L2, 5) * pitch_um
    width = half_width_um * (1 + 0.35 * smooth_noise(rng, max(depth.shape), 6.0))
    return np.asarray(distance - width[: depth.shape[0], : depth.shape[1]], np.float32)


def _folds(rng: np.random.Generator, depth: FloatImage, pitch_um: float) -> tuple[FloatImage, FloatImage]:
    """Where a second layer of tissue lies on the first, and how much higher (µm)."""
    fold, lift = np.zeros_like(depth), np.zeros_like(depth)
    for _ in range(int(rng.integers(*_FOLDS))):
        distance = _crack(rng, depth, pitch_um, float(rng.uniform(22, 45)))
        here = np.clip(0.5 - distance / 14.0, 0, 1)
        lift[distance < 3 * pitch_um] = float(rng.uniform(*_FOLD_LIFT_UM))
        np.maximum(fold, here, out=fold)
    return fold, lift


def _laid_out(
    rng: np.random.Generator, kinds: tuple[TissueKind, ...], shape: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which block lies where and which way: none comes again the same way within 3 blocks, nor at all beside itself.

    As far as that allows, like tissue lies beside like and fibres run the same way over a millimetre or two.
    """
    rows, columns = shape
    wanted = _wanted(rng, shape)
    of_kind = np.array([list(TissueKind).index(kind) for kind in kinds])
    unfit = np.repeat(of_kind[None] != np.arange(len(TissueKind))[:, None], _WAYS, axis=1).astype(float)
    upright = smooth_noise(rng, max(shape), 4.0) > 0
    across = np.tile(np.arange(_WAYS) >= _WAYS // 2, len(kinds))
    ways = np.full((rows + _APART, columns + 2 * _APART), -1, np.int64)
    for row, column in np.ndindex(rows, columns):
        cost = unfit[wanted[row, column]] + 0.8 * (across != upright[row, column])
        cost += 0.9 * rng.random(cost.size)
        near = ways[row : row + _APART + 1, column : column + 2 * _APART + 1]
        beside = near[_APART - 1 :, _APART - 1 : _APART + 2]
        cost[near[near >= 0]] += 4
        cost.reshape(-1, _WAYS)[beside[beside >= 0] // _WAYS] += 2
        ways[row + _APART, column + _APART] = np.argmin(cost)
    laid = ways[_APART:, _APART:-_APART]
    return laid // _WAYS, laid % _WAYS


def _wanted(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Which kind of tissue is wanted in each block, by its place in ``TissueKind``; like lies beside like."""
    side = max(shape)
    wide, narrow = smooth_noise(rng, side, 5.0), smooth_noise(rng, side, 1.5)
    field = (wide + 0.5 * narrow)[: shape[0], : shape[1]]
    wanted = np.digitize(field, np.quantile(field, (0.36, 0.8)))
    nests = smooth_noise(rng, side, 1.0)[: shape[0], : shape[1]]
    wanted[nests > np.quantile(nests, 0.94)] = list(TissueKind).index(TissueKind.LYMPHOID)
    return np.asarray(wanted, np.int64)


def joint(rng: np.random.Generator) -> FloatImage:
    """(576, 576) float32: how much of a block's cytoplasm shows; 1 inside, 0 beyond a wavy border.

    Blocks laid side by side every 512 px add up to one everywhere.
    """
    at = np.arange(-PAD_PX, BLOCK_PX + PAD_PX, dtype=np.float32)
    across, down = (_shown(along + _wave(rng)) for along in (at[None], at[:, None]))
    return np.asarray(across * down, np.float32)


def _wave(rng: np.random.Generator) -> FloatImage:
    """(576, 576) float32: by how many pixels a border is bent, the same every 512 px."""
    wave = np.clip(_WAVE_PX / 2 * grain(rng, BLOCK_PX, (26.0, 26.0)), -_WAVE_PX, _WAVE_PX)
    return np.asarray(np.pad(wave, PAD_PX, mode="wrap"), np.float32)


def _shown(at_px: FloatImage) -> FloatImage:
    """1 from 0 to 512 px with soft ends that add up to one with those of the neighbours."""
    soft = PAD_PX - _WAVE_PX
    begun, ended = (np.clip(0.5 + (at_px - end) / (2 * soft), 0, 1) for end in (0, BLOCK_PX))
    return np.asarray(begun - ended, np.float32)
