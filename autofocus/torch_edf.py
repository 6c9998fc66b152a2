"""How are planes fused on a graphics card? The same image as ``autofocus.edf`` within a gray level, and its heights.

Smoothing and enlarging are products with small matrices: those keep single precision on every card, where convolutions
may be rounded to 10 bits, and the borders are part of them.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import pad

from autofocus.edf import (
    CELL_PX,
    FILL_CELLS,
    HEIGHT_POWER,
    LEAST_ENERGY,
    NEAR_CELLS,
    NO_PLANE,
    SHARES_POWER,
    WIDE_CELLS,
    WIDE_SHARE,
    ExtendedFocus,
    Series,
    gaussian,
)
from autofocus.errors import FocusInputError
from autofocus.gray import Image, checked
from autofocus.stain import GREEN
from autofocus.torch_metrics import uploaded


class TorchFocusStacker:
    """As ``autofocus.edf.FocusStacker``, on a torch device ("cuda" or "cpu"); only ``result`` waits for the card."""

    def __init__(self, channel: int = GREEN, device: str = "cuda") -> None:
        self._channel, self._device = channel, device
        self._series = Series()
        self._state: _State | None = None

    def add(self, plane: Image, z_um: float) -> None:
        """Take one plane, (h, w[, 3|4]) uint8 or uint16, exposed at ``z_um``; the plane is not kept.

        Raises:
            FocusInputError: as ``FocusStacker.add``.
        """
        self._series = self._series.with_plane(checked(plane), z_um)
        pixels = uploaded(plane, self._device)
        gray = pixels if pixels.ndim == 2 else pixels[..., self._channel]
        smooth = self._state.smooth if self._state else _Smoothing.of(plane.shape, self._device)
        energy = smooth.energy(gray, 1.0 if plane.dtype == np.uint8 else 1 / 256)
        if self._state is None:
            self._state = _State.of(pixels, z_um, energy, smooth)
        else:
            self._state.take(pixels, z_um, energy)

    def result(self) -> ExtendedFocus:
        """As ``FocusStacker.result``; image and heights in the memory of the CPU.

        Raises:
            FocusInputError: where no plane was added.
        """
        if self._state is None:
            raise FocusInputError(NO_PLANE)
        h, w = self._series.shape[:2]
        image = self._state.image.to(torch.int32).cpu().numpy().astype(self._series.dtype)
        heights = self._state.filled_um()[:h, :w]
        return ExtendedFocus(image, np.ascontiguousarray(heights.cpu().numpy()))


@dataclass(frozen=True, slots=True)
class _Smoothing:
    """The matrices for fields of one shape: each pair works down and across."""

    near: tuple[torch.Tensor, torch.Tensor]
    wide: tuple[torch.Tensor, torch.Tensor]
    fill: tuple[torch.Tensor, torch.Tensor]
    enlarge: tuple[torch.Tensor, torch.Tensor]

    @classmethod
    def of(cls, shape: tuple[int, ...], device: str) -> "_Smoothing":
        cells = [-(-side // CELL_PX) for side in shape[:2]]
        near, wide, fill = (
            _pair([_blurring(count, sigma) for count in cells], device)
            for sigma in (NEAR_CELLS, WIDE_CELLS, FILL_CELLS)
        )
        return cls(near, wide, fill, _pair([_enlarging(count) for count in cells], device))

    def energy(self, gray: torch.Tensor, scale: float) -> torch.Tensor:
        h, w = gray.shape
        whole = pad(gray[None, None], (0, -w % CELL_PX, 0, -h % CELL_PX), mode="replicate")[0, 0]
        half = pad((torch.floor((_sums(whole) + 2) / 4) * scale)[None, None], (1, 1, 1, 1), mode="replicate")[
            0, 0
        ]
        across, down = half[:, 2:] - half[:, :-2], half[2:] - half[:-2]
        across = across[:-2] + 2 * across[1:-1] + across[2:]
        down = down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]
        cells = _sums(across * across + down * down) / 4
        return _both(self.near, cells) + WIDE_SHARE * _both(self.wide, cells) + LEAST_ENERGY


@dataclass(slots=True)
class _State:
    """The fold: image (h, w[, c]) of whole gray levels; by cell the height, the peak and both log sums of weights."""

    image: torch.Tensor
    height_um: torch.Tensor
    peak: torch.Tensor
    log_shares: torch.Tensor
    log_heights: torch.Tensor
    smooth: _Smoothing

    @classmethod
    def of(cls, pixels: torch.Tensor, z_um: float, energy: torch.Tensor, smooth: _Smoothing) -> "_State":
        logs, height_um = torch.log(energy), torch.full_like(energy, z_um)
        return cls(pixels, height_um, energy, SHARES_POWER * logs, HEIGHT_POWER * logs, smooth)

    def take(self, pixels: torch.Tensor, z_um: float, energy: torch.Tensor) -> None:
        logs = torch.log(energy)
        self.log_shares = torch.logaddexp(self.log_shares, SHARES_POWER * logs)
        self.log_heights = torch.logaddexp(self.log_heights, HEIGHT_POWER * logs)
        share = _both(self.smooth.enlarge, torch.exp(SHARES_POWER * logs - self.log_shares))
        share = share[: pixels.shape[0], : pixels.shape[1]]
        share = share if pixels.ndim == 2 else share[..., None]
        self.image = torch.round(torch.lerp(self.image, pixels, share.expand_as(pixels)))
        part = torch.exp(HEIGHT_POWER * logs - self.log_heights)
        self.height_um = self.height_um + part * (z_um - self.height_um)
        self.peak = torch.maximum(self.peak, energy)

    def filled_um(self) -> torch.Tensor:
        """Heights of all pixels, over empty glass those of what is around it."""
        fill = self.smooth.fill
        return _both(self.smooth.enlarge, _both(fill, self.height_um * self.peak) / _both(fill, self.peak))


def _sums(values: torch.Tensor) -> torch.Tensor:
    """Sums of 2 × 2."""
    return values[::2, ::2] + values[1::2, ::2] + values[::2, 1::2] + values[1::2, 1::2]


def _both(matrices: tuple[torch.Tensor, torch.Tensor], values: torch.Tensor) -> torch.Tensor:
    down, across = matrices
    return down @ values @ across.T


def _pair(matrices: list[NDArray[np.float32]], device: str) -> tuple[torch.Tensor, torch.Tensor]:
    down, across = (torch.from_numpy(matrix).to(device) for matrix in matrices)
    return down, across


def _blurring(count: int, sigma: float) -> NDArray[np.float32]:
    """(count, count): a Gaussian of ``sigma`` in each row, the border repeated."""
    kernel = gaussian(sigma)
    reach, matrix = kernel.size // 2, np.zeros((count, count), np.float32)
    for offset, weight in zip(range(-reach, reach + 1), kernel, strict=True):
        matrix[np.arange(count), np.clip(np.arange(count) + offset, 0, count - 1)] += weight
    return matrix


def _enlarging(count: int) -> NDArray[np.float32]:
    """(4 count, count): linear between the middles of cells."""
    at = np.clip((np.arange(CELL_PX * count) + 0.5) / CELL_PX - 0.5, 0, count - 1)
    low, row = np.floor(at).astype(int), np.arange(at.size)
    matrix = np.zeros((at.size, count), np.float32)
    matrix[row, low] = 1 - (at - low)
    matrix[row, np.minimum(low + 1, count - 1)] += at - low
    return matrix
