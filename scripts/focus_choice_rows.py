"""How much better are chosen focus points than a lattice, and than the places of greatest doubt? Rows for the bench.

python scripts/focus_choice_rows.py
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autofocus.point_choice import POINT_SIGMA_UM, choose_points
from autofocus.relief import FloatArray, Relief, covariance, trend
from scanner.acquisition.focus_survey import survey_places
from scanner.model.plan import PlannedTile

Row = dict[str, Any]
Cell = tuple[int, int]

SEED = 31
STEP_UM = 461.0
SPACINGS = (4.0, 6.0, 9.0)
RELIEFS = {
    "the relief that is expected": Relief(),
    "a relief of 2 mm": Relief(reach_um=2000.0, scatter_um=0.3),
    "a relief of 6 mm by 1.5 mm": Relief(1.0, 3000.0, 0.3, 4.0, 0.6),
}


def disc() -> list[Cell]:
    """The fields of a liquid-based deposit."""
    return [(r, c) for r in range(-22, 23) for c in range(-22, 23) if np.hypot(r, c) <= 21.7]


def ragged() -> list[Cell]:
    """The fields of pieces of tissue."""
    rng = np.random.default_rng(SEED)
    pieces = [(rng.uniform(-14, 14), rng.uniform(-14, 14), rng.uniform(3, 7)) for _ in range(9)]
    square = [(r, c) for r in range(-22, 23) for c in range(-22, 23)]
    return [(r, c) for r, c in square if any(np.hypot(r - y, c - x) <= reach for y, x, reach in pieces)]


def doubts(places: FloatArray, chosen: NDArray[np.int64], relief: Relief) -> FloatArray:
    """(n,) uncertainty (1 sigma, µm) of the surface at every field once the chosen ones are measured."""
    at = places - places.mean(axis=0)
    noisy = covariance(at[chosen], at[chosen], relief)
    noisy[np.diag_indices_from(noisy)] += relief.scatter_um**2 + POINT_SIGMA_UM**2
    towards = covariance(at, at[chosen], relief)
    before = np.sum(trend(at) ** 2, axis=1) + relief.relief_um**2
    explained = np.einsum("ij,ji->i", towards, np.linalg.solve(noisy, towards.T))
    sure: FloatArray = np.sqrt(np.clip(before - explained, 0.0, None))
    return sure


def most_doubtful(places: FloatArray, count: int, relief: Relief) -> NDArray[np.int64]:
    """Each time the field of greatest variance."""
    at = places - places.mean(axis=0)
    left, chosen = covariance(at, at, relief), list[int]()
    for _ in range(count):
        own = np.diag(left).copy()
        own[chosen] = -1.0
        chosen.append(int(np.argmax(own)))
        column = left[:, chosen[-1]] / np.sqrt(left[chosen[-1], chosen[-1]] + relief.scatter_um**2 + 0.01)
        left -= np.outer(column, column)
    return np.array(chosen)


def way_mm(places: FloatArray) -> float:
    """How far the stage goes from point to point."""
    return float(np.hypot(*np.diff(places, axis=0).T).sum()) / 1000


def gain_rows(name: str, cells: list[Cell], relief: Relief) -> Iterator[Row]:
    """Mean and worst doubt, and the way, over three densities: chosen relative to the others, less is better."""
    places = np.array([(c * STEP_UM, r * STEP_UM) for r, c in cells])
    tiles = [
        PlannedTile(tile=n, row=r, col=c, x_um=c * STEP_UM, y_um=r * STEP_UM)
        for n, (r, c) in enumerate(cells)
    ]
    mean, worst, way, doubtful = [], [], [], []
    for spacing in SPACINGS:
        lattice = np.array([tile.tile for tile in survey_places(tiles, spacing)])
        chosen = choose_points(places, np.ones(len(places)), len(lattice), relief)
        ours, theirs = (doubts(places, which, relief) for which in (chosen, lattice))
        greatest = doubts(places, most_doubtful(places, len(lattice), relief), relief)
        mean.append(np.sqrt(np.mean(ours**2) / np.mean(theirs**2)))
        worst.append(ours.max() / theirs.max())
        way.append(way_mm(places[chosen]) / way_mm(places[lattice]))
        doubtful.append(np.sqrt(np.mean(ours**2) / np.mean(greatest**2)))
    label = f"focus points, {name}"
    yield row(f"{label}: mean doubt relative to a lattice", mean)
    yield row(f"{label}: worst doubt relative to a lattice", worst)
    yield row(f"{label}: way of the stage relative to a lattice", way)
    yield row(f"{label}: mean doubt relative to the places of greatest doubt", doubtful)


def row(name: str, ratios: list[float]) -> Row:
    """One line of the bench: the mean over the densities."""
    return {"name": name, "value": round(float(np.mean(ratios)), 3), "bar": None, "met": None}


def choice_rows() -> list[Row]:
    """Every row of the choice of focus points."""
    shapes = {"a disc": disc(), "pieces of tissue": ragged()}
    return [
        line
        for shape, cells in shapes.items()
        for kind, relief in RELIEFS.items()
        for line in gain_rows(f"{shape}, {kind}", cells, relief)
    ]


if __name__ == "__main__":
    for line in choice_rows():
        print(f"{line['name']}: {line['value']}")
