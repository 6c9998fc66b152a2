"""How do images go from pixels to detections on a device with few words between it and the host?

Batches follow each other: while the device looks at one, the few numbers that came back of the one before it are read.
Batches of one shape have one size, filled up with empty glass: the answer to an image does not depend on its company.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from detection.detections import Detections, Floats, Image
from detection.detector import joined
from detection.frames import Frame, batches_of, frames_of, parts_of
from detection.package import CROP_PREFIX, SECOND_PREFIX, Extension, SecondLook
from detection.patches import Patch
from detection.second_look import Numbers, all_told, asks_crops, chosen, corners
from detection.second_views import centres, suspected, views_of, with_views
from detection.staggering import Work, staggered
from detection.torch_density import densities, white_levels
from detection.torch_graphs import Asked
from detection.torch_peaks import Peaks
from detection.torch_places import patches
from detection.torch_transfer import EMPTY_GLASS, Coming, Lift

PX_TOGETHER = {"cuda": 2**24, "cpu": 2**18}
MOST_TOGETHER = 64
PATCHES_TOGETHER = {"cuda": 128, "cpu": 8}
Told = list[tuple[Frame, Detections]]
Boxes = Sequence[Numbers]


class Road:
    """Looks at images with a package's networks, which lie on one device.

    Args:
        device: that one.
        extension: the package's.
        first: the first look's network.
        later: those of the second and the crop look by their prefixes.
    """

    def __init__(
        self,
        device: torch.device,
        extension: Extension,
        first: Asked,
        later: Mapping[str, Asked],
    ) -> None:
        self._extension, self._first, self._later = extension, first, later
        self._lift = Lift(device)
        self._px, self._patches = PX_TOGETHER[device.type], PATCHES_TOGETHER[device.type]

    def look(self, images: Iterable[Image]) -> list[Detections]:
        """What is in each of (h, w, 3) uint8 images at the package's scale."""
        parts: list[list[Patch]] = []
        found: dict[tuple[int, int], Detections] = {}
        batches = batches_of(_frames(images, parts), self.together)
        for told in staggered(self._seen(batch) for batch in batches):
            found |= {(frame.image, frame.part): detections for frame, detections in told}
        return [joined(own, [found[n, part] for part in range(len(own))]) for n, own in enumerate(parts)]

    def together(self, height_px: int, width_px: int) -> int:
        """How many frames of a size make a batch."""
        return max(1, min(MOST_TOGETHER, self._px // (height_px * width_px)))

    def _seen(self, batch: Sequence[Frame]) -> Work[Told]:
        """All that is done with a batch; it pauses wherever the device has to answer."""
        density = self.density(batch)
        peaks = Peaks(self.maps(density), self._extension)
        yield
        seen = peaks.candidates(batch)
        again = [chosen(candidates, self._extension) for candidates in seen]
        boxes = [candidates.boxes[own] for candidates, own in zip(seen, again, strict=True)]
        answers = yield from self._second(density, boxes)
        by_crops = yield from self._crops(density, boxes, answers)
        return list(zip(batch, all_told(seen, self._extension, again, answers, by_crops), strict=True))

    def density(self, batch: Sequence[Frame]) -> Tensor:
        """(b, 3, h', w') float32 of a batch, filled up with empty glass."""
        size = self.together(*batch[0].alike[:2])
        frames = self._lift.frames([frame.pixels for frame in batch], size)
        given = [frame.white for frame in batch if frame.white is not None]
        if not given:
            return densities(frames, white_levels(frames))
        white = np.full((size, 3), EMPTY_GLASS, np.float32)
        white[: len(given)] = given
        return densities(frames, self._lift.numbers(white))

    def maps(self, density: Tensor) -> Tensor:
        """(b, 5 + k, h'/8, w'/8) float32: what the first look says."""
        return self._first(density)

    def _second(self, density: Tensor, boxes: Boxes) -> Generator[None, None, Floats]:
        """As ``second_views.answers_to``."""
        look, number = self._extension.second_look, sum(map(len, boxes))
        if look is None or not number:
            return np.full((number, 1), np.nan, np.float32)
        shown = self.patches(density, boxes, look)
        coming = self.asked(SECOND_PREFIX, shown)
        yield
        answers = coming.floats()
        doubtful = suspected(answers, self._extension, look)
        if not len(doubtful):
            return answers
        again, axes = self.patches(density, centres(boxes, answers, doubtful, look), look), views_of(look)
        coming = self.asked(SECOND_PREFIX, torch.cat([again.flip(own) for own in axes]))
        yield
        views = np.split(coming.floats(), len(axes))
        return with_views(answers, doubtful, views, look, np.concatenate(boxes))

    def _crops(self, density: Tensor, boxes: Boxes, answers: Floats) -> Generator[None, None, Floats]:
        look, asked = self._extension.crop_look, asks_crops(answers, self._extension)
        if look is None or not asked.any():
            return np.full((len(asked), 1), np.nan, np.float32)
        ends = np.cumsum([len(own) for own in boxes])[:-1]
        those = [own[part] for own, part in zip(boxes, np.split(asked, ends), strict=True)]
        coming = self.asked(CROP_PREFIX, self.patches(density, those, look))
        yield
        by_crops = np.full((len(asked), look.outputs), np.nan, np.float32)
        by_crops[asked] = coming.floats()
        return by_crops

    def patches(self, density: Tensor, boxes: Boxes, look: SecondLook) -> Tensor:
        """(p, 3, s, s) float32: what a later look sees around the (m, 4) boxes of each image."""
        image = np.repeat(np.arange(len(boxes)), [len(own) for own in boxes])
        at = np.column_stack([image, corners(np.concatenate(boxes), look)])
        return patches(density, self._lift.numbers(at), look.seen_px)

    def asked(self, prefix: str, shown: Tensor) -> Coming:
        """(p, outputs) float32 on its way back: what a later look says of (p, 3, s, s) patches."""
        filled = functional.pad(shown, (0, 0) * 3 + (0, -len(shown) % self._patches))
        batches = (filled[start : start + self._patches] for start in range(0, len(filled), self._patches))
        answers = [self._later[prefix](batch) for batch in batches]
        return Coming(torch.cat(answers)[: len(shown)])


def _frames(images: Iterable[Image], parts: list[list[Patch]]) -> Iterator[Frame]:
    """The frames of all images, whose patches are added to ``parts`` as they are asked for."""
    for number, image in enumerate(images):
        parts.append(parts_of(image))
        yield from frames_of(number, image, parts[-1])
