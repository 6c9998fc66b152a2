"""How does detail fade with defocus on this slide, scale by scale, and how is that learned?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares

from autofocus.errors import FocusInputError

FloatArray = NDArray[np.float64]

LEAST_HEIGHTS = 7
LEAST_BLOCKS = 12
SHARP_POWER = (
    0.6  # of the gradient energy of a disc with soft rim and grain: between an edge (0.5) and a point (2)
)
_ROUNDS = 3
_CLEAN_SHARE = 0.5
_REACH_OF_DEPTH = 6.0
_SPREAD_UM = (0.3, 3.0)
_SCATTER = (0.06, 0.12)


def depth_of_field_um(numerical_aperture: float, wavelength_um: float = 0.55) -> float:
    """Wave-optical depth of field in air, λ / NA²."""
    return wavelength_um / numerical_aperture**2


@dataclass(frozen=True, slots=True)
class Fade:
    """``(1 + |d / width| ** shape) ** -power`` at defocus d, with a width of its own below and above the peak.

    Blur that grows linearly with defocus makes energies fall like this; spherical aberration makes the sides differ.
    """

    below_um: float
    above_um: float
    power: float
    shape: float = 2.0

    def __call__(self, defocus_um: ArrayLike) -> FloatArray:
        """Energy relative to the peak, same shape as ``defocus_um``; negative where the stage is below the peak."""
        faded: FloatArray = np.exp(self.log(defocus_um))
        return faded

    def log(self, defocus_um: ArrayLike) -> FloatArray:
        """Natural logarithm of the same."""
        d = np.asarray(defocus_um, float)
        width = np.where(d < 0, self.below_um, self.above_um)
        logs: FloatArray = -self.power * np.log1p(np.abs(d / width) ** self.shape)
        return logs

    def half_width_um(self, level: float) -> float:
        """How far from the peak the energy falls to ``level`` of it, mean of both sides."""
        reach: float = (level ** (-1 / self.power) - 1) ** (1 / self.shape)
        return 0.5 * (self.below_um + self.above_um) * reach


@dataclass(frozen=True, slots=True)
class FocusTemplate:
    """How the detail of single blocks fades on this slide.

    Attributes:
        sharp: the gradient energy by which a reader's sharpness is judged.
        bands: three scales, fine to coarse.
        spectrum: logarithm of each band's energy in focus, relative to the finest.
        spectrum_scatter: how much blocks differ in that (1 sigma of the logarithm).
        scatter: misfit of a single measurement (1 sigma of the logarithm) on top of noise.
        spread_um: how far single objects of a field lie above and below each other (1 sigma).
    """

    sharp: Fade
    bands: tuple[Fade, Fade, Fade]
    spectrum: tuple[float, float, float] = (0.0, 0.7, 1.5)
    spectrum_scatter: float = 0.25
    scatter: float = 0.12
    spread_um: float = 1.5

    @classmethod
    def from_optics(cls, depth_of_field_um: float) -> "FocusTemplate":
        """Before anything was measured: the curves of a blur that grows with defocus, in depths of field."""
        d = depth_of_field_um
        bands = Fade(0.8 * d, 0.8 * d, 1.0), Fade(2.3 * d, 2.3 * d, 1.4), Fade(5.6 * d, 5.6 * d, 2.0)
        return cls(Fade(1.1 * d, 1.1 * d, SHARP_POWER), bands)

    @property
    def width_um(self) -> float:
        """How far from the peak sharpness falls to half."""
        return self.sharp.half_width_um(0.5)

    @property
    def sharp_um(self) -> float:
        """How far from an object it still shows nine tenths of its sharpness."""
        return self.sharp.half_width_um(0.9)


def learn(z_um: ArrayLike, energies: ArrayLike, sigmas: ArrayLike, start: FocusTemplate) -> FocusTemplate:
    """The template that fits the blocks of a sweep best, each with a height and energies of its own.

    Args:
        z_um: (n,) heights of the frames, at least 7 of them distinct.
        energies: (n, k, 4) energies of k blocks, as ``detail.detail`` gives them; twelve blocks at least.
        sigmas: their uncertainty.
        start: the template to begin from.

    Raises:
        FocusInputError: with too few heights or blocks.
    """
    z, values, noise = np.asarray(z_um, float), np.asarray(energies, float), np.asarray(sigmas, float)
    if len(np.unique(z)) < LEAST_HEIGHTS or values.ndim != 3 or values.shape[1] < LEAST_BLOCKS:
        raise FocusInputError(f"a template needs {LEAST_HEIGHTS} heights and {LEAST_BLOCKS} blocks")
    template = start
    for _ in range(_ROUNDS):
        heights, misfit = _heights(z, values, noise, template)
        # a block with objects at two heights fades more slowly than either of them
        clean = np.argsort(misfit, kind="stable")[: max(LEAST_BLOCKS, round(_CLEAN_SHARE * len(misfit)))]
        template = _fitted(z, values[:, clean], noise[:, clean], heights[clean], template)
        template = replace(template, spread_um=_spread(heights))
    return replace(template, sharp=_between(template.sharp, start.sharp))


def _heights(
    z: FloatArray, values: FloatArray, noise: FloatArray, template: FocusTemplate
) -> tuple[FloatArray, FloatArray]:
    """(k,) the best height of each block by all bands, each with an amplitude of its own; and how badly it fits."""
    grid = np.linspace(z.min(), z.max(), 241)
    cost = np.zeros((len(grid), values.shape[1]))
    for band, fade in enumerate(template.bands, 1):
        logs, weight = _logs(values[..., band], noise[..., band], template.scatter)
        model = fade.log(z[:, None] - grid[None])
        total = weight.sum(axis=0)
        rest = logs[:, None] - model[:, :, None]
        mean = np.einsum("nk,ngk->gk", weight, rest) / total
        cost += np.einsum("nk,ngk->gk", weight, (rest - mean[None]) ** 2)
    best: FloatArray = grid[np.argmin(cost, axis=0)]
    return best, cost.min(axis=0)


def _logs(values: FloatArray, noise: FloatArray, scatter: float) -> tuple[FloatArray, FloatArray]:
    """Logarithms and their weights; what drowns in the noise hardly counts."""
    kept = np.maximum(values, noise)
    return np.log(kept), 1 / (scatter**2 + (noise / kept) ** 2)


def _fitted(
    z: FloatArray, values: FloatArray, noise: FloatArray, heights: FloatArray, start: FocusTemplate
) -> FocusTemplate:
    defocus = z[:, None] - heights[None]
    inside = (heights > z.min()) & (heights < z.max())
    if np.count_nonzero(inside) < LEAST_BLOCKS:
        return start
    fades, tops, misfits = [], [], []
    for measure, fade in enumerate((start.sharp, *start.bands)):
        logs, weight = _logs(values[:, inside, measure], noise[:, inside, measure], start.scatter)
        near = np.abs(defocus[:, inside]) < _REACH_OF_DEPTH * start.sharp.below_um
        found, top, misfit = _fade(defocus[:, inside], logs, weight * near, fade, tight=measure == 0)
        fades.append(found)
        tops.append(top)
        misfits.append(misfit)
    shape = np.array(tops[1:]) - tops[1]
    centre = np.median(shape, axis=1)
    apart = 1.48 * np.median(np.abs(shape[1:] - centre[1:, None]))
    return replace(
        start,
        sharp=fades[0],
        bands=(fades[1], fades[2], fades[3]),
        spectrum=(0.0, float(centre[1]), float(centre[2])),
        spectrum_scatter=float(np.clip(apart, 0.1, 0.25)),
        scatter=float(np.clip(np.mean(misfits[1:]), *_SCATTER)),
    )


def _fade(
    defocus: FloatArray, logs: FloatArray, weight: FloatArray, start: Fade, tight: bool
) -> tuple[Fade, FloatArray, float]:
    """The best curve through all blocks, (k,) their logarithms at the peak, and the typical misfit.

    ``tight`` leaves only the widths to be learned.
    """
    first = np.log([start.below_um, start.above_um, start.power, start.shape])
    total = np.maximum(weight.sum(axis=0), 1e-9)
    root = np.sqrt(weight / max(float(weight.max()), 1e-9))
    hold = np.array([0.3, 0.3, 300.0, 300.0]) if tight else np.array([0.3, 0.3, 1.0, 3.0])

    def residuals(p: FloatArray) -> FloatArray:
        rest = logs - _of_logs(p).log(defocus)
        top = (weight * rest).sum(axis=0) / total
        return np.concatenate([(root * (rest - top)).ravel(), hold * (p - first)])

    found = least_squares(residuals, first, loss="soft_l1", f_scale=0.15, max_nfev=30)
    fade = _of_logs(found.x)
    rest = logs - fade.log(defocus)
    top = (weight * rest).sum(axis=0) / total
    strong = weight > 0.5 * weight.max()
    misfit = 1.48 * float(np.median(np.abs((rest - top)[strong]))) if strong.any() else 1.0
    return fade, top, misfit


def _between(learned: Fade, start: Fade) -> Fade:
    """Half-way: what lies under and over a nucleus makes its sharpness seem to last longer than it does."""
    below_um = float(np.sqrt(learned.below_um * start.below_um))
    return replace(learned, below_um=below_um, above_um=float(np.sqrt(learned.above_um * start.above_um)))


def mean_of(templates: Sequence[FocusTemplate]) -> FocusTemplate:
    """One template for what several fields of a slide taught; at least one of them."""
    fades = [np.log([_numbers(fade) for fade in (t.sharp, *t.bands)]).ravel() for t in templates]
    sharp, *bands = np.exp(np.mean(fades, axis=0)).reshape(1 + len(templates[0].bands), -1).tolist()
    others = [[*t.spectrum, t.spectrum_scatter, t.scatter, t.spread_um**2] for t in templates]
    zero, middle, coarse, spectrum_scatter, scatter, spread2 = np.mean(others, axis=0).tolist()
    return FocusTemplate(
        Fade(*sharp),
        (Fade(*bands[0]), Fade(*bands[1]), Fade(*bands[2])),
        (zero, middle, coarse),
        spectrum_scatter,
        scatter,
        float(np.sqrt(spread2)),
    )


def _numbers(fade: Fade) -> tuple[float, float, float, float]:
    return fade.below_um, fade.above_um, fade.power, fade.shape


def _of_logs(logs: FloatArray) -> Fade:
    below, above, power, shape = (float(v) for v in np.exp(np.clip(logs, -4.0, 4.0)))
    return Fade(below, above, power, min(max(shape, 1.2), 4.0))


def _spread(heights: FloatArray) -> float:
    """Of the objects of a field, without the few that were not understood."""
    away = np.abs(heights - np.median(heights))
    kept = heights[away <= 4 * max(float(np.median(away)), 0.1)]
    return float(np.clip(np.std(kept), *_SPREAD_UM))
