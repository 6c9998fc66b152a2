"""How sharp is an image, computed with torch? The same numbers as ``autofocus.metrics`` within 1e-3, for CUDA.

On the CPU torch is 18 to 175 times slower than OpenCV here, so this file is for graphics cards only.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import conv2d, pad

from autofocus.errors import FocusInputError
from autofocus.gray import SMALLEST_SIDE_PX, Image, focus_channel
from autofocus.metrics import (
    DCT,
    DCT_MIDDLE,
    DCT_PX,
    DEFAULT_BLOCK_PX,
    LINE_EVERY_PX,
    FloatArray,
    noise_gain,
    smoothed_difference_kernel,
    smoothing_kernel,
)

_SIGMA_PX = 0.7
_Whole = Callable[[torch.Tensor], torch.Tensor]
_InBlocks = Callable[[torch.Tensor, int], torch.Tensor]


@dataclass(frozen=True, slots=True)
class TorchMetric:
    """A metric of ``autofocus.metrics`` by its name, on a torch device; satisfies ``FocusMetric``.

    Attributes:
        name: of a metric in ``autofocus.metrics``.
        device: as torch names it, "cuda" or "cpu".
    """

    name: str
    device: str = "cuda"

    def __post_init__(self) -> None:
        if self.name not in _BLOCKS:
            raise FocusInputError(f"no torch metric {self.name}; there are {', '.join(sorted(_BLOCKS))}")

    def __call__(self, image: Image) -> float:
        """As the CPU's metric: whole-field sharpness."""
        return float(_WHOLE[self.name](self._gray(image)))

    def blocks(self, image: Image, block_px: int = DEFAULT_BLOCK_PX) -> FloatArray:
        """As the CPU's metric: (rows, columns) float64."""
        found: FloatArray = _BLOCKS[self.name](self._gray(image), block_px).double().cpu().numpy()
        return found

    def _gray(self, image: Image) -> torch.Tensor:
        pixels = torch.from_numpy(focus_channel(image).astype(np.int32))
        return pixels.to(self.device).float()


def _background(gray: torch.Tensor) -> torch.Tensor:
    few = gray[::8, ::8].reshape(-1).sort().values
    at = 0.8 * (len(few) - 1)
    low, share = int(at), at - int(at)
    return torch.clamp(few[low] * (1 - share) + few[min(low + 1, len(few) - 1)] * share, min=1.0)


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


def _bins(gray: torch.Tensor) -> torch.Tensor:
    """Means of 2 × 2 px as OpenCV rounds them; a field too small for that stays."""
    h, w = gray.shape[0] // 2, gray.shape[1] // 2
    if min(h, w) < SMALLEST_SIDE_PX:
        return gray
    return torch.floor((gray[: 2 * h, : 2 * w].reshape(h, 2, w, 2).sum(dim=(1, 3)) + 2) / 4)


def _lines(gray: torch.Tensor) -> torch.Tensor:
    strips, w = gray.shape[0] // LINE_EVERY_PX, gray.shape[1] // 2
    pairs = gray[: strips * LINE_EVERY_PX, : 2 * w].reshape(strips, LINE_EVERY_PX, w, 2)[:, :2]
    return torch.floor((pairs.sum(dim=(1, 3)) + 2) / 4)


def _tenengrad(gray: torch.Tensor) -> torch.Tensor:
    smooth, difference = np.array([1.0, 2.0, 1.0]), np.array([-1.0, 0.0, 1.0])
    return _separable(gray, difference, smooth) ** 2 + _separable(gray, smooth, difference) ** 2


def _laplacian(gray: torch.Tensor) -> torch.Tensor:
    second, one = np.array([1.0, -2.0, 1.0]), np.array([0.0, 1.0, 0.0])
    return _separable(gray, second, one) + _separable(gray, one, second)


def _noise(gray: torch.Tensor, block_px: int) -> torch.Tensor:
    kernel = np.array([1.0, -2.0, 1.0])
    middle = gray[gray.shape[0] // 4 : gray.shape[0] - gray.shape[0] // 4]
    residual = _block_means(_separable(middle, kernel, kernel).abs(), block_px)
    return _quantile(residual, 0.2) * float(np.sqrt(np.pi / 2)) / 6.0


def _quantile(values: torch.Tensor, share: float) -> torch.Tensor:
    return torch.quantile(values.reshape(-1), share)


def _block_means(values: torch.Tensor, block_px: int) -> torch.Tensor:
    return _cells(values, *(max(1, round(side / block_px)) for side in values.shape))


def _cells(values: torch.Tensor, count_y: int, count_x: int) -> torch.Tensor:
    rows, columns = _shares(values.shape[0], count_y, values), _shares(values.shape[1], count_x, values)
    return rows @ values @ columns.T


def _shares(side: int, count: int, like: torch.Tensor) -> torch.Tensor:
    """(count, side): how much of each pixel belongs to each block, rows summing to 1."""
    edges = torch.linspace(0, side, count + 1, dtype=torch.float64, device=like.device)
    at = torch.arange(side, dtype=torch.float64, device=like.device)
    overlap = torch.minimum(edges[1:, None], at + 1) - torch.maximum(edges[:-1, None], at)
    return (torch.clamp(overlap, 0.0, 1.0) * count / side).to(like.dtype)


def _brenner_blocks(gray: torch.Tensor, block_px: int) -> torch.Tensor:
    bins = _bins(gray)
    energy = _block_means(_smoothed_brenner(bins), max(1, block_px // 2))
    floor = torch.minimum(_quantile(energy, 0.1), noise_gain(_SIGMA_PX) * _noise(bins, 32) ** 2)
    return (energy - floor) / _background(bins) ** 2


def _brenner_whole(gray: torch.Tensor) -> torch.Tensor:
    return torch.clamp(_brenner_blocks(gray, DEFAULT_BLOCK_PX), min=0.0).mean()


def _lines_whole(gray: torch.Tensor) -> torch.Tensor:
    lines = _lines(gray)
    return ((lines[:, 2:] - lines[:, :-2]) ** 2).mean() / _background(lines) ** 2


def _lines_blocks(gray: torch.Tensor, block_px: int) -> torch.Tensor:
    lines = _lines(gray)
    rows, columns = (max(1, round(side / block_px)) for side in gray.shape)
    energy = (lines[:, 2:] - lines[:, :-2]) ** 2
    return _cells(energy, rows, columns) / _background(lines) ** 2


def _variance(values: torch.Tensor, block_px: int) -> torch.Tensor:
    """Spread within each block; taken from its mean first, since squares of gray levels exhaust single precision."""
    middle = values.mean()
    centred = values - middle
    square, mean = _block_means(centred**2, block_px), _block_means(centred, block_px)
    return torch.clamp(square - mean**2, min=0.0)


def _laplacian_blocks(gray: torch.Tensor, block_px: int) -> torch.Tensor:
    return _variance(_laplacian(gray), block_px) / _background(gray) ** 2


def _laplacian_whole(gray: torch.Tensor) -> torch.Tensor:
    return _laplacian(gray).var(correction=0) / _background(gray) ** 2


def _spread_blocks(gray: torch.Tensor, block_px: int) -> torch.Tensor:
    mean = torch.clamp(_block_means(gray, block_px), min=1.0)
    return _variance(gray, block_px) / mean / _background(gray)


def _spread_whole(gray: torch.Tensor) -> torch.Tensor:
    return gray.var(correction=0) / torch.clamp(gray.mean(), min=1.0) / _background(gray)


def _cosines(gray: torch.Tensor) -> torch.Tensor:
    rows, columns = (side // DCT_PX for side in gray.shape)
    tiles = gray[: rows * DCT_PX, : columns * DCT_PX].reshape(rows, DCT_PX, columns, DCT_PX)
    matrix = torch.as_tensor(DCT, device=gray.device)
    bands = torch.einsum("ui,ricj,vj->rucv", matrix, tiles, matrix)
    middle = torch.as_tensor(DCT_MIDDLE, device=gray.device)
    return (bands**2 * middle[:, None, :]).sum(dim=(1, 3)) / DCT_PX**2


def _over_background(energy: Callable[[torch.Tensor], torch.Tensor], px: int) -> tuple[_Whole, _InBlocks]:
    """Whole and block-wise mean of an energy image whose pixels are ``px`` of the camera's wide."""

    def whole(gray: torch.Tensor) -> torch.Tensor:
        return energy(gray).mean() / _background(gray) ** 2

    def blocks(gray: torch.Tensor, block_px: int) -> torch.Tensor:
        return _block_means(energy(gray), max(1, block_px // px)) / _background(gray) ** 2

    return whole, blocks


_EDGES, _COSINES = _over_background(_tenengrad, 1), _over_background(_cosines, DCT_PX)
_WHOLE: dict[str, _Whole] = {
    "smoothed_brenner": _brenner_whole,
    "binned_brenner": _lines_whole,
    "variance_of_laplacian": _laplacian_whole,
    "tenengrad": _EDGES[0],
    "normalised_variance": _spread_whole,
    "dct_energy": _COSINES[0],
}
_BLOCKS: dict[str, _InBlocks] = {
    "smoothed_brenner": _brenner_blocks,
    "binned_brenner": _lines_blocks,
    "variance_of_laplacian": _laplacian_blocks,
    "tenengrad": _EDGES[1],
    "normalised_variance": _spread_blocks,
    "dct_energy": _COSINES[1],
}
