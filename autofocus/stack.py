"""Which plane of a recorded z-stack is sharpest, in each part of the field?"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from autofocus.consensus import Consensus, agree
from autofocus.errors import FocusInputError
from autofocus.gray import Image
from autofocus.layers import is_dirt, is_second, main_layer, popular, specks, votes
from autofocus.metrics import FloatArray
from autofocus.plane import PlaneLook, look_at

State = Literal["found", "no-sample", "refused"]
Told = Callable[[int, int], None]

GRID = 4
LEAST_PLANES = 3
FLAT_RATIO = 1.25
FALLS_BY_LEAST = 0.02
FALLS_OVER_NOISE = 3.0
STANDS_OUT = 5.0
ROUGHNESS_PLANES = 8
LEAST_CONTRAST = 0.02
THICK_BELOW = 0.9
CELL_PX = 32
BLUR_CELLS = 2


@dataclass(frozen=True, slots=True)
class StackAnswer:
    """One part of the field: its place in px, and the plane and height where it is sharpest (None where refused).

    ``curve``: (n,) sharpness of each plane relative to the best, empty where light or heights forbid one.
    ``notes``: what a person should know of an answer that holds. ``agreement``: of its own peak, what the median
    scale reaches in the plane. ``thick``: refused because no plane suits most scales of the part.
    """

    x_px: int
    y_px: int
    w_px: int
    h_px: int
    state: State
    reason: str
    best_plane: int | None
    z_um: float | None
    curve: FloatArray
    notes: tuple[str, ...] = ()
    agreement: float | None = None
    thick: bool = False


@dataclass(frozen=True, slots=True)
class StackFocus:
    """The whole field and its 4 × 4 parts, row by row; the reason says what is wrong with a refused one."""

    whole: StackAnswer
    blocks: tuple[StackAnswer, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """A rectangle of cells through all planes; ``dirty`` cells are not sample, in ``dark`` planes the light is wrong.

    energies (n, scales, …), robust (n, …), contrast (…), dirty (…), dark (n,): … is rows, columns, or a list of cells.
    """

    energies: FloatArray
    robust: FloatArray
    contrast: FloatArray
    dirty: NDArray[np.bool_]
    dark: NDArray[np.bool_]

    @property
    def scales(self) -> FloatArray:
        """(n, scales): the mean of all cells."""
        mean: FloatArray = self.energies.reshape(*self.energies.shape[:2], -1).mean(axis=2)
        return mean

    def quarters(self) -> Iterator["_Part"]:
        """The 4 × 4 parts, row by row."""
        rows, columns = (count // GRID for count in self.contrast.shape)
        for r, c in np.ndindex(GRID, GRID):
            cut = np.s_[..., r * rows : (r + 1) * rows, c * columns : (c + 1) * columns]
            yield _Part(self.energies[cut], self.robust[cut], self.contrast[cut], self.dirty[cut], self.dark)

    def without(self, cells: NDArray[np.bool_]) -> "_Part":
        """The list of the other cells; ``cells``: (k,)."""
        n, scales, kept = *self.energies.shape[:2], ~cells
        return _Part(
            self.energies.reshape(n, scales, -1)[..., kept],
            self.robust.reshape(n, -1)[:, kept],
            self.contrast.ravel()[kept],
            self.dirty.ravel()[kept],
            self.dark,
        )


def focus_stack(planes: Sequence[Image], z_um: ArrayLike, told: Told | None = None) -> StackFocus:
    """Focus a stack: n planes of one shape and type, (h, w[, 3|4]) uint8 or uint16, at the (n,) heights ``z_um``.

    A stack that cannot be focused (too few planes, heights unordered or repeated, no light, the same picture again)
    is refused, not raised; so is a part that no single plane shows, where layers at two heights are equally strong.

    Args:
        planes: pixels.
        z_um: heights; any unit will do, as answers are in the same.
        told: is called with how many planes were looked at, and how many there are.

    Raises:
        FocusInputError: for pixels of another type, or planes of different shapes or types.
    """
    _check_alike(planes)
    heights = np.asarray(z_um, float)
    fault = _fault_of_heights(len(planes), heights)
    if fault:
        return _nothing(planes, "refused", fault)
    looks = []
    for plane in planes:
        looks.append(look_at(plane, GRID, CELL_PX))
        if told is not None:
            told(len(looks), len(planes))
    fault = _fault_of_light(looks) or _fault_of_drive(planes)
    if fault:
        return _nothing(planes, "refused", fault)
    if not any(look.has_sample for look in looks):
        return _nothing(planes, "no-sample", "nothing absorbs light here")
    return _focused(looks, heights, planes[0].shape[:2])


def _check_alike(planes: Sequence[Image]) -> None:
    for what, kinds in (("shapes", {p.shape for p in planes}), ("types", {p.dtype for p in planes})):
        if len(kinds) > 1:
            raise FocusInputError(f"the planes of a stack have different {what}")


def _fault_of_heights(planes: int, heights: FloatArray) -> str:
    if planes < LEAST_PLANES:
        return f"a stack needs at least {LEAST_PLANES} planes, not {planes}"
    if heights.shape != (planes,) or not np.isfinite(heights).all():
        return "every plane needs a finite height"
    steps = np.diff(heights)
    if not ((steps > 0).all() or (steps < 0).all()):
        wrong = int(np.flatnonzero(steps * np.sign(np.median(steps)) <= 0)[0])
        return f"the heights are unordered or repeated, first after plane {wrong}"
    return ""


def _fault_of_light(looks: Sequence[PlaneLook]) -> str:
    faults = {look.light_fault for look in looks}
    return "" if "" in faults else f"the light is wrong: {', '.join(sorted(faults))}"


def _fault_of_drive(planes: Sequence[Image]) -> str:
    """A camera never gives the same noise twice: equal planes were copied, or the frame before was read again."""
    for number in range(len(planes) - 1):
        if np.array_equal(planes[number], planes[number + 1]):
            return f"the curve is flat: planes {number} and {number + 1} are the same picture"
    return ""


def _focused(looks: Sequence[PlaneLook], heights: FloatArray, shape: tuple[int, int]) -> StackFocus:
    dark = np.array([bool(look.light_fault) for look in looks])
    energies = np.array([look.energies for look in looks])
    robust = np.array([look.robust for look in looks])
    energies[dark], robust[dark] = 0.0, 0.0
    contrast = np.max([look.deviation for look in looks], axis=0)
    field = _Part(energies, robust, contrast, np.zeros(contrast.shape, np.bool_), dark)
    field = replace(field, dirty=_dirt_of_field(field))
    whole = _answer((0, 0, shape[1], shape[0]), field, heights)
    whole = replace(whole, notes=(*whole.notes, *_dark_notes(looks)))
    parts = zip(_places(shape), field.quarters(), strict=True)
    return StackFocus(whole, tuple(_answer(place, part, heights) for place, part in parts))


def _dark_notes(looks: Sequence[PlaneLook]) -> tuple[str, ...]:
    return tuple(
        f"plane {number} is left out: its light is wrong ({look.light_fault})"
        for number, look in enumerate(looks)
        if look.light_fault
    )


def _dirt_of_field(field: _Part) -> NDArray[np.bool_]:
    """Cells that are sharp where only dirt is, and what is blurred around them: (rows, columns)."""
    cells = field.robust.reshape(len(field.dark), -1)
    cast, curve = votes(cells, field.contrast.ravel() >= LEAST_CONTRAST), _robust_curve(cells)
    if not cast.voters:
        return field.dirty
    main = main_layer(cast, curve)
    dirty = (specks(cells, cast, main) | _dirt(field)).reshape(field.dirty.shape)
    around = cv2.dilate(dirty.astype(np.uint8), np.ones((2 * BLUR_CELLS + 1,) * 2, np.uint8)) > 0
    return around & ~cast.within(main).reshape(dirty.shape)


def _dirt(part: _Part) -> NDArray[np.bool_]:
    """What is known to be dirt, and the loudest layer where most cells chose another: (k,)."""
    cells = part.robust.reshape(len(part.dark), -1)
    cast, curve = votes(cells, part.contrast.ravel() >= LEAST_CONTRAST), _robust_curve(cells)
    loud = cast.layer(curve, agree(part.scales).plane)
    known = part.dirty.ravel()
    return known | cast.within(loud) if is_dirt(loud, popular(cast, loud, curve), cast.voters) else known


def _answer(place: tuple[int, int, int, int], part: _Part, heights: FloatArray) -> StackAnswer:
    part, notes = _cleaned(part)
    curve = _robust_curve(part.robust.reshape(len(heights), -1))
    if part.contrast.max(initial=0.0) < LEAST_CONTRAST:
        reason = "only dirt, or blur from next door, shows here" if notes else "nothing absorbs light here"
        return StackAnswer(*place, "no-sample", reason, None, None, curve)
    said = agree(part.scales)
    refusal = _refusal(curve, said.plane, part.dark)
    found = StackAnswer(*place, "found", "", said.plane, None, curve, notes, said.share)
    if refusal:
        return replace(found, state="refused", reason=refusal, best_plane=None)
    if said.share < THICK_BELOW:
        return replace(found, state="refused", reason=_two_layers(said), best_plane=None, thick=True)
    z_um = _between_planes(heights, said.curve, said.plane)
    return replace(found, z_um=z_um, notes=(*notes, *_second_layer(part, curve, said.plane)))


def _cleaned(part: _Part) -> tuple[_Part, tuple[str, ...]]:
    """The part without its dirt, and a note; as it is where dirt decides nothing, so that no sample is lost for it."""
    dirty = _dirt(part)
    everything = part.without(np.zeros_like(dirty))
    if not dirty.any():
        return everything, ()
    clean = part.without(dirty)
    if clean.contrast.max(initial=0.0) >= LEAST_CONTRAST:
        moved = agree(everything.scales).plane - agree(clean.scales).plane
        if abs(moved) <= 1:
            return everything, ()
    return clean, _dirt_notes(part, dirty)


def _dirt_notes(part: _Part, dirty: NDArray[np.bool_]) -> tuple[str, ...]:
    plane = int(np.argmax(part.robust.reshape(len(part.dark), -1)[:, dirty].sum(axis=1)))
    return (f"dirt, sharp at plane {plane}, is left out",)


def _robust_curve(cells: FloatArray) -> FloatArray:
    if not cells.size:
        return np.zeros(len(cells))
    curve: FloatArray = np.clip(cells.mean(axis=1), 0.0, None)
    return curve / max(float(curve.max()), 1e-12)


def _refusal(curve: FloatArray, plane: int, dark: NDArray[np.bool_]) -> str:
    if curve.max() <= 0 or curve.max() < FLAT_RATIO * float(curve[~dark].min()):
        return "the curve is flat"
    if dark[max(0, plane - 1) : plane + 2].any():
        return "the light is wrong in a plane next to the sharpest"
    far_off = (curve[: (plane + 1) // 2], curve[(plane + len(curve) + 1) // 2 :])
    least = max(FALLS_BY_LEAST, FALLS_OVER_NOISE * _roughness(curve))
    if any(not side.size or float(np.median(side)) > 1 - least for side in far_off):
        return "the peak lies at the edge of the stack, or the drive stood still beyond it"
    if 1 - float(curve[~dark].min()) < STANDS_OUT * _roughness(curve):
        return "the curve is no more than noise"
    return ""


def _roughness(curve: FloatArray) -> float:
    """Standard deviation of what changes from plane to plane without a trend: where a drive stands still, all of it."""
    if len(curve) < ROUGHNESS_PLANES:  # a handful of planes is all peak
        return 0.0
    bends = np.abs(curve[:-2] - 2 * curve[1:-1] + curve[2:])
    return float(np.median(bends)) / 0.6745 / 6**0.5


def _two_layers(said: Consensus) -> str:
    low, high = min(said.peaks), max(said.peaks)
    return f"two layers at planes {low} and {high}, and no plane shows both: use edf or z-stack"


def _second_layer(part: _Part, curve: FloatArray, plane: int) -> list[str]:
    cast = votes(part.robust, part.contrast >= LEAST_CONTRAST)
    main = cast.layer(curve, plane)
    other = popular(cast, main, curve)
    if other is None or not is_second(main, other):
        return []
    return [f"a second layer at plane {other.plane}, {other.votes} of {cast.voters} parts: edf shows both"]


def _between_planes(heights: FloatArray, curve: FloatArray, best: int) -> float:
    """Peak of the parabola through the best plane and its neighbours, at most half a step away."""
    left, middle, right = curve[best - 1 : best + 2]
    bend = left - 2 * middle + right
    shift = float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5)) if bend < 0 else 0.0
    step = heights[best + 1] - heights[best] if shift > 0 else heights[best] - heights[best - 1]
    return float(heights[best] + shift * step)


def _places(shape: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """x, y, w, h of the 4 × 4 parts, row by row."""
    ys, xs = ([round(i * side / GRID) for i in range(GRID + 1)] for side in shape)
    return [(xs[c], ys[r], xs[c + 1] - xs[c], ys[r + 1] - ys[r]) for r in range(GRID) for c in range(GRID)]


def _nothing(planes: Sequence[Image], state: State, reason: str) -> StackFocus:
    h, w = planes[0].shape[:2] if planes else (0, 0)
    answers = [
        StackAnswer(*place, state, reason, None, None, np.zeros(0))
        for place in [(0, 0, w, h), *_places((h, w))]
    ]
    return StackFocus(answers[0], tuple(answers[1:]))
