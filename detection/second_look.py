"""Which candidates are looked at a second time, and what of the image does that look see?

A candidate's patch depends on the image around it only, not on how many others there are.
"""

import numpy as np
from numpy.typing import NDArray

from detection.decoding import Candidates
from detection.detections import Floats
from detection.package import Extension, SecondLook

BATCH = 8
MOST_PER_IMAGE = 96


def chosen(candidates: Candidates, extension: Extension) -> NDArray[np.intp]:
    """(n,) the candidates whose first look is at or over the floor; at most the 96 highest, in reading order."""
    look = extension.second_look
    if look is None:
        return np.zeros(0, np.intp)
    raw = candidates.raw(extension)
    suspicious = np.nonzero(raw >= look.floor)[0]
    highest = suspicious[np.argsort(-raw[suspicious], kind="stable")[:MOST_PER_IMAGE]]
    return np.sort(highest)


def patches(density: Floats, boxes: NDArray[np.float64], look: SecondLook) -> Floats:
    """(n, 3, p, p) float32: the densities around the middles of ``boxes``, mirrored beyond the image's edges."""
    side = look.patch_px
    corners = np.round(boxes[:, :2] + boxes[:, 2:] / 2).astype(int) - side // 2
    out = np.empty((len(boxes), len(density), side, side), np.float32)
    for patch, (x, y) in zip(out, corners, strict=True):
        rows = _mirrored(np.arange(y, y + side), density.shape[1])
        cols = _mirrored(np.arange(x, x + side), density.shape[2])
        patch[:] = density[:, rows[:, None], cols[None]]
    return out


def _mirrored(index: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Every index as one inside 0..length-1, mirrored at both ends without repeating the edge."""
    period = max(1, 2 * (length - 1))
    turned = np.abs(index) % period
    return np.asarray(np.minimum(turned, period - turned) if length > 1 else np.zeros_like(index))


def batches(given: Floats) -> list[tuple[Floats, int]]:
    """Fixed batches of 8, the last filled with empty glass: (patches, how many count)."""
    found = []
    for start in range(0, len(given), BATCH):
        part = given[start : start + BATCH]
        whole = np.zeros((BATCH, *given.shape[1:]), np.float32)
        whole[: len(part)] = part
        found.append((whole, len(part)))
    return found
