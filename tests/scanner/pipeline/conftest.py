"""Small specimens and the tiles that a stage with known errors would take of them."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from scanner.model.geometry import Point
from scanner.model.tile import Pixels

SIDE = 256


@dataclass(frozen=True)
class Grid:
    """Tiles in scan order: pixels, row and column, reported and true top-left."""

    tiles: tuple[Pixels, ...]
    cells: tuple[tuple[int, int], ...]
    reported: tuple[Point, ...]
    true: tuple[Point, ...]


@pytest.fixture
def cut() -> Callable[..., Pixels]:
    return cut_tile


@pytest.fixture
def grid() -> Callable[[int, int, int], Grid]:
    return take_grid


def as_pixels(shown: NDArray[np.floating], deep: bool) -> Pixels:
    """Values as a camera of 8 or of 16 bits gives them, cut at its limits."""
    if deep:
        return np.asarray(np.clip(shown, 0, 65535), np.uint16)
    return np.asarray(np.clip(shown, 0, 255), np.uint8)


def cells_on_glass(h: int, w: int, seed: int) -> NDArray[np.float32]:
    """(h, w) light glass with dark, smooth-edged cells of 4 to 20 px, 0..250."""
    rng = np.random.default_rng(seed)
    sheet = np.full((h, w), 230, np.float32)
    for _ in range(h * w // 900):
        at = (int(rng.integers(0, w)), int(rng.integers(0, h)))
        axes = (int(rng.integers(2, 11)), int(rng.integers(2, 11)))
        cv2.ellipse(sheet, at, axes, float(rng.uniform(0, 180)), 0, 360, float(rng.uniform(60, 200)), -1)
    return np.asarray(cv2.GaussianBlur(sheet, (0, 0), 1.2), np.float32)


def cut_tile(sheet: NDArray[np.float32], x: float, y: float, seed: int, side: int = SIDE) -> Pixels:
    """(side, side) uint8 from any place of a sheet, with noise of 2 DN."""
    move = np.array([[1, 0, x], [0, 1, y]], float)
    flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
    shown = cv2.warpAffine(sheet, move, (side, side), flags=flags, borderMode=cv2.BORDER_REFLECT)
    noise = np.random.default_rng(seed).normal(0, 2, (side, side))
    return np.clip(shown + noise + 0.5, 0, 255).astype(np.uint8)


def take_grid(rows: int, cols: int, seed: int) -> Grid:
    """A serpentine over cells on glass: overlap a fifth, turned by 0.3°, σ 2 px."""
    rng = np.random.default_rng(seed)
    order = [
        (row, col) for row in range(rows) for col in (range(cols) if row % 2 == 0 else range(cols)[::-1])
    ]
    step, turn = SIDE * 0.8, np.deg2rad(0.3)
    reported = [Point(40 + col * step, 40 + row * step) for row, col in order]
    true = [
        Point(
            p.x * np.cos(turn) - p.y * np.sin(turn) + float(rng.normal(0, 2)),
            p.x * np.sin(turn) + p.y * np.cos(turn) + float(rng.normal(0, 2)),
        )
        for p in reported
    ]
    sheet = cells_on_glass(int(rows * step) + SIDE, int(cols * step) + SIDE, seed)
    tiles = tuple(cut_tile(sheet, p.x, p.y, seed + k) for k, p in enumerate(true))
    return Grid(tiles, tuple(order), tuple(reported), tuple(true))
