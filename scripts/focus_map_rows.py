"""How right is the focus map between its points, and how right is what it says of itself? Rows for the focus bench.

Simulated glass: the default slide's tilt and bow, a local relief the map does not know the law of, fields that lie
off it, measurements that are off, and some that are wrong. Truth is what was put in, at fields nobody measured.

    python scripts/focus_map_rows.py [--all]
"""

import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autofocus.focus_map import FocusMap, FocusPoint
from scanner.devices.simulated.specimen import DEPOSIT_CENTRE_UM, DEPOSIT_RADIUS_UM, Surface

Row = dict[str, Any]
FloatArray = NDArray[np.float64]

SEED = 4_242
WAVES = 200
OUTLIER_UM = 5.0
FEWEST, LEARNED, SURVEYED = 5, (8, 12, 25, 50, 80, 150, 400), 80
SLIDES = 24
FIELDS = 120
SPARSE_SHARE = 0.4
SPARSE_UM, DENSE_UM = 1.5, 0.3


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of slide, µm: ``reach_um`` of the relief along and across ``heading_rad``.

    ``sparse``: two fields in five hold one cell and lie 1.5 µm off, dense ones 0.3 µm; ``told``: the points say so.
    """

    name: str
    relief_um: float
    reach_um: tuple[float, float] = (4000.0, 4000.0)
    heading_rad: float = 0.6
    smooth: bool = True
    scatter_um: float = 0.5
    sigma_um: float = 0.1
    wrong: float = 0.0
    sparse: bool = False
    told: bool = True


KINDS = (
    Kind("tilt and bow only", 0.0, scatter_um=0.3),
    Kind("even relief", 0.7),
    Kind("relief of 6 mm by 1.5 mm", 1.0, (6000.0, 1500.0), scatter_um=0.3),
    Kind("rough relief of 2 mm", 0.7, (2000.0, 2000.0), smooth=False),
    Kind("fields 1 µm off, measured to 0.5 µm", 0.5, scatter_um=1.0, sigma_um=0.5),
    Kind("fields 2 µm off", 0.7, scatter_um=2.0),
    Kind("one point in twenty wrong", 0.7, (5000.0, 2500.0), wrong=0.05),
    Kind("one point in ten wrong", 0.7, (5000.0, 2500.0), wrong=0.10),
    Kind("sparse cytology, points say so", 0.5, (5000.0, 3000.0), scatter_um=0.0, sparse=True),
    Kind(
        "sparse cytology, points do not say so",
        0.5,
        (5000.0, 3000.0),
        scatter_um=0.0,
        sparse=True,
        told=False,
    ),
)


class Glass:
    """One slide of a kind: its surface anywhere, and fields measured on it."""

    def __init__(self, kind: Kind, seed: int) -> None:
        self.kind, self._rng = kind, np.random.default_rng([SEED, seed, *kind.name.encode()])
        rng = self._rng
        self._glass = Surface(float(rng.uniform(-3, 3)), heading_rad=float(rng.uniform(0, 2 * math.pi)))
        # a Gaussian law of waves makes a smooth relief, a Student's law with 3 degrees a rough one (Matérn 3/2)
        waves = rng.normal(size=(WAVES, 2))
        if not kind.smooth:
            waves /= np.sqrt(rng.chisquare(3, WAVES) / 3)[:, None]
        c, s = math.cos(kind.heading_rad), math.sin(kind.heading_rad)
        self._waves = (waves / kind.reach_um) @ np.array([[c, s], [-s, c]])
        self._phases = rng.uniform(0, 2 * math.pi, WAVES)

    def surface(self, places: FloatArray) -> FloatArray:
        """Height without the scatter of fields at (n, 2) places, µm."""
        base = np.array([self._glass.height(float(x), float(y)) for x, y in places])
        waves = np.cos(places @ self._waves.T + self._phases).sum(axis=1)
        total: FloatArray = base + self.kind.relief_um * math.sqrt(2 / WAVES) * waves
        return total

    def places(self, count: int) -> FloatArray:
        """(n, 2) fields in the deposit."""
        radius = DEPOSIT_RADIUS_UM * np.sqrt(self._rng.random(count))
        angle = self._rng.uniform(0, 2 * math.pi, count)
        around: FloatArray = np.array(DEPOSIT_CENTRE_UM) + radius[:, None] * np.stack(
            [np.cos(angle), np.sin(angle)], axis=1
        )
        return around

    def scatters(self, count: int) -> FloatArray:
        """(n,) how far each of some fields may lie off (1 sigma)."""
        if not self.kind.sparse:
            return np.full(count, self.kind.scatter_um)
        return np.where(self._rng.random(count) < SPARSE_SHARE, SPARSE_UM, DENSE_UM)

    def normal(self, sigmas: FloatArray) -> FloatArray:
        """(n,) normal numbers."""
        return self._rng.normal(0, sigmas)

    def measured(self, count: int) -> list[FocusPoint]:
        """Focus points as a scan would have them."""
        places, scatters = self.places(count), self.scatters(count)
        heights = (
            self.surface(places) + self.normal(scatters) + self.normal(np.full(count, self.kind.sigma_um))
        )
        wrong = self._rng.random(count) < self.kind.wrong
        heights[wrong] += OUTLIER_UM * self._rng.choice([-1.0, 1.0], int(wrong.sum()))
        told = self.kind.sparse and self.kind.told
        sigmas = np.hypot(self.kind.sigma_um, scatters if told else 0.0)
        rows = np.column_stack([places, heights, np.broadcast_to(sigmas, count)])
        return [FocusPoint(*row) for row in rows.tolist()]


@dataclass(frozen=True, slots=True)
class Judged:
    """Fields that were not measured: how far the prediction lies off, in µm and in what it said of itself.

    ``field`` and ``surface`` (n,): the miss over the stated sigma; the others (n,) µm, against the surface.
    """

    field: FloatArray
    surface: FloatArray
    map_um: FloatArray
    plane_um: FloatArray
    three_um: FloatArray

    @classmethod
    def joined(cls, parts: list["Judged"]) -> "Judged":
        """All together."""
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in cls.__slots__))


def judged(kind: Kind, count: int, seed: int) -> Judged:
    """One glass, ``count`` points on it, and fields that nobody measured."""
    glass = Glass(kind, seed)
    points = glass.measured(count)
    focus_map = FocusMap.of(points)
    places, scatters = glass.places(FIELDS), glass.scatters(FIELDS)
    surface = glass.surface(places)
    truth = surface + glass.normal(scatters)
    z_um, sigma_um = focus_map.predict_many(places)
    scatter_um = focus_map.predict_parts(*places[0])[2]
    own = scatters if kind.sparse and kind.told else 0.0
    rows = np.array([(p.x_um, p.y_um, p.z_um) for p in points])
    return Judged(
        field=(z_um - truth) / np.hypot(sigma_um, own),
        surface=(z_um - surface) / np.sqrt(np.maximum(sigma_um**2 - scatter_um**2, 1e-6)),
        map_um=z_um - surface,
        plane_um=plane(rows, places) - surface,
        three_um=plane(rows[corners(rows[:, :2])], places) - surface,
    )


def plane(rows: FloatArray, places: FloatArray) -> FloatArray:
    """A plane through (n, 3) points by least squares, at (m, 2) places."""
    centre = rows[:, :2].mean(axis=0)
    at = np.column_stack([np.ones(len(rows)), rows[:, :2] - centre])
    found = np.linalg.lstsq(at, rows[:, 2], rcond=None)[0]
    heights: FloatArray = np.column_stack([np.ones(len(places)), places - centre]) @ found
    return heights


def corners(places: FloatArray) -> NDArray[np.int64]:
    """The three of (n, 2) places that a person would take: each nearest to a corner of a triangle on the rim."""
    angles = np.array([math.pi / 2, math.pi * 7 / 6, math.pi * 11 / 6])
    wanted = np.array(DEPOSIT_CENTRE_UM) + 0.8 * DEPOSIT_RADIUS_UM * np.stack(
        [np.cos(angles), np.sin(angles)], axis=1
    )
    left = list(range(len(places)))
    chosen = []
    for corner in wanted:
        chosen.append(min(left, key=lambda n: float(np.hypot(*(places[n] - corner)))))
        left.remove(chosen[-1])
    return np.array(chosen)


def study(kind: Kind, counts: tuple[int, ...]) -> Judged:
    """Slides of a kind, each with its own number of points."""
    slides = [(count, slide) for count in counts for slide in range(SLIDES if count < 150 else SLIDES // 3)]
    return Judged.joined([judged(kind, count, 1000 * count + slide) for count, slide in slides])


def within(ratios: FloatArray, sigmas: float) -> float:
    """Share of truths within so many stated sigma."""
    return float(np.mean(np.abs(ratios) < sigmas))


def p95(errors: FloatArray) -> float:
    """The error that nineteen of twenty fields stay below, µm."""
    return float(np.quantile(np.abs(errors), 0.95))


def row(name: str, value: float, bar: str | float | None = None, met: bool | None = None) -> Row:
    """One line of the bench."""
    return {"name": name, "value": round(value, 3), "bar": bar, "met": met}


def kind_rows(kind: Kind) -> Iterator[Row]:
    """What is said of one kind of slide, and how far it lies off with as many points as a survey takes."""
    found, surveyed = study(kind, LEARNED), study(kind, (SURVEYED,))
    name = f"focus map, {kind.name}"
    share = within(found.field, 1)
    yield row(f"{name}: 68 % of truths within 1 sigma", share, "0.63..0.73", 0.63 <= share <= 0.73)
    twice = within(found.field, 2)
    yield row(f"{name}: 95 % of truths within 2 sigma", twice, "0.90..1.00", twice >= 0.90)
    yield row(f"{name}: the surface within its own sigma", within(found.surface, 1))
    yield row(f"{name}, {SURVEYED} points: p95 error of the surface, µm", p95(surveyed.map_um))
    yield row(f"{name}, {SURVEYED} points: the same of a least-squares plane, µm", p95(surveyed.plane_um))
    yield row(f"{name}, {SURVEYED} points: the same of a plane through three, µm", p95(surveyed.three_um))


def few_rows() -> Iterator[Row]:
    """Five points teach the map nothing of the relief: it believes what most slides are like."""
    found = Judged.joined([study(kind, (FEWEST,)) for kind in KINDS])
    yield row(
        f"focus map, {FEWEST} points on any kind: 68 % of truths within 1 sigma", within(found.field, 1)
    )
    for name, errors in (("map", found.map_um), ("plane", found.plane_um), ("three points", found.three_um)):
        yield row(f"focus map, {FEWEST} points on any kind: p95 error, {name}, µm", p95(errors))


def predict_ms(count: int) -> float:
    """CPU milliseconds of one prediction among ``count`` points, the least of five runs."""
    glass = Glass(KINDS[1], 0)
    focus_map = FocusMap.of(glass.measured(80)).with_points(glass.measured(count - 80))
    places = glass.places(100).tolist()

    def once() -> float:
        start = time.process_time()
        for x, y in places:
            focus_map.predict(x, y)
        return 1000 * (time.process_time() - start) / len(places)

    return min(once() for _ in range(5))


def map_rows() -> list[Row]:
    """Every row of the focus map."""
    rows = [line for kind in KINDS for line in kind_rows(kind)]
    speed = predict_ms(3000)
    return [
        *rows,
        *few_rows(),
        row("focus map of 3,000 points: one prediction, CPU ms", speed, 1.0, speed <= 1.0),
    ]


def _by_count() -> None:
    """The same by number of points, for whoever changes the map."""
    for kind in KINDS:
        for count in (FEWEST, *LEARNED):
            found = study(kind, (count,))
            print(
                f"{kind.name[:34]:34} {count:4}  {within(found.field, 1):.2f} {within(found.field, 2):.2f}  surface "
                f"{within(found.surface, 1):.2f} {within(found.surface, 2):.2f}  p95 {p95(found.map_um):.2f} "
                f"plane {p95(found.plane_um):.2f} three {p95(found.three_um):.2f}",
                flush=True,
            )


def main() -> None:
    """Print the rows, or with ``--all`` a table by number of points."""
    if "--all" in sys.argv:
        _by_count()
        return
    for line in map_rows():
        mark = {True: "met", False: "short", None: ""}[line["met"]]
        bar = f" (bar {line['bar']}) {mark}" if line["bar"] is not None else ""
        print(f"{line['name']}: {line['value']}{bar}")


if __name__ == "__main__":
    main()
