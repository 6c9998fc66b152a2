"""What does a thick sample look like with every part in focus, and how high is each part?"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from autofocus.errors import FocusInputError
from autofocus.gray import Gray, Image, focus_channel

FloatImage = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ExtendedFocus:
    """``image``: as the planes, (h, w[, 3]) of their dtype; ``height_um``: (h, w) float32."""

    image: Image
    height_um: FloatImage


def extended_focus(planes: list[Image], z_um: ArrayLike, levels: int = 5) -> ExtendedFocus:
    """Fuse planes by the strongest coefficient of a Laplacian pyramid.

    P. J. Burt, R. J. Kolczynski, "Enhanced image capture through fusion", ICCV 1993: at each place and scale
    the plane with the largest local energy of the focus channel gives all channels.

    Args:
        planes: n images of one shape and dtype (uint8 or uint16).
        z_um: (n,) their heights.
        levels: scales of the pyramid.

    Raises:
        FocusInputError: where planes and heights do not belong together.
    """
    heights = np.asarray(z_um, np.float32)
    if not planes or heights.shape != (len(planes),) or any(p.shape != planes[0].shape for p in planes):
        raise FocusInputError(f"{len(planes)} planes and heights {heights.shape} do not belong together")
    depth = min(levels, int(np.log2(min(planes[0].shape[:2]))) - 2)
    strength = [_energies(focus_channel(plane), depth) for plane in planes]
    chosen = [np.argmax(np.stack([s[level] for s in strength]), axis=0) for level in range(depth)]
    fused = _fuse(planes, chosen, depth)
    limit = np.iinfo(planes[0].dtype).max
    image = np.clip(np.rint(fused), 0, limit).astype(planes[0].dtype)
    return ExtendedFocus(image, _height(strength, heights, planes[0].shape[:2]))


def _pyramid(image: FloatImage, depth: int) -> list[FloatImage]:
    """``depth`` Laplacian levels and the small rest."""
    levels: list[FloatImage] = []
    current = image
    for _ in range(depth):
        smaller = cv2.pyrDown(current)
        levels.append(current - _up(smaller, current))
        current = np.asarray(smaller, np.float32)
    return [*levels, current]


def _up(smaller: Image, like: FloatImage) -> FloatImage:
    return np.asarray(cv2.pyrUp(smaller, dstsize=(like.shape[1], like.shape[0])), np.float32)


def _energies(gray: Gray, depth: int) -> list[FloatImage]:
    detail = _pyramid(gray.astype(np.float32), depth)[:depth]
    return [np.asarray(cv2.GaussianBlur(level * level, (0, 0), 1.5), np.float32) for level in detail]


def _fuse(planes: list[Image], chosen: list[NDArray[np.int64]], depth: int) -> FloatImage:
    fused: list[FloatImage] = []
    for number, plane in enumerate(planes):
        for level, detail in enumerate(_pyramid(plane.astype(np.float32), depth)):
            if number == 0:
                fused.append(np.zeros_like(detail))
            fused[level] += _share(detail, chosen[level] == number if level < depth else None, len(planes))
    image = fused[-1]
    for detail in reversed(fused[:-1]):
        image = _up(image, detail) + detail
    return image


def _share(detail: FloatImage, chosen: NDArray[np.bool_] | None, planes: int) -> FloatImage:
    """What one plane gives to a level: where it was chosen, or an equal part of the small rest."""
    if chosen is None:
        return detail / np.float32(planes)
    return detail * (chosen[..., None] if detail.ndim == 3 else chosen)


def _height(strength: list[list[FloatImage]], z_um: FloatImage, shape: tuple[int, ...]) -> FloatImage:
    """Height of the strongest plane, averaged by energy over the surroundings, so that empty glass is filled."""
    level = min(1, len(strength[0]) - 1)
    energy = np.stack([s[level] for s in strength])
    best, peak = z_um[np.argmax(energy, axis=0)], energy.max(axis=0)
    weight = np.asarray(cv2.GaussianBlur(peak, (0, 0), 4.0), np.float32)
    mean = np.asarray(cv2.GaussianBlur(best * peak, (0, 0), 4.0), np.float32) / np.maximum(weight, 1e-12)
    return np.asarray(cv2.resize(mean, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR), np.float32)
