"""How is a cell that was taken again shown? All its planes side by side, the sharpest framed."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from scanner.model.tile import Pixels
from scanner.review.pictures import data_uri, eight_bit, jpeg
from scanner.review.rows import FindingRows

PLANE_PX = 96
LEAST_SIDE_PX = 96
AROUND = 1.3
FRAME_PX = 4
GREEN = (42, 157, 143)

ReadPlane = Callable[[int, int, int, int, int], Pixels]
"""(y, x, h, w, layer) in mosaic px → pixels (h, w, 3) or (h, w)."""


@dataclass(frozen=True, slots=True)
class PlaneStrip:
    """One cell: its finding, both scores, which plane of how many is the sharpest, the picture; each plane's width."""

    rank: int
    name: str
    score: float
    score_again: float
    layer: int
    layers: int
    wide_um: float
    uri: str


def plane_strips(
    findings: FindingRows, layers: int, um_per_px: float, read: ReadPlane, most: int
) -> tuple[PlaneStrip, ...]:
    """The findings that were taken again, best first, at most ``most``."""
    chosen = np.flatnonzero(findings.layer >= 0)[:most]
    return tuple(_strip(findings, int(i), layers, um_per_px, read) for i in chosen)


def _strip(findings: FindingRows, i: int, layers: int, um_per_px: float, read: ReadPlane) -> PlaneStrip:
    side = max(LEAST_SIDE_PX, round(AROUND * max(findings.w_px[i], findings.h_px[i])))
    y = round(findings.y_px[i] + findings.h_px[i] / 2 - side / 2)
    x = round(findings.x_px[i] + findings.w_px[i] / 2 - side / 2)
    planes = [_shown(read(y, x, side, side, layer), layer == findings.layer[i]) for layer in range(layers)]
    return PlaneStrip(
        rank=int(findings.rank[i]),
        name=str(findings.name[i]),
        score=float(findings.score[i]),
        score_again=float(findings.score_again[i]),
        layer=int(findings.layer[i]),
        layers=layers,
        wide_um=side * um_per_px,
        uri=data_uri(jpeg(np.hstack(planes), 80)),
    )


def _shown(pixels: Pixels, sharpest: bool) -> "np.typing.NDArray[np.uint8]":
    eight = eight_bit(pixels)
    colour = eight if eight.ndim == 3 else np.repeat(eight[..., None], 3, axis=2)
    shown = cv2.resize(colour, (PLANE_PX, PLANE_PX), interpolation=cv2.INTER_AREA).astype(np.uint8)
    if sharpest:
        cv2.rectangle(shown, (0, 0), (PLANE_PX - 1, PLANE_PX - 1), GREEN, FRAME_PX)
    return shown
