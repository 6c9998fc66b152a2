"""How closely is an hour of drift followed, wrong fields among them? Rows for the focus bench.

python scripts/focus_drift_rows.py
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autofocus.drift import Drift

Row = dict[str, Any]
FloatArray = NDArray[np.float64]

SEED = 11
FIELD_S = 0.14
HOURS = np.arange(round(3600 / FIELD_S)) * FIELD_S / 3600
SHAPES: dict[str, FloatArray] = {
    "3 µm in an hour": 3 * HOURS,
    "10 µm in an hour": 10 * HOURS,
    "warming up by 10 µm in 20 min": 10 * (1 - np.exp(-3 * HOURS)),
    "warming up by 6 µm in 10 min": 6 * (1 - np.exp(-6 * HOURS)),
}
SIGMAS_UM = (0.3, 0.7, 1.5)
SETTLED = 300
WRONG, WRONG_UM = 0.03, 8.0
MOST_LAG_UM = 0.1
WALK_UM2, START_UM2 = 2e-4, 0.04


def followed(residuals: FloatArray, sigma_um: float) -> FloatArray:
    """(n,) levels after each field."""
    drift, levels = Drift(), []
    for residual in residuals.tolist():
        drift = drift.updated(residual, sigma_um)
        levels.append(drift.z_um)
    return np.array(levels)


def walked(residuals: FloatArray, sigma_um: float) -> FloatArray:
    """The peer: a random walk followed by a scalar Kalman filter, surprises capped at four sigma."""
    level, variance, levels = 0.0, START_UM2, []
    for residual in residuals.tolist():
        variance += WALK_UM2
        most = 4 * float(np.sqrt(variance + sigma_um**2))
        gain = variance / (variance + sigma_um**2)
        level += gain * min(max(residual - level, -most), most)
        variance *= 1 - gain
        levels.append(level)
    return np.array(levels)


def seen(truth: FloatArray, sigma_um: float) -> FloatArray:
    """(n,) what fields say: noise, and three in a hundred wrong by 8 µm to one side."""
    rng = np.random.default_rng(SEED)
    residuals: FloatArray = truth + rng.normal(0, sigma_um, len(truth))
    residuals[rng.random(len(truth)) < WRONG] += WRONG_UM
    return residuals


def rms(off: FloatArray) -> float:
    """Root mean square once settled, µm."""
    return float(np.sqrt(np.mean(off[SETTLED:] ** 2)))


def shape_rows(name: str, truth: FloatArray) -> Iterator[Row]:
    """The worst of three noise levels, each the sigma that a field states."""
    lag = max(float(np.abs(followed(truth, s) - truth)[SETTLED:].max()) for s in SIGMAS_UM)
    fields = [(s, seen(truth, s)) for s in SIGMAS_UM]
    ours = max(rms(followed(residuals, s) - truth) for s, residuals in fields)
    peer = max(rms(walked(residuals, s) - truth) for s, residuals in fields)
    yield row(f"drift, {name}: most lag, µm", lag, MOST_LAG_UM, lag < MOST_LAG_UM)
    yield row(f"drift, {name}, 3 % of fields wrong: error, µm rms", ours)
    yield row(f"drift, {name}, 3 % of fields wrong: the same of a random walk, µm rms", peer)


def row(name: str, value: float, bar: float | None = None, met: bool | None = None) -> Row:
    """One line of the bench."""
    return {"name": name, "value": round(value, 3), "bar": bar, "met": met}


def drift_rows() -> list[Row]:
    """Every row of the drift."""
    return [line for name, truth in SHAPES.items() for line in shape_rows(name, truth)]


if __name__ == "__main__":
    for line in drift_rows():
        bar = "" if line["bar"] is None else f" (bar {line['bar']}) {'met' if line['met'] else 'short'}"
        print(f"{line['name']}: {line['value']}{bar}")
