"""How does detail fade with defocus on this slide, scale by scale, and how is that learned?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

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
_TRUSTED_BLOCKS = 15
_MOST_LOG = 0.7


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

    def scaled(self, below: float, above: float) -> "Fade":
        """The same shape, so many times as wide below and above the peak."""
        return replace(self, below_um=self.below_um * below, above_um=self.above_um * above)

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


@lru_cache(maxsize=16)
def layer_reach_um(template: FocusTemplate) -> float:
    """How far from the middle of a layer of many objects a field still shows nine tenths of its sharpness."""
    apart = np.linspace(-4, 4, 81)
    many = np.exp(-0.5 * apart**2)
    defocus = np.linspace(0, 4 * (template.sharp_um + template.spread_um), 400)
    curve = template.sharp(defocus[:, None] - template.spread_um * apart[None]) @ many
    return float(defocus[int(np.argmax(curve < 0.9 * curve[0]))])


def learn(z_um: ArrayLike, energies: ArrayLike, sigmas: ArrayLike, start: FocusTemplate) -> FocusTemplate:
    """What a sweep adds to the optics: how wide curves are below and above the peak, and which scales the slide shows.

    The curves keep their shapes. Fitted freely they follow whatever lies over and under the blocks of one field, and
    heights are worse by them than by optics alone.

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
        template = _fitted(z, values[:, clean], noise[:, clean], heights[clean], start)
        template = replace(template, spread_um=_spread(heights, start.spread_um))
    return template


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
    inside = (heights > z.min()) & (heights < z.max())
    count = int(np.count_nonzero(inside))
    if count < LEAST_BLOCKS:
        return start
    defocus = (z[:, None] - heights[None])[:, inside]
    near = np.abs(defocus) < _REACH_OF_DEPTH * start.sharp.below_um
    seen = [
        _logs(values[:, inside, n], noise[:, inside, n], start.scatter) for n in range(1, values.shape[2])
    ]
    weights = [weight * near for _, weight in seen]

    def tops(fades: Sequence[Fade]) -> list[FloatArray]:
        pairs = zip(fades, seen, weights, strict=True)
        return [
            (w * (logs - f.log(defocus))).sum(0) / np.maximum(w.sum(0), 1e-9) for f, (logs, _), w in pairs
        ]

    def residuals(p: FloatArray) -> FloatArray:
        fades = [fade.scaled(*np.exp(p)) for fade in start.bands]
        parts = zip(fades, seen, weights, tops(fades), strict=True)
        rests = [np.sqrt(w / w.max()) * (logs - f.log(defocus) - top) for f, (logs, _), w, top in parts]
        return np.concatenate([np.ravel(rests), p])

    found = least_squares(residuals, np.zeros(2), loss="soft_l1", f_scale=0.15, max_nfev=20)
    # a few blocks say little
    trust = count / (count + _TRUSTED_BLOCKS)
    below, above = (float(v) for v in np.exp(trust * np.clip(found.x, -_MOST_LOG, _MOST_LOG)))
    fine, middle, coarse = (fade.scaled(below, above) for fade in start.bands)
    peaks = np.array(tops((fine, middle, coarse)))
    shape = np.median(peaks - peaks[0], axis=1)
    spectrum = np.array(start.spectrum) + trust * (shape - np.array(start.spectrum))
    return replace(
        start,
        sharp=start.sharp.scaled(below, above),
        bands=(fine, middle, coarse),
        spectrum=(0.0, float(spectrum[1]), float(spectrum[2])),
    )


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


def _spread(heights: FloatArray, expected_um: float) -> float:
    """Of the objects of a field, without the few that were not understood."""
    away = np.abs(heights - np.median(heights))
    kept = heights[away <= 4 * max(float(np.median(away)), 0.1)]
    trust = len(kept) / (len(kept) + _TRUSTED_BLOCKS)
    return float(np.clip(np.sqrt(trust * np.var(kept) + (1 - trust) * expected_um**2), *_SPREAD_UM))
