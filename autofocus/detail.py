"""How much detail does a frame show in each block, at several scales, above its noise?"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from autofocus.patches import Pixels, inner, patches
from autofocus.view import BLOCK_PX, Blocks, View, bands, fine_of, smoothed

FloatArray = NDArray[np.float64]

BANDS = 3
_REACH_PX = 12
# what white noise of variance 1 leaves per pixel in each measure: differences over two pixels, then three bands
_NOISE_GAIN = np.array([4.0, 0.762, 0.039, 0.0072])
_CORRELATED = 4.0
_FLOOR_DOUBT = 0.05


@dataclass(frozen=True, slots=True)
class Detail:
    """(n, 4) energies above the noise in n blocks, and their uncertainty (1 sigma): gradient, then three bands."""

    energy: FloatArray
    sigma: FloatArray

    def of(self, which: NDArray[np.int64]) -> "Detail":
        """Of some of the blocks."""
        return Detail(self.energy[which], self.sigma[which])

    def summed(self, objects: NDArray[np.int64]) -> "Detail":
        """(m, 4) of whole objects: (n,) says which each block shows."""
        return Detail(summed(self.energy, objects), np.sqrt(summed(self.sigma**2, objects)))


def detail(seen: View, blocks: Blocks) -> Detail:
    """How much detail a frame shows in each block, around what is wanted there."""
    if not len(blocks.areas):
        return Detail(np.empty((0, 1 + BANDS)), np.empty((0, 1 + BANDS)))
    fine = fine_of(patches(seen.pixels, blocks.rows, blocks.columns, BLOCK_PX, _REACH_PX))
    smooth = smoothed(fine)
    half_there = blocks.wide.astype(np.float32)
    there = half_there.repeat(2, axis=1).repeat(2, axis=2)
    sharp = inner(fine, BLOCK_PX, _REACH_PX).astype(np.float32)
    rest = sharp - inner(smooth, BLOCK_PX, _REACH_PX)
    halves = [inner(band, BLOCK_PX // 2, _REACH_PX // 2) for band in bands(smooth)]
    pixels = there.sum(axis=(1, 2), dtype=np.float64)
    level = np.einsum("nij,nij->n", sharp, there) / np.maximum(pixels, 1) / seen.level
    raw = np.stack(
        [
            _gradient(sharp, there),
            np.einsum("nij,nij,nij->n", rest, rest, there),
            *(4 * np.einsum("nij,nij,nij->n", half, half, half_there) for half in halves),
        ],
        axis=1,
    )
    # shot noise is less where less light arrives
    floor = seen.noise * level[:, None] * _NOISE_GAIN * pixels[:, None]
    sigma = floor * np.hypot(np.sqrt(2 * _CORRELATED / np.maximum(pixels, 1))[:, None], _FLOOR_DOUBT)
    return Detail((raw - floor) / seen.level**2, (sigma + 1e-6) / seen.level**2)


def summed(values: FloatArray, objects: NDArray[np.int64]) -> FloatArray:
    """(m, …) sums of (n, …) over what shows the same object."""
    total = np.zeros((int(objects.max(initial=-1)) + 1, *values.shape[1:]))
    np.add.at(total, objects, values)
    return total


def energy_of(seen: View) -> float:
    """Detail of the whole field at the middle scale, relative to the clear level squared; never negative."""
    middle = bands(smoothed(fine_of(seen.pixels)))[0]
    power = float(cv2.norm(middle, cv2.NORM_L2SQR)) / middle.size
    return max(0.0, power - seen.noise * float(_NOISE_GAIN[2])) / seen.level**2


def _gradient(fine: Pixels, there: Pixels) -> FloatArray:
    """Brenner's difference over two pixels, both ways."""
    across, down = fine[:, :, 2:] - fine[:, :, :-2], fine[:, 2:] - fine[:, :-2]
    energy = np.einsum("nij,nij,nij->n", across, across, there[:, :, 1:-1])
    total: FloatArray = energy + np.einsum("nij,nij,nij->n", down, down, there[:, 1:-1])
    return total.astype(np.float64)
