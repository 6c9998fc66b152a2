"""What is the surface of a glass like, and how alike are the heights of two places on it?

The covariance of a Gaussian process: plane, bow and a local relief whose reach differs along two directions
(C. E. Rasmussen, C. K. I. Williams, "Gaussian Processes for Machine Learning", 2006, chapters 2.7 and 4.2).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# what glass on a stage does, 1 sigma: height, tilt and bow; in µm and mm
_LEVEL_UM = 50.0
_TILT_UM_PER_MM = 0.6
_BOW_UM_PER_MM2 = 0.03


@dataclass(frozen=True, slots=True)
class Relief:
    """What a surface is like, all µm: its local relief and the scatter of single fields around it.

    Attributes:
        relief_um: size of the local relief (1 sigma).
        reach_um: over which distance heights are alike; the geometric mean of both directions.
        scatter_um: how far a single field lies off the surface: two thirds of them lie within it.
        stretch: the reach along ``heading_rad`` over the reach across it, 1 or more.
        heading_rad: direction of the longer reach, from x towards y.
    """

    relief_um: float = 0.7
    reach_um: float = 4000.0
    scatter_um: float = 0.5
    stretch: float = 1.0
    heading_rad: float = 0.0

    @property
    def reaches_um(self) -> tuple[float, float]:
        """The reach along the heading and across it."""
        return self.reach_um * math.sqrt(self.stretch), self.reach_um / math.sqrt(self.stretch)

    def even(self, places_um: FloatArray) -> FloatArray:
        """(n, 2) places turned and scaled so that the relief reaches as far in every direction: 1 is its reach."""
        along, across = self.reaches_um
        c, s = math.cos(self.heading_rad), math.sin(self.heading_rad)
        even: FloatArray = places_um @ np.array([[c / along, -s / across], [s / along, c / across]])
        return even


@dataclass(frozen=True, slots=True)
class Placed:
    """Places as their covariance needs them: ``even`` (n, 2) in reaches, ``trend`` (n, 6) in µm."""

    even: FloatArray
    trend: FloatArray
    relief_um: float

    @classmethod
    def of(cls, places_um: FloatArray, relief: Relief) -> "Placed":
        """(n, 2) places on a glass with such a relief."""
        return cls(relief.even(places_um), trend(places_um), relief.relief_um)

    def first(self, count: int) -> "Placed":
        """The first of them."""
        return Placed(self.even[:count], self.trend[:count], self.relief_um)

    def covariance(self, other: "Placed") -> FloatArray:
        """(n, m) covariance of the surface here and there, µm²; Matérn 3/2 for the relief."""
        off = self.even[:, None, :] - other.even[None, :, :]
        off *= off
        apart = np.sqrt(3 * (off[..., 0] + off[..., 1]))
        local = np.exp(-apart)
        apart += 1
        local *= apart
        local *= self.relief_um**2
        local += self.trend @ other.trend.T
        return local

    def variance(self) -> FloatArray:
        """(n,) variance of the surface before anything was measured, µm²."""
        total: FloatArray = np.einsum("ij,ij->i", self.trend, self.trend) + self.relief_um**2
        return total


def trend(places_um: FloatArray) -> FloatArray:
    """(n, 2) places as (n, 6) level, tilts and bows, each as large as a glass has them (1 sigma)."""
    x, y = places_um.T / 1000
    features = np.empty((len(places_um), 6))
    features[:, 0] = _LEVEL_UM
    features[:, 1], features[:, 2] = _TILT_UM_PER_MM * x, _TILT_UM_PER_MM * y
    features[:, 3], features[:, 4] = _BOW_UM_PER_MM2 * x * x, _BOW_UM_PER_MM2 * y * y
    features[:, 5] = math.sqrt(2) * _BOW_UM_PER_MM2 * x * y
    return features


def covariance(a_um: FloatArray, b_um: FloatArray, relief: Relief) -> FloatArray:
    """(n, m) covariance of the surface between (n, 2) and (m, 2) places, µm²."""
    return Placed.of(a_um, relief).covariance(Placed.of(b_um, relief))
