"""Which fields beside the plan may still be taken, so that blocks with only the others need not wait?

A field outside the plan is possible while a neighbour inside is not judged yet or shows sample at the edge between
them, or while another possible field lies between it and such a neighbour.
"""

from collections.abc import Iterable

from scanner.acquisition.locate import NEIGHBOURS, Cell, Edges
from scanner.model.plan import Plan

ALL_EDGES: Edges = (True, True, True, True)


class Frontier:
    """A fold over plans and judged tiles; ``never`` tells each field once, when it can no longer be taken."""

    def __init__(self, cells: Iterable[Cell], growable: bool) -> None:
        self._open = set(cells)
        self._growable = growable
        self._planned: dict[Cell, Edges] = {}
        self._first: Plan | None = None

    def plan(self, plan: Plan) -> None:
        """Fields of a plan are taken; until they are judged, anything may lie beyond them."""
        self._first = self._first or plan
        for tile in plan.tiles:
            self._planned.setdefault((tile.row, tile.col), ALL_EDGES)
            self._open.discard((tile.row, tile.col))

    def judged(self, cell: Cell, edges: Edges) -> None:
        """What a field's tile shows at its edges."""
        self._planned[cell] = edges

    def never(self) -> list[Cell]:
        """The fields that became impossible since the last call."""
        gone = self._open - self._possible()
        self._open -= gone
        return sorted(gone)

    def _possible(self) -> set[Cell]:
        if not self._growable or self._first is None:
            return set()
        reached = {
            (cell[0] + step[0], cell[1] + step[1])
            for cell, edges in self._planned.items()
            for step, reaches in zip(NEIGHBOURS, edges, strict=True)
            if reaches
        }
        possible: set[Cell] = set()
        fresh = {cell for cell in reached & self._open if self._on_canvas(cell)}
        while fresh:
            possible |= fresh
            beside = {(r + down, c + right) for r, c in fresh for down, right in NEIGHBOURS}
            fresh = {cell for cell in (beside & self._open) - possible if self._on_canvas(cell)}
        return possible

    def _on_canvas(self, cell: Cell) -> bool:
        return self._first is not None and self._first.canvas.grown(1e-6).covers(
            self._first.grid.field(*cell)
        )
