"""How sharp is an image, computed with torch? The same numbers as ``autofocus.metrics`` within 1e-3, for CUDA.

On the CPU torch is 18 to 175 times slower than OpenCV here, so this file is for graphics cards only.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import conv2d, pad

from autofocus.errors import FocusInputError
from autofocus.gray import Image, focus_channel
from autofocus.metrics import (
    DEFAULT_BLOCK_PX,
    FloatArray,
    noise_gain,
    smoothed_difference_kernel,
    smoothing_kernel,
)

_SIGMA_PX = 1.0


@dataclass(frozen=True, slots=True)
class TorchMetric:
    """A metric of ``autofocus.metrics`` by its name, on a torch device; satisfies ``FocusMetric``.

    Attributes:
        name: smoothed_brenner, binned_brenner, variance_of_laplacian or tenengrad.
        device: as torch names it, "cuda" or "cpu".
    """

    name: str
    device: str = "cuda"

    def __post_init__(self) -> None:
        if self.name not in _BLOCKS:
            raise FocusInputError(f"no torch metric {self.name}; there are {', '.join(sorted(_BLOCKS))}")

    def __call__(self, image: Image) -> float:
        """As the CPU's metric: whole-field sharpness."""
        gray = self._gray(image)
        if self.name == "smoothed_brenner":
            values = torch.clamp(_BLOCKS[self.name](gray, DEFAULT_BLOCK_PX), min=0.0).mean()
        elif self.name == "variance_of_laplacian":
            values = _laplacian(gray).double().var(correction=0)
        else:
            values = _ENERGIES[self.name](gray).double().mean()
        return float(values / _background(gray) ** 2)

    def blocks(self, image: Image, block_px: int = DEFAULT_BLOCK_PX) -> FloatArray:
        """As the CPU's metric: (rows, columns) float64."""
        gray = self._gray(image)
        values: FloatArray = (_BLOCKS[self.name](gray, block_px) / _background(gray) ** 2).cpu().numpy()
        return values

    def _gray(self, image: Image) -> torch.Tensor:
        pixels = torch.from_numpy(focus_channel(image).astype(np.int32))
        return pixels.to(self.device).float()


def _background(gray: torch.Tensor) -> float:
    return max(1.0, float(torch.quantile(gray[::8, ::8].reshape(-1), 0.8)))


def _separable(gray: torch.Tensor, along_x: FloatArray, along_y: FloatArray) -> torch.Tensor:
    """Correlation with reflected borders, as OpenCV does it."""
    rx, ry = len(along_x) // 2, len(along_y) // 2
    padded = pad(gray[None, None], (rx, rx, ry, ry), mode="reflect")
    kernel_x = torch.as_tensor(along_x, dtype=gray.dtype, device=gray.device)
    kernel_y = torch.as_tensor(along_y, dtype=gray.dtype, device=gray.device)
    return conv2d(conv2d(padded, kernel_x[None, None, None, :]), kernel_y[None, None, :, None])[0, 0]


def _smoothed_brenner(gray: torch.Tensor) -> torch.Tensor:
    smooth = smoothing_kernel(_SIGMA_PX).astype(float)
    difference = smoothed_difference_kernel(_SIGMA_PX).astype(float)
    return _separable(gray, difference, smooth) ** 2 + _separable(gray, smooth, difference) ** 2


def _binned_brenner(gray: torch.Tensor) -> torch.Tensor:
    h, w = gray.shape[0] // 2 * 2, gray.shape[1] // 2 * 2
    bins = gray[:h, :w].reshape(h // 2, 2, w // 2, 2).sum(dim=(1, 3))
    half = torch.floor((bins + 2) / 4)
    return (half[:, 2:] - half[:, :-2]) ** 2


def _tenengrad(gray: torch.Tensor) -> torch.Tensor:
    smooth, difference = np.array([1.0, 2.0, 1.0]), np.array([-1.0, 0.0, 1.0])
    return _separable(gray, difference, smooth) ** 2 + _separable(gray, smooth, difference) ** 2


def _laplacian(gray: torch.Tensor) -> torch.Tensor:
    second, one = np.array([1.0, -2.0, 1.0]), np.array([0.0, 1.0, 0.0])
    return _separable(gray, second, one) + _separable(gray, one, second)


def _noise(gray: torch.Tensor) -> float:
    kernel = np.array([1.0, -2.0, 1.0])
    middle = gray[gray.shape[0] // 4 : gray.shape[0] - gray.shape[0] // 4]
    residual = _block_means(_separable(middle, kernel, kernel).abs(), DEFAULT_BLOCK_PX)
    return float(torch.quantile(residual.reshape(-1), 0.2)) * float(np.sqrt(np.pi / 2)) / 6.0


def _block_means(values: torch.Tensor, block_px: int) -> torch.Tensor:
    rows, columns = (_shares(side, block_px, values) for side in values.shape)
    return rows @ values.double() @ columns.T


def _shares(side: int, block_px: int, like: torch.Tensor) -> torch.Tensor:
    """(blocks, side): how much of each pixel belongs to each block, rows summing to 1."""
    count = max(1, round(side / block_px))
    edges = torch.linspace(0, side, count + 1, dtype=torch.float64, device=like.device)
    at = torch.arange(side, dtype=torch.float64, device=like.device)
    overlap = torch.minimum(edges[1:, None], at + 1) - torch.maximum(edges[:-1, None], at)
    return torch.clamp(overlap, 0.0, 1.0) * count / side


def _brenner_blocks(gray: torch.Tensor, block_px: int) -> torch.Tensor:
    energy = _block_means(_smoothed_brenner(gray), block_px)
    floor = min(float(torch.quantile(energy.reshape(-1), 0.1)), noise_gain(_SIGMA_PX) * _noise(gray) ** 2)
    return energy - floor


def _laplacian_blocks(gray: torch.Tensor, block_px: int) -> torch.Tensor:
    values = _laplacian(gray).double()
    return torch.clamp(_block_means(values**2, block_px) - _block_means(values, block_px) ** 2, min=0.0)


_ENERGIES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "binned_brenner": _binned_brenner,
    "tenengrad": _tenengrad,
}
_BLOCKS: dict[str, Callable[[torch.Tensor, int], torch.Tensor]] = {
    "smoothed_brenner": _brenner_blocks,
    "binned_brenner": lambda gray, block_px: _block_means(_binned_brenner(gray), max(1, block_px // 2)),
    "variance_of_laplacian": _laplacian_blocks,
    "tenengrad": lambda gray, block_px: _block_means(_tenengrad(gray), block_px),
}
