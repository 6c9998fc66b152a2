"""Does the seam score tell a shifted tile and uneven light from a good mosaic? Rows for docs/decisions/0072.

python scripts/seam_rows.py: mosaics of simulated cells, 3 × 3 tiles of 512 px placed truly but for one that is moved.
"""

import numpy as np

from scanner.model.geometry import Point
from scanner.pipeline import seam_score as scoring
from tests.scanner.pipeline.mosaics import Stitched, stitched

SEEDS = range(1, 7)
CENTRE = 4
KINDS: tuple[tuple[str, dict[str, object]], ...] = (
    ("good", {}),
    ("one tile 0.5 px off", {"moved": ((1, 1), Point(0.5, 0.0))}),
    ("one tile 1 px off", {"moved": ((1, 1), Point(1.0, 0.0))}),
    ("one tile 2 px off", {"moved": ((1, 1), Point(2.0, 0.0))}),
    ("light differs by 1 %", {"gain": 0.01}),
    ("light differs by 3 %", {"gain": 0.03}),
)
BESIDE = ((1, 4), (2, 6), (3, 11))


def scored(made: Stitched) -> list[scoring.SeamScore]:
    """All seams of a mosaic."""
    found = (scoring.seam_score(joint, made.lattice, made.look) for joint in made.joints)
    return [score for score in found if score is not None]


def kinds() -> None:
    """What each kind of mosaic scores."""
    print("mosaic | score | brightness evened | the moved tile's seams | brightness step, %")
    for name, how in KINDS:
        rows = []
        for seed in SEEDS:
            made = stitched(seed=seed, **how)  # type: ignore[arg-type]  # the keywords above
            scores = scored(made)
            whole = scoring.seamlessness(scores)
            tile = scoring.seamlessness(scores[k] for k in made.of(CENTRE))
            rows.append([whole.score or 0, whole.misfit or 0, tile.misfit or 0, 100 * whole.step])
        low, high = np.min(rows, axis=0), np.max(rows, axis=0)
        print(" | ".join([name, *(f"{a:.2f} to {b:.2f}" for a, b in zip(low, high, strict=True))]))


def references() -> None:
    """Which lines beside the seam tell a moved tile's seams best from good ones, seam by seam."""
    half = scoring.HALF_PX
    print("lines beside, px | good seams, 5 to 95 % | seams 2 px off, 5 to 95 % | told apart (AUC)")
    for first, last in BESIDE:
        scoring.HALF_PX = max(half, last + 1)
        away = np.abs(np.arange(2 * scoring.HALF_PX - 1) - (scoring.HALF_PX - 1))
        scoring._BESIDE = np.flatnonzero((away >= first) & (away <= last))
        good, bad = [], []
        for seed in SEEDS:
            good += [score.misfit or 1 for score in scored(stitched(seed=seed))]
            made = stitched(seed=seed, moved=((1, 1), Point(2.0, 0.0)))
            scores = scored(made)
            bad += [scores[k].misfit or 1 for k in made.of(CENTRE)]
        told = float(np.mean(np.array(bad)[:, None] > np.array(good)))
        spans = [" to ".join(f"{v:.2f}" for v in np.percentile(s, (5, 95))) for s in (good, bad)]
        print(f"{first} to {last} | {spans[0]} | {spans[1]} | {told:.3f}")


if __name__ == "__main__":
    kinds()
    references()
