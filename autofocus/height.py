"""At which height is a field sharp, from a few planes of it, and how sharp are these planes?

Every block is fitted by itself: objects lie at different heights, so the curve of a field is a sum of curves and its
peak is not where any ratio of whole-field numbers points. How blur of several scales changes between two planes tells
a block's height without knowing what it shows (A. P. Pentland, "A new sense for depth of field", PAMI 9, 1987;
M. Subbarao, G. Surya, "Depth from defocus: a spatial domain approach", IJCV 13, 1994).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft

from autofocus.detail import BANDS, Detail
from autofocus.errors import FocusInputError
from autofocus.gray import ranked
from autofocus.template import FocusTemplate

FloatArray = NDArray[np.float64]

DRAWS = 96
_STEP_UM = 0.1
_REACH_OF_SIGMA = 3.5
_BEYOND_UM = 3.0
_MOST_STEPS = 401
_AMPLITUDE_LOG = 2.0
_FREEDOM = 4.0
_LONE = 1.4
_AREA_LOG = 0.35
_OVERLOOKED_SHARE = 0.12
_STAGE_UM = 0.07


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed before looking: N(z_um, sigma_um) for the height of the field."""

    z_um: float
    sigma_um: float


@dataclass(frozen=True, slots=True)
class HeightEstimate:
    """Where the field's own sharpness curve peaks, and how sure that is.

    Attributes:
        z_um: height of the peak.
        sigma_um: its uncertainty (1 sigma).
        grid_um: (g,) heights, ascending.
        curve: (g,) sharpness at each of them relative to the peak.
        draws: (d, g) curves that the frames would explain as well, each relative to its own peak.
        heights_um: (n,) heights of the blocks, ``areas`` (n,) how much each counts.
    """

    z_um: float
    sigma_um: float
    grid_um: FloatArray
    curve: FloatArray
    draws: FloatArray
    heights_um: FloatArray
    areas: FloatArray

    def relative(self, z_um: float) -> float:
        """Sharpness at ``z_um`` relative to the peak (0 to 1)."""
        return float(np.interp(z_um, self.grid_um, self.curve))

    def typical(self, z_um: float) -> float:
        """The sharpness that ``z_um`` reaches in the middle one of the curves that explain the frames."""
        return self.surely(z_um, 0.5)

    def best_bet(self, level: float) -> tuple[float, float]:
        """The height at which most of these curves reach ``level``, and how many of them do."""
        share = np.mean(self.draws >= level, axis=0)
        # of a stretch of equally good heights the middle
        best = np.flatnonzero(share >= share.max() - 1e-9)
        middle = int(best[len(best) // 2])
        return float(self.grid_um[middle]), float(share[middle])

    @property
    def level_um(self) -> tuple[float, float]:
        """Height of the layer of objects, robust, and its uncertainty (1 sigma, from how they scatter)."""
        count = float(self.areas.sum() ** 2 / max(float((self.areas**2).sum()), 1e-9))
        middle = _weighted_median(self.heights_um, self.areas)
        apart = 1.48 * _weighted_median(np.abs(self.heights_um - middle), self.areas)
        near = np.abs(self.heights_um - middle) <= 3 * max(apart, _STEP_UM)
        mean = float(np.average(self.heights_um[near], weights=self.areas[near]))
        # not every object is understood
        return mean, float(1.5 * np.hypot(max(apart, 0.4), 0.3) / np.sqrt(max(count, 1.0)))

    def surely(self, z_um: float, doubt: float) -> float:
        """The sharpness that ``z_um`` reaches in all but a share ``doubt`` of the curves that explain the frames."""
        return ranked(self._reached(z_um), doubt)

    def chance(self, z_um: ArrayLike, level: float) -> float:
        """In which share of these curves does one of the heights reach ``level``?"""
        heights = np.atleast_1d(np.asarray(z_um, float))
        reached = np.max([self._reached(float(z)) for z in heights], axis=0)
        return float(np.mean(reached >= level))

    def _reached(self, z_um: float) -> FloatArray:
        """(d,) what each draw reaches at a height."""
        step = float(self.grid_um[1] - self.grid_um[0])
        at = min(max((z_um - float(self.grid_um[0])) / step, 0.0), len(self.grid_um) - 1.001)
        low, share = int(at), at - int(at)
        values: FloatArray = (1 - share) * self.draws[:, low] + share * self.draws[:, low + 1]
        return values

    @property
    def at_edge(self) -> bool:
        """Is the peak at an end of the heights that were considered?"""
        peak = int(np.argmax(self.curve))
        return peak in (0, len(self.curve) - 1)


def estimate(
    z_um: FloatArray, details: Sequence[Detail], areas: FloatArray, template: FocusTemplate, prior: Prior
) -> HeightEstimate:
    """Combine planes of one field.

    Args:
        z_um: (k,) heights of the planes.
        details: k times the detail of the same n blocks.
        areas: (n,) how much each block counts.
        template: curves of single blocks of this slide.
        prior: where the field is expected.

    Raises:
        FocusInputError: where shapes disagree, nothing is there or a number is not finite.
    """
    z = np.asarray(z_um, float)
    if not len(z) or len(details) != len(z) or not len(areas):
        raise FocusInputError(
            f"{len(z)} heights, {len(details)} frames and {len(areas)} blocks do not belong together"
        )
    energy = np.stack([d.energy[:, 1:] for d in details], axis=1)
    noise = np.stack([d.sigma[:, 1:] for d in details], axis=1)
    if not (np.isfinite(z).all() and np.isfinite(energy).all()):
        raise FocusInputError("heights and energies must be finite numbers")
    grid = _grid(z, template, prior)
    belief = _belief(z, energy, noise, grid, template, prior)
    blur = _Blur.over(grid, template)
    curve = blur(np.einsum("ng,n->g", belief, areas)[None])[0]
    draws = _draws(grid, belief, areas, blur, prior, template)
    peak = _refined_peak(grid, curve)
    sigma = float(np.hypot(np.std(grid[np.argmax(draws, axis=1)]), 0.3 * _STEP_UM))
    heights = np.einsum("ng,g->n", belief, grid)
    return HeightEstimate(peak, sigma, grid, curve / curve.max(), draws, heights, np.asarray(areas, float))


@dataclass(frozen=True, slots=True)
class _Blur:
    """What a layer of objects at one height adds to the curve: heights in, sharpness out, as a convolution.

    By Fourier transform: a matrix product of this size starts threads of its own, which the control loop must not wait
    for.
    """

    spectrum: NDArray[np.complex128]
    steps: int

    @classmethod
    def over(cls, grid: FloatArray, template: FocusTemplate) -> "_Blur":
        """For evenly spaced heights."""
        count = len(grid)
        away = (np.arange(2 * count - 1) - (count - 1)) * (grid[1] - grid[0])
        return cls(fft.rfft(template.sharp(away), _length(count)), count)

    def __call__(self, mass: FloatArray) -> FloatArray:
        """(m, g) sharpness for (m, g) areas at each height."""
        length = _length(self.steps)
        both = fft.irfft(fft.rfft(mass, length, axis=1) * self.spectrum, length, axis=1)
        blurred: FloatArray = np.maximum(both[:, self.steps - 1 : 2 * self.steps - 1], 0.0)
        return blurred


def _length(count: int) -> int:
    return int(fft.next_fast_len(3 * count))


def _grid(z: FloatArray, template: FocusTemplate, prior: Prior) -> FloatArray:
    reach = _REACH_OF_SIGMA * float(np.hypot(prior.sigma_um, _LONE * template.spread_um))
    low = min(float(z.min()) - _BEYOND_UM, prior.z_um - reach)
    high = max(float(z.max()) + _BEYOND_UM, prior.z_um + reach)
    count = int(np.ceil((high - low) / _STEP_UM)) + 1
    return np.linspace(low, high, min(max(count, 21), _MOST_STEPS))


def _belief(
    z: FloatArray,
    energy: FloatArray,
    noise: FloatArray,
    grid: FloatArray,
    template: FocusTemplate,
    prior: Prior,
) -> FloatArray:
    """(n, g) how likely each block lies at each height: energies are log-normal around the template."""
    n, planes = energy.shape[:2]
    kept = np.maximum(energy, noise)
    logs = np.log(kept) - np.asarray(template.spectrum)
    logs = logs.reshape(n, -1) - float(np.median(logs.max(axis=(1, 2))))
    inverse = np.linalg.inv(_covariance(noise / kept, template))
    model = np.stack([[fade.log(height - grid) for fade in template.bands] for height in z]).reshape(
        planes * BANDS, -1
    )
    # -½ rᵀ C⁻¹ r without ever holding r for all heights at once
    seen = np.einsum("nij,nj->ni", inverse, logs)
    pairs = model[:, None] * model[None]
    square = np.einsum("nk,kg->ng", inverse.reshape(n, -1), pairs.reshape(-1, len(grid)))
    total = np.einsum("ni,ni->n", seen, logs)[:, None]
    cost = np.maximum(square - 2 * np.einsum("ni,ig->ng", seen, model) + total, 0.0)
    # some blocks are not understood at all: their misfit must not make them sure of a height (Student's t)
    fits = -(_FREEDOM + model.shape[0] - 1) / 2 * np.log1p(cost / _FREEDOM)
    # a lone object may lie far out, and nothing then holds it back but what is seen
    wide = prior.sigma_um**2 + (_LONE * template.spread_um) ** 2
    chance = fits - 0.5 * (grid - prior.z_um) ** 2 / wide
    belief: FloatArray = np.exp(chance - chance.max(axis=1, keepdims=True))
    return np.asarray(belief / belief.sum(axis=1, keepdims=True), np.float64)


def _covariance(relative_noise: FloatArray, template: FocusTemplate) -> FloatArray:
    """(n, m, m): an amplitude of the block's own, a spectrum of its own, misfit and noise of each measurement."""
    n, planes = relative_noise.shape[:2]
    size = planes * BANDS
    covariance = np.full((n, size, size), _AMPLITUDE_LOG**2)
    band = np.tile(np.arange(BANDS), planes)
    covariance += template.spectrum_scatter**2 * (band[:, None] == band[None])
    covariance[:, np.arange(size), np.arange(size)] += (
        template.scatter**2 + relative_noise.reshape(n, size) ** 2
    )
    return covariance


def _draws(
    grid: FloatArray,
    belief: FloatArray,
    areas: FloatArray,
    blur: _Blur,
    prior: Prior,
    template: FocusTemplate,
) -> FloatArray:
    """(DRAWS, g) curves with heights, areas, and what was overlooked varied within their belief.

    The same numbers are drawn each time, so that the same frames give the same answer.
    """
    rng = np.random.default_rng(0)
    steps, blocks = len(grid), np.arange(len(areas))
    cumulated = np.cumsum(belief, axis=1)
    # one search for all blocks: the cumulated belief of block n runs from n to n + 1
    dice = rng.random((DRAWS, len(areas))) + blocks
    at = np.searchsorted((cumulated / cumulated[:, -1:] + blocks[:, None]).ravel(), dice) - blocks * steps
    weights = areas * np.exp(rng.normal(0.0, _AREA_LOG, (DRAWS, len(areas))))
    flat = np.arange(DRAWS)[:, None] * steps + np.clip(at, 0, steps - 1)
    mass: FloatArray = (
        np.bincount(flat.ravel(), weights.ravel(), DRAWS * steps).reshape(DRAWS, steps).astype(float)
    )
    wide = float(np.hypot(prior.sigma_um, template.spread_um))
    unseen = np.searchsorted(grid, prior.z_um + wide * rng.standard_normal(DRAWS))
    mass[np.arange(DRAWS), np.clip(unseen, 0, steps - 1)] += (
        _OVERLOOKED_SHARE * areas.sum() * rng.exponential(1.0, DRAWS)
    )
    curves = blur(mass)
    # the stage is not quite where it says: whole steps of the grid are fine enough
    shift = np.rint(rng.normal(0.0, _STAGE_UM / (grid[1] - grid[0]), DRAWS)).astype(int)
    moved_to = np.clip(np.arange(steps) + shift[:, None], 0, steps - 1)
    moved = np.take_along_axis(curves, moved_to, axis=1)
    relative: FloatArray = moved / moved.max(axis=1, keepdims=True)
    return relative


def _weighted_median(values: FloatArray, weights: FloatArray) -> float:
    order = np.argsort(values, kind="stable")
    cumulated = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulated, 0.5 * cumulated[-1])])


def _refined_peak(grid: FloatArray, curve: FloatArray) -> float:
    at = int(np.argmax(curve))
    if at in (0, len(curve) - 1):
        return float(grid[at])
    left, middle, right = curve[at - 1 : at + 2]
    bend = left - 2 * middle + right
    shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return float(grid[at] + shift * (grid[1] - grid[0]))
