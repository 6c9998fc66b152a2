"""What will be captured on one slide, in which order? A plan is data: it is built, validated, saved, then executed.

A plan never changes; a further plan (soft tiles again, a border that still held sample, suspicious cells with more
planes) follows it.
"""

import math
from collections.abc import Iterable, Sequence
from enum import StrEnum

import useq
from pydantic import Field

from scanner.errors import Problem
from scanner.model.base import Value
from scanner.model.geometry import Affine, Point, Rect
from scanner.model.profile import Limits


class PlanReason(StrEnum):
    """Why a plan was made."""

    SCAN = "scan"
    RETAKE = "retake"
    BORDER = "border"
    CELLS = "cells"


class Grid(Value):
    """The lattice all plans of a slide share: field (row, col) is centred at origin + (col, row) · step, slide µm.

    Rows and columns may be negative: a border plan grows the grid outwards.
    """

    origin_um: tuple[float, float]
    step_um: tuple[float, float]
    field_um: tuple[float, float]

    def centre(self, row: int, col: int) -> Point:
        """Slide µm of the middle of a field."""
        return Point(self.origin_um[0] + col * self.step_um[0], self.origin_um[1] + row * self.step_um[1])

    def field(self, row: int, col: int) -> Rect:
        """Slide µm that a field covers."""
        centre = self.centre(row, col)
        return Rect(centre.x - self.field_um[0] / 2, centre.y - self.field_um[1] / 2, *self.field_um)

    def cell(self, row: int, col: int) -> Rect:
        """Slide µm that only this field answers for: cut in the middle of the overlaps."""
        centre = self.centre(row, col)
        return Rect(centre.x - self.step_um[0] / 2, centre.y - self.step_um[1] / 2, *self.step_um)


class PlannedTile(Value):
    """One field. ``tile`` is unique on its slide and stays the same in every plan that takes the field again."""

    tile: int = Field(ge=0)
    row: int
    col: int
    x_um: float
    y_um: float
    z_um: float | None = None


class Skipped(Value):
    """A field of the grid that was dropped before the first move, and why."""

    tile: int = Field(ge=0)
    row: int
    col: int
    reason: str


class Plan(Value):
    """The fields to capture, in order. ``canvas_um`` is what the image declares: two fields wider than the plan.

    ``layers_um`` are the heights over ``z_um`` at which the fields of a plan of cells are exposed, away from the glass.
    Those fields lie anywhere, each on its cells, and are no part of the image: their ``row`` and ``col`` say nothing.
    """

    slide_id: str
    number: int = Field(ge=1)
    reason: PlanReason
    grid: Grid
    canvas_um: tuple[float, float, float, float]
    tiles: tuple[PlannedTile, ...]
    skipped: tuple[Skipped, ...] = ()
    layers_um: tuple[float, ...] = Field(default=(), exclude_if=lambda layers: not layers)

    @property
    def of_image(self) -> bool:
        """Do its fields make the slide's image?"""
        return self.reason is not PlanReason.CELLS

    @property
    def canvas(self) -> Rect:
        """The declared extent of the image, slide µm."""
        return Rect(*self.canvas_um)

    def problems(self, slide_to_stage: Affine, limits: Limits) -> list[Problem]:
        """Every field the stage may not go to: none before the first move."""
        bad = [t for t in self.tiles if not reachable(slide_to_stage.apply(Point(t.x_um, t.y_um)), limits)]
        if not bad:
            return []
        first = bad[0]
        at = f"{first.x_um / 1000:.2f}, {first.y_um / 1000:.2f} mm"
        where = f"{len(bad)} of {len(self.tiles)} fields, the first at {at}"
        return [
            Problem(
                f"{where}, lie outside the stage's limits", "choose a smaller region or correct the limits"
            )
        ]

    def to_useq(self, slide_to_stage: Affine) -> useq.MDASequence:
        """The plan as a Micro-Manager multi-dimensional acquisition, positions in stage µm."""
        stage = [slide_to_stage.apply(Point(t.x_um, t.y_um)) for t in self.tiles]
        positions = [
            useq.AbsolutePosition(
                x=at.x, y=at.y, z=t.z_um, name=f"tile{t.tile}", row=max(t.row, 0), col=max(t.col, 0)
            )
            for t, at in zip(self.tiles, stage, strict=True)
        ]
        meta = {"rackscan": self.model_dump(mode="json")}
        return useq.MDASequence(stage_positions=positions, axis_order="p", metadata=meta)

    @classmethod
    def from_useq(cls, sequence: useq.MDASequence) -> "Plan":
        """The plan that ``to_useq`` wrote into a sequence.

        Raises:
            ValueError: where the sequence carries no plan of ours.
        """
        if "rackscan" not in sequence.metadata:
            raise ValueError(
                "this sequence was not made from a rackscan plan; use plan_regions for its positions"
            )
        return cls.model_validate(sequence.metadata["rackscan"])


def reachable(at: Point, limits: Limits) -> bool:
    """May the stage go there (stage µm)?"""
    inside_x = limits.x_um[0] <= at.x <= limits.x_um[1]
    return inside_x and limits.y_um[0] <= at.y <= limits.y_um[1]


def grid_over(region: Rect, field_um: tuple[float, float], overlap: float) -> tuple[Grid, int, int]:
    """The grid whose cells cover ``region`` (slide µm) with fewest fields: (grid, rows, columns)."""
    step = (field_um[0] * (1 - overlap), field_um[1] * (1 - overlap))
    cols, rows = (
        max(1, math.ceil(size / s - 1e-9)) for size, s in zip((region.w, region.h), step, strict=True)
    )
    centre = region.centre
    origin = (centre.x - (cols - 1) * step[0] / 2, centre.y - (rows - 1) * step[1] / 2)
    return Grid(origin_um=origin, step_um=step, field_um=field_um), rows, cols


def serpentine(cells: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """(row, col) in scan order: rows from the top, every other row from the right."""
    by_row: dict[int, list[int]] = {}
    for row, col in cells:
        by_row.setdefault(row, []).append(col)
    ordered = []
    for turn, row in enumerate(sorted(by_row)):
        ordered += [(row, col) for col in sorted(by_row[row], reverse=turn % 2 == 1)]
    return ordered


def scan_plan(
    slide_id: str,
    grid: Grid,
    cells: Sequence[tuple[int, int]],
    skipped: Sequence[tuple[int, int]],
    growable: bool,
) -> Plan:
    """The first plan: ``cells`` in serpentine order, ``skipped`` recorded as empty glass.

    The canvas reaches two fields beyond the plan where it may grow, else it ends with the fields.
    """
    numbered = {cell: tile for tile, cell in enumerate([*serpentine(cells), *sorted(skipped)])}
    return Plan(
        slide_id=slide_id,
        number=1,
        reason=PlanReason.SCAN,
        grid=grid,
        canvas_um=canvas_over(grid, cells, 2 if growable else 0),
        tiles=tuple(planned(grid, numbered[cell], cell) for cell in serpentine(cells)),
        skipped=tuple(
            Skipped(tile=numbered[cell], row=cell[0], col=cell[1], reason="no sample in the overview")
            for cell in sorted(skipped)
        ),
    )


def planned(grid: Grid, tile: int, cell: tuple[int, int], z_um: float | None = None) -> PlannedTile:
    """One field of the grid as a planned tile."""
    centre = grid.centre(*cell)
    return PlannedTile(tile=tile, row=cell[0], col=cell[1], x_um=centre.x, y_um=centre.y, z_um=z_um)


def canvas_over(
    grid: Grid, cells: Sequence[tuple[int, int]], margin: int
) -> tuple[float, float, float, float]:
    """(x, y, w, h) slide µm over all ``cells`` and ``margin`` more fields on every side."""
    rows, cols = [row for row, _ in cells], [col for _, col in cells]
    first = grid.field(min(rows) - margin, min(cols) - margin)
    whole = first.union(grid.field(max(rows) + margin, max(cols) + margin))
    return (whole.x, whole.y, whole.w, whole.h)
