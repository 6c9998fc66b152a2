"""How do borders of a mosaic look, hard and faded, what does fading cost, and what do neighbours save of a soft tile?

Rows for the mosaic bench: simulated fields of the default rig (sparse and dense), their light evened, each placed
within 0.1 px of where it truly was, as registration does. ``python -m scripts.mosaic_blend_rows``
"""

import itertools
import time
from dataclasses import dataclass, field

import cv2
import numpy as np

from scanner.devices.simulated.field import SIDE_PX
from scanner.model.geometry import Point
from scanner.model.plan import serpentine
from scanner.model.profile import Profile
from scanner.model.tile import FocusState, Pixels
from scanner.pipeline import feather
from scanner.pipeline.feather import Fits, Joined
from scanner.pipeline.flat_field import Correction
from scanner.pipeline.joints import Station, joined
from scanner.pipeline.lattice import Box, Lattice
from scanner.pipeline.mosaic import BlockId, Canvas, Mosaic
from scanner.pipeline.placement import Placed
from scanner.pipeline.seam_score import seam_score, seamlessness
from scanner.storage.profiles import read_profile
from scripts.focus_field import SimulatedField
from scripts.mosaic_light_rows import PROFILE, SEED, STARTS, STEP_UM, Grid, evened, measured
from scripts.rows import Row, at_least, at_most, row, tell

ROWS, COLS, MARGIN_PX, GRAIN = 3, 4, 20, 32
MISSED_PX = 0.05  # of each tile in x and in y: 0.1 px between two
SOFT, SOFT_UM = 5, 5.0  # the tile in the middle, and how far out of focus it is
WIDTHS_PX = (2, 4, 8)
WAITING = 20  # tiles a side of a slide of which only places matter


@dataclass
class Laid:
    """A grid of tiles as it is drawn: flat pixels and gains by number, places, and what registration says of them."""

    grid: Grid
    flat: list[Pixels]
    gains: list[tuple[float, ...]]
    placed: list[Placed] = field(default_factory=list)

    def __post_init__(self) -> None:
        low = Point(min(p.x for p in self.grid.at), min(p.y for p in self.grid.at))
        self.true = [p - low + Point(MARGIN_PX, MARGIN_PX) for p in self.grid.at]
        rng = np.random.default_rng(SEED)
        for number, (cell, at) in enumerate(zip(self.grid.cells, self.true, strict=True)):
            x, y = (round((v + rng.normal(0, MISSED_PX)) * GRAIN) / GRAIN for v in (at.x, at.y))
            self.placed.append(Placed(number, *cell, x, y, held=False, sigma_px=0.1))
        right, down = self.true[COLS - 1] - self.true[0], self.true[-COLS] - self.true[0]
        across = Point(right.x / (COLS - 1), right.y / (COLS - 1))
        self.lattice = Lattice(
            self.true[0], across, Point(down.x / (ROWS - 1), down.y / (ROWS - 1)), (SIDE_PX, SIDE_PX)
        )
        width, height = (max(getattr(p, axis) for p in self.true) for axis in ("x", "y"))
        self.canvas = Canvas(
            int(width) + SIDE_PX + MARGIN_PX, int(height) + SIDE_PX + MARGIN_PX, 3, np.dtype(np.uint8)
        )

    def fits(self) -> Joined:
        """Every pair as it is measured."""
        told = Joined()
        for number in range(len(self.placed)):
            near = self.grid.neighbours(number)
            told.learn(number, [(n, measured(self.true[number] - self.true[n])) for n in near])
        return told

    def drawn(self, fits: Fits | None, soft: FocusState = FocusState.SHARP) -> tuple[Pixels, float]:
        """The mosaic (h, w, 3), and the CPU ms a tile that drawing it took."""
        mosaic = Mosaic(self.canvas, self.lattice, fits)
        image = np.full((self.canvas.height_px, self.canvas.width_px, 3), 255, np.uint8)
        blocks: list[BlockId] = []
        for p in self.placed:
            blocks += mosaic.place(p, focus=soft if p.tile == SOFT else FocusState.SHARP)
        blocks += mosaic.settle()
        spent = 0.0
        for block in blocks:
            began = time.thread_time()
            sheet = mosaic.paint(
                block, mosaic.strokes(block), lambda t, r, c: self.flat[t][r, c], self.gains.__getitem__
            )
            spent += 1000 * (time.thread_time() - began)
            box = self.canvas.block_box(block)
            if sheet is not None:
                shown = sheet.transpose(1, 2, 0)[: box.y1 - box.y0, : box.x1 - box.x0]
                image[box.y0 : box.y1, box.x0 : box.x1] = shown
        return image, spent / len(self.placed)

    def seams(self, image: Pixels) -> tuple[float, float, float]:
        """How they look: score, misfit, and the 95th percentile of steps of light, DN."""
        at = {p.tile: Point(p.x_px, p.y_px) for p in self.placed}
        stations = {
            p_cell: (n, Station(str(n), *p_cell, at[n], self.true[n], Point(1, 1), held=False))
            for n, p_cell in enumerate(self.grid.cells)
        }
        scores = [
            seam_score(joint, self.lattice, lambda box: image[box.y0 : box.y1, box.x0 : box.x1])
            for joint in joined(stations, {})
        ]
        told = [score for score in scores if score is not None]
        whole = seamlessness(told)
        steps = 244 * np.abs([score.step for score in told])
        return whole.score or 0.0, whole.misfit or 0.0, float(np.quantile(steps, 0.95))


def laid(kind: str, correction: Correction, defocus_um: float = 0.0) -> Laid:
    """A grid; its middle tile may be out of focus."""
    what, start = STARTS[kind]
    grid = Grid(what, start, ROWS, COLS)
    if defocus_um:
        slide, (r, c) = SimulatedField(SEED, what), grid.cells[SOFT]
        place = (start[0] + c * STEP_UM, start[1] + r * STEP_UM)
        grid.raw[SOFT] = slide.frame(place, slide.base_um(place) + 1.0 + defocus_um)
    flat = [correction(one) for one in grid.raw]
    return Laid(grid, flat, evened(grid, flat, correction)[0])


def border_rows(kind: str, grid: Laid) -> list[Row]:
    """Seams of one kind of sample, hard and faded over some widths."""
    found, shipped, fits = [], feather.FADE_PX, grid.fits()
    hard = grid.seams(grid.drawn(None)[0])
    names = ("seam score", "misfit", "step of light, 95th percentile, DN")
    found += [row(f"{kind}, hard borders: {name}", value) for name, value in zip(names, hard, strict=True)]
    for width in WIDTHS_PX:
        _fade_over(width)
        seen = grid.seams(grid.drawn(fits)[0])
        for name, value, bar in zip(names, seen, hard, strict=True):
            words = f"{kind}, faded over {2 * width} px: {name}"
            found.append(at_most(words, value, round(bar, 3)) if width == shipped else row(words, value))
    _fade_over(shipped)
    return found


def _fade_over(half_px: int) -> None:
    feather.FADE_PX, feather.AWAY = half_px, np.arange(half_px)
    feather.FALLING = (0.5 - (feather.AWAY + 0.5) / (2 * half_px)).astype(np.float32)


def cost_rows(grid: Laid) -> list[Row]:
    """CPU of drawing, hard and faded in turn."""
    fits, least = grid.fits(), [np.inf, np.inf]
    for _, (k, how) in itertools.product(range(5), enumerate((None, fits))):
        least[k] = min(least[k], grid.drawn(how)[1])
    return [
        row("draw with hard borders: CPU ms a tile", least[0]),
        at_most("draw: CPU ms a tile more for fading", least[1] - least[0], 3.0),
    ]


def soft_rows(correction: Correction) -> list[Row]:
    """Detail in the overlaps of one soft tile, relative to the same slide with that tile in focus."""
    sharp, soft = laid("dense", correction), laid("dense", correction, SOFT_UM)
    best = detail(sharp, sharp.drawn(None)[0])
    own, lent = (detail(soft, soft.drawn(None, state)[0]) for state in (FocusState.SHARP, FocusState.USABLE))
    words = f"a tile {SOFT_UM:g} µm out of focus, its half of the overlaps: detail, share of a tile in focus"
    return [row(f"{words}, as planned", own / best), at_least(f"{words}, by neighbours", lent / best, 0.9)]


def detail(of: Laid, image: Pixels) -> float:
    """Mean squared difference of pixels two apart (green, smoothed) in the four strips that a soft tile would lose."""
    at, x_step, y_step = of.placed[SOFT], of.lattice.across.x, of.lattice.down.y
    x0, y0 = round(at.x_px), round(at.y_px)
    wide, high = round((SIDE_PX - x_step) / 2), round((SIDE_PX - y_step) / 2)
    far = SIDE_PX - 120
    green = cv2.GaussianBlur(image[..., 1].astype(np.float32), (0, 0), 1.0)
    strips = [
        Box(x0 + wide + 8, y0 + 120, x0 + 2 * wide - 8, y0 + far),
        Box(x0 + SIDE_PX - 2 * wide + 8, y0 + 120, x0 + SIDE_PX - wide - 8, y0 + far),
        Box(x0 + 120, y0 + high + 8, x0 + far, y0 + 2 * high - 8),
        Box(x0 + 120, y0 + SIDE_PX - 2 * high + 8, x0 + far, y0 + SIDE_PX - high - 8),
    ]
    parts = [green[b.y0 : b.y1, b.x0 : b.x1] for b in strips]
    return float(np.mean([np.mean((part[2:] - part[:-2]) ** 2) for part in parts]))


def waiting_rows() -> list[Row]:
    """How many tiles of a serpentine the unfinished blocks still need, at most, by the share of soft ones."""
    said = {"all sharp": 0.0, "5 % soft": 0.05, "all unmeasured": 1.0}
    words = f"tiles needed at once, of {WAITING} × {WAITING}"
    return [row(f"{words}, {name}", _most_needed(share)) for name, share in said.items()]


def _most_needed(share: float) -> int:
    step, rng = 0.9 * SIDE_PX, np.random.default_rng(SEED)
    lattice = Lattice(Point(10, 10), Point(step, 5.0), Point(-5.0, step), (SIDE_PX, SIDE_PX))
    side = int(WAITING * step) + MARGIN_PX
    mosaic = Mosaic(Canvas(side, side, 3, np.dtype(np.uint8)), lattice, lambda *_: True)
    inside = list(serpentine(itertools.product(range(WAITING), range(WAITING))))
    beyond = itertools.product(range(-2, WAITING + 2), range(-2, WAITING + 2))
    mosaic.void(set(beyond) - set(inside))
    needed, most = 0, 0
    for number, cell in enumerate(inside):
        at = lattice.nominal(*cell) + Point(*(float(v) for v in rng.normal(0, 2, 2)))
        state = FocusState.UNMEASURED if rng.random() < share else FocusState.SHARP
        mosaic.place(Placed(number, *cell, at.x, at.y, held=False, sigma_px=0.1), focus=state)
        needed += 1 - len(mosaic.unneeded())
        most = max(most, needed)
    return most


def rows() -> list[Row]:
    """Everything that is measured."""
    profile: Profile = read_profile(PROFILE)
    correction = Correction.of(profile)
    grids = {kind: laid(kind, correction) for kind in STARTS}
    borders = [entry for kind, grid in grids.items() for entry in border_rows(kind, grid)]
    return [*borders, *cost_rows(grids["sparse"]), *soft_rows(correction), *waiting_rows()]


if __name__ == "__main__":
    cv2.setNumThreads(1)
    tell(rows())
