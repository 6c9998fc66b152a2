"""What does a thick sample look like with every part in focus, and how high is each part?

Nothing here looks at the field as a whole: a pixel depends on its surroundings of a fixed size only, so that
neighbouring tiles fuse alike where they overlap.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from autofocus.errors import FocusInputError
from autofocus.gray import Image, focus_channel
from autofocus.stain import GREEN

FloatImage = NDArray[np.float32]

CELL_PX = 4
SHARES_POWER = 128.0
HEIGHT_POWER = 4.0
NEAR_CELLS = 1.0
# a cell out of focus glows beyond its own edge, where only its surroundings know which plane is right
WIDE_CELLS, WIDE_SHARE = 6.0, 0.1
FILL_CELLS = 4.0
LEAST_ENERGY = 1e-3
NO_PLANE = "no plane was added, so there is nothing to fuse"
_STRIP_CELLS = 32


@dataclass(frozen=True, slots=True)
class ExtendedFocus:
    """``image``: as the planes, (h, w[, 3|4]) of their dtype; ``height_um``: (h, w) float32."""

    image: Image
    height_um: FloatImage


@dataclass(frozen=True, slots=True)
class Series:
    """Which planes have come so far: their shape, pixel type and heights."""

    shape: tuple[int, ...] = ()
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.uint8))
    z_um: frozenset[float] = frozenset()

    def with_plane(self, plane: Image, z_um: float) -> "Series":
        """And one more.

        Raises:
            FocusInputError: where it does not belong to those before it, or its height is not finite or repeated.
        """
        if not np.isfinite(z_um) or z_um in self.z_um:
            raise FocusInputError(
                f"the height {z_um} µm of a plane is not finite, or another plane has it too"
            )
        if self.z_um and (plane.shape, plane.dtype) != (self.shape, self.dtype):
            raise FocusInputError(
                f"a plane of {plane.shape} {plane.dtype} came after planes of {self.shape} {self.dtype}"
            )
        return Series(plane.shape, plane.dtype, self.z_um | {z_um})


class FocusStacker:
    """Fuses planes one by one as they are exposed; its memory does not grow with their number.

    The fused pixel is the mean of the planes' pixels, weighted by a high power of the gradient energy around it: where
    there is texture the sharpest plane rules, and over empty glass, where all are about equal, noise is not picked out.
    A mean invents no colour. The weights stay logarithms, which neither overflow nor need a second look at the planes.
    """

    def __init__(self, channel: int = GREEN) -> None:
        self._channel = channel
        self._series = Series()
        self._image: Image = np.empty(0, np.uint8)
        self._shares = _RunningShare(SHARES_POWER)
        self._height_shares = _RunningShare(HEIGHT_POWER)
        self._height: FloatImage = np.empty(0, np.float32)
        self._peak: FloatImage = np.empty(0, np.float32)

    def add(self, plane: Image, z_um: float) -> None:
        """Take one plane, (h, w[, 3|4]) uint8 or uint16, exposed at ``z_um``; the plane is not kept.

        Raises:
            FocusInputError: where its pixels are of another kind, it does not belong to the planes before it, or its
                height is not finite or repeated.
        """
        series = self._series.with_plane(plane, z_um)
        energy = _gradient_energy(focus_channel(plane, self._channel))
        share = self._shares.of(energy)
        if self._series.z_um:
            _blend(self._image, plane, share)
        else:
            self._image = plane.copy()
            self._height, self._peak = np.zeros_like(energy), np.zeros_like(energy)
        self._height += self._height_shares.of(energy) * (np.float32(z_um) - self._height)
        np.maximum(self._peak, energy, out=self._peak)
        self._series = series

    def result(self) -> ExtendedFocus:
        """The fused image and the height of what is sharp in it; over empty glass the height of what is around it.

        Raises:
            FocusInputError: where no plane was added.
        """
        if not self._series.z_um:
            raise FocusInputError(NO_PLANE)
        weight = blurred(self._peak, FILL_CELLS)
        mean = blurred(self._height * self._peak, FILL_CELLS) / weight
        h, w = self._series.shape[:2]
        full = cv2.resize(mean, None, fx=CELL_PX, fy=CELL_PX)
        return ExtendedFocus(self._image.copy(), np.ascontiguousarray(full[:h, :w], np.float32))


def extended_focus(planes: Sequence[Image], z_um: ArrayLike, channel: int = GREEN) -> ExtendedFocus:
    """Fuse n planes of one shape and dtype, (h, w[, 3|4]) uint8 or uint16, at the (n,) heights ``z_um``.

    Raises:
        FocusInputError: where planes and heights do not belong together, or as ``FocusStacker.add``.
    """
    heights = np.asarray(z_um, float)
    if not len(planes) or heights.shape != (len(planes),):
        raise FocusInputError(f"{len(planes)} planes and heights {heights.shape} do not belong together")
    stacker = FocusStacker(channel)
    for plane, height_um in zip(planes, heights.tolist(), strict=True):
        stacker.add(plane, height_um)
    return stacker.result()


class _RunningShare:
    """What part each new plane has in the mean so far: energy to a power over the sum of the powers, by cell."""

    def __init__(self, power: float) -> None:
        self._power = power
        self._log_sum: FloatImage | None = None

    def of(self, energy: FloatImage) -> FloatImage:
        weight: FloatImage = np.asarray(cv2.log(energy), np.float32) * np.float32(self._power)
        self._log_sum = weight if self._log_sum is None else np.logaddexp(self._log_sum, weight)
        share: FloatImage = np.exp(weight - self._log_sum)
        return share


def gaussian(sigma: float) -> FloatImage:
    """A Gaussian cut at 4 sigma, sum 1: (2 n + 1,) float32."""
    at = np.arange(-int(np.ceil(4 * sigma)), int(np.ceil(4 * sigma)) + 1)
    kernel = np.exp(-0.5 * (at / sigma) ** 2)
    return np.asarray(kernel / kernel.sum(), np.float32)


def blurred(values: FloatImage, sigma: float) -> FloatImage:
    """(h, w) float32 after ``gaussian`` in both directions, the border repeated."""
    kernel = gaussian(sigma)
    return np.asarray(
        cv2.sepFilter2D(values, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_REPLICATE), np.float32
    )


def _gradient_energy(gray: Image) -> FloatImage:
    """Squared gradient around each cell of 4 × 4 px, in (0.4 % of full scale)², never 0."""
    h, w = gray.shape
    if h % CELL_PX or w % CELL_PX:
        gray = cv2.copyMakeBorder(gray, 0, -h % CELL_PX, 0, -w % CELL_PX, cv2.BORDER_REPLICATE)
    half = _shrunk(gray)
    scale = 1.0 if gray.dtype == np.uint8 else 1 / 256
    across = cv2.Sobel(half, cv2.CV_32F, 1, 0, scale=scale, borderType=cv2.BORDER_REPLICATE)
    down = cv2.Sobel(half, cv2.CV_32F, 0, 1, scale=scale, borderType=cv2.BORDER_REPLICATE)
    cells = _shrunk(cv2.accumulateSquare(down, cv2.multiply(across, across, across)))
    energy = blurred(cells, NEAR_CELLS) + np.float32(WIDE_SHARE) * blurred(cells, WIDE_CELLS)
    return np.asarray(energy + np.float32(LEAST_ENERGY), np.float32)


def _shrunk(values: Image) -> Image:
    """Means of 2 × 2."""
    size = values.shape[1] // 2, values.shape[0] // 2
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), values.dtype)


def _blend(image: Image, plane: Image, share: FloatImage) -> None:
    """Move ``image`` towards ``plane`` by the cells' shares, strip by strip so that it all stays in the cache."""
    h, w = image.shape[:2]
    moves_none = 0.5 / (np.iinfo(image.dtype).max + 1)
    for rows, strip in _strips(share, h, w):
        if strip.max() > moves_none:
            image[rows] = _mixed(image[rows], plane[rows], strip)


def _strips(share: FloatImage, h: int, w: int) -> Iterator[tuple[slice, FloatImage]]:
    for first in range(0, share.shape[0], _STRIP_CELLS):
        low, high = max(0, first - 1), min(share.shape[0], first + _STRIP_CELLS + 1)
        grown = cv2.resize(share[low:high], None, fx=CELL_PX, fy=CELL_PX, interpolation=cv2.INTER_LINEAR)
        top = first * CELL_PX
        rows = slice(top, min(h, top + _STRIP_CELLS * CELL_PX))
        skip = (first - low) * CELL_PX
        yield rows, np.ascontiguousarray(grown[skip : skip + rows.stop - rows.start, :w], np.float32)


def _mixed(image: Image, plane: Image, share: FloatImage) -> Image:
    if image.dtype == np.uint8:
        return np.asarray(cv2.blendLinear(image, np.ascontiguousarray(plane), 1 - share, share), np.uint8)
    share = share if image.ndim == 2 else share[..., None]
    mixed = image + share * (plane.astype(np.float32) - image)
    rounded: Image = np.rint(mixed).astype(image.dtype)
    return rounded
