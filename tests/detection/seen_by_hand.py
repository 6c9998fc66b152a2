"""Fields and crops whose answers are written down by hand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detection.appearance import Appearance
from detection.detections import Detections
from detection.seen import Seen, SeenCrops

ABNORMAL, NORMAL = 0, 1
SIDE = 20.0
PLAIN_LOOK = Appearance(white=230.0, density=0.1, dark_share=0.0, hue_deg=220.0)
Boxed = tuple[float, int, float]
"""Where a box of 20 × 20 px starts along x, its class, and P(abnormal)."""


def field(
    slide: str,
    truth: Sequence[tuple[float, int]],
    found: Sequence[Boxed],
    group: str = "",
    looks: Appearance = PLAIN_LOOK,
) -> Seen:
    """A field of 0.1 mm² with boxes in a row; ``truth`` says where along x and which class."""
    chance = np.array([p for _, _, p in found], float)
    return Seen(
        file=Path(f"{slide}.png"),
        slide=slide,
        group=group,
        found=Detections.rounded(
            _row([x for x, _, _ in found]),
            np.array([k for _, k, _ in found], int),
            np.full(len(found), 0.9),
            chance,
            np.zeros(len(found), int),
        ),
        truth=_row([x for x, _ in truth]),
        labels=np.array([k for _, k in truth], np.int64),
        area_mm2=0.1,
        looks=looks,
    )


def crops(said: Sequence[float], truth: Sequence[int], density: Sequence[float] | None = None) -> SeenCrops:
    """Crops of two classes, the first abnormal; ``said`` is P(abnormal)."""
    chance = np.array(said, float)
    dark = density or [0.1] * len(said)
    return SeenCrops(
        files=tuple(Path(f"{k}.png") for k in range(len(said))),
        shares=np.stack([chance, 1 - chance], axis=1),
        truth=np.array(truth, np.int64),
        looks=tuple(Appearance(230.0, value, value / 2, None) for value in dark),
    )


def _row(starts: Sequence[float]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.array([[x, 0.0, SIDE, SIDE] for x in starts], np.float32).reshape(-1, 4)
