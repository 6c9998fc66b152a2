"""What does a picture with transparent parts show on white glass?"""

from typing import Any

import numpy as np

from scanner.model.tile import Pixels


def on_white(pixels: Pixels, premultiplied: bool = False) -> Pixels:
    """(h, w, 3) or (h, w) of the same type: what shines through is white, the type's highest value.

    Args:
        pixels: (h, w, 4) or (h, w, 2), uint8 or uint16, the last channel how opaque it is.
        premultiplied: the colours are weighted with it already (TIFF: associated alpha).
    """
    colours, alpha = pixels[..., :-1], pixels[..., -1:]
    white = np.float32(np.iinfo(pixels.dtype).max)
    shown: Any = colours
    if alpha.min() < white:
        share = alpha.astype(np.float32) / white
        weighted = colours.astype(np.float32) * (1 if premultiplied else share)
        shown = np.rint(np.minimum(weighted + white * (1 - share), white)).astype(pixels.dtype)
    opaque: Pixels = np.ascontiguousarray(shown if shown.shape[-1] > 1 else shown[..., 0])
    return opaque
