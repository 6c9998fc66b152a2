"""How much of a slide's sample lies under blood? Told by colour, on the image made small.

Haemoglobin takes blue light at least as much as green and lets red through: Papanicolaou's pink takes half as much blue
as green, and its blue lets red not through. Keratin that a laboratory stains orange counts as blood; it never covers
as much of a sample as the limits ask for.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.model.tile import Pixels

SEEN_AT_UM = 16.0  # wider than a red cell: a film of them is one colour
SAMPLE_OD = 0.03
LEAST_OD = 0.05
BLUE_OVER_GREEN, RED_OVER_GREEN = 0.8, 0.5
GLASS_SHARE = 0.005


def blood_share(pixels: Pixels, um_per_px: float, glass: float | None) -> float | None:
    """Share of the sample's area that is as red as blood, 0..1; None of a gray image or one without sample.

    Args:
        pixels: (h, w, 3) or (h, w), uint8 or uint16, a small level of the image; white where nothing was captured.
        um_per_px: its scale.
        glass: level of empty glass in every channel; None: the brightest half per cent of what was captured.
    """
    if pixels.ndim != 3:
        return None
    white = float(np.iinfo(pixels.dtype).max)
    small = _shrunk(pixels, max(1, round(SEEN_AT_UM / um_per_px)))
    captured = small[~np.all(small == white, axis=1)]
    if not len(captured):
        return None
    level = np.quantile(captured, 1 - GLASS_SHARE, axis=0) if glass is None else np.full(3, glass)
    red, green, blue = np.log(level / np.maximum(captured, 1.0)).T
    sample = np.max([red, green, blue], axis=0) > SAMPLE_OD
    bloody = (blue >= BLUE_OVER_GREEN * green) & (red < RED_OVER_GREEN * green) & (green > LEAST_OD)
    return float((bloody & sample).sum() / sample.sum()) if sample.any() else None


def _shrunk(pixels: Pixels, factor: int) -> NDArray[np.float64]:
    """(n, 3): every whole square of ``factor`` px, averaged."""
    h, w = (max(1, side // factor) for side in pixels.shape[:2])
    whole = pixels[: h * factor, : w * factor]
    return np.asarray(cv2.resize(whole, (w, h), interpolation=cv2.INTER_AREA), np.float64).reshape(-1, 3)
