"""Frames of glass with blots of stain under a light that falls off and flickers, and what is true of them."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 256
WHITE = np.array([236.0, 232.0, 240.0])


def true_light(tilt: float = 0.0) -> NDArray[np.float64]:
    """(256, 256, 3) relative light with mean 1: 15 % vignetting, its middle beside the axis, and a tilt."""
    at = np.linspace(-1, 1, SIDE)
    r2 = ((at[:, None] - 0.04) ** 2 + (at[None] + 0.03) ** 2) / 2
    light = (1 - 0.15 * r2) * (1 + tilt * at[None] - tilt / 2 * at[:, None])
    return np.repeat(light[..., None] / light.mean(), 3, axis=2)


@dataclass
class Field:
    """A large stained specimen; ``cover`` is the share of it that is not glass."""

    specimen: NDArray[np.float64]

    @classmethod
    def of(cls, seed: int, cover: float, side: int = 2200) -> "Field":
        rng = np.random.default_rng(seed)
        blots = cv2.GaussianBlur(rng.normal(0, 1, (side, side)).astype(np.float32), (0, 0), 9)
        fine = cv2.GaussianBlur(rng.normal(0, 1, (side, side)).astype(np.float32), (0, 0), 1.5)
        stained = blots > np.quantile(blots, 1 - cover) if cover < 1 else np.ones_like(blots, bool)
        density = np.where(stained, 0.25 + 0.6 * np.abs(fine) / fine.std() * 0.3, 0.0)
        dye = np.array([0.5, 1.0, 0.7])
        return cls(np.exp(-density[..., None] * dye))

    def frame(
        self, x: int, y: int, light: NDArray[np.float64], level: float, rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        """(256, 256, 3) uint8 at (x, y), the lamp at ``level``."""
        seen = self.specimen[y : y + SIDE, x : x + SIDE] * light * WHITE * 0.94 * level
        return np.asarray(np.clip(np.rint(seen + rng.normal(0, 2.0, seen.shape)), 0, 255), np.uint8)
