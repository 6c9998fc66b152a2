"""How suspicious is a slide, given its cells? The few most abnormal ones decide, not how many there are."""

import numpy as np
from numpy.typing import NDArray

TOP_CELLS = 5
LEAST = 1e-4


def slide_score(abnormal: NDArray[np.floating], top: int = TOP_CELLS) -> float:
    """Score of a slide in 0..1 from its cells' P(abnormal): the root mean square of the odds of the ``top`` highest.

    So one clearly abnormal cell is not talked down by the next ones, and one cell more never makes a slide less
    suspicious. A slide with fewer cells is filled up with certain negatives; one without any scores 1e-4.
    """
    ranked = np.sort(np.asarray(abnormal, dtype=np.float64))[::-1][:top]
    filled = np.concatenate([ranked, np.zeros(top - len(ranked))])
    chance = np.clip(filled, LEAST, 1 - LEAST)
    odds = float(np.sqrt(((chance / (1 - chance)) ** 2).mean()))
    return odds / (1 + odds)
