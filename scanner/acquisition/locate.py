"""Where on the glass is the sample, and which fields does the first plan take?

It never drops sample in silence: what a plan does not cover is a share that the verdict reads.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.acquisition.overview import (
    Mask,
    Scale,
    find_stain,
    glass_corner,
    inside,
    sample_mask,
)
from scanner.errors import BadInput
from scanner.model.geometry import Affine, Point, Rect, quarter_turns_and_flips
from scanner.model.plan import Grid, Plan, PlannedTile, PlanReason, grid_over, planned, scan_plan, serpentine
from scanner.model.profile import Limits, OverviewSpec, Profile
from scanner.model.slide import GLASS_UM, LABEL_UM, Preparation, Slide
from scanner.model.tile import Pixels

Cell = tuple[int, int]
Edges = tuple[bool, bool, bool, bool]

EDGE_MARGIN_UM = 500.0
MOST_SEATING_UM = 1_500.0
NEIGHBOURS: tuple[Cell, ...] = ((0, -1), (-1, 0), (0, 1), (1, 0))  # in the order of Judged.sample_edges


@dataclass(frozen=True, slots=True)
class Located:
    """What the overview picture shows of one slide.

    ``seating_um``: how far the glass lies from where the profile expects it (slide µm), 0 where no edge tells.
    ``origin_um``: slide µm of the picture's first corner, the seating taken off. ``label`` (h, w, 3) uint8.
    ``sample`` (h, w) bool, px of the overview. ``outline_um``: (n, 2) polygons in slide µm.
    """

    um_per_px: float
    origin_um: Point
    seating_um: Point
    label: Pixels
    sample: Mask
    outline_um: tuple[NDArray[np.float64], ...]

    @property
    def empty(self) -> bool:
        """No sample anywhere on the clear glass."""
        return not self.outline_um

    @property
    def sample_mm2(self) -> float:
        """The area inside the outline."""
        return float(np.count_nonzero(self.sample)) * self.um_per_px**2 / 1e6

    @property
    def bounds_um(self) -> Rect:
        """The rectangle around the sample, slide µm; a slide without sample has none (ValueError)."""
        points = np.concatenate(self.outline_um)
        (x, y), (right, bottom) = points.min(axis=0), points.max(axis=0)
        return Rect(float(x), float(y), float(right - x), float(bottom - y))

    def to_px(self, rect_um: Rect) -> Rect:
        """Slide µm as px of the overview."""
        at = rect_um
        s = self.um_per_px
        return Rect((at.x - self.origin_um.x) / s, (at.y - self.origin_um.y) / s, at.w / s, at.h / s)


def locate(picture: Pixels, spec: OverviewSpec, preparation: Preparation) -> Located:
    """Label, seating and sample of an overview picture (h, w, 3) uint8, label to the left.

    Deterministic: the kept picture gives the same answer again after a stop.

    Raises:
        BadInput: the picture does not show a slide at the profile's scale.
    """
    scale = Scale(spec.um_per_px)
    nominal = Point(*spec.origin_um)
    seating = seating_of(picture, nominal, spec.um_per_px)
    origin = nominal - seating
    clear = _clip(picture, _px(_clear_glass(), origin, scale))
    if clear.w < scale.px(5_000) or clear.h < scale.px(5_000):
        raise BadInput.one(
            "the overview picture shows less than 5 mm of clear glass",
            "correct devices.overview",
            field="overview",
        )
    sample = np.zeros(picture.shape[:2], np.bool_)
    part = _window(clear)
    expected = inside(picture.shape[:2], _px(preparation.deposit_um.grown(1_000), origin, scale), True)
    sample[part] = sample_mask(find_stain(picture[part], scale), expected[part], scale)
    label = picture[_window(_clip(picture, _px(LABEL_UM, origin, scale)))].copy()
    outline = outline_um(sample, origin, spec.um_per_px)
    return Located(spec.um_per_px, origin, seating, label, sample, outline)


def seating_of(picture: Pixels, nominal: Point, um_per_px: float) -> Point:
    """How far the glass is shifted (slide µm) in a picture whose first corner should show ``nominal``.

    0 along an axis without an edge, and where the edge lies so far off that it is something else.
    """
    corner = glass_corner(picture, (GLASS_UM.w / um_per_px, GLASS_UM.h / um_per_px))
    x, y = (
        0.0 if px is None else start + px * um_per_px
        for px, start in zip(corner, (nominal.x, nominal.y), strict=True)
    )
    return Point(x if abs(x) <= MOST_SEATING_UM else 0.0, y if abs(y) <= MOST_SEATING_UM else 0.0)


def _clear_glass() -> Rect:
    clear = Rect(LABEL_UM.right, 0.0, GLASS_UM.w - LABEL_UM.w, GLASS_UM.h)
    return clear.grown(-EDGE_MARGIN_UM)


def _px(rect_um: Rect, origin: Point, scale: Scale) -> Rect:
    s = scale.um_per_px
    return Rect((rect_um.x - origin.x) / s, (rect_um.y - origin.y) / s, rect_um.w / s, rect_um.h / s)


def _clip(picture: Pixels | Mask, rect: Rect) -> Rect:
    h, w = picture.shape[:2]
    x, y = min(max(rect.x, 0.0), w - 1.0), min(max(rect.y, 0.0), h - 1.0)
    return Rect(x, y, max(1.0, min(rect.right, w) - x), max(1.0, min(rect.bottom, h) - y))


def _window(rect: Rect) -> tuple[slice, slice]:
    return slice(round(rect.y), round(rect.bottom)), slice(round(rect.x), round(rect.right))


def outline_um(sample: Mask, origin: Point, um_per_px: float) -> tuple[NDArray[np.float64], ...]:
    """The outer contours of ``sample`` (h, w) as (n, 2) polygons in slide µm, largest first."""
    contours, _ = cv2.findContours(sample.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_TC89_KCOS)
    largest_first = sorted(contours, key=cv2.contourArea, reverse=True)
    corner = np.array([origin.x, origin.y])
    return tuple(corner + (c.reshape(-1, 2).astype(float) + 0.5) * um_per_px for c in largest_first)


def plan_slide(
    located: Located | None, profile: Profile, slide: Slide, region_um: Rect | None = None
) -> Plan | None:
    """The first plan of a slide; None when the glass is empty.

    With a region the grid covers exactly it: nothing is skipped and nothing grows. Without one the grid covers the
    sample, and its fields without sample are skipped.

    Raises:
        BadInput: neither a region nor an overview picture says where to scan.
    """
    field, overlap = field_um(profile), profile.acquisition.overlap
    if region_um is not None:
        grid, rows, cols = grid_over(region_um, field, overlap)
        return scan_plan(slide.slide_id, grid, _all_cells(rows, cols), [], growable=False)
    if located is None:
        raise BadInput.one(
            "this rig has no overview camera to find the sample with",
            "say where to scan with --region X,Y,W,H",
        )
    bounds = None if located.empty else _intersection(located.bounds_um, reachable_um(profile, slide.slot))
    if bounds is None:
        return None
    grid, rows, cols = grid_over(bounds, field, overlap)
    with_sample, without = cells_with_sample(located, grid, _all_cells(rows, cols))
    return scan_plan(slide.slide_id, grid, with_sample, without, growable=True) if with_sample else None


def _all_cells(rows: int, cols: int) -> list[Cell]:
    return [(row, col) for row in range(rows) for col in range(cols)]


def field_um(profile: Profile) -> tuple[float, float]:
    """(x, y) slide µm of one upright camera field, from the measured camera → stage matrix.

    Raises:
        BadInput: the rig was not measured yet.
    """
    matrix = camera_to_slide(profile)
    turned = quarter_turns_and_flips(matrix.tolist())
    size = np.array([profile.camera.width_px, profile.camera.height_px], float)
    scale = np.hypot(matrix[0], matrix[1])
    x, y = np.abs(turned) @ (size * scale)
    return float(x), float(y)


def camera_to_slide(profile: Profile) -> NDArray[np.float64]:
    """(2, 2) slide µm per raw camera px.

    Raises:
        BadInput: the rig was not measured yet.
    """
    measured = profile.measured.camera_to_stage
    if measured is None:
        raise BadInput.one(
            "the camera's scale and rotation were never measured on this rig",
            f"run rackscan profile measure on {profile.name}",
            field="measured.camera_to_stage",
        )
    product: NDArray[np.float64] = np.array(profile.slide.axes) @ np.array(measured.value)
    return product


def reachable_um(profile: Profile, slot: int) -> Rect:
    """Where field centres may lie: the clear glass within the soft limits, slide µm."""
    to_slide = profile.stage_to_slide(slot)
    corners = to_slide.apply_many([_corner(profile.limits, i) for i in range(4)])
    (x, y), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    both = _intersection(_clear_glass(), Rect(float(x), float(y), float(right - x), float(bottom - y)))
    if both is None:
        raise BadInput.one("the soft limits reach no clear glass", "correct limits or slide", field="limits")
    return both


def _corner(limits: Limits, i: int) -> tuple[float, float]:
    return limits.x_um[i % 2], limits.y_um[i // 2]


def _intersection(a: Rect, b: Rect) -> Rect | None:
    if not a.overlaps(b):
        return None
    x, y = max(a.x, b.x), max(a.y, b.y)
    return Rect(x, y, min(a.right, b.right) - x, min(a.bottom, b.bottom) - y)


def cells_with_sample(located: Located, grid: Grid, cells: Sequence[Cell]) -> tuple[list[Cell], list[Cell]]:
    """``cells`` (row, col) in two lists: those whose own part of the glass holds sample, and the empty ones."""
    counts = SampleCounter.of(located)
    has = [counts.within(grid.cell(*cell)) > 0 for cell in cells]
    with_sample = [cell for cell, there in zip(cells, has, strict=True) if there]
    return with_sample, [cell for cell, there in zip(cells, has, strict=True) if not there]


@dataclass(frozen=True, slots=True)
class SampleCounter:
    """Sample pixels in any rectangle, from the summed area table (h + 1, w + 1) of the mask."""

    located: Located
    table: NDArray[np.int32]

    @classmethod
    def of(cls, located: Located) -> "SampleCounter":
        """Count once, ask often."""
        return cls(located, cv2.integral(located.sample.astype(np.uint8)).astype(np.int32))

    def within(self, rect_um: Rect) -> int:
        """Sample px in a rectangle of slide µm."""
        px = self.located.to_px(rect_um)
        h, w = self.located.sample.shape
        x0, x1 = (int(np.clip(round(v), 0, w)) for v in (px.x, px.right))
        y0, y1 = (int(np.clip(round(v), 0, h)) for v in (px.y, px.bottom))
        t = self.table
        return int(t[y1, x1] - t[y0, x1] - t[y1, x0] + t[y0, x0])


def sample_covered(located: Located, grid: Grid, cells: Iterable[Cell]) -> float:
    """Share of the sample, 0..1, that the fields of ``cells`` show; 1 where there is no sample."""
    seen = np.zeros(located.sample.shape, np.bool_)
    for cell in cells:
        seen[_window(_clip(located.sample, located.to_px(grid.field(*cell))))] = True
    total = np.count_nonzero(located.sample)
    return float(np.count_nonzero(seen & located.sample) / total) if total else 1.0


def border_plan(
    plans: Sequence[Plan], edges: Mapping[Cell, Edges], slide_to_stage: Affine, limits: Limits
) -> Plan | None:
    """Fields beside captured ones that still held sample at that edge; None when there are none.

    Args:
        plans: every plan of the slide so far; the first declared the canvas that nothing leaves.
        edges: (row, col) → does sample reach its left, top, right and bottom edge (``Judged.sample_edges``).
        slide_to_stage: for the limits.
        limits: where the stage may go; fields beyond are left out, the verdict sees what they held.
    """
    first = plans[0]
    taken = {(t.row, t.col) for plan in plans for t in plan.tiles}
    wanted = {
        (cell[0] + step[0], cell[1] + step[1])
        for cell, sides in edges.items()
        for step, reaches in zip(NEIGHBOURS, sides, strict=True)
        if reaches
    }
    cells = [c for c in wanted - taken if _allowed(first, c, slide_to_stage, limits)]
    if not cells:
        return None
    return first.model_copy(
        update={
            "number": len(plans) + 1,
            "reason": PlanReason.BORDER,
            "tiles": _numbered(plans, first.grid, serpentine(cells)),
            "skipped": (),
        }
    )


def _allowed(first: Plan, cell: Cell, slide_to_stage: Affine, limits: Limits) -> bool:
    at = slide_to_stage.apply(first.grid.centre(*cell))
    reachable = limits.x_um[0] <= at.x <= limits.x_um[1] and limits.y_um[0] <= at.y <= limits.y_um[1]
    in_canvas = first.canvas.grown(1e-6).covers(first.grid.field(*cell))
    return reachable and in_canvas and _clear_glass().contains(first.grid.centre(*cell))


def _numbered(plans: Sequence[Plan], grid: Grid, cells: Sequence[Cell]) -> tuple[PlannedTile, ...]:
    """A field that was skipped before keeps its number; new ones count on."""
    known = {(s.row, s.col): s.tile for plan in plans for s in plan.skipped}
    used = {t.tile for plan in plans for t in plan.tiles} | set(known.values())
    fresh = itertools.count(max(used) + 1)
    return tuple(planned(grid, known[c] if c in known else next(fresh), c) for c in cells)
