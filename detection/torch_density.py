"""How do frames become what the networks see, on the device that holds them? What ``normalisation`` does, in torch."""

import torch
from torch import Tensor
from torch.nn import functional

from detection.normalisation import DARKEST_WHITE, MOST_DENSITY, WHITE_PERCENTILE, WHITE_SHRINK
from detection.package import STRIDE

LEVELS = 256


def white_levels(frames: Tensor) -> Tensor:
    """(n, 3) float32: the level of empty glass in (n, h, w, 3) uint8 frames of whole blocks.

    Means are rounded half to even, as OpenCV does it, and the percentile lies between two of them, as numpy's does.
    """
    n, h, w, _ = frames.shape
    side = WHITE_SHRINK
    columns = frames.reshape(n, h // side, side, w * 3).sum(2, dtype=torch.int32)
    blocks = columns.reshape(n, h // side, w // side, side, 3).sum(3, dtype=torch.int32)
    means = (blocks.float() / side**2).round().long().reshape(n, -1, 3)
    slots = (means + LEVELS * torch.arange(3, device=frames.device)).reshape(n, -1)
    counts = torch.zeros(n, 3 * LEVELS, dtype=torch.int32, device=frames.device)
    counts.scatter_add_(1, slots, torch.ones_like(slots, dtype=torch.int32))
    reached = counts.reshape(n, 3, LEVELS).cumsum(2)
    last = means.shape[1] - 1
    rank = last * (WHITE_PERCENTILE / 100)
    low, high = ((reached <= place).sum(2).double() for place in (int(rank), min(int(rank) + 1, last)))
    share = rank - int(rank)
    between = low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share)
    return between.clamp(min=DARKEST_WHITE).float()


def densities(frames: Tensor, white: Tensor) -> Tensor:
    """(n, 3, h', w') float32 optical densities, channels last, of (n, h, w, 3) uint8 frames with (n, 3) whites.

    h' and w' are the next multiples of 8; what is added is 0, empty glass.
    """
    n, h, w, _ = frames.shape
    levels = torch.arange(LEVELS, dtype=torch.float64, device=frames.device) + 1.0
    table = torch.log10((white.double()[..., None] + 1.0) / levels).clamp(-0.2, MOST_DENSITY).float()
    first = LEVELS * torch.arange(3 * n, dtype=torch.int32, device=frames.device).reshape(n, 1, 1, 3)
    found = table.reshape(-1).index_select(0, (frames + first).reshape(-1)).reshape(frames.shape)
    beyond = (0, 0, 0, -w % STRIDE, 0, -h % STRIDE)
    whole = functional.pad(found, beyond) if any(beyond) else found  # pad copies even where it adds nothing
    return whole.permute(0, 3, 1, 2)
