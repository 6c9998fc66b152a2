"""How is an image that is too large for one look cut into patches?

An image of up to 2048² is looked at whole; a larger one in overlapping patches that depend on its size only.
"""

from dataclasses import dataclass

from detection.detections import Image

PATCH_PX = 2048
OVERLAP_PX = 128


@dataclass(frozen=True, slots=True)
class Patch:
    """A rectangle of an image, px; ``x``, ``y`` is its top-left corner."""

    x: int
    y: int
    w: int
    h: int

    def cut(self, image: Image) -> Image:
        """(h, w, 3) view of the patch."""
        return image[self.y : self.y + self.h, self.x : self.x + self.w]


def starts(length_px: int, patch_px: int = PATCH_PX, overlap_px: int = OVERLAP_PX) -> list[int]:
    """Where patches begin along one axis so that neighbours share ``overlap_px`` and the last ends with the image."""
    if length_px <= patch_px:
        return [0]
    step = patch_px - overlap_px
    return [*range(0, length_px - patch_px, step), length_px - patch_px]


def patches_over(
    width_px: int, height_px: int, patch_px: int = PATCH_PX, overlap_px: int = OVERLAP_PX
) -> list[Patch]:
    """Patches that cover an image, row by row."""
    w, h = min(width_px, patch_px), min(height_px, patch_px)
    return [
        Patch(x, y, w, h)
        for y in starts(height_px, patch_px, overlap_px)
        for x in starts(width_px, patch_px, overlap_px)
    ]
