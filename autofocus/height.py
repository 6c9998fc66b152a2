"""At which height is a field sharp, from a few planes of it?

Each block is fitted by itself: cells lie at different heights, so the curve of a field is a sum of curves and its
peak is not where any ratio of whole-field numbers points. The curve of the field is then put together again.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autofocus.errors import FocusInputError
from autofocus.template import FocusTemplate

FloatArray = NDArray[np.float64]
_GRID_STEP_OF_WIDTH = 0.1
_REACH_OF_SIGMA = 3.0
# weak blocks are many and strong ones few: without this, blocks far out of focus are taken for strong ones
_SIZE_PRIOR_POWER = 1.0
_MISFIT_LOG = 0.15
_MISFIT_REACH_OF_WIDTH = 0.7
_TOTAL_NOISE_LOG = 0.01


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed before looking: N(z_um, sigma_um)."""

    z_um: float
    sigma_um: float


@dataclass(frozen=True, slots=True)
class HeightEstimate:
    """Where the field's own sharpness curve peaks.

    Attributes:
        z_um: height of the peak.
        sigma_um: its uncertainty (1 sigma).
        grid_um: (g,) heights, ascending.
        curve: (g,) reconstructed sharpness of the field at each of them.
        informed: how much the frames said over the prior, 0 (nothing) to 1.
    """

    z_um: float
    sigma_um: float
    grid_um: FloatArray
    curve: FloatArray
    informed: float

    def relative(self, z_um: float) -> float:
        """Sharpness at ``z_um`` relative to the peak (0 to 1)."""
        return float(np.interp(z_um, self.grid_um, self.curve) / self.curve.max())

    @property
    def at_edge(self) -> bool:
        """Is the peak at an end of the heights that were considered?"""
        peak = int(np.argmax(self.curve))
        return peak in (0, len(self.curve) - 1)


def estimate(
    z_um: FloatArray, blocks: FloatArray, template: FocusTemplate, prior: Prior, noise: float
) -> HeightEstimate:
    """Combine n planes of one field.

    Args:
        z_um: (n,) heights of the planes.
        blocks: (n, k) sharpness of each block.
        template: curve of a single block of this slide.
        prior: where single blocks are expected.
        noise: sharpness (1 sigma) that a block without texture shows.

    Raises:
        FocusInputError: where shapes disagree or a number is not finite.
    """
    z, values = np.asarray(z_um, float), np.asarray(blocks, float)
    if values.ndim != 2 or z.shape != (values.shape[0],) or not len(z):
        raise FocusInputError(f"heights {z.shape} and blocks {values.shape} do not belong together")
    if not (np.isfinite(z).all() and np.isfinite(values).all()):
        raise FocusInputError("heights and sharpness must be finite numbers")
    grid = _grid(z, template, prior)
    belief, sizes = _posterior(z, values, grid, template, prior, noise)
    curve = _field_curve(grid, belief, sizes, template)
    misfit = _Misfit.of(z, values.sum(axis=1), template)
    curve *= misfit.correction(grid, curve)
    peak = _refined_peak(grid, curve)
    sigma = float(
        np.hypot(_peak_sigma(grid, belief, sizes, template, peak), misfit.sigma_um(grid, curve, peak))
    )
    before = _narrowed(np.exp(-0.5 * ((grid - prior.z_um) / prior.sigma_um) ** 2)[:, None], grid)
    after = _narrowed(belief, grid)
    strength = (belief * sizes).sum(axis=0)
    mean_after = float((after * strength).sum() / max(strength.sum(), 1e-30))
    return HeightEstimate(peak, sigma, grid, curve, float(np.clip(1 - mean_after / before[0], 0.0, 1.0)))


def _grid(z: FloatArray, template: FocusTemplate, prior: Prior) -> FloatArray:
    reach = _REACH_OF_SIGMA * prior.sigma_um
    low = min(float(z.min()), prior.z_um - reach)
    high = max(float(z.max()), prior.z_um + reach)
    count = int(np.ceil((high - low) / (_GRID_STEP_OF_WIDTH * template.width_um))) + 1
    return np.linspace(low, high, min(max(count, 21), 401))


def _posterior(
    z: FloatArray, values: FloatArray, grid: FloatArray, template: FocusTemplate, prior: Prior, noise: float
) -> tuple[FloatArray, FloatArray]:
    """Belief over heights and the fitted size of each block: both (g, k)."""
    variance = (template.scatter * np.clip(values, 0.0, None)) ** 2 + noise**2
    weight = 1 / np.maximum(variance, 1e-30)
    shapes = template(z[:, None] - grid[None, :])
    power = (shapes**2).T @ weight
    sizes = np.clip(shapes.T @ (weight * values) / power, 0.0, None)
    misfit = np.sum(weight * values**2, axis=0) - sizes**2 * power
    logs = -0.5 * misfit - 0.5 * ((grid - prior.z_um) / prior.sigma_um)[:, None] ** 2
    logs -= _SIZE_PRIOR_POWER * np.log(sizes + noise)
    belief = np.exp(logs - logs.max(axis=0))
    return belief / belief.sum(axis=0), sizes


def _field_curve(
    grid: FloatArray, belief: FloatArray, sizes: FloatArray, template: FocusTemplate
) -> FloatArray:
    strength = (belief * sizes).sum(axis=1)
    curve: FloatArray = template(grid[:, None] - grid[None, :]) @ strength
    return curve


@dataclass(frozen=True, slots=True)
class _Misfit:
    """What the planes say over the model, as a Gaussian process over height: many planes outvote the template.

    ``z_um``, ``logs`` and ``noise`` (n,): heights, logarithms of the field's sharpness, their uncertainty.
    """

    z_um: FloatArray
    logs: FloatArray
    noise: FloatArray
    reach_um: float

    @classmethod
    def of(cls, z_um: FloatArray, totals: FloatArray, template: FocusTemplate) -> "_Misfit":
        seen = np.maximum(totals, 1e-3 * max(float(totals.max()), 1e-30))
        noise = _TOTAL_NOISE_LOG * (1 + seen.max() / seen)
        return cls(z_um, np.log(seen), noise, _MISFIT_REACH_OF_WIDTH * template.width_um)

    def correction(self, grid: FloatArray, curve: FloatArray) -> FloatArray:
        """Factor for the model's curve at each height of the grid."""
        model = np.log(np.maximum(np.interp(self.z_um, grid, curve), 1e-30))
        towards = self._kernel(grid)
        ratio: FloatArray = np.exp(towards @ np.linalg.solve(self._covariance(), self.logs - model))
        return ratio

    def sigma_um(self, grid: FloatArray, curve: FloatArray, peak_um: float) -> float:
        """How far what the planes leave open about the misfit's slope can move the peak."""
        across = (self.z_um - peak_um) / self.reach_um**2 * self._kernel(np.array([peak_um]))[0]
        open_slope = _MISFIT_LOG**2 / self.reach_um**2 - across @ np.linalg.solve(self._covariance(), across)
        at = int(np.clip(np.searchsorted(grid, peak_um), 1, len(grid) - 2))
        step = max(1, len(grid) // 20)
        low, high = max(at - step, 0), min(at + step, len(grid) - 1)
        logs = np.log(np.maximum(curve[[low, at, high]], 1e-30))
        bend = abs(logs[0] - 2 * logs[1] + logs[2]) / ((grid[high] - grid[low]) / 2) ** 2
        return float(min(np.sqrt(max(open_slope, 0.0)) / max(bend, 1e-9), 0.5 * (grid[-1] - grid[0])))

    def _kernel(self, at: FloatArray) -> FloatArray:
        apart = (at[:, None] - self.z_um[None, :]) / self.reach_um
        kernel: FloatArray = _MISFIT_LOG**2 * np.exp(-0.5 * apart**2)
        return kernel

    def _covariance(self) -> FloatArray:
        covariance: FloatArray = self._kernel(self.z_um) + np.diag(self.noise**2)
        return covariance


def _refined_peak(grid: FloatArray, curve: FloatArray) -> float:
    at = int(np.argmax(curve))
    if at in (0, len(curve) - 1):
        return float(grid[at])
    left, middle, right = curve[at - 1 : at + 2]
    bend = left - 2 * middle + right
    shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return float(grid[at] + shift * (grid[1] - grid[0]))


def _peak_sigma(
    grid: FloatArray, belief: FloatArray, sizes: FloatArray, template: FocusTemplate, peak: float
) -> float:
    """How far the peak moves when each block's height and size vary within its belief."""
    push = sizes * template.slope(peak - grid)[:, None]
    mean = (belief * push).sum(axis=0)
    spread = ((belief * push**2).sum(axis=0) - mean**2).sum()
    step = 0.1 * template.width_um
    slopes = [((belief * sizes) * template.slope(peak + s - grid)[:, None]).sum() for s in (-step, step)]
    stiffness = abs(slopes[1] - slopes[0]) / (2 * step)
    return float(min(np.sqrt(spread) / max(stiffness, 1e-30), 0.5 * (grid[-1] - grid[0])))


def _narrowed(belief: FloatArray, grid: FloatArray) -> FloatArray:
    """Standard deviation of each column's belief: (k,)."""
    weight = belief / belief.sum(axis=0)
    mean = grid @ weight
    spread: FloatArray = np.sqrt(np.clip((grid**2) @ weight - mean**2, 0.0, None))
    return spread
