"""Which planes does one tile need, when may the stage leave it, and what do its planes prove?

One plane where the height is known well enough, else two around it. In a crowded field the stage leaves at once; in a
sparse one the planes are looked at first, and another is taken where the tile is likely to be sharp when they are not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autofocus.answers import Look, NoSample, Refused
from autofocus.evidence import combine, doubt_of, moved_between, shown_by
from autofocus.height import HeightEstimate, Prior
from autofocus.template import FocusTemplate, layer_reach_um

SHARP = 0.9
# where the draws put this quantile, two sharp tiles of a hundred fall below and are flagged
CALLED_SHARP = 0.83
_OVERLAP = 0.65


@dataclass(frozen=True, slots=True)
class TilePolicy:
    """How much a tile may cost.

    Attributes:
        step_um: between the first two planes; less in a sample so thin that nothing would be sharp between them.
        alone_sigmas: one plane is enough where so many sigmas of the expected height lie within the depth of a nucleus.
        crowded_share: where sample fills this much of the field (about 70 cells at 20×) the stage does not wait to see
            the planes.
        aim: the sharpness, relative to the peak of the tile's own curve, that a plane should reach.
        enough: with this chance of such a plane no further one is taken.
        gain: nor where it would add less than this.
        most: planes at most.
        doubt: a tile is called sharp when all but this share of what explains its frames says so.
    """

    step_um: float = 1.3
    alone_sigmas: float = 2.5
    crowded_share: float = 0.3
    aim: float = 0.95
    enough: float = 0.9
    gain: float = 0.05
    most: int = 4
    doubt: float = 0.1


@dataclass(frozen=True, slots=True)
class TileHeight:
    """What a tile's planes prove.

    Attributes:
        kept: which of the planes is the sharpest.
        reached: its sharpness relative to the peak of the tile's own curve.
        surely: the sharpness it reaches beyond the policy's doubt.
        chance: how likely it is sharp.
        better_um: where the tile would most likely be sharp.
        hope: the chance to be sharp there.
        estimate: the curve and what it rests on.
    """

    kept: int
    reached: float
    surely: float
    chance: float
    better_um: float
    hope: float
    estimate: HeightEstimate

    @property
    def sharp(self) -> bool:
        """Is the kept plane sharp beyond doubt?"""
        return self.surely >= CALLED_SHARP


TileAnswer = TileHeight | NoSample | Refused


def first_planes(template: FocusTemplate, prior: Prior, policy: TilePolicy) -> tuple[float, ...]:
    """The heights to expose before anything is looked at, ascending."""
    # the peak of a crowded field scatters by about a third of what single objects do
    unsure_um = float(np.hypot(prior.sigma_um, template.spread_um / 3))
    if policy.alone_sigmas * unsure_um <= template.sharp_um:
        return (prior.z_um,)
    half_um = min(policy.step_um / 2, _OVERLAP * layer_reach_um(template))
    return prior.z_um - half_um, prior.z_um + half_um


def next_plane(
    looks: Sequence[Look], template: FocusTemplate, prior: Prior, policy: TilePolicy
) -> float | None:
    """Another height worth exposing, or None: the stage may leave. Waits for the last frame only where it must."""
    first = looks[0]
    if (
        len(looks) >= policy.most
        or first.view.sample_share >= policy.crowded_share
        or doubt_of([first]) is not None
    ):
        return None
    guess = combine(looks, template, prior, first.blocks)
    now = guess.chance([look.z_um for look in looks], policy.aim)
    better_um, hope = guess.best_bet(policy.aim)
    return better_um if now < policy.enough and hope >= now + policy.gain else None


def judge_tile(
    looks: Sequence[Look], template: FocusTemplate, prior: Prior, policy: TilePolicy
) -> TileAnswer:
    """What the frames of a tile say about it."""
    doubt = doubt_of(looks) or moved_between(looks)
    if doubt is not None:
        return doubt
    # a nucleus shows as well two micrometres out of focus, so that the first frame alone says where they are
    shown = looks[:1] if looks[0].view.nuclei.any() else looks
    found = combine(looks, template, prior, shown_by(shown))
    reached = [found.typical(look.z_um) for look in looks]
    kept = int(np.argmax(reached))
    z_um = looks[kept].z_um
    better_um, hope = found.best_bet(SHARP)
    chance = found.chance(z_um, SHARP)
    return TileHeight(kept, reached[kept], found.surely(z_um, policy.doubt), chance, better_um, hope, found)
