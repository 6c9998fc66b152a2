"""What does an image show that has nothing to do with cells: brightness, darkness, stain?

Controls that know no cells are made of it, and groups of images that look alike.
"""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import circmean

from detection.detections import Image
from detection.evaluation import Numbers
from detection.normalisation import optical_density, white_level

STAINED = 0.15
DARK = 0.4
Third = tuple[str, NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Appearance:
    """One image without its cells.

    Attributes:
        white: level of empty glass, 0..255, mean of the channels.
        density: mean optical density.
        dark_share: share of the area with a density over 0.4.
        hue_deg: hue of the mean stain where the density is over 0.15 (0 red, 120 green, 240 blue); None without any.
    """

    white: float
    density: float
    dark_share: float
    hue_deg: float | None


def appearance(image: Image) -> Appearance:
    """Measured on (h, w, 3) uint8 RGB."""
    white = white_level(image)
    planes = optical_density(image, white)
    mean = planes.mean(axis=0)
    stained = mean > STAINED
    hue = _hue_deg(planes[:, stained].mean(axis=1)) if stained.any() else None
    return Appearance(float(white.mean()), float(mean.mean()), float((mean > DARK).mean()), hue)


def _hue_deg(density: NDArray[np.floating]) -> float:
    red, green, blue = (float(10.0**-value) for value in np.maximum(density, 0))
    return 360.0 * colorsys.rgb_to_hsv(red, green, blue)[0]


def thirds_of_white(looks: Sequence[Appearance]) -> list[Third]:
    """Images by the level of their empty glass."""
    return _thirds(np.array([look.white for look in looks]), "")


def thirds_of_hue(looks: Sequence[Appearance]) -> list[Third]:
    """Images by the hue of their stain; those without stain are in none."""
    hues = np.array([np.nan if look.hue_deg is None else look.hue_deg for look in looks], float)
    known = np.isfinite(hues)
    if not known.any():
        return []
    middle = float(circmean(hues[known], high=360.0, low=0.0))
    return _thirds(middle + (hues - middle + 180.0) % 360.0 - 180.0, "°")


def _thirds(values: Numbers, unit: str) -> list[Third]:
    """Names and (n,) masks of the low, middle and high third; none where all are alike."""
    low, high = np.nanquantile(values, [1 / 3, 2 / 3])
    words = [f"{edge % 360:.0f}{unit}" if unit else f"{edge:.0f}" for edge in (low, high)]
    parts = [
        (f"up to {words[0]}", values <= low),
        (f"{words[0]} to {words[1]}", (values > low) & (values <= high)),
        (f"over {words[1]}", values > high),
    ]
    kept = [(name, mask) for name, mask in parts if mask.any()]
    return kept if len(kept) > 1 else []
