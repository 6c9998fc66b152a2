"""Which plane of a recorded z-stack is sharp, whole and on a 4 × 4 grid of blocks? ``rackscan focus``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autofocus.errors import FocusInputError
from autofocus.metrics import ALL_METRICS
from autofocus.stack import StackAnswer, StackFocus, State, focus_stack
from scanner.errors import BadInput
from scanner.model.base import Value
from scanner.offline.stack_pixels import fault_of_pixels, full_range
from scanner.storage.stacks import KNOWN, Plane, Stack, read_stack

LEAST_STEP_UM, MOST_STEP_UM = 0.001, 1000.0
MOST_RANGE_UM = 10_000.0
Told = Callable[[int, int, str], None]


class FocusBlock(Value):
    """A part of the field, px; plane and height are None unless it was found.

    ``agreement``: of its own peak, what the median scale reaches in the plane; ``thick``: refused because layers at
    two heights are equally strong; ``curve``: sharpness of every plane relative to the best.
    """

    x_px: int
    y_px: int
    w_px: int
    h_px: int
    state: State
    reason: str
    best_plane: int | None
    z_um: float | None
    notes: tuple[str, ...] = ()
    agreement: float | None = None
    thick: bool = False
    curve: tuple[float, ...] = ()


class FocusResult(Value):
    """What ``rackscan focus --json`` prints; ``curves`` hold every metric over the planes, relative to its own peak.

    ``z_um`` counts from the first plane and is None where nobody said how far the planes are apart; so are
    ``heights_um``, one for each plane.
    """

    state: State
    reason: str
    best_plane: int | None
    z_um: float | None
    blocks: tuple[FocusBlock, ...]
    curves: dict[str, tuple[float, ...]]
    notes: tuple[str, ...] = ()
    agreement: float | None = None
    curve: tuple[float, ...] = ()
    planes: int = 0
    heights_um: tuple[float, ...] | None = None
    thick_blocks: int = 0


@dataclass(frozen=True, slots=True)
class Focused:
    """The result, and the planes it is about: (h, w[, 3|4]) each, as they were stored."""

    result: FocusResult
    planes: tuple[Plane, ...]


@dataclass(frozen=True, slots=True)
class _Heights:
    """(n,) places of the planes, in µm or, where nobody said, in steps."""

    places: NDArray[np.float64]
    in_um: bool

    def um(self, place: float | None) -> float | None:
        """A height in µm, where that is known."""
        return place if self.in_um else None


def _silent(done: int, total: int, what: str) -> None:
    """Nobody watches."""


def focus(stack: Path, z_step_um: float | None = None, told: Told = _silent) -> FocusResult:
    """Focus a recorded stack; what cannot be focused is refused with a reason.

    Args:
        stack: a multi-page TIFF or a folder of numbered planes.
        z_step_um: distance between planes; else what the file says.
        told: hears how far it is: done, of how many, and what.

    Raises:
        BadInput: there is nothing to read, or the step is not positive or absurd.
    """
    return focus_planes(stack, z_step_um, told).result


def focus_planes(stack: Path, z_step_um: float | None = None, told: Told = _silent) -> Focused:
    """The same, with the planes, for a report."""
    _check_step(z_step_um)
    read = read_stack(stack, lambda done, total: told(done, total, "reading"))
    heights = _heights(read, z_step_um)
    fault = fault_of_pixels(read.planes) or _fault_of_heights(read, heights)
    if fault:
        return Focused(_refused(fault, len(read.planes)), read.planes)
    planes = full_range(read.planes)
    try:
        answer = focus_stack(planes, heights.places, lambda done, total: told(done, total, "focusing"))
        curves = _curves(planes, told)
    except FocusInputError as error:
        raise BadInput.one(str(error), KNOWN, file=str(stack)) from error
    return Focused(_result(answer, heights, curves), read.planes)


def _check_step(z_step_um: float | None) -> None:
    if z_step_um is None:
        return
    if not 0 < z_step_um < float("inf"):
        raise BadInput.one("the distance between planes must be positive", "correct --z-step-um")
    if not LEAST_STEP_UM <= z_step_um <= MOST_STEP_UM:
        raise BadInput.one(
            f"no focus drive steps {z_step_um:g} µm",
            f"give --z-step-um in µm, {LEAST_STEP_UM:g} to {MOST_STEP_UM:g}",
        )


def _heights(read: Stack, z_step_um: float | None) -> _Heights:
    """Counted from the first plane: a step that was given, then heights and at last a step that the file says."""
    if z_step_um is None and read.heights_um is not None:
        return _Heights(np.asarray(read.heights_um) - read.heights_um[:1], True)
    step = read.z_step_um if z_step_um is None else z_step_um
    steps = np.asarray(read.steps)
    return _Heights(steps, False) if step is None else _Heights(steps * step, True)


def _fault_of_heights(read: Stack, heights: _Heights) -> str:
    said = np.asarray(read.heights_um if read.heights_um is not None else heights.places, float)
    steps = np.diff(said)
    if not np.isfinite(said).all():
        return "a plane has no finite height"
    if len(steps) and not ((steps > 0).all() or (steps < 0).all()):
        wrong = int(np.flatnonzero(steps * (np.sign(np.median(steps)) or 1.0) <= 0)[0])
        return f"the heights are unordered or repeated: plane {wrong + 1} does not go on from plane {wrong}"
    span = float(np.ptp(heights.places)) if heights.in_um and len(steps) else 0.0
    if span > MOST_RANGE_UM:
        return f"the planes span {span / 1000:g} mm, beyond the limits of any focus drive ({MOST_RANGE_UM / 1000:g} mm)"
    return ""


def _refused(reason: str, planes: int) -> FocusResult:
    return FocusResult(
        state="refused", reason=reason, best_plane=None, z_um=None, blocks=(), curves={}, planes=planes
    )


def _curves(planes: Sequence[Plane], told: Told) -> dict[str, tuple[float, ...]]:
    values: dict[str, list[float]] = {metric.name: [] for metric in ALL_METRICS}
    for number, plane in enumerate(planes, start=1):
        for metric in ALL_METRICS:
            values[metric.name].append(metric(plane))
        told(number, len(planes), "measuring")
    return {name: _relative(curve) for name, curve in values.items()}


def _relative(values: list[float]) -> tuple[float, ...]:
    peak = max(values, default=0.0) or 1.0
    return tuple(value / peak for value in values)


def _result(answer: StackFocus, heights: _Heights, curves: dict[str, tuple[float, ...]]) -> FocusResult:
    whole = _block(answer.whole, heights)
    return FocusResult(
        state=whole.state,
        reason=whole.reason,
        best_plane=whole.best_plane,
        z_um=whole.z_um,
        blocks=tuple(_block(block, heights) for block in answer.blocks),
        curves=curves,
        notes=whole.notes,
        agreement=whole.agreement,
        curve=whole.curve,
        planes=len(heights.places),
        heights_um=tuple(map(float, heights.places)) if heights.in_um else None,
        thick_blocks=sum(block.thick for block in answer.blocks),
    )


def _block(block: StackAnswer, heights: _Heights) -> FocusBlock:
    return FocusBlock(
        x_px=block.x_px,
        y_px=block.y_px,
        w_px=block.w_px,
        h_px=block.h_px,
        state=block.state,
        reason=block.reason,
        best_plane=block.best_plane,
        z_um=heights.um(block.z_um),
        notes=block.notes,
        agreement=block.agreement,
        thick=block.thick,
        curve=tuple(round(float(value), 4) for value in block.curve),
    )
