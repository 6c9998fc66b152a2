"""Does the focus map stay right while a slide is scanned and every tile adds its height? Rows for the focus bench.

A lattice of fields is surveyed, then tile after tile is predicted before it is measured, as on a rig; once with the
relief that the survey taught, once fitted anew whenever the map says that it is stale.

    python scripts/focus_scan_rows.py
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autofocus.focus_map import FocusMap, FocusPoint
from scanner.devices.simulated.specimen import DEPOSIT_CENTRE_UM
from scripts.focus_map_rows import KINDS, Glass, Kind

Row = dict[str, Any]
FloatArray = NDArray[np.float64]

STEP_UM, REACH, SURVEY_EVERY = 461.0, 21.7, 4
SEEDS = (900, 901)
WRONG_UM = 5.0


def lattice() -> NDArray[np.int64]:
    """(n, 2) column and row of the fields of a deposit, row by row, every other row from the right."""
    reach = range(-22, 23)
    cells = [(c if r % 2 else -c, r) for r in reach for c in reach if np.hypot(r, c) <= REACH]
    return np.array(cells)


def scanned(kind: Kind, seed: int, refit: bool) -> tuple[FloatArray, FloatArray]:
    """Every tile but the surveyed ones: (n,) misses in stated sigma, (n,) errors against the surface, µm."""
    glass, cells = Glass(kind, seed), lattice()
    places = np.array(DEPOSIT_CENTRE_UM) + cells * STEP_UM
    surface, scatters = glass.surface(places), glass.scatters(len(places))
    truth = surface + glass.normal(scatters)
    told = kind.sparse and kind.told
    sigmas = np.hypot(kind.sigma_um, scatters if told else np.zeros(len(places)))
    measured = truth + glass.normal(np.full(len(places), kind.sigma_um))
    measured[np.random.default_rng(seed).random(len(places)) < kind.wrong] += WRONG_UM
    points = [FocusPoint(*row) for row in np.column_stack([places, measured, sigmas]).tolist()]
    surveyed = (cells % SURVEY_EVERY == 0).all(axis=1)
    focus_map = FocusMap.of([p for p, first in zip(points, surveyed, strict=True) if first])
    misses, errors = [], []
    for n in np.flatnonzero(~surveyed):
        z_um, sigma_um = focus_map.predict(*places[n])
        misses.append((z_um - truth[n]) / np.hypot(sigma_um, scatters[n] if told else 0.0))
        errors.append(z_um - surface[n])
        focus_map = focus_map.with_points([points[n]])
        focus_map = focus_map.refitted() if refit and focus_map.stale else focus_map
    return np.array(misses), np.array(errors)


def kind_rows(kind: Kind) -> Iterator[Row]:
    """Coverage with and without fitting anew, and how far the surface is missed."""
    for refit, how in ((True, "fitted anew when stale"), (False, "as surveyed")):
        parts = [scanned(kind, seed, refit) for seed in SEEDS]
        misses, errors = (np.concatenate(values) for values in zip(*parts, strict=True))
        share = float(np.mean(np.abs(misses) < 1))
        name = f"scan, {kind.name}, {how}"
        met = 0.63 <= share <= 0.73 if refit else None
        yield row(f"{name}: 68 % of tiles within 1 sigma", share, "0.63..0.73" if refit else None, met)
        yield row(f"{name}: p95 error of the surface, µm", float(np.quantile(np.abs(errors), 0.95)))


def row(name: str, value: float, bar: str | None = None, met: bool | None = None) -> Row:
    """One line of the bench."""
    return {"name": name, "value": round(value, 3), "bar": bar, "met": met}


def scan_rows() -> list[Row]:
    """Every row of the map under scan."""
    return [line for kind in KINDS for line in kind_rows(kind)]


if __name__ == "__main__":
    for line in scan_rows():
        bar = "" if line["bar"] is None else f" (bar {line['bar']}) {'met' if line['met'] else 'short'}"
        print(f"{line['name']}: {line['value']}{bar}")
