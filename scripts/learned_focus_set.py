"""Two planes around single nuclei, and where each nucleus is sharp: of simulated slides, and of a recorded stack."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from autofocus.answers import Look
from autofocus.evidence import combine
from autofocus.height import Prior
from autofocus.template import FocusTemplate
from autofocus.view import BLOCK_PX, Blocks
from scanner.devices.simulated.field import SIDE_PX
from scripts.focus_field import SimulatedField

Plane = NDArray[np.uint8]
Mask = NDArray[np.uint8]

SIDE = 64
APART_UM = 1.3
DEPTH_UM = 0.98
_LEAST_SEEN_PX = 12
_NEAR_UM = 0.5
_ONE_HEIGHT_UM = 0.3
_MARGIN = np.ones((5, 5), np.uint8)
_CLEAREST = 1.5


@dataclass(frozen=True, slots=True)
class Example:
    """One nucleus.

    Attributes:
        planes: (6, 64, 64) float16, absorbance in red, green and blue of the lower plane, then of the upper one.
        mask: (32, 32) uint8, where the nucleus was found in the lower plane.
        true: its height over the middle of the planes: µm, or planes of a stack.
        measured: what ``autofocus.height`` says, µm as if the planes were 1.3 µm apart.
    """

    planes: NDArray[np.float16]
    mask: Mask
    true: float
    measured: float


@dataclass(frozen=True, slots=True)
class _Object:
    """One object of a frame: where it lies (1 µm px), its middle (0.5 µm px) and its measured height."""

    mask: Mask
    middle: tuple[int, int]
    measured: float


def simulated(seed: int, fields: int) -> Iterator[Example]:
    """Nuclei of random fields of one liquid-based slide, whose centres were found and which share one height."""
    field = SimulatedField(seed)
    for place in field.random_places(fields):
        base_um = field.base_um(place) + field.rng.normal(0, _NEAR_UM)
        heights = base_um + APART_UM * np.array([-0.5, 0.5])
        looks = [Look.known(z, field.frame(place, z)) for z in heights]
        inside = field.nuclei(place)
        centres, true = inside.places_px / 2, inside.heights_um - base_um
        for thing in _objects(looks, FocusTemplate.from_optics(DEPTH_UM), base_um):
            wide = cv2.dilate(thing.mask, _MARGIN)
            at = np.clip(np.rint(centres).astype(int), 0, SIDE_PX // 2 - 1)
            own = true[wide[at[:, 1], at[:, 0]] > 0]
            if len(own) and np.ptp(own) < _ONE_HEIGHT_UM:
                yield _example(looks, thing, float(own.mean()))


def recorded(planes: Sequence[Plane], steps: int) -> Iterator[Example]:
    """Nuclei of a stack in each pair of planes that lie so many steps apart; truth is what four metrics agree on."""
    template = FocusTemplate.from_optics(DEPTH_UM)
    for first in range(len(planes) - steps):
        pair = planes[first], planes[first + steps]
        looks = [Look.known(z, plane) for z, plane in zip((-APART_UM / 2, APART_UM / 2), pair, strict=True)]
        for thing in _objects(looks, template, 0.0):
            best = _agreed(planes, thing.mask)
            if best is not None:
                yield _example(looks, thing, best - first - steps / 2)


def _objects(looks: Sequence[Look], template: FocusTemplate, middle_um: float) -> Iterator[_Object]:
    first = looks[0]
    if not first.view.nuclei.any():
        return
    blocks = first.blocks
    found = combine(looks, template, Prior(middle_um, 3.0), blocks)
    for number, height_um in enumerate(found.heights_um):
        mask = _mask_of(first.view.nuclei, blocks, number)
        rows, columns = np.nonzero(mask)
        if len(rows) >= _LEAST_SEEN_PX:
            middle = round(2 * rows.mean()), round(2 * columns.mean())
            yield _Object(mask, middle, float(height_um) - middle_um)


def _mask_of(nuclei: Mask, blocks: Blocks, number: int) -> Mask:
    side = BLOCK_PX // 2
    mask = np.zeros_like(nuclei)
    which = blocks.objects == number
    for row, column in zip(blocks.rows[which], blocks.columns[which], strict=True):
        part = np.s_[row * side : (row + 1) * side, column * side : (column + 1) * side]
        mask[part] = nuclei[part]
    return mask


def _example(looks: Sequence[Look], thing: _Object, true: float) -> Example:
    dark = []
    for look in looks:
        cut = _cut(look.view.pixels, thing.middle, SIDE).astype(np.float32)
        cut = np.atleast_3d(-np.log((cut + 0.5) / look.view.clear))
        dark.append(np.broadcast_to(cut, (SIDE, SIDE, 3)).transpose(2, 0, 1))
    row, column = thing.middle
    mask = _cut(thing.mask, (row // 2, column // 2), SIDE // 2)
    return Example(np.concatenate(dark).astype(np.float16), mask, true, thing.measured)


def _cut(image: NDArray[np.uint8], middle: tuple[int, int], side: int) -> NDArray[np.uint8]:
    """A copy, so that the frame is not kept for its sake."""
    half = side // 2
    wide = cv2.copyMakeBorder(image, half, half, half, half, cv2.BORDER_REFLECT_101)
    return np.array(wide[middle[0] : middle[0] + side, middle[1] : middle[1] + side])


def _agreed(planes: Sequence[Plane], mask: Mask) -> float | None:
    """The plane (a fraction) that four gradients like best around an object; None where they differ or it is an end."""
    rows, columns = np.nonzero(mask)
    at = np.s_[
        max(2 * rows.min() - 6, 0) : 2 * rows.max() + 8, max(2 * columns.min() - 6, 0) : 2 * columns.max() + 8
    ]
    peaks = [_peak(curve) for curve in np.array([_gradients(plane[at]) for plane in planes]).T]
    told = [peak for peak in peaks if peak is not None]
    if len(told) < len(peaks) or np.ptp(told) > _CLEAREST:
        return None
    return float(np.median(told))


def _gradients(part: Plane) -> list[float]:
    gray = part if part.ndim == 2 else np.ascontiguousarray(part[..., 1])
    soft = cv2.GaussianBlur(gray.astype(np.float32), (0, 0), 1.0)
    across, down = cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)
    coarse = soft - cv2.GaussianBlur(soft, (0, 0), 2.5)
    measures = (
        across**2 + down**2,
        cv2.Laplacian(soft, cv2.CV_32F) ** 2,
        (soft[:, 3:] - soft[:, :-3]) ** 2,
        coarse**2,
    )
    return [float(np.mean(measure)) for measure in measures]


def _peak(curve: NDArray[np.float64]) -> float | None:
    best = int(np.argmax(curve))
    if best in (0, len(curve) - 1):
        return None
    low, top, high = np.log(curve[best - 1 : best + 2])
    return float(best + 0.5 * (low - high) / (low - 2 * top + high))
