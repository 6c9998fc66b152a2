"""Does the stage wait for the detector? A row for the bench: the same region with and without it, in pairs."""

import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from scripts.bench_scan import REGION, ROUNDS, scan
from scripts.rows import Row, at_most

MOST_LOST = 1.03


def stage_rows(rounds: int = ROUNDS) -> Iterator[Row]:
    """First survey move to last frame."""
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            place, seed = Path(folder), ("--seed", str(number))
            looking = scan(place / f"looking{number}", REGION, *seed)
            blind = scan(place / f"blind{number}", REGION, *seed, "--detector", "none")
            ratios.append(looking["seconds"]["scan"] / blind["seconds"]["scan"])
    yield at_most("scan with the detector / without one (median)", statistics.median(ratios), MOST_LOST)
