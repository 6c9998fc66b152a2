"""At which height does the sample lie where nobody has looked yet, and how sure is that?

Kriging: a Gaussian process whose kernel holds the plane, the bow, the local relief and the scatter of single fields
(C. E. Rasmussen, C. K. I. Williams, "Gaussian Processes for Machine Learning", 2006, chapters 2.7 and 5.4.1).
Points that carry the whole slide are solved once; a prediction adds the nearest of the others to them, so that
it costs the same however many there are.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autofocus.carriers import Carriers, carried, spread
from autofocus.errors import FocusInputError
from autofocus.point_choice import most_telling
from autofocus.relief import FloatArray, Relief
from autofocus.relief_fit import LEAST_POINTS, Heights, doubt_um, learned

__all__ = ["FocusMap", "FocusPoint", "Relief", "next_points"]


@dataclass(frozen=True, slots=True)
class FocusPoint:
    """A measured height at a place, slide µm; ``sigma_um`` is the measurement's own (1 sigma).

    Where the height of a field says little of the surface around it (a field with a single cell), ``sigma_um``
    holds that as well.
    """

    x_um: float
    y_um: float
    z_um: float
    sigma_um: float


@dataclass(frozen=True, slots=True)
class FocusMap:
    """Measured points and what the surface between them is like; never changed, only followed by a new one."""

    relief: Relief
    _belief: Relief
    _known: Heights
    _carriers: Carriers
    _learned_from: int

    @classmethod
    def of(cls, points: Sequence[FocusPoint], relief: Relief | None = None) -> "FocusMap":
        """Learn the relief from the points where there are six or more, else take ``relief`` as it is.

        Raises:
            FocusInputError: without points, or with a number that is not finite.
        """
        return _learned(_rows(points), relief or Relief())

    @property
    def points(self) -> tuple[FocusPoint, ...]:
        """What was measured; an outlier has an uncertainty that explains it."""
        known = self._known
        sigmas = np.hypot(known.sigmas, known.doubts)
        rows = np.column_stack([known.places, known.heights, sigmas])
        return tuple(FocusPoint(*row) for row in rows.tolist())

    def with_points(self, points: Sequence[FocusPoint]) -> "FocusMap":
        """The map that also knows ``points``; the relief stays.

        One that the map cannot believe gets an uncertainty that explains it, until ``refitted`` judges it anew.
        """
        rows = _rows(points)
        z_um, surface_um = self._surface(rows[:, :2])
        expected = surface_um**2 + rows[:, 3] ** 2 + self.relief.scatter_um**2
        new = Heights(rows[:, :2], rows[:, 2], rows[:, 3], doubt_um(rows[:, 2] - z_um, expected))
        return replace(self, _known=self._known.joined(new))

    def without(self, x_um: float, y_um: float, radius_um: float) -> "FocusMap":
        """The map without the points around a place.

        Raises:
            FocusInputError: where no point would be left.
        """
        far = np.hypot(*(self._known.places - (x_um, y_um)).T) > radius_um
        if not far.any():
            raise FocusInputError("a focus map needs at least one point")
        left = self._known.some(np.flatnonzero(far))
        return self._carrying(left)

    def moved(self, x_um: float, y_um: float, to: FocusPoint) -> "FocusMap":
        """The map with the point nearest to a place taken away and ``to``, measured elsewhere, in its stead."""
        nearest = int(np.argmin(np.hypot(*(self._known.places - (x_um, y_um)).T)))
        rows = self._given()
        rows[nearest] = _rows([to])[0]
        doubts = np.where(np.arange(len(rows)) == nearest, 0.0, self._known.doubts)
        known = Heights(rows[:, :2], rows[:, 2], rows[:, 3], doubts)
        return self._carrying(known)

    @property
    def stale(self) -> bool:
        """Twice as many points are known as the relief was learned from: ``refitted`` would know it better.

        Points far apart cannot tell a relief of short reach from scatter; those of neighbouring tiles can.
        """
        return len(self._known) >= max(2 * self._learned_from, LEAST_POINTS)

    def refitted(self) -> "FocusMap":
        """The same points with the relief learned anew and every doubt judged anew."""
        return _learned(self._given(), self._belief)

    def predict(self, x_um: float, y_um: float) -> tuple[float, float]:
        """Height of a field and its uncertainty (1 sigma, the scatter of single fields included), µm."""
        z_um, surface_um, scatter_um = self.predict_parts(x_um, y_um)
        return z_um, math.hypot(surface_um, scatter_um)

    def predict_parts(self, x_um: float, y_um: float) -> tuple[float, float, float]:
        """Height, how sure the surface is there, and how far a single field lies off it (1 sigma each), µm."""
        place = np.array([[x_um, y_um]])
        z_um, variance = carried(self._carriers, self._known, place, self.relief)
        return float(z_um[0]), math.sqrt(float(variance[0])), self.relief.scatter_um

    def predict_many(self, places_um: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """(m, 2) places as (m,) heights and (m,) uncertainties; far from all points the latter grows."""
        z_um, surface_um = self._surface(np.asarray(places_um, float).reshape(-1, 2))
        return z_um, np.hypot(surface_um, self.relief.scatter_um)

    def _surface(self, places_um: FloatArray) -> tuple[FloatArray, FloatArray]:
        z_um, variance = carried(self._carriers, self._known, places_um, self.relief)
        return z_um, np.sqrt(variance)

    def _carrying(self, known: Heights) -> "FocusMap":
        return _carried(known, self.relief, self._belief, self._learned_from)

    def _given(self) -> FloatArray:
        known = self._known
        return np.column_stack([known.places, known.heights, known.sigmas])


def next_points(focus_map: FocusMap, candidates_um: ArrayLike, count: int) -> NDArray[np.int64]:
    """Which ``count`` of (m, 2) candidate places to measure next, so that all of them are known best."""
    known = np.array([(p.x_um, p.y_um, p.sigma_um) for p in focus_map.points])
    candidates = np.asarray(candidates_um, float).reshape(-1, 2)
    return most_telling(candidates, np.ones(len(candidates)), count, focus_map.relief, known)


def _rows(points: Sequence[FocusPoint]) -> FloatArray:
    """(n, 4) x, y, z, sigma."""
    if not points:
        raise FocusInputError("a focus map needs at least one point")
    rows = np.array([(p.x_um, p.y_um, p.z_um, p.sigma_um) for p in points], float)
    if not np.isfinite(rows).all() or (rows[:, 3] <= 0).any():
        raise FocusInputError("focus points need finite numbers and a positive sigma")
    return rows


def _learned(rows: FloatArray, belief: Relief) -> FocusMap:
    known = Heights(rows[:, :2], rows[:, 2], rows[:, 3], np.zeros(len(rows)))
    if len(known) < LEAST_POINTS:
        return _carried(known, belief, belief, len(known))
    judged, relief = learned(known, belief)
    return _carried(judged, relief, belief, len(known))


def _carried(known: Heights, relief: Relief, belief: Relief, learned_from: int) -> FocusMap:
    """The points that carry the slide come first."""
    first, rest = spread(known.places)
    ordered = known.some(np.concatenate([first, rest]))
    carriers = Carriers.of(ordered.some(np.arange(len(first))), relief)
    return FocusMap(relief, belief, ordered, carriers, learned_from)
