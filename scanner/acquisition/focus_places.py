"""Which places did a person give to focus on before the first tile, and may the stage go there?"""

import math
from collections.abc import Sequence

from scanner.errors import Problem
from scanner.model.geometry import Affine, Point
from scanner.model.plan import Plan, PlannedTile, reachable
from scanner.model.profile import Limits


def given_places(given_um: Sequence[Point] | None, plan: Plan) -> list[PlannedTile] | None:
    """The places that a person gave, each named after the field nearest to it; None where they are to be chosen."""
    return None if given_um is None else [_named(point, plan.tiles) for point in given_um]


def unreachable(given_um: Sequence[Point] | None, slide_to_stage: Affine, limits: Limits) -> list[Problem]:
    """Where the stage may not go as the slide lies now: known before the first move over it."""
    bad = [point for point in given_um or () if not reachable(slide_to_stage.apply(point), limits)]
    if not bad:
        return []
    at = f"{bad[0].x / 1000:.3f}, {bad[0].y / 1000:.3f} mm"
    what = f"{len(bad)} focus points of the rack file, the first at {at}, lie outside the stage's limits"
    return [Problem(what, "move them, or correct the limits")]


def _named(point: Point, tiles: Sequence[PlannedTile]) -> PlannedTile:
    near = min(tiles, key=lambda t: (math.hypot(t.x_um - point.x, t.y_um - point.y), t.tile))
    return near.model_copy(update={"x_um": point.x, "y_um": point.y, "z_um": None})
