"""What do some frames of one field say together: doubts about light and rest, and the height of the field?"""

import itertools
from collections.abc import Sequence

import numpy as np

from autofocus.answers import Look, NoSample, Refused
from autofocus.detail import summed
from autofocus.height import HeightEstimate, Prior, estimate
from autofocus.template import FocusTemplate
from autofocus.view import Blocks, blocks_of, moved_px

# in an almost empty field the correlation lies up to half a pixel of ``View.coarse`` off, 4 px
VIBRATION_PX = 5.0
# a lone object looks too different from further away to say whether it moved
ALIKE_UM = 2.0
# a sweep says so much of each block that a few of them are enough, and the work grows with the cube of the frames
MANY_LOOKS, FEWER_BLOCKS = 6, 40


def doubt_of(looks: Sequence[Look]) -> NoSample | Refused | None:
    """Is there light to trust, and anything that absorbs it?"""
    fault = next((look.view.light_fault for look in looks if look.view.light_fault), "")
    if fault:
        return Refused(f"the light is wrong: {fault}", len(looks))
    if not any(look.view.has_sample for look in looks):
        return NoSample("nothing absorbs light here", len(looks))
    if not any(look.view.wanted.any() for look in looks):
        return Refused("nothing here has texture", len(looks))
    return None


def moved_between(looks: Sequence[Look]) -> Refused | None:
    """Did the picture move from one frame to the next, as on a shaken or creeping stage?"""
    for one, other in itertools.pairwise(looks):
        if abs(one.z_um - other.z_um) > ALIKE_UM:
            continue
        if moved_px(one.view, other.view) > VIBRATION_PX:
            return Refused("the picture moved between the frames", len(looks))
    return None


def shown_by(looks: Sequence[Look]) -> Blocks:
    """Where any of these frames shows what must be sharp."""
    return looks[0].blocks if len(looks) == 1 else blocks_of([look.view for look in looks])


def combine(looks: Sequence[Look], template: FocusTemplate, prior: Prior, blocks: Blocks) -> HeightEstimate:
    """The field's height from what its frames show in the blocks.

    Raises:
        FocusInputError: nothing in the frames can be focused on.
    """
    counted = blocks.fullest(FEWER_BLOCKS) if len(looks) > MANY_LOOKS else blocks
    seen = [look.detail_in(counted).summed(counted.objects) for look in looks]
    areas = summed(counted.areas, counted.objects)
    return estimate(np.array([look.z_um for look in looks]), seen, areas, template, prior)
