"""How sharp is an image, computed with torch? The same numbers as ``autofocus.metrics`` within 1e-3, for CUDA.

On the CPU torch is 18 to 175 times slower than OpenCV here, so this is for graphics cards. Until the answer is
read nothing waits for the card; filters are sums of shifted images, since convolutions may be rounded to 10 bits.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import pad

from autofocus.errors import FocusInputError
from autofocus.gray import SMALLEST_SIDE_PX, Image, checked, focus_channel
from autofocus.metrics import (
    DCT,
    DCT_MIDDLE,
    DCT_PX,
    DEFAULT_BLOCK_PX,
    LINE_EVERY_PX,
    FloatArray,
    SmoothedBrenner,
    noise_gain,
    smoothing_kernel,
)
from autofocus.stain import GREEN

_SIGMA_PX = SmoothedBrenner().sigma_px
_Whole = Callable[[torch.Tensor], torch.Tensor]
_InBlocks = Callable[[torch.Tensor, int], torch.Tensor]


@dataclass(frozen=True, slots=True)
class TorchMetric:
    """A metric of ``autofocus.metrics`` by its name, on a torch device; satisfies ``FocusMetric``.

    Attributes:
        name: of a metric in ``autofocus.metrics``.
        device: as torch names it, "cuda" or "cpu".
        channel: which of R, G, B (0, 1, 2) of a colour frame; ``autofocus.stain`` knows.
    """

    name: str
    device: str = "cuda"
    channel: int = GREEN

    def __post_init__(self) -> None:
        if self.name not in _BLOCKS:
            raise FocusInputError(f"no torch metric {self.name}; there are {', '.join(sorted(_BLOCKS))}")

    def __call__(self, image: Image | torch.Tensor) -> float:
        """As the CPU's metric: whole-field sharpness; a tensor that is on the device already is not moved."""
        return float(_WHOLE[self.name](self._gray(image)))

    def blocks(self, image: Image | torch.Tensor, block_px: int = DEFAULT_BLOCK_PX) -> FloatArray:
        """As the CPU's metric: (rows, columns) float64."""
        found: FloatArray = _BLOCKS[self.name](self._gray(image), block_px).double().cpu().numpy()
        return found

    def _gray(self, image: Image | torch.Tensor) -> torch.Tensor:
        """(h, w) float32 on the device."""
        if isinstance(image, torch.Tensor):
            checked(np.broadcast_to(np.uint8(0), tuple(image.shape)))
            return (image if image.ndim == 2 else image[..., self.channel]).to(self.device).float()
        return uploaded(focus_channel(image, self.channel), self.device)


def uploaded(pixels: Image, device: str) -> torch.Tensor:
    """uint8 or uint16 pixels of any shape as float32 on the device; what travels is as small as the camera's pixels."""
    pixels = np.ascontiguousarray(pixels)
    if pixels.dtype == np.uint8:
        return torch.from_numpy(pixels).to(device).float()
    # torch computes little with uint16: its bits travel as int16
    return torch.from_numpy(pixels.view(np.int16)).to(device).to(torch.int32).bitwise_and(0xFFFF).float()


def _quantile(values: torch.Tensor, share: float) -> torch.Tensor:
    """Of few values, interpolated as NumPy does it."""
    few = values.reshape(-1).sort().values
    at = share * (len(few) - 1)
    low = int(at)
    return torch.lerp(few[low], few[min(low + 1, len(few) - 1)], at - low)


def _background(gray: torch.Tensor, every: int = 8) -> torch.Tensor:
    return torch.clamp(_quantile(gray[::every, ::every], 0.8), min=1.0)


def _bordered(gray: torch.Tensor, px: int) -> torch.Tensor:
    """With reflected borders, as OpenCV does it."""
    return pad(gray[None, None], (px, px, px, px), mode="reflect")[0, 0]


def _along(values: torch.Tensor, kernel: tuple[float, ...], axis: int) -> torch.Tensor:
    """Correlation where the kernel lies inside: its length less one shorter along the axis."""
    length = values.shape[axis] - len(kernel) + 1
    taps = [(n, weight) for n, weight in enumerate(kernel) if weight]
    total = values.narrow(axis, taps[0][0], length) * taps[0][1]
    for n, weight in taps[1:]:
        total.add_(values.narrow(axis, n, length), alpha=weight)
    return total


def _separable(gray: torch.Tensor, along_x: tuple[float, ...], along_y: tuple[float, ...]) -> torch.Tensor:
    """(h, w) correlation with two kernels of three."""
    return _along(_along(_bordered(gray, 1), along_x, 1), along_y, 0)


def _smoothed_brenner(gray: torch.Tensor) -> torch.Tensor:
    kernel = tuple(smoothing_kernel(_SIGMA_PX).tolist())
    smooth = _along(_along(_bordered(gray, len(kernel) // 2 + 1), kernel, 1), kernel, 0)
    across, down = smooth[1:-1, 2:] - smooth[1:-1, :-2], smooth[2:, 1:-1] - smooth[:-2, 1:-1]
    return across.square_().addcmul_(down, down)


def _bins(gray: torch.Tensor) -> torch.Tensor:
    """Means of 2 × 2 px as OpenCV rounds them; a field too small for that stays."""
    h, w = gray.shape[0] // 2, gray.shape[1] // 2
    if min(h, w) < SMALLEST_SIDE_PX:
        return gray
    whole = gray[: 2 * h, : 2 * w]
    pairs = whole[::2] + whole[1::2]
    return torch.floor((pairs[:, ::2] + pairs[:, 1::2] + 2) / 4)


def _lines(gray: torch.Tensor) -> torch.Tensor:
    strips, w = gray.shape[0] // LINE_EVERY_PX, gray.shape[1] // 2
    pairs = gray[: strips * LINE_EVERY_PX, : 2 * w].reshape(strips, LINE_EVERY_PX, w, 2)[:, :2]
    return torch.floor((pairs.sum(dim=(1, 3)) + 2) / 4)


def _tenengrad(gray: torch.Tensor) -> torch.Tensor:
    smooth, difference = (1.0, 2.0, 1.0), (-1.0, 0.0, 1.0)
    return _separable(gray, difference, smooth) ** 2 + _separable(gray, smooth, difference) ** 2


def _laplacian(gray: torch.Tensor) -> torch.Tensor:
    second, one = (1.0, -2.0, 1.0), (0.0, 1.0, 0.0)
    return _separable(gray, second, one) + _separable(gray, one, second)


def _noise(gray: torch.Tensor, block_px: int) -> torch.Tensor:
    kernel = (1.0, -2.0, 1.0)
    middle = gray[gray.shape[0] // 4 : gray.shape[0] - gray.shape[0] // 4]
    residual = _block_means(_separable(middle, kernel, kernel).abs(), block_px)
    return _quantile(residual, 0.2) * float(np.sqrt(np.pi / 2)) / 6.0


def _block_means(values: torch.Tensor, block_px: int) -> torch.Tensor:
    return _cells(values, *(max(1, round(side / block_px)) for side in values.shape))


def _cells(values: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    h, w = values.shape
    if h % rows == 0 and w % columns == 0:
        return values.reshape(rows, h // rows, columns, w // columns).mean(dim=(1, 3))
    down, across = (torch.from_numpy(_shares(*n)).to(values.device) for n in ((h, rows), (w, columns)))
    return down @ values @ across.T


def _shares(side: int, count: int) -> NDArray[np.float32]:
    """(count, side): how much of each pixel belongs to each block, rows summing to 1."""
    edges, at = np.linspace(0, side, count + 1), np.arange(side)
    overlap = np.minimum(edges[1:, None], at + 1) - np.maximum(edges[:-1, None], at)
    return np.asarray(np.clip(overlap, 0.0, 1.0) * count / side, np.float32)


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
