"""What should the network have answered on a patch, and which patches is it shown?

Augmentations follow what differs between scanners: scale, orientation, stain, exposure, defocus, noise, JPEG.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.decoding import STRIDE_PX
from detection.detections import Floats, Image
from detection.normalisation import optical_density

IGNORED_LABEL = -1


@dataclass(frozen=True, slots=True)
class Cells:
    """Labelled boxes in an image: (m, 4) float32 x, y, w, h px and (m,) class indices.

    A box with label -1 is a region of which nobody knows what is in it: neither cell nor background is asked for there.
    """

    boxes: Floats
    labels: NDArray[np.int64]

    @property
    def named(self) -> "Cells":
        """Those that have a class."""
        known = self.labels != IGNORED_LABEL
        return Cells(self.boxes[known], self.labels[known])

    @property
    def unknown(self) -> Floats:
        """(m, 4) the regions of which nobody knows."""
        found: Floats = self.boxes[self.labels == IGNORED_LABEL]
        return found


@dataclass(frozen=True, slots=True)
class Target:
    """The wanted maps of one patch, all (h/8, w/8).

    Attributes:
        heat: object map, 1 at centres, a Gaussian around them.
        regression: (4, h/8, w/8) centre offset x, y and log width, height in strides.
        labels: int64 class, -1 where no class and no box is asked for.
        weight: how much a place counts for class and box, 0..1.
        asked: 1 where the object map counts, 0 where nobody knows.
    """

    heat: Floats
    regression: Floats
    labels: NDArray[np.int64]
    weight: Floats
    asked: Floats


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How far a patch may be changed; ``NONE`` leaves it alone."""

    scale: float = 0.0
    tilt: float = 0.0
    turns: bool = False
    stain: float = 0.0
    exposure: float = 0.0
    defocus_px: float = 0.0
    noise: float = 0.0
    jpeg: float = 0.0


NONE = Augmentation()
WIDE = Augmentation(
    scale=0.15, tilt=0.15, turns=True, stain=0.22, exposure=0.05, defocus_px=1.4, noise=0.02, jpeg=0.3
)
CLOSE = Augmentation(
    scale=0.1, tilt=0.15, turns=True, stain=0.2, exposure=0.04, defocus_px=1.0, noise=0.012, jpeg=0.1
)
"""Less of each: the grain of chromatin, which tells a cell seen alone, must stay."""


def target(cells: Cells, size_px: int, radius: float = 1.5) -> Target:
    """The wanted maps of a square patch of ``size_px``; cells whose centre lies outside are left out."""
    n = size_px // STRIDE_PX
    heat, weight = np.zeros((n, n), np.float32), np.zeros((n, n), np.float32)
    regression = np.zeros((4, n, n), np.float32)
    labels = np.full((n, n), IGNORED_LABEL, np.int64)
    rows, cols = np.mgrid[0:n, 0:n].astype(np.float32) + np.float32(0.5)
    asked = _asked(cells.unknown / STRIDE_PX, rows, cols)
    named = cells.named
    for box, label in zip(named.boxes / STRIDE_PX, named.labels, strict=True):
        x, y = box[0] + box[2] / 2, box[1] + box[3] / 2
        if not (0 <= x < n and 0 <= y < n):
            continue
        top, left = max(0, int(y) - 6), max(0, int(x) - 6)
        part = (slice(top, int(y) + 7), slice(left, int(x) + 7))
        dx, dy = x - cols[part], y - rows[part]
        sigma = float(np.clip(np.sqrt(box[2] * box[3]) / 4, 0.6, 2.0))
        blob = np.exp(-((cols[part] - int(x) - 0.5) ** 2 + (rows[part] - int(y) - 0.5) ** 2) / (2 * sigma**2))
        nearest = (blob > weight[part]) & (np.maximum(np.abs(dx), np.abs(dy)) <= radius)
        heat[part] = np.maximum(heat[part], blob)
        weight[part] = np.where(nearest, blob, weight[part])
        labels[part] = np.where(nearest, label, labels[part])
        asked[part] = np.where(nearest, 1, asked[part])
        size = np.log(np.maximum(box[2:], 0.2))
        wanted = np.stack([dx, dy, np.full_like(dx, size[0]), np.full_like(dx, size[1])])
        regression[:, part[0], part[1]] = np.where(nearest, wanted, regression[:, part[0], part[1]])
    return Target(heat, regression, labels, weight, asked)


def _asked(unknown: NDArray[np.floating], rows: NDArray[np.floating], cols: NDArray[np.floating]) -> Floats:
    """0 at the places, in strides, whose middle lies in a region of which nobody knows."""
    asked = np.ones(rows.shape, np.float32)
    for x, y, w, h in unknown:
        asked[(cols >= x) & (cols <= x + w) & (rows >= y) & (rows <= y + h)] = 0
    return asked


def cut(
    image: Image,
    cells: Cells,
    centre: tuple[float, float],
    zoom: float,
    how: Augmentation,
    size_px: int,
    rng: np.random.Generator,
) -> tuple[Image, Cells]:
    """A square patch of ``size_px`` around ``centre`` (x, y px), zoomed, turned and flipped as ``how`` allows."""
    factor = zoom * float(np.exp(rng.uniform(-how.scale, how.scale)))
    quarter = int(rng.integers(4)) if how.turns else 0
    mirror = -1.0 if how.turns and rng.random() < 0.5 else 1.0
    angle = quarter * np.pi / 2 + float(rng.uniform(-how.tilt, how.tilt))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag(
        [mirror, 1.0]
    )
    matrix = np.hstack([turn * factor, np.zeros((2, 1))])
    matrix[:, 2] = size_px / 2 - matrix[:, :2] @ np.asarray(centre)
    size = (size_px, size_px)
    patch = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    centres = (cells.boxes[:, :2] + cells.boxes[:, 2:] / 2) @ matrix[:, :2].T + matrix[:, 2]
    swapped = cells.boxes[:, [3, 2]] if quarter % 2 else cells.boxes[:, 2:]
    moved = np.hstack([centres - swapped * factor / 2, swapped * factor]).astype(np.float32)
    return np.asarray(patch, dtype=np.uint8), Cells(moved, cells.labels)


def seen(patch: Image, white: Floats, how: Augmentation, rng: np.random.Generator) -> Floats:
    """(3, h, w) float32 densities of a patch after other optics, another stain and another camera."""
    if how.jpeg and rng.random() < how.jpeg:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(55, 95))]
        coded = cv2.imencode(".jpg", patch[:, :, ::-1], quality)[1]
        patch = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), dtype=np.uint8)[:, :, ::-1]
    exposure = np.exp(rng.uniform(-how.exposure, how.exposure, 3))
    density = optical_density(patch, (white * exposure).astype(np.float32))
    if how.defocus_px and rng.random() < 0.4:
        sigma = float(rng.uniform(0.3, how.defocus_px))
        density = np.stack([cv2.GaussianBlur(plane, (0, 0), sigma) for plane in density])
    mix = np.eye(3) * np.exp(rng.uniform(-how.stain, how.stain)) + rng.normal(0.0, how.stain / 3, (3, 3))
    stained = np.tensordot(mix.astype(np.float32), density, axes=1) if how.stain else density
    noise = rng.standard_normal(stained.shape, dtype=np.float32)
    noise *= np.float32(how.noise * float(rng.random()))
    noise += stained
    return noise
