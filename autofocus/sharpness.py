"""What does one frame say about focus: how sharp each block is, whether there is sample, whether light is right?"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from autofocus.gray import Gray, Image, background, focus_channel, noise, ranked
from autofocus.metrics import DEFAULT_BLOCK_PX, FloatArray, FocusMetric, SmoothedBrenner
from autofocus.stain import GREEN

CLIPPED_MOST = 0.5
DARK_LEVEL = 0.02
# a nucleus of 10 µm, 15 µm out of focus at NA 0.75, still takes about 3 % of the light
LEAST_CONTRAST = 0.015
SAMPLE_SCALE_PX = 8
FLAT_FIELD_SAMPLES = 997
LEAST_SAMPLE_AREA_PX = 4 * SAMPLE_SCALE_PX**2


@dataclass(frozen=True, slots=True)
class Sharpness:
    """One frame's answer.

    Attributes:
        blocks: (rows, columns) float64 sharpness of each block, no unit; near zero without texture.
        has_sample: something absorbs light here, also far out of focus.
        light_fault: why the frame must not be used for focusing ("" where it may).
    """

    blocks: FloatArray
    has_sample: bool
    light_fault: str = ""

    @property
    def total(self) -> float:
        """Mean sharpness of the blocks, never negative."""
        return max(0.0, float(self.blocks.mean()))


_ROBUST = SmoothedBrenner()


def measure(
    image: Image, metric: FocusMetric = _ROBUST, block_px: int = DEFAULT_BLOCK_PX, channel: int = GREEN
) -> Sharpness:
    """Look at ``channel`` of one frame: (h, w[, 3|4]) uint8 or uint16, flat-field corrected.

    Raises:
        FocusInputError: for pixels of another shape or type.
    """
    gray = focus_channel(image, channel)
    return Sharpness(metric.blocks(gray, block_px), _has_sample(gray), light_fault(gray))


def light_fault(image: Image) -> str:
    """Why a frame's light must not be used for focusing, "" where it may: (h, w[, 3|4]) uint8 or uint16."""
    full = np.iinfo(image.dtype).max
    sparse = image[::8, ::8] if image.ndim == 2 else image[::8, ::8, GREEN]
    if np.count_nonzero(sparse >= full) > CLIPPED_MOST * sparse.size:
        return "saturated"
    return "dark" if ranked(sparse, 0.8) < DARK_LEVEL * full else ""


def shows_sample(small: NDArray[np.uint8], clear: NDArray[np.float64]) -> bool:
    """Does anything absorb light, also far out of focus?

    Args:
        small: (h, w[, 3]) uint8 at about 1 µm a pixel.
        clear: (channels,) gray levels of the empty field.
    """
    gray = small if small.ndim == 2 else np.ascontiguousarray(small[..., GREEN])
    side = SAMPLE_SCALE_PX // 2
    size = max(1, gray.shape[1] // side), max(1, gray.shape[0] // side)
    mean = cv2.resize(gray.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return _absorbs(mean / np.float32(clear[small.ndim // 3]), noise(gray, 32) / 2)


def _has_sample(gray: Gray) -> bool:
    return _absorbs(_relative(gray), noise(gray) / background(gray))


def _absorbs(relative: NDArray[np.float32], noise_of_clear: float) -> bool:
    small = _flattened(relative)
    around = cv2.GaussianBlur(small, (0, 0), 8.0)
    contrast = np.abs(cv2.GaussianBlur(small, (0, 0), 1.0) - around)
    # averaging 8 × 8 px and the Gaussian on top leave about a thirtieth of the pixel noise
    least = max(LEAST_CONTRAST, 6.0 * noise_of_clear / 30.0)
    return int(np.count_nonzero(contrast > least)) * SAMPLE_SCALE_PX**2 >= LEAST_SAMPLE_AREA_PX


def _relative(gray: Gray) -> NDArray[np.float32]:
    rows, columns = (max(1, side // SAMPLE_SCALE_PX) for side in gray.shape)
    small = cv2.resize(gray, (columns, rows), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / np.float32(background(gray))


def _flattened(relative: NDArray[np.float32]) -> NDArray[np.float32]:
    """Minus the illumination: a quadratic surface through whatever is not darker than it, found in three rounds."""
    y, x = (
        axis.ravel() for axis in np.mgrid[-1 : 1 : relative.shape[0] * 1j, -1 : 1 : relative.shape[1] * 1j]
    )
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    values = relative.ravel().astype(float)
    few = slice(None, None, max(1, values.size // FLAT_FIELD_SAMPLES))
    kept = np.ones(values[few].shape, np.bool_)
    for _ in range(3):
        surface = np.linalg.lstsq(terms[few][kept], values[few][kept])[0]
        light = values[few] > terms[few] @ surface - LEAST_CONTRAST
        kept = light if np.count_nonzero(light) > 2 * terms.shape[1] else kept
    flat: NDArray[np.float32] = (values - terms @ surface).reshape(relative.shape).astype(np.float32)
    return flat
