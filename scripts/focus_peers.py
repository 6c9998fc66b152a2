"""What do the usual methods reach on the same frames? Rows beside ours.

Variance of Laplacian with a hill climb over seven planes, a plane through three points, and a focus map alone.
"""

from typing import Any

import numpy as np

from autofocus.focus_map import FocusMap, FocusPoint
from autofocus.metrics import VarianceOfLaplacian
from scripts.focus_field import SHARP_SHARE, Place, SimulatedField

CLIMB_STEP_UM = 1.0
CLIMB_PLANES = 7
MAP_POINTS = 80


def peer_rows(field: SimulatedField, tiles: int = 120) -> list[dict[str, Any]]:
    """Share of tiles sharp by each method, and the planes it took."""
    places = [place for place in field.random_places(2 * tiles) if field.truth(place).nuclei][:tiles]
    climbed = [_climbed(field, place) for place in places]
    three = _plane_through_three(field)
    surface = _surface(field)
    flat = [field.truth(p).at(_on(three, p)) for p in places]
    mapped = [field.truth(p).at(surface.predict(*p)[0]) for p in places]
    return [
        _row("peer: variance of Laplacian, hill climb over 7 planes: tiles sharp", [r for r, _ in climbed]),
        {
            "name": "peer: its planes a tile",
            "value": float(np.mean([n for _, n in climbed])),
            "bar": None,
            "met": None,
        },
        _row("peer: plane through three points: tiles sharp", flat),
        _row(f"peer: focus map of {MAP_POINTS} points alone: tiles sharp", mapped),
    ]


def _row(name: str, reached: list[float]) -> dict[str, Any]:
    value = round(float(np.mean([r >= SHARP_SHARE for r in reached])), 4)
    return {"name": name, "value": value, "bar": None, "met": None}


def _climbed(field: SimulatedField, place: Place) -> tuple[float, int]:
    """Up the hill from the glass's height, one step at a time; the sharpest plane seen is kept."""
    metric, start = VarianceOfLaplacian(), field.base_um(place) + field.rng.normal(0, 0.5)
    seen = {n: metric(field.frame(place, start + n * CLIMB_STEP_UM)) for n in (-1, 0, 1)}
    while len(seen) < CLIMB_PLANES:
        best = max(seen, key=lambda n: seen[n])
        following = best + 1 if best == max(seen) else best - 1 if best == min(seen) else None
        if following is None:
            break
        seen[following] = metric(field.frame(place, start + following * CLIMB_STEP_UM))
    best = max(seen, key=lambda n: seen[n])
    return field.truth(place).at(start + best * CLIMB_STEP_UM), len(seen)


def _measured(field: SimulatedField, count: int) -> list[tuple[Place, float]]:
    """Peaks of fields with sample, as a good autofocus finds them."""
    places = [p for p in field.random_places(3 * count) if field.truth(p).nuclei >= 5][:count]
    return [(place, field.truth(place).peak_um + field.rng.normal(0, 0.1)) for place in places]


def _plane_through_three(field: SimulatedField) -> tuple[float, float, float]:
    points = _measured(field, 3)
    rows = np.array([(x, y, 1.0) for (x, y), _ in points])
    a, b, c = np.linalg.lstsq(rows, np.array([z for _, z in points]))[0].tolist()
    return a, b, c


def _on(plane: tuple[float, float, float], place: Place) -> float:
    return plane[0] * place[0] + plane[1] * place[1] + plane[2]


def _surface(field: SimulatedField) -> FocusMap:
    return FocusMap.of([FocusPoint(x, y, z, 0.1) for (x, y), z in _measured(field, MAP_POINTS)])
