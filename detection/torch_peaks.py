"""How do the peaks of a whole batch's maps come back from the device as candidates?"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from detection.decoding import Candidates, logit, read_at
from detection.frames import Frame
from detection.package import Extension
from detection.torch_places import peaks, said_at
from detection.torch_transfer import Coming

PLACES_PER_PEAK = 64
LEAST_PEAKS = 512
NEARLY = 1e-5


class Peaks:
    """Those of (n, 5 + k, h, w) maps, on their way back.

    How many there are is not known until they are here: as many are fetched unasked as all but strange images have.
    """

    def __init__(self, maps: Tensor, extension: Extension) -> None:
        self._maps, self._extension = maps, extension
        least = float(logit(np.array([extension.candidate_floor]))[0]) - NEARLY
        are_peaks = peaks(maps, least)
        self._places = torch.argsort(are_peaks.logical_not().to(torch.uint8), stable=True)
        few = self._places[: max(LEAST_PEAKS, len(self._places) // PLACES_PER_PEAK)]
        self._coming = Coming(are_peaks.sum().reshape(1), few, said_at(maps, few))

    def candidates(self, batch: Sequence[Frame]) -> list[Candidates]:
        """Those of each frame, as ``decoding.decode`` reads them, once they are here."""
        (count,), places, said = self._coming.arrays()
        if count > len(places):
            every = self._places[: int(count)]
            places, said = Coming(every, said_at(self._maps, every)).arrays()
        number, _, height, width = self._maps.shape
        image, rows, cols = np.unravel_index(places[:count], (number, height, width))
        tall, wide, _ = batch[0].pixels.shape
        read, inside = read_at(rows, cols, said[:count].T, (wide, tall))
        high = read.objectness >= self._extension.candidate_floor
        kept = np.flatnonzero(inside & high & (image < len(batch)))
        ends = np.searchsorted(image[kept], np.arange(1, len(batch)))
        return [read.take(own) for own in np.split(kept, ends)]
