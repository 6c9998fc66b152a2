"""What does a thick sample look like with every part in focus, and how high is each part?

Nothing here looks at the field as a whole: a pixel depends on its surroundings of a fixed size only, so that
neighbouring tiles fuse alike where they overlap.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from autofocus.errors import FocusInputError
from autofocus.gray import Image, focus_channel
from autofocus.stain import GREEN

FloatImage = NDArray[np.float32]

CELL_PX = 4
_SHARES_POWER = 64.0
_HEIGHT_POWER = 4.0
_NEAR_CELLS, _WIDE_CELLS, _WIDE_SHARE = 0.7, 4.0, 0.02
_STRIP_CELLS = 32
_NOTHING = 1 / 512


@dataclass(frozen=True, slots=True)
class ExtendedFocus:
    """``image``: as the planes, (h, w[, 3|4]) of their dtype; ``height_um``: (h, w) float32."""

    image: Image
    height_um: FloatImage


class FocusStacker:
    """Fuses planes one by one as they are exposed; its memory does not grow with their number.

    The fused pixel is the mean of the planes' pixels, weighted by a high power of the gradient energy around it: where
    there is texture the sharpest plane rules, and over empty glass, where all are equal, their noise averages out.
    A mean invents no colour. The weights stay logarithms, which neither overflow nor need a second look at the planes.
    """

    def __init__(self, channel: int = GREEN) -> None:
        self._channel = channel
        self._heights: set[float] = set()
        self._image: Image = np.empty(0, np.uint8)
        self._shares = _RunningShare(_SHARES_POWER)
        self._height_shares = _RunningShare(_HEIGHT_POWER)
        self._height: FloatImage = np.empty(0, np.float32)
        self._peak: FloatImage = np.empty(0, np.float32)

    def add(self, plane: Image, z_um: float) -> None:
        """Take one plane, (h, w[, 3|4]) uint8 or uint16, exposed at ``z_um``; the plane is not kept.

        Raises:
            FocusInputError: where it does not belong to the planes before it, or its height is not finite or repeated.
        """
        self._checked(plane, z_um)
        energy = _gradient_energy(focus_channel(plane, self._channel))
        if not self._heights:
            self._image = plane.copy()
            self._height = np.full_like(energy, z_um)
            self._peak = np.zeros_like(energy)
        share = self._shares.of(energy)
        if self._heights:
            _blend(self._image, plane, share)
        self._height += self._height_shares.of(energy) * (np.float32(z_um) - self._height)
        np.maximum(self._peak, energy, out=self._peak)
        self._heights.add(z_um)

    def result(self) -> ExtendedFocus:
        """The fused image and the height of what is sharp in it; over empty glass the height of what is around it.

        Raises:
            FocusInputError: where no plane was added.
        """
        if not self._heights:
            raise FocusInputError("no plane was added, so there is nothing to fuse")
        weight = cv2.GaussianBlur(self._peak, (0, 0), 4.0)
        mean = cv2.GaussianBlur(self._height * self._peak, (0, 0), 4.0) / np.maximum(weight, 1e-12)
        h, w = self._image.shape[:2]
        full = cv2.resize(np.asarray(mean, np.float32), None, fx=CELL_PX, fy=CELL_PX)
        return ExtendedFocus(self._image.copy(), np.ascontiguousarray(full[:h, :w], np.float32))

    def _checked(self, plane: Image, z_um: float) -> None:
        if not np.isfinite(z_um) or z_um in self._heights:
            raise FocusInputError(
                f"the height {z_um} µm of a plane is not finite, or another plane has it too"
            )
        first = self._image
        if self._heights and (plane.shape, plane.dtype) != (first.shape, first.dtype):
            raise FocusInputError(
                f"a plane of {plane.shape} {plane.dtype} came after planes of {first.shape} {first.dtype}"
            )


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
        weight = np.asarray(cv2.log(energy), np.float32) * np.float32(self._power)
        self._log_sum = weight if self._log_sum is None else np.logaddexp(self._log_sum, weight)
        share: FloatImage = np.exp(weight - self._log_sum)
        return share


def _gradient_energy(gray: Image) -> FloatImage:
    """Squared gradient around each cell of 4 × 4 px, in (0.4 % of full scale)², never 0."""
    h, w = gray.shape
    whole = cv2.copyMakeBorder(gray, 0, -h % CELL_PX, 0, -w % CELL_PX, cv2.BORDER_REPLICATE)
    half = cv2.resize(whole, (whole.shape[1] // 2, whole.shape[0] // 2), interpolation=cv2.INTER_AREA)
    scale = 1.0 if gray.dtype == np.uint8 else 1 / 256
    across = cv2.Sobel(half, cv2.CV_32F, 1, 0, scale=scale)
    down = cv2.Sobel(half, cv2.CV_32F, 0, 1, scale=scale)
    squares = cv2.accumulateSquare(down, cv2.multiply(across, across, across))
    cells = cv2.resize(squares, (whole.shape[1] // 4, whole.shape[0] // 4), interpolation=cv2.INTER_AREA)
    near = cv2.GaussianBlur(cells, (0, 0), _NEAR_CELLS)
    wide = cv2.GaussianBlur(cells, (0, 0), _WIDE_CELLS)
    return np.asarray(near + _WIDE_SHARE * wide + 1e-3, np.float32)


def _blend(image: Image, plane: Image, share: FloatImage) -> None:
    """Move ``image`` towards ``plane`` by the cells' shares, strip by strip so that it all stays in the cache."""
    h, w = image.shape[:2]
    for rows, strip in _strips(share, h, w):
        if strip.max() > _NOTHING:
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
