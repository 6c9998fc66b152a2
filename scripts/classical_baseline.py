"""What do colour, gradients and texture tell of a crop, and a forest of random trees of them? The bench's baseline."""

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.detections import Image
from detection.normalisation import optical_density, white_level

SIDE_PX = 96
PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)
SCALES_PX = (0.0, 1.0, 2.0, 4.0)
Numbers = NDArray[np.float64]


def classical_features(image: Image) -> Numbers:
    """(f,) of a crop whose longer side is brought to 96 px: quantiles of colour, gradients at four scales, local
    binary patterns, rings around the middle, and the power at every frequency.
    """  # noqa: D205
    density = optical_density(_square(image), white_level(image))
    gray = density.mean(axis=0)
    rings = _rings()
    colours = (*density, gray, density[0] - density[1], density[2] - density[1])
    parts = [np.array([*np.percentile(p, PERCENTILES), p.mean(), p.std()]) for p in colours]
    parts += [_gradients(gray, sigma) for sigma in SCALES_PX]
    parts += [_patterns(gray, radius) for radius in (1, 2, 4)]
    parts += [np.array([plane[rings == ring].mean() for ring in range(6)]) for plane in density]
    power = np.fft.fftshift(np.abs(np.fft.fft2(gray - gray.mean())) ** 2)
    parts.append(np.log([power[_rings(4) == ring].mean() + 1e-6 for ring in range(12)]))
    return np.concatenate(parts).astype(np.float64)


def told_by_trees(features: Numbers, labels: NDArray[np.int64], unknown: Numbers) -> NDArray[np.int64] | None:
    """The classes that extra trees give to ``unknown``; None where scikit-learn is not installed."""
    try:
        from sklearn.ensemble import ExtraTreesClassifier
    except ImportError:
        return None
    trees = ExtraTreesClassifier(500, class_weight="balanced", min_samples_leaf=2, random_state=0)
    return np.asarray(trees.fit(features, labels).predict(unknown), np.int64)


def _square(image: Image) -> Image:
    zoom = SIDE_PX / max(image.shape[:2])
    h, w = (max(8, round(n * zoom)) for n in image.shape[:2])
    how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    small = cv2.resize(image, (w, h), interpolation=how)
    top, left = (SIDE_PX - h) // 2, (SIDE_PX - w) // 2
    edges = (top, SIDE_PX - h - top, left, SIDE_PX - w - left)
    return np.asarray(cv2.copyMakeBorder(small, *edges, cv2.BORDER_REFLECT_101), np.uint8)


def _rings(width_px: int = 8) -> NDArray[np.int64]:
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX] - (SIDE_PX - 1) / 2
    return np.asarray(np.hypot(y, x) // width_px, np.int64)


def _gradients(gray: NDArray[np.float32], sigma: float) -> Numbers:
    plane = cv2.GaussianBlur(gray, (0, 0), sigma) if sigma else gray
    slope = np.hypot(cv2.Sobel(plane, -1, 1, 0), cv2.Sobel(plane, -1, 0, 1))
    bend = cv2.Laplacian(plane, -1)
    quarter = SIDE_PX // 4
    middle = np.asarray(plane)[quarter:-quarter, quarter:-quarter]
    return np.array(
        [
            *np.percentile(slope, (10, 50, 75, 90, 95, 99)),
            *(slope.mean(), slope.std()),
            *np.percentile(bend, (1, 10, 50, 90, 99)),
            *(float(np.std(bend)), middle.mean(), middle.std(), middle.max()),
            slope[quarter:-quarter, quarter:-quarter].mean(),
        ]
    )


def _patterns(gray: NDArray[np.float32], radius: int) -> Numbers:
    """Shares of the 256 local binary patterns, those of one number of ones and one number of changes together."""
    inner = gray[radius:-radius, radius:-radius]
    steps = [(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)]
    size = len(gray)
    higher = np.stack(
        [
            gray[
                radius + dy * radius : size - radius + dy * radius,
                radius + dx * radius : size - radius + dx * radius,
            ]
            >= inner
            for dy, dx in steps
        ]
    )
    ones = higher.sum(axis=0)
    changes = (higher != np.roll(higher, 1, axis=0)).sum(axis=0)
    kind = np.where(changes <= 2, ones, 9)
    return np.bincount(kind.ravel(), minlength=10) / kind.size
