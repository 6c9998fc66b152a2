"""Do tiles come to lie where they were, on line, with nothing known of the rig? Rows for ``scripts/bench mosaic``."""

import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scanner.model.geometry import Point
from scanner.pipeline.placement import Placed
from scanner.pipeline.registration import PairMeasurement
from scripts import mosaic_pairs
from scripts.mosaic_grids import TileGrid, take_grid
from scripts.mosaic_road import Bend, Clock, measure, place
from scripts.rows import Row, at_least, at_most, row

FloatArray = NDArray[np.float64]
GRIDS = [
    ("sparse", 8, (901, 902, 903)),
    ("sparse", 16, (901, 902, 903, 904, 905, 906)),
    ("dense", 8, (901,)),
    ("dense", 16, (901,)),
]
FALSE_SHARE, FALSE_PX, DRAWS = 0.03, 25.0, 3
PAIR_SEEDS = 8


@dataclass(slots=True)
class Sums:
    """What all grids of tiles say together."""

    clock: Clock = field(default_factory=Clock)
    tiles: int = 0
    pairs: int = 0
    wrong: list[float] = field(default_factory=list)
    apart: list[float] = field(default_factory=list)
    bent: list[float] = field(default_factory=list)


def rows(full: bool = True) -> list[Row]:
    """Everything that is measured; with less than ``full``, one seed of each grid."""
    found: list[Row] = []
    sums = Sums()
    for kind, side, seeds in GRIDS:
        seams: list[float] = []
        empty = []
        for seed in seeds if full else seeds[:1]:
            with tempfile.TemporaryDirectory() as folder:
                grid = take_grid(Path(folder), kind, side, seed)
                shown = grid.seams()
                seams += _judged(grid, shown, sums)
                empty.append(1 - len(shown) / (2 * side * (side - 1)))
        found += _of_kind(f"{kind} {side} × {side}", kind, seams, float(np.mean(empty)))
    return [*found, *_of_all(sums), *_solving()]


def _judged(grid: TileGrid, shown: list[tuple[int, int]], sums: Sums) -> list[float]:
    pairs, placed = measure(grid, sums.clock)
    whole = place(grid, pairs, rows_later=None)
    sums.tiles, sums.pairs = sums.tiles + len(grid.taken), sums.pairs + len(pairs)
    sums.wrong += [_offset(p).distance(_truth(grid, *key)) for key, p in pairs.items() if p.accepted]
    sums.apart += [_lie(placed, *key).distance(_lie(whole, *key)) for key in shown]
    for draw in range(DRAWS):
        sums.bent += _seams(grid, shown, place(grid, pairs, bend=_bender(draw)))
    return _seams(grid, shown, placed)


def _bender(seed: int) -> Bend:
    rng = np.random.default_rng((seed, 17))

    def bend(pair: PairMeasurement) -> PairMeasurement:
        if rng.random() >= FALSE_SHARE:
            return pair
        dx, dy = rng.uniform(-FALSE_PX, FALSE_PX, 2)
        return replace(pair, dx_px=pair.dx_px + dx, dy_px=pair.dy_px + dy)

    return bend


def _seams(grid: TileGrid, shown: list[tuple[int, int]], placed: dict[int, Placed]) -> list[float]:
    return [_lie(placed, a, b).distance(_truth(grid, a, b)) for a, b in shown]


def _truth(grid: TileGrid, first: int, second: int) -> Point:
    return grid.taken[second].true - grid.taken[first].true


def _lie(placed: dict[int, Placed], first: int, second: int) -> Point:
    a, b = placed[first], placed[second]
    return Point(b.x_px - a.x_px, b.y_px - a.y_px)


def _offset(pair: PairMeasurement) -> Point:
    return Point(pair.dx_px, pair.dy_px)


def _of_kind(name: str, kind: str, seams: list[float], empty: float) -> Iterable[Row]:
    bars = (0.3, 3.0) if kind == "sparse" else (0.0, 0.3)
    yield row(f"{name}: overlaps without texture, %", 100 * empty)
    yield at_most(
        f"{name}: seams that show, off by more than 1 px, %, of {len(seams)}", above(seams, 1), bars[0]
    )
    yield at_most(f"{name}: worst seam that shows, px", max(seams), bars[1])


def _of_all(sums: Sums) -> Iterable[Row]:
    steps = sums.clock.seconds
    wrong = sum(error > 1 for error in sums.wrong)
    yield at_most(f"register: accepted and wrong by more than 1 px, of {len(sums.wrong)}", wrong, 0)
    yield row("register: error, 95th percentile, px", float(np.quantile(sums.wrong, 0.95)))
    yield at_most("register: CPU ms a pair", 1000 * steps["register"] / sums.pairs, 8.0)
    yield at_most("place: CPU ms a tile", 1000 * steps["place"] / sums.tiles, 10.0)
    yield at_least(
        f"place: seams that show within 0.25 px of the whole solution, %, of {len(sums.apart)}",
        100 - above(sums.apart, 0.25),
        99.9,
    )
    yield at_most("place: with 3 % false pairs, seams off by more than 1 px, %", above(sums.bent, 1), 1.0)


def _solving() -> Iterable[Row]:
    """Pairs alone: the time of one whole solution, and what ten thousand tiles do on line."""
    large = mosaic_pairs.pair_grid(100, "sparse", 1)
    began = time.process_time()
    placed = mosaic_pairs.placed_in_order(large)
    online_s = time.process_time() - began
    errors = mosaic_pairs.seam_errors(large, placed)
    yield at_most("100 × 100 pairs: place on line, CPU ms a tile", 1000 * online_s / 10_000, 10.0)
    yield at_most(f"100 × 100 pairs: off by more than 1 px, %, of {len(errors)}", above(errors, 1), 0.3)
    yield row("100 × 100 pairs: worst, px", float(errors.max()))
    yield at_most("100 × 100 pairs: one solution of all, CPU s", mosaic_pairs.whole_solution_s(large), 0.5)
    small = [mosaic_pairs.pair_grid(16, "sparse", seed) for seed in range(PAIR_SEEDS)]
    all_errors = np.concatenate([mosaic_pairs.seam_errors(g, mosaic_pairs.placed_in_order(g)) for g in small])
    yield at_most(f"16 × 16 pairs: off by more than 1 px, %, of {len(all_errors)}", above(all_errors, 1), 0.3)
    yield at_most("16 × 16 pairs: worst, px", float(all_errors.max()), 3.0)


def above(errors: "FloatArray | list[float]", bar_px: float) -> float:
    """Percent of errors above a bar."""
    return 100 * float(np.mean(np.asarray(errors) > bar_px))
