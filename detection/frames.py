"""What of several images is looked at as one picture each, and which of these go through the networks together?"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from detection.detections import Floats, Image
from detection.normalisation import WHITE_SHRINK, white_level
from detection.patches import Patch, patches_over


@dataclass(frozen=True, slots=True)
class Frame:
    """What is looked at as a whole: ``pixels`` (h, w, 3) uint8, the ``part`` of its ``image``, by their numbers.

    ``white`` (3,) is the image's level of empty glass; None where ``pixels`` are the whole image in whole blocks of
    8 × 8 px, so that ``torch_density.white_levels`` can read it from them.
    """

    image: int
    part: int
    pixels: Image
    white: Floats | None

    @property
    def alike(self) -> tuple[int, int, bool]:
        """What the frames of a batch share."""
        return self.pixels.shape[0], self.pixels.shape[1], self.white is None


def frames_of(number: int, image: Image, parts: list[Patch]) -> Iterator[Frame]:
    """The frames of an (h, w, 3) uint8 image, one for each of its ``parts``."""
    height, width, _ = image.shape
    whole_blocks = len(parts) == 1 and height % WHITE_SHRINK == 0 and width % WHITE_SHRINK == 0
    white = None if whole_blocks else white_level(image)
    for index, part in enumerate(parts):
        yield Frame(number, index, part.cut(image), white)


def parts_of(image: Image) -> list[Patch]:
    """The patches of an (h, w, 3) image."""
    return patches_over(image.shape[1], image.shape[0])


def batches_of(frames: Iterable[Frame], together: Callable[[int, int], int]) -> Iterator[list[Frame]]:
    """Frames that are alike, at most ``together(height, width)`` at a time, in the order in which they fill up."""
    waiting: dict[tuple[int, int, bool], list[Frame]] = {}
    for frame in frames:
        own = waiting.setdefault(frame.alike, [])
        own.append(frame)
        if len(own) >= together(*frame.alike[:2]):
            yield waiting.pop(frame.alike)
    yield from waiting.values()
