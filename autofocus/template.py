"""What shape has the focus curve of this slide, and how is it learned?"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize

from autofocus.errors import FocusInputError

FloatArray = NDArray[np.float64]

LEARNED_FROM_MOST_BLOCKS = 24
_LEAST_HEIGHTS = 7
_SPREAD_OF_WIDTH = (0.5, 3.0)


def depth_of_field_um(numerical_aperture: float, wavelength_um: float = 0.55) -> float:
    """Wave-optical depth of field in air, λ / NA²."""
    return wavelength_um / numerical_aperture**2


@dataclass(frozen=True, slots=True)
class FocusTemplate:
    """``(1 + (d / width)²) ** -power`` at defocus d, with a width of its own below and above the peak.

    A blur that grows linearly with defocus gives gradient energies of this shape; spherical aberration
    makes the two sides differ.

    Attributes:
        width_below_um: for d < 0, the stage below the peak.
        width_above_um: for d > 0.
        power: how fast the tails fall.
        scatter: relative misfit of real blocks (1 sigma) on top of noise.
        spread_um: how far single blocks of a field lie above and below each other (1 sigma).
    """

    width_below_um: float
    width_above_um: float
    power: float = 1.0
    scatter: float = 0.1
    spread_um: float = 2.0

    @classmethod
    def from_optics(cls, depth_of_field_um: float) -> "FocusTemplate":
        """Before anything was measured: nine tenths of the peak at half the depth of field, power 1."""
        width = 0.5 * depth_of_field_um / np.sqrt(1 / 0.9 - 1)
        return cls(float(width), float(width), 1.0, 0.2, float(1.5 * width))

    @property
    def width_um(self) -> float:
        """Mean of both sides."""
        return 0.5 * (self.width_below_um + self.width_above_um)

    def __call__(self, defocus_um: ArrayLike) -> FloatArray:
        """Sharpness relative to the peak, same shape as ``defocus_um``."""
        return self._base(defocus_um) ** -self.power

    def slope(self, defocus_um: ArrayLike) -> FloatArray:
        """Derivative of the template, per µm."""
        d = np.asarray(defocus_um, float)
        width = np.where(d < 0, self.width_below_um, self.width_above_um)
        steep: FloatArray = -2 * self.power * d / width**2 * self._base(d) ** (-self.power - 1)
        return steep

    def half_width_um(self, level: float) -> float:
        """How far from the peak the curve falls to ``level`` of it, mean of both sides."""
        return self.width_um * float(np.sqrt(level ** (-1 / self.power) - 1))

    def _base(self, defocus_um: ArrayLike) -> FloatArray:
        d = np.asarray(defocus_um, float)
        width = np.where(d < 0, self.width_below_um, self.width_above_um)
        base: FloatArray = 1 + (d / width) ** 2
        return base


def learn(z_um: ArrayLike, curves: ArrayLike, start: FocusTemplate) -> FocusTemplate:
    """The template that fits the curves of single blocks best, each with a height and a size of its own.

    Args:
        z_um: (n,) heights of the frames, at least 7 of them distinct.
        curves: (n, k) sharpness of k blocks with texture; the strongest 24 are used.
        start: the template to begin from.

    Raises:
        FocusInputError: with too few heights, or no block.
    """
    z, values = np.asarray(z_um, float), _strongest(np.asarray(curves, float))
    if len(np.unique(z)) < _LEAST_HEIGHTS or values.shape[1] == 0:
        raise FocusInputError(f"a template needs {_LEAST_HEIGHTS} heights and one block with texture")
    first: FloatArray = np.log(np.array([start.width_below_um, start.width_above_um, start.power]))

    def cost(logs: FloatArray) -> float:
        return _misfit(_of_logs(logs), z, values) + 0.01 * float(np.sum((logs - first) ** 2))

    found = minimize(cost, first, method="Nelder-Mead", options={"xatol": 0.01, "fatol": 1e-5, "maxfev": 150})
    best = _of_logs(found.x)
    residuals, heights = _fitted(best, z, values)
    return replace(best, scatter=_scatter(residuals), spread_um=_spread(heights, best.width_um))


def _of_logs(logs: FloatArray) -> FocusTemplate:
    below, above, power = (float(v) for v in np.exp(np.clip(logs, -4.0, 4.0)))
    return FocusTemplate(below, above, power)


def _strongest(curves: FloatArray) -> FloatArray:
    peak = curves.max(axis=0)
    order = np.argsort(-peak, kind="stable")[:LEARNED_FROM_MOST_BLOCKS]
    strong = curves[:, order[peak[order] > 0]]
    normalised: FloatArray = strong / strong.max(axis=0, initial=1e-12)
    return normalised


def _misfit(template: FocusTemplate, z: FloatArray, curves: FloatArray) -> float:
    return float(_fitted(template, z, curves)[0].mean())


def _fitted(template: FocusTemplate, z: FloatArray, curves: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean squared residual of each curve at its own best height, and that height: both (k,)."""
    heights = np.linspace(z.min(), z.max(), 8 * len(z) + 1)
    shapes = template(z[:, None] - heights[None, :])
    size = (curves.T @ shapes) / np.sum(shapes**2, axis=0)
    squares = np.sum(curves**2, axis=0)[:, None] - size**2 * np.sum(shapes**2, axis=0)
    best = np.clip(squares, 0.0, None)
    return best.min(axis=1) / len(z), heights[best.argmin(axis=1)]


def _spread(heights: FloatArray, width_um: float) -> float:
    # the median forgets blocks that only caught the blur of a neighbour
    robust = 1.48 * float(np.median(np.abs(heights - np.median(heights))))
    return min(max(robust, _SPREAD_OF_WIDTH[0] * width_um), _SPREAD_OF_WIDTH[1] * width_um)


def _scatter(residuals: FloatArray) -> float:
    typical = float(np.sqrt(np.median(residuals)))
    # the residual is relative to each curve's peak, and the typical value is about half of it
    return float(np.clip(2 * typical, 0.03, 0.5))
