"""Who looks at images, at which scale, and is it the detector that its package promises?"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from detection.decoding import STRIDE_PX, Candidates, decode
from detection.detections import Detections, Floats, Image
from detection.errors import ImageRefused, PackageError
from detection.merging import TileDetections, merge
from detection.normalisation import optical_density, white_level
from detection.package import DetectorPackage, Extension
from detection.patches import Patch, patches_over
from detection.second_look import all_told, asks_crops, chosen, patches
from detection.second_views import answers_to

SAME_SCALE = 0.02
TOO_COARSE = 2.0
BOX_TOLERANCE_PX = 1.0
SCORE_TOLERANCE = 1e-3
TOGETHER = 4


class Detector(Protocol):
    """Finds cells; the same image gives the same detections whatever it is batched with."""

    @property
    def package(self) -> DetectorPackage:
        """What it was made from."""
        ...

    @property
    def provider(self) -> str:
        """What it runs on: results are byte-identical only within one provider."""
        ...

    def detect(self, images: Sequence[Image], um_per_px: float) -> list[Detections]:
        """One answer an image.

        Args:
            images: (h, w, 3) uint8 RGB each, or one (n, h, w, 3) array; any size.
            um_per_px: the scale of the images.

        Raises:
            ImageRefused: more than twice as coarse as the package needs, or not RGB of 8 bits.
        """
        ...


class Networks(Protocol):
    """Runs the one to three networks of a package."""

    def maps(self, densities: Sequence[Floats]) -> list[Floats]:
        """(3, h, w) float32 densities to (5 + k, h/8, w/8) maps; every answer independent."""
        ...

    def second(self, patches: Floats) -> Floats:
        """(n, 3, p, p) densities to the second look's answers; asked only of packages that have one."""
        ...

    def crop(self, patches: Floats) -> Floats:
        """The same of the crop look."""
        ...


@dataclass(frozen=True, slots=True)
class Scale:
    """How images are brought to the package's scale; ``factor`` 1 leaves them alone."""

    factor: float
    said: str

    @classmethod
    def between(cls, image_um_per_px: float, package_um_per_px: float) -> "Scale":
        """Within 2 % images are used as they are.

        Raises:
            ImageRefused: where the image is more than twice as coarse as the package needs.
        """
        if not image_um_per_px > 0 or not np.isfinite(image_um_per_px):
            raise ImageRefused(f"{image_um_per_px} µm/px is not a scale")
        factor = image_um_per_px / package_um_per_px
        both = f"image {image_um_per_px:.4g} µm/px, detector {package_um_per_px:.4g} µm/px"
        if factor > TOO_COARSE:
            raise ImageRefused(
                f"{both}: more than twice as coarse as the detector needs, cells would be missed"
            )
        if abs(factor - 1.0) <= SAME_SCALE:
            return cls(1.0, f"{both}: used as it is")
        return cls(factor, f"{both}: resampled by {factor:.3f}")

    def bring(self, image: Image) -> Image:
        """The image at the package's scale."""
        if self.factor == 1.0:
            return image
        size = (max(1, round(image.shape[1] * self.factor)), max(1, round(image.shape[0] * self.factor)))
        how = cv2.INTER_AREA if self.factor < 1 else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(image, size, interpolation=how), dtype=np.uint8)


def find(
    networks: Networks, package: DetectorPackage, images: Sequence[Image], um_per_px: float
) -> list[Detections]:
    """The cells of each image: scale, white, patches, network, peaks, a second look, merged over the patches.

    A few images at a time go to the networks together, which fills the batches of a device that wants them filled.
    """

    def look(brought: Iterator[Image]) -> list[Detections]:
        found: list[Detections] = []
        while together := list(itertools.islice(brought, TOGETHER)):
            found += _found_together(networks, package, together)
        return found

    return at_scale(package, images, um_per_px, look)


def at_scale(
    package: DetectorPackage,
    images: Sequence[Image],
    um_per_px: float,
    look: Callable[[Iterator[Image]], list[Detections]],
) -> list[Detections]:
    """What ``look`` finds in the images once they have the package's scale, in px of the images as they are given.

    Raises:
        ImageRefused: see :meth:`Detector.detect`.
    """
    scale = Scale.between(um_per_px, package.config.spacing_um_px)
    for image in images:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ImageRefused(f"a detector sees (h, w, 3) uint8, not {image.shape} {image.dtype}")
    found = look(scale.bring(image) for image in images)
    return [answer.moved(0.0, 0.0, 1.0 / scale.factor) for answer in found]


def _found_together(
    networks: Networks, package: DetectorPackage, images: Sequence[Image]
) -> list[Detections]:
    parts = [patches_over(image.shape[1], image.shape[0]) for image in images]
    densities = [d for image, own in zip(images, parts, strict=True) for d in _densities(image, own)]
    extension = package.config.rackscan
    every = [part for own in parts for part in own]
    seen = [
        decode(answer, part.w, part.h, extension)
        for part, answer in zip(every, networks.maps(densities), strict=True)
    ]
    found = iter(_seen_twice(networks, extension, densities, seen))
    return [joined(own, [next(found) for _ in own]) for own in parts]


def _densities(image: Image, parts: Sequence[Patch]) -> list[Floats]:
    white = white_level(image)
    return [_padded(optical_density(part.cut(image), white)) for part in parts]


def _seen_twice(
    networks: Networks, extension: Extension, densities: Sequence[Floats], seen: Sequence[Candidates]
) -> list[Detections]:
    again = [chosen(candidates, extension) for candidates in seen]
    around = [(d, s.boxes[own]) for d, s, own in zip(densities, seen, again, strict=True)]
    ends = np.cumsum([len(own) for own in again])[:-1]
    second, crops = extension.second_look, extension.crop_look
    answers = by_crops = np.full((sum(map(len, again)), 1), np.nan, np.float32)
    if second is not None and len(answers):
        answers = answers_to(networks.second, around, extension, second)
    asked = asks_crops(answers, extension)
    if crops is not None and asked.any():
        by_crops = np.full((len(asked), crops.outputs), np.nan, np.float32)
        those = zip(around, np.split(asked, ends), strict=True)
        shown = np.concatenate([patches(density, boxes[part], crops) for (density, boxes), part in those])
        by_crops[asked] = networks.crop(shown)
    return all_told(seen, extension, again, answers, by_crops)


def joined(parts: Sequence[Patch], found: Sequence[Detections]) -> Detections:
    """What was found in the patches of an image, as what was found in the image."""
    if len(parts) == 1:
        return found[0]
    tiles = [
        TileDetections(i, p.x, p.y, p.w, p.h, d) for i, (p, d) in enumerate(zip(parts, found, strict=True))
    ]
    return merge(tiles).detections


def _padded(density: Floats) -> Floats:
    below, right = (-density.shape[1] % STRIDE_PX, -density.shape[2] % STRIDE_PX)
    return np.pad(density, ((0, 0), (0, below), (0, right))) if below or right else density


def self_test(detector: Detector) -> tuple[float, float]:
    """Look at the package's own image; the largest differences from what is expected: box px, score.

    Raises:
        PackageError: where the detections are not the expected ones within 1 px and 1e-3 of score.
    """
    package = detector.package
    (found,) = detector.detect([package.self_test_image], package.config.spacing_um_px)
    expected = package.self_test
    if len(found) != len(expected):
        raise _differs(detector, f"{len(found)} cells instead of {len(expected)}")
    box = float(np.abs(found.boxes - expected.boxes).max(initial=0.0))
    score = float(np.abs(found.abnormal - expected.abnormal).max(initial=0.0))
    if box > BOX_TOLERANCE_PX or score > SCORE_TOLERANCE:
        raise _differs(detector, f"boxes differ by up to {box:.2f} px and scores by up to {score:.4f}")
    return box, score


def _differs(detector: Detector, how: str) -> PackageError:
    where = str(detector.package.path)
    return PackageError(where, [f"its self-test gives {how} on {detector.provider}"])
