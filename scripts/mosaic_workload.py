"""Which tiles do all writers of a mosaic get, and what must the image show of them?

Seeded: cells on a pale ground over a share of the canvas, white noise, tiles off by whole pixels, a serpentine.
"""

import itertools
import os
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.model.geometry import Point
from scanner.model.plan import serpentine
from scanner.pipeline.lattice import Box, Cell, Lattice
from scanner.pipeline.mosaic import Canvas
from scanner.pipeline.placement import Placed

SEED, SIGMA_DN, TISSUE, JITTER_PX, OVERLAP = 11, 2.0, 0.6, 4, 0.10
TEXTURE_PX = 4096
GROUND = (238.0, 234.0, 240.0)
MEMORY = Path("/dev/shm")

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Workload:
    """``tiles`` (n, side, side, 3) uint8, used over again where there are more places; tile k lies at ``placed[k]``."""

    canvas: Canvas
    lattice: Lattice
    tiles: Bytes
    placed: tuple[Placed, ...]

    def pixels(self, tile: int) -> Bytes:
        """A tile as the camera gave it."""
        tile_px: Bytes = self.tiles[tile % len(self.tiles)]
        return tile_px

    def owned(self, placed: Placed) -> list[Box]:
        """The pixels of the canvas that a tile shows: its cell's, and at the rim those of the cells beyond."""
        last = self.placed[-1].row, max(p.col for p in self.placed)
        rows, cols = (
            [at, *([-1] if at == 0 else []), *([at + 1] if at == end else [])]
            for at, end in zip((placed.row, placed.col), last, strict=True)
        )
        cells = itertools.product(rows, cols)
        return [box for cell in cells for box in self.lattice.owned(cell, self.canvas.box)]

    def touch(self) -> None:
        """Have every page of the tiles in memory: a camera's buffer is there already."""
        for k in range(len(self.tiles)):
            int(self.tiles[k].reshape(-1)[::4096].max())

    def truth(self) -> Bytes:
        """(3, h, w) of the finished canvas."""
        canvas = np.full((3, self.canvas.height_px, self.canvas.width_px), 255, np.uint8)
        for p in self.placed:
            for box in self.owned(p):
                canvas[:, box.y0 : box.y1, box.x0 : box.x1] = self.part(p, box)
        return canvas

    def part(self, placed: Placed, box: Box) -> Bytes:
        """(3, h, w) of what a tile shows in a box."""
        x, y = int(placed.x_px), int(placed.y_px)
        shown = self.pixels(placed.tile)[box.y0 - y : box.y1 - y, box.x0 - x : box.x1 - x]
        return np.moveaxis(shown, -1, 0)


def square(canvas_px: int, tile_px: int = 2048, bank: int = 81) -> Workload:
    """A square canvas under just enough tiles, 81 of them different."""
    step = round(tile_px * (1 - OVERLAP))
    count = 1 + -(-(canvas_px - tile_px) // step)
    return workload((canvas_px, canvas_px), (count, count), tile_px, bank)


def strip(cols: int, rows: int, tile_px: int = 1024, bank: int = 24) -> Workload:
    """A canvas as wide and high as some columns and rows of tiles, which are used over again."""
    step = round(tile_px * (1 - OVERLAP))
    size = (step * (cols - 1) + tile_px - JITTER_PX, step * (rows - 1) + tile_px - JITTER_PX)
    return workload(size, (rows, cols), tile_px, bank)


def grainy(canvas_px: int, tile_px: int = 1024, bank: int = 7) -> Workload:
    """A square canvas under tiles of noise alone, which are quickly made: for what happens to a store, not how fast."""
    step = round(tile_px * (1 - OVERLAP))
    count = 1 + -(-(canvas_px - tile_px) // step)
    bare = workload((canvas_px, canvas_px), (count, count), tile_px, 0)
    tiles = np.random.default_rng(SEED).integers(200, 250, (bank, tile_px, tile_px, 3), dtype=np.uint8)
    return replace(bare, tiles=tiles)


def workload(
    canvas_px: tuple[int, int], grid: tuple[int, int], tile_px: int, bank: int | None = None
) -> Workload:
    """Tiles of ``grid`` (rows, columns) over a canvas of (w, h) px; made once, kept in shared memory.

    With a ``bank`` only so many of them are different, one after the other.
    """
    step = round(tile_px * (1 - OVERLAP))
    lattice = Lattice(Point(0, 0), Point(step, 0), Point(0, step), (tile_px, tile_px))
    rng = np.random.default_rng(SEED)
    cells = list(serpentine(itertools.product(range(grid[0]), range(grid[1]))))
    placed = tuple(_jittered(k, cell, lattice, rng) for k, cell in enumerate(cells))
    canvas = Canvas(*canvas_px, 3, np.dtype(np.uint8))
    different = len(placed) if bank is None else min(bank, len(placed))
    tiles = _kept(canvas_px, placed[:different], tile_px) if different else np.empty((0, 0, 0, 3), np.uint8)
    return Workload(canvas, lattice, tiles, placed)


def _jittered(number: int, cell: Cell, lattice: Lattice, rng: np.random.Generator) -> Placed:
    """Tiles of the first row and column reach the canvas's rim."""
    nominal = lattice.nominal(*cell)
    down, right = (int(rng.integers(-JITTER_PX, JITTER_PX + 1)) if at else 0 for at in cell)
    return Placed(number, *cell, nominal.x + right, nominal.y + down, held=False, sigma_px=0.1)


def _kept(canvas_px: tuple[int, int], placed: tuple[Placed, ...], tile_px: int) -> Bytes:
    folder = MEMORY if MEMORY.is_dir() else Path("/tmp")
    file = folder / f"rackscan-mosaic-{canvas_px[0]}x{canvas_px[1]}-{tile_px}-{len(placed)}-{SEED}.u8"
    shape = (len(placed), tile_px, tile_px, 3)
    if not file.exists() or file.stat().st_size != int(np.prod(shape)):
        fresh = file.with_suffix(f".{os.getpid()}")
        pages = np.memmap(fresh, np.uint8, "w+", shape=shape)
        _fill(pages, placed, canvas_px)
        pages.flush()
        fresh.replace(file)
    return np.memmap(file, np.uint8, "r", shape=shape)


def _fill(pages: Bytes, placed: tuple[Placed, ...], canvas_px: tuple[int, int]) -> None:
    rng, side = np.random.default_rng(SEED + 1), pages.shape[1]
    texture, where = _texture(rng), _where(rng)
    noise = np.rint(rng.normal(0, SIGMA_DN, (TEXTURE_PX, TEXTURE_PX, 3))).astype(np.int8)
    for page, p in zip(pages, placed, strict=True):
        y, x = int(p.y_px) + np.arange(side), int(p.x_px) + np.arange(side)
        clean = texture[y % TEXTURE_PX][:, x % TEXTURE_PX]
        across, down = np.meshgrid(
            (x / canvas_px[0] * where.shape[1]).astype(np.float32),
            (y / canvas_px[1] * where.shape[0]).astype(np.float32),
        )
        share = cv2.remap(where, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[..., None]
        shown = np.asarray(GROUND, np.float32) * (1 - share) + clean * share
        top, left = rng.integers(0, TEXTURE_PX - side, 2)
        page[:] = np.clip(np.rint(shown) + noise[top : top + side, left : left + side], 0, 255)


def _texture(rng: np.random.Generator) -> Bytes:
    """(4096, 4096, 3): pale round cells with dark nuclei, which repeat without a seam."""
    sheet = np.empty((TEXTURE_PX, TEXTURE_PX, 3), np.float32)
    sheet[:] = GROUND
    for _ in range(TEXTURE_PX**2 // 6000):
        x, y = (int(v) for v in rng.integers(0, TEXTURE_PX, 2))
        body = (224, 186, 206) if rng.random() < 0.5 else (198, 216, 224)
        for radius, colour, share in (
            (rng.integers(26, 60), body, 0.6),
            (rng.integers(7, 16), (88, 60, 128), 0.9),
        ):
            _disc(sheet, (x, y), int(radius), colour, share)
    grain = cv2.GaussianBlur(rng.normal(0, 1, sheet.shape[:2]).astype(np.float32), (0, 0), 2)
    darkness = 1 - sheet.mean(axis=2) / 240
    grained = sheet + (grain / grain.std() * 20 * darkness)[..., None]
    return np.asarray(np.clip(grained, 0, 255), np.uint8)


def _disc(sheet: NDArray[np.float32], at: tuple[int, int], radius: int, colour: object, share: float) -> None:
    reach = radius + 4
    grid = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1])
    mask = (share / (1 + np.exp((grid - radius) / 1.2)))[..., None].astype(np.float32)
    rows, cols = ((np.arange(-reach, reach + 1) + v) % TEXTURE_PX for v in at[::-1])
    part = sheet[np.ix_(rows, cols)]
    sheet[np.ix_(rows, cols)] = part * (1 - mask) + np.asarray(colour, np.float32) * mask


def _where(rng: np.random.Generator) -> NDArray[np.float32]:
    """How much of the sample shows over the canvas: 60 % of it is covered, with soft borders."""
    field = cv2.GaussianBlur(rng.normal(0, 1, (64, 64)).astype(np.float32), (0, 0), 5)
    border = float(np.quantile(field, 1 - TISSUE))
    return np.asarray(np.clip((field - border) / float(field.std()) * 10 + 0.5, 0, 1), np.float32)
