"""Which heights must be looked at to focus a field, and what do they prove?

Every search is a generator: it yields the next height and is sent what was seen there, so that it knows no hardware.
A search never answers a height that was not confirmed on a frame taken after the last move.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autofocus.errors import FocusInputError
from autofocus.height import HeightEstimate, Prior, estimate
from autofocus.sharpness import Sharpness
from autofocus.template import FocusTemplate, learn

FloatArray = NDArray[np.float64]

FLAT_RATIO = 1.1
FLAT_OVER_WIDTHS = 1.5
SECOND_PEAK = 0.6
SPREAD_MARGIN = 1.25
TEACHING_BLOCKS = 24
TEACHER_OF_NOISE = 30
VERIFIED_LEAST = 0.8
NOT_WORSE_THAN_SEEN = 0.93


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen at one height; ``z_um`` is where the stage reported to be.

    ``see`` gives the sharpness, as late as a search wants to know it: a sweep goes on while its frames are read out.
    """

    z_um: float
    see: Callable[[], Sharpness]

    @classmethod
    def known(cls, z_um: float, sharpness: Sharpness) -> "Look":
        """At a frame that was measured already."""
        return cls(z_um, lambda: sharpness)

    @property
    def sharpness(self) -> Sharpness:
        """What the frame shows."""
        return self.see()


@dataclass(frozen=True, slots=True)
class FocusCurve:
    """Everything a search saw, in the order of the frames: z_um (n,), blocks (n, k) float64."""

    z_um: FloatArray
    blocks: FloatArray

    @classmethod
    def of(cls, looks: Sequence[Look]) -> "FocusCurve":
        """From at least one look; all have the same blocks."""
        z = np.array([look.z_um for look in looks], float)
        return cls(z, np.array([look.sharpness.blocks.ravel() for look in looks], float))

    @property
    def totals(self) -> FloatArray:
        """Mean sharpness of each frame: (n,)."""
        totals: FloatArray = np.clip(self.blocks.mean(axis=1), 0.0, None)
        return totals


@dataclass(frozen=True, slots=True)
class Found:
    """The field is sharp at ``z_um`` ± ``sigma_um`` (1 sigma)."""

    z_um: float
    sigma_um: float
    frames: int
    curve: FocusCurve


@dataclass(frozen=True, slots=True)
class NoSample:
    """There is nothing here to focus on."""

    reason: str
    frames: int
    curve: FocusCurve


@dataclass(frozen=True, slots=True)
class Refused:
    """There is sample, and no height that could be trusted."""

    reason: str
    frames: int
    curve: FocusCurve


Answer = Found | NoSample | Refused
Search = Generator[float, Look, Answer]


def run(search: Search, look: Callable[[float], Look]) -> Answer:
    """Drive a search with a function that looks at a height."""
    wanted = next(search)
    while True:
        try:
            wanted = search.send(look(wanted))
        except StopIteration as done:
            answer: Answer = done.value
            return answer


def first_point(centre_um: float, range_um: float, depth_of_field_um: float) -> Search:
    """Focus without any prior: ``centre_um`` ± ``range_um``.

    A sweep at about three depths of field, five planes around its best, the template of the slide learned on the
    way, and a frame at the answer: 19 frames for ± 15 µm at NA 0.75, three where there is nothing.
    """
    step = 3 * depth_of_field_um
    count = 4 * max(1, round(range_um / step / 2)) + 1
    heights = np.linspace(centre_um - range_um, centre_um + range_um, count)
    # the middle of each half and of the whole: an empty field is known after three frames
    first = [count // 4, count // 2, 3 * count // 4]
    looks = yield from _sweep(heights[first])
    doubt = _doubt(looks)
    if doubt is not None:
        return doubt
    looks += yield from _sweep(np.delete(heights, first))
    looks.sort(key=lambda look: look.z_um)
    doubt = _doubt(looks) or _doubt_of_sweep(
        FocusCurve.of(looks), FocusTemplate.from_optics(depth_of_field_um)
    )
    if doubt is not None:
        return doubt
    curve = FocusCurve.of(looks)
    coarse = _parabola_peak(curve.z_um, curve.totals)
    looks += yield from _sweep(coarse + 0.5 * step * np.linspace(-1, 1, 5))
    template = template_of([FocusCurve.of(looks)], FocusTemplate.from_optics(depth_of_field_um))
    return (yield from _confirm(looks, template, Prior(coarse, block_sigma_um(0.5 * step, template))))


def guided(template: FocusTemplate, expected_um: float, sigma_um: float) -> Search:
    """Focus near a prediction: three planes and a frame at the answer; three more where the peak lies outside."""
    spacing = max(template.width_um, min(1.5 * sigma_um, 2 * template.width_um))
    looks: list[Look] = []
    centre = expected_um
    for _ in range(2):
        looks += yield from _sweep(centre + spacing * np.array([-1.0, 0.0, 1.0]))
        doubt = _doubt(looks)
        if doubt is not None:
            return doubt
        prior = Prior(centre, block_sigma_um(max(sigma_um, spacing), template))
        guess = combine(looks, template, prior)
        if _rises_and_falls(FocusCurve.of(looks)) or _inside(guess.z_um, looks, margin_um=0.5 * spacing):
            return (yield from _confirm(looks, template, prior))
        centre = guess.z_um
    return Refused("the sharpest height lies outside the search", len(looks), FocusCurve.of(looks))


def two_frame(template: FocusTemplate, expected_um: float, sigma_um: float, step_um: float) -> Search:
    """A tile's own height from two planes ``step_um`` apart around the prediction, block by block."""
    looks = yield from _sweep(expected_um + step_um * np.array([-0.5, 0.5]))
    return judge(looks, template, Prior(expected_um, block_sigma_um(sigma_um, template)))


def judge(looks: Sequence[Look], template: FocusTemplate, prior: Prior) -> Answer:
    """What frames that were taken anyway say about their field; the prior is that of single blocks."""
    doubt = _doubt(looks)
    if doubt is not None:
        return doubt
    found = combine(looks, template, prior)
    curve = FocusCurve.of(looks)
    if found.at_edge:
        return Refused("the sharpest height lies outside the search", len(looks), curve)
    if found.sigma_um > template.width_um or _is_flat(curve, template):
        return Refused("the curve is flat", len(looks), curve)
    return Found(found.z_um, found.sigma_um, len(looks), curve)


def combine(looks: Sequence[Look], template: FocusTemplate, prior: Prior) -> HeightEstimate:
    """The field's curve from its blocks; see ``height.estimate``."""
    curve = FocusCurve.of(looks)
    return estimate(curve.z_um, curve.blocks, template, prior, _block_noise(curve.blocks))


def template_of(curves: Sequence[FocusCurve], start: FocusTemplate) -> FocusTemplate:
    """The slide's template from the sweep with most texture; ``start`` where there is none that can teach."""
    best = max(curves, key=lambda curve: len(_teachers(curve)), default=None)
    if best is None:
        return start
    try:
        return learn(best.z_um, best.blocks[:, _teachers(best)], start)
    except FocusInputError:
        return start


def teaches(curve: FocusCurve) -> bool:
    """Is there enough texture in a sweep to learn the slide's template from?"""
    return len(_teachers(curve)) >= TEACHING_BLOCKS


def _teachers(curve: FocusCurve) -> NDArray[np.int64]:
    """Blocks that stand far out of the noise."""
    return np.flatnonzero(curve.blocks.max(axis=0) > TEACHER_OF_NOISE * _block_noise(curve.blocks))


def _sweep(heights_um: FloatArray) -> Generator[float, Look, list[Look]]:
    looks: list[Look] = []
    for z_um in heights_um:
        looks.append((yield float(z_um)))  # noqa: PERF401  # a comprehension cannot yield
    return looks


def _confirm(looks: list[Look], template: FocusTemplate, prior: Prior) -> Search:
    """Look at the answer; where it disappoints, learn from that and try once more."""
    for _ in range(2):
        guess = combine(looks, template, prior)
        seen = FocusCurve.of(looks).totals.max()
        expected = float(guess.curve.max()) / looks[0].sharpness.blocks.size
        proof = yield guess.z_um
        looks = [*looks, proof]
        total = proof.sharpness.total
        if total >= NOT_WORSE_THAN_SEEN * seen and total >= VERIFIED_LEAST * expected:
            final = judge(looks, template, prior)
            return final
    return Refused("the frame taken at the answer is not the sharpest", len(looks), FocusCurve.of(looks))


def _doubt(looks: Sequence[Look]) -> NoSample | Refused | None:
    curve = FocusCurve.of(looks)
    fault = next((look.sharpness.light_fault for look in looks if look.sharpness.light_fault), "")
    if fault:
        return Refused(f"the light is wrong: {fault}", len(looks), curve)
    if not any(look.sharpness.has_sample for look in looks):
        return NoSample("nothing absorbs light here", len(looks), curve)
    return None


def _doubt_of_sweep(curve: FocusCurve, template: FocusTemplate) -> Refused | None:
    totals, frames = curve.totals, len(curve.z_um)
    best = int(np.argmax(totals))
    if totals.max() < FLAT_RATIO * max(float(np.median(totals)), 1e-12):
        return Refused("the curve is flat", frames, curve)
    if best in (0, frames - 1):
        return Refused("the peak lies at the edge of the range", frames, curve)
    if _has_two_peaks(curve.z_um, totals, 4 * template.width_um):
        return Refused("two peaks", frames, curve)
    return None


def _is_flat(curve: FocusCurve, template: FocusTemplate) -> bool:
    # two planes on both sides of the peak are equal without being flat
    wide = float(np.ptp(curve.z_um)) >= FLAT_OVER_WIDTHS * template.width_um
    return len(curve.z_um) > 2 and wide and float(curve.totals.max()) < FLAT_RATIO * float(curve.totals.min())


def _has_two_peaks(z_um: FloatArray, totals: FloatArray, apart_um: float) -> bool:
    best = int(np.argmax(totals))
    for other in np.flatnonzero(np.abs(z_um - z_um[best]) >= apart_um).tolist():
        between = totals[min(best, other) : max(best, other) + 1]
        if totals[other] >= SECOND_PEAK * totals[best] and between.min() <= 0.5 * totals[other]:
            return True
    return False


def _parabola_peak(z_um: FloatArray, totals: FloatArray) -> float:
    at = int(np.argmax(totals))
    logs = np.log(np.maximum(totals[at - 1 : at + 2], 1e-3 * totals[at]))
    bend = logs[0] - 2 * logs[1] + logs[2]
    shift = 0.5 * (logs[0] - logs[2]) / bend if bend < 0 else 0.0
    return float(z_um[at] + np.clip(shift, -0.5, 0.5) * (z_um[1] - z_um[0]))


def _rises_and_falls(curve: FocusCurve) -> bool:
    """Is the sharpest frame neither the lowest nor the highest?"""
    best_um = curve.z_um[int(np.argmax(curve.totals))]
    return bool(curve.z_um.min() < best_um < curve.z_um.max())


def _inside(z_um: float, looks: Sequence[Look], margin_um: float) -> bool:
    heights = [look.z_um for look in looks]
    return min(heights) - margin_um <= z_um <= max(heights) + margin_um


def block_sigma_um(sigma_um: float, template: FocusTemplate) -> float:
    """Single blocks scatter around the height of their field by more than the field does around the map."""
    return float(np.hypot(sigma_um, SPREAD_MARGIN * template.spread_um))


def _block_noise(blocks: FloatArray) -> float:
    """Spread of the blocks without texture, from the lower half of them; a dense field has none."""
    low = np.sort(blocks, axis=1)[:, : max(1, blocks.shape[1] // 2)]
    spread = 1.5 * float(np.median(np.abs(low - np.median(low, axis=1, keepdims=True))))
    return max(min(spread, 0.02 * float(blocks.max())), 1e-9)
