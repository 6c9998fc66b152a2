"""Which heights must be looked at to focus a field without a prior, or near a prediction, and what do they prove?

Every search is a generator: it yields the next height and is sent what was seen there, so that it knows no hardware.
A search never answers a height that was not confirmed on a frame taken after the last move.
"""

from collections.abc import Generator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from autofocus.answers import Answer, Found, Look, NoSample, Refused, Search, Sweep
from autofocus.errors import FocusInputError
from autofocus.evidence import FEWER_BLOCKS, combine, doubt_of, moved_between, shown_by
from autofocus.height import HeightEstimate, Prior
from autofocus.template import LEAST_BLOCKS, FocusTemplate, learn, mean_of
from autofocus.view import Blocks

FloatArray = NDArray[np.float64]

FLAT_RATIO = 1.1
FINE_OF_DEPTH = (-1.25, -0.5, 0.5, 1.25)
GUIDED_OF_DEPTH = (0.6, 1.5)
NOT_WORSE_THAN_SEEN = 0.93
PROOFS = 3
# two planes tell heights well this far beyond them; the frame at the answer proves it
TRUSTED_SPACINGS = 2.5
LAYERS_APART_UM = 5.0
LAYER_SHARE = 0.2


def first_point(
    centre_um: float, range_um: float, depth_of_field_um: float, template: FocusTemplate | None = None
) -> Search:
    """Focus without any prior: ``centre_um`` ± ``range_um``.

    A sweep at two and a half depths of field, four planes around its best, the slide's template learned on the way,
    and a frame at the answer: 18 frames for ± 15 µm at NA 0.75 (one more where the first proof disappoints), three
    where there is nothing.
    """
    start = template or FocusTemplate.from_optics(depth_of_field_um)
    count = 4 * max(1, round(range_um / (2.5 * depth_of_field_um) / 2)) + 1
    heights = np.linspace(centre_um - range_um, centre_um + range_um, count)
    # the middle of each half and of the whole: an empty field is known after three frames
    first = [count // 4, count // 2, 3 * count // 4]
    looks = yield from _sweep(heights[first])
    doubt = doubt_of(looks)
    if doubt is not None:
        return doubt
    looks += yield from _sweep(np.delete(heights, first))
    looks.sort(key=lambda look: look.z_um)
    doubt = doubt_of(looks) or _doubt_of_sweep(looks)
    if doubt is not None:
        return doubt
    blind = Prior(centre_um, range_um)
    guess = combine(looks, start, blind, shown_by(_brightest(looks)).fullest(FEWER_BLOCKS))
    every_second = looks[::2]
    everything = combine(every_second, start, blind, shown_by(every_second).fullest(FEWER_BLOCKS))
    note = _other_layer(everything, guess.z_um)
    looks += yield from _sweep(guess.z_um + depth_of_field_um * np.array(FINE_OF_DEPTH))
    blocks = shown_by(_near(looks, guess.z_um, depth_of_field_um))
    sweep = Sweep.of(looks, blocks)
    answer = yield from _confirm(looks, blocks, template_of([sweep], start), Prior(guess.z_um, 1.0))
    return replace(answer, sweep=sweep, note=note) if isinstance(answer, Found) else answer


def guided(template: FocusTemplate, expected_um: float, sigma_um: float, depth_of_field_um: float) -> Search:
    """Focus near a prediction: three planes and a frame at the answer; three more where the peak lies outside."""
    low, high = (share * depth_of_field_um for share in GUIDED_OF_DEPTH)
    spacing = min(max(1.2 * sigma_um, low), high)
    looks: list[Look] = []
    centre = expected_um
    for _ in range(2):
        looks += yield from _sweep(centre + spacing * np.array([-1.0, 0.0, 1.0]))
        doubt = doubt_of(looks) or moved_between(looks) or _standing_still(looks, spacing)
        if doubt is not None:
            return doubt
        prior = Prior(centre, max(sigma_um, spacing))
        blocks = shown_by(looks)
        guess = combine(looks, template, prior, blocks)
        if abs(guess.z_um - centre) <= TRUSTED_SPACINGS * spacing:
            return (yield from _confirm(looks, blocks, template, prior))
        centre = guess.z_um
    return Refused("the sharpest height lies outside the search", len(looks))


def _near(looks: Sequence[Look], best_um: float, depth_of_field_um: float) -> list[Look]:
    """The frames near the best height, or all of them where none is."""
    return [look for look in looks if abs(look.z_um - best_um) <= 1.3 * depth_of_field_um] or list(looks)


def template_of(sweeps: Sequence[Sweep], start: FocusTemplate) -> FocusTemplate:
    """The slide's template from all sweeps with enough texture; ``start`` where there is none that can teach."""
    taught = [template for sweep in sweeps if (template := _taught(sweep, start)) is not None]
    return mean_of(taught) if taught else start


def _taught(sweep: Sweep, start: FocusTemplate) -> FocusTemplate | None:
    keep = sweep.strong
    if len(keep) < LEAST_BLOCKS:
        return None
    try:
        return learn(sweep.z_um, sweep.energy[:, keep], sweep.sigma[:, keep], start)
    except FocusInputError:
        return None


def _sweep(heights_um: FloatArray) -> Generator[float, Look, list[Look]]:
    looks: list[Look] = []
    for z_um in heights_um:
        looks.append((yield float(z_um)))  # noqa: PERF401  # a comprehension cannot yield
    return looks


def _confirm(looks: list[Look], blocks: Blocks, template: FocusTemplate, prior: Prior) -> Search:
    """Look at the answer; where it disappoints, learn from that and try again."""
    final = combine(looks, template, prior, blocks)
    for _ in range(PROOFS):
        looks = [*looks, (yield final.z_um)]
        final = combine(looks, template, prior, blocks)
        if final.at_edge:
            return Refused("the sharpest height lies outside the search", len(looks))
        totals = _sharpness(looks, blocks)
        if _is_flat(looks, totals, final):
            return Refused("the curve is flat: the picture does not change with z", len(looks))
        if totals[-1] >= NOT_WORSE_THAN_SEEN * totals[:-1].max():
            return Found(final.z_um, final.sigma_um, len(looks), final)
    return Refused("the frame taken at the answer is not the sharpest", len(looks))


def _sharpness(looks: Sequence[Look], blocks: Blocks) -> FloatArray:
    """(n,) gradient energy of each block relative to its sharpest frame, weighted by area like a tile's sharpness."""
    energy = np.maximum(Sweep.of(looks, blocks).energy[:, :, 0], 1e-12)
    totals: FloatArray = (energy / energy.max(axis=0)) @ blocks.areas
    return totals


def _is_flat(looks: Sequence[Look], totals: FloatArray, found: HeightEstimate) -> bool:
    """A drive that reports heights and does not move shows the same picture at all of them."""
    expected = np.array([found.relative(look.z_um) for look in looks])
    return bool(totals.max() < FLAT_RATIO * totals.min() and expected.min() < 0.8 * expected.max())


def _standing_still(looks: Sequence[Look], spacing_um: float) -> Refused | None:
    if float(np.ptp([look.z_um for look in looks])) < spacing_um:
        return Refused("the focus drive does not go where it is sent", len(looks))
    return None


def _brightest(looks: Sequence[Look]) -> list[Look]:
    """The frame with most detail and its neighbours."""
    best = int(np.argmax([look.energy for look in looks]))
    return list(looks[max(0, best - 1) : best + 2])


def _doubt_of_sweep(looks: Sequence[Look]) -> Refused | None:
    totals = np.array([look.energy for look in looks])
    best, frames = int(np.argmax(totals)), len(looks)
    if totals.max() < FLAT_RATIO * max(float(np.median(totals)), 1e-12):
        return Refused("the curve is flat", frames)
    if best in (0, frames - 1):
        return Refused("the peak lies at the edge of the range", frames)
    return None


def _other_layer(everything: HeightEstimate, taken_um: float) -> str:
    """What else lies far above or below: dirt on the cover slip, cells on the wrong side of the glass."""
    away = everything.heights_um - taken_um
    other = np.abs(away) > LAYERS_APART_UM
    share = float(everything.areas[other].sum() / max(everything.areas.sum(), 1e-9))
    if share < LAYER_SHARE:
        return ""
    side = "above" if float(np.median(away[other])) > 0 else "below"
    return f"a second layer lies {side}; the one with more sample was taken"


__all__ = ["Answer", "Found", "Look", "NoSample", "Refused", "Search", "first_point", "guided", "template_of"]
