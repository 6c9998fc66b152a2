"""Which simulated fields are focus methods tried on, without any microscope?"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from autofocus.answers import Look

UM_PER_PX = 0.5
BLUR_PX_PER_UM = 0.9
STAIN = np.array([1.1, 1.0, 0.4], np.float32)  # haematoxylin lets blue through


@dataclass(frozen=True)
class Field:
    """Cells at heights of their own on white glass; ``image(z)`` is what a camera would see."""

    x_px: NDArray[np.float64]
    y_px: NDArray[np.float64]
    z_um: NDArray[np.float64]
    radius_px: NDArray[np.float64]
    depth: NDArray[np.float64]
    size_px: int = 512
    noise: float = 2.5

    def density(self, z_um: float) -> NDArray[np.float32]:
        """(size, size) float32 optical density at stage height ``z_um``, without noise."""
        total = np.zeros((self.size_px, self.size_px), np.float32)
        for x, y, z, r, depth in zip(
            self.x_px, self.y_px, self.z_um, self.radius_px, self.depth, strict=True
        ):
            sigma = float(np.hypot(0.7, BLUR_PX_PER_UM * (z_um - z)))
            reach = round(r + 4 * sigma) + 2
            left, top = round(x) - reach, round(y) - reach
            cell = np.zeros((2 * reach, 2 * reach), np.float32)
            middle = (round((x - left) * 8), round((y - top) * 8))
            cv2.circle(cell, middle, round(r * 8), float(depth), -1, cv2.LINE_AA, 3)
            blurred = cv2.GaussianBlur(cell, (0, 0), sigma)
            low_x, low_y = max(0, -left), max(0, -top)
            part = total[max(0, top) : top + 2 * reach, max(0, left) : left + 2 * reach]
            part += blurred[low_y : low_y + part.shape[0], low_x : low_x + part.shape[1]]
        return total

    def image(self, z_um: float, seed: int = 0) -> NDArray[np.uint8]:
        """(size, size, 3) uint8 with shot-like noise."""
        light = 235 * np.exp(-self.density(z_um)[..., None] * STAIN)
        noise = np.random.default_rng([seed, round((z_um + 1000) * 1000)]).normal(0, self.noise, light.shape)
        return np.asarray(np.clip(light + noise, 0, 255), np.uint8)

    def look(self, z_um: float) -> Look:
        """What a search is sent."""
        return Look.known(z_um, self.image(z_um))

    def true_peak_um(self) -> float:
        """Where the noise-free gradient energy peaks."""
        heights = np.arange(self.z_um.min() - 1, self.z_um.max() + 1, 0.1)
        energy = [_gradient_energy(np.exp(-self.density(z))) for z in heights]
        return float(heights[int(np.argmax(energy))])


def field_of(
    x_px: list[float], y_px: list[float], z_um: list[float], radius_px: list[float], depth: list[float]
) -> Field:
    """Cells stated one by one."""
    return Field(np.array(x_px), np.array(y_px), np.array(z_um), np.array(radius_px), np.array(depth))


def both(here: Field, there: Field) -> Field:
    """The cells of two fields in one."""
    return Field(
        np.concatenate([here.x_px, there.x_px]),
        np.concatenate([here.y_px, there.y_px]),
        np.concatenate([here.z_um, there.z_um]),
        np.concatenate([here.radius_px, there.radius_px]),
        np.concatenate([here.depth, there.depth]),
    )


def cells(
    count: int, height_um: float = 0.0, spread_um: float = 1.5, seed: int = 0, size_px: int = 512
) -> Field:
    """``count`` nuclei at random, their heights normal around ``height_um``."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(20, size_px - 20, (2, count))
    return Field(
        place[0],
        place[1],
        rng.normal(height_um, spread_um, count) if spread_um else np.full(count, height_um),
        rng.uniform(6, 12, count),
        rng.uniform(0.6, 1.1, count),
        size_px,
    )


def _gradient_energy(image: NDArray[np.float32]) -> float:
    smooth = cv2.GaussianBlur(image, (0, 0), 1.0)
    across, down = smooth[:, 2:] - smooth[:, :-2], smooth[2:] - smooth[:-2]
    return float((across**2).sum() + (down**2).sum())
