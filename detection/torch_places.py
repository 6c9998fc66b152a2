"""Where are the peaks of maps, and what lies around them, on the device that holds both?

What ``decoding.peaks`` and ``second_look.patches`` do, of a whole batch and without waiting for the device.
"""

import torch
from torch import Tensor
from torch.nn import functional

from detection.decoding import OBJECT

LARGEST_LOGIT = 30.0


def peaks(maps: Tensor, least_logit: float) -> Tensor:
    """(n h w,) bool: which places of (n, 5 + k, h, w) maps are 3 × 3 maxima of the object logit and reach the least."""
    objects = maps[:, OBJECT].clamp(-LARGEST_LOGIT, LARGEST_LOGIT)  # beyond, sigmoid tells no more apart
    around = functional.max_pool2d(objects[:, None], 3, 1, 1)[:, 0]
    return ((objects >= around) & (objects >= least_logit)).reshape(-1)


def said_at(maps: Tensor, places: Tensor) -> Tensor:
    """(m, 5 + k): what (n, 5 + k, h, w) maps say at m of their n h w places."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])[places]


def patches(density: Tensor, at: Tensor, side: int) -> Tensor:
    """(p, 3, side, side), channels first: parts of (n, 3, h, w) densities, mirrored beyond an image's edges.

    Args:
        density: channels last.
        at: (p, 3) whole numbers: image, x and y of the first px of each.
        side: px.
    """
    n, channels, h, w = density.shape
    line = torch.arange(side, device=density.device)
    cols, rows = _mirrored(at[:, 1:2] + line, w), _mirrored(at[:, 2:3] + line, h)
    places = (at[:, :1] * h + rows)[:, :, None] * w + cols[:, None]
    pixels = density.permute(0, 2, 3, 1).reshape(n * h * w, channels)
    return pixels[places].permute(0, 3, 1, 2).contiguous()


def _mirrored(index: Tensor, length: int) -> Tensor:
    """As ``second_look._mirrored``."""
    period = max(1, 2 * (length - 1))
    turned = index.abs() % period
    return torch.minimum(turned, period - turned) if length > 1 else torch.zeros_like(index)
