"""Which plane of a recorded z-stack is sharp, whole and on a 4 × 4 grid of blocks? ``rackscan focus``."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autofocus.errors import FocusInputError
from autofocus.metrics import ALL_METRICS
from autofocus.stack import StackAnswer, State, focus_stack
from scanner.errors import BadInput
from scanner.model.base import Value
from scanner.storage.stacks import KNOWN, Plane, Stack, read_stack


class FocusBlock(Value):
    """A part of the field, px; plane and height are None unless it was found."""

    x_px: int
    y_px: int
    w_px: int
    h_px: int
    state: State
    reason: str
    best_plane: int | None
    z_um: float | None


class FocusResult(Value):
    """What ``rackscan focus --json`` prints; ``curves`` hold every metric over the planes, relative to its own peak.

    ``z_um`` counts from the first plane and is None where nobody said how far the planes are apart.
    """

    state: State
    reason: str
    best_plane: int | None
    z_um: float | None
    blocks: tuple[FocusBlock, ...]
    curves: dict[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class _Scale:
    """Heights in steps; ``um`` is None where the step is unknown."""

    um: float | None

    def height(self, steps: float | None) -> float | None:
        return None if steps is None or self.um is None else steps * self.um


def focus(stack: Path, z_step_um: float | None = None) -> FocusResult:
    """Focus a recorded stack; what cannot be focused is refused with a reason.

    Args:
        stack: a multi-page TIFF or a folder of numbered planes.
        z_step_um: distance between planes; else what the file says.

    Raises:
        BadInput: there is nothing to read, or the step is not positive.
    """
    if z_step_um is not None and not 0 < z_step_um < float("inf"):
        raise BadInput.one("the distance between planes must be positive", "correct --z-step-um")
    read = read_stack(stack)
    scale = _Scale(z_step_um or read.z_step_um)
    fault = _not_pixels(read)
    if fault:
        return FocusResult(state="refused", reason=fault, best_plane=None, z_um=None, blocks=(), curves={})
    try:
        answer = focus_stack(read.planes, np.arange(len(read.planes), dtype=float))
        curves = {metric.name: _relative([metric(plane) for plane in read.planes]) for metric in ALL_METRICS}
    except FocusInputError as error:
        raise BadInput.one(str(error), KNOWN, file=str(stack)) from error
    whole = answer.whole
    return FocusResult(
        state=whole.state,
        reason=whole.reason,
        best_plane=whole.best_plane,
        z_um=scale.height(whole.z_um),
        blocks=tuple(_block(block, scale) for block in answer.blocks),
        curves=curves,
    )


def _not_pixels(stack: Stack) -> str:
    for number, plane in enumerate(stack.planes):
        if _has_gaps(plane):
            return f"plane {number} holds values that are not numbers"
        if plane.dtype not in (np.uint8, np.uint16):
            return f"plane {number} holds {plane.dtype}, not 8 or 16 bit pixels"
    return ""


def _has_gaps(plane: Plane) -> bool:
    return bool(np.issubdtype(plane.dtype, np.floating) and not np.isfinite(plane).all())


def _relative(values: list[float]) -> tuple[float, ...]:
    peak = max(values, default=0.0) or 1.0
    return tuple(value / peak for value in values)


def _block(block: StackAnswer, scale: _Scale) -> FocusBlock:
    return FocusBlock(
        x_px=block.x_px,
        y_px=block.y_px,
        w_px=block.w_px,
        h_px=block.h_px,
        state=block.state,
        reason=block.reason,
        best_plane=block.best_plane,
        z_um=scale.height(block.z_um),
    )
