"""How does a seam look? A crop of the image with marks beside it that say where the seam runs, none on the picture."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.model.tile import Pixels
from scanner.pipeline.lattice import Box
from scanner.pipeline.seam_score import Look, SeamScore
from scanner.review.pictures import data_uri, eight_bit, jpeg

SIDE_PX = 144  # of the image that is shown
ZOOM = 2
RIM_PX = 14
_PAPER, _INK = 255, (200, 30, 40)


@dataclass(frozen=True, slots=True)
class SeamPicture:
    """One seam as it looks, and what is said of it; ``error_px`` None where its pair was not measured."""

    uri: str
    first: str
    second: str
    error_px: float | None
    score: float | None
    misfit: float | None
    step: float
    where: str


def seam_picture(seam: SeamScore, look: Look, size: tuple[int, int], where: str) -> SeamPicture:
    """The neighbourhood of the place where a seam is torn most.

    Args:
        seam: as it was scored.
        look: pixels of a box.
        size: (w, h) of the image, px.
        where: the place in a person's words.
    """
    side = min(SIDE_PX, *size)
    x0, y0 = (int(np.clip(at - side // 2, 0, full - side)) for at, full in zip(seam.at, size, strict=True))
    shown = eight_bit(_as_pixels(look(Box(x0, y0, x0 + side, y0 + side))))
    line = seam.at[0] - x0 if seam.joint.side_by_side else seam.at[1] - y0
    return SeamPicture(
        uri=data_uri(jpeg(marked(shown, line * ZOOM, seam.joint.side_by_side), 88)),
        first=seam.joint.first.name,
        second=seam.joint.second.name,
        error_px=seam.joint.size_px,
        score=seam.score,
        misfit=seam.misfit,
        step=seam.step,
        where=where,
    )


def marked(pixels: NDArray[np.uint8], line: int, upright: bool) -> NDArray[np.uint8]:
    """The picture enlarged on a white rim, with a mark on the rim at both ends of the seam."""
    colour = pixels if pixels.ndim == 3 else cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    large = cv2.resize(colour, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_NEAREST)
    framed = np.asarray(
        cv2.copyMakeBorder(large, *(RIM_PX,) * 4, cv2.BORDER_CONSTANT, value=(_PAPER,) * 3), np.uint8
    )
    h, w = framed.shape[:2]
    at = RIM_PX + line
    for rim, tip in ((0, RIM_PX - 2), ((h if upright else w) - 1, (h if upright else w) - RIM_PX + 1)):
        corners = [(at - 6, rim), (at + 6, rim), (at, tip)]
        placed = corners if upright else [(y, x) for x, y in corners]
        cv2.fillPoly(framed, [np.array(placed, np.int32)], _INK, cv2.LINE_AA)
    return framed


def _as_pixels(shown: NDArray[np.uint8] | NDArray[np.uint16]) -> Pixels:
    whole = np.ascontiguousarray(shown)
    return np.asarray(whole, np.uint8) if whole.dtype == np.uint8 else np.asarray(whole, np.uint16)
