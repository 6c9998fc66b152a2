"""What must be captured before the slide leaves the stage? Soft tiles again, and fields beyond a border with sample."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from scanner.acquisition.locate import NEIGHBOURS, Cell, Edges, border_plan
from scanner.model.geometry import Affine
from scanner.model.plan import Plan, PlannedTile, PlanReason
from scanner.model.profile import Profile
from scanner.model.tile import EndOfPlan, Judged, TileFocus


@dataclass(frozen=True, slots=True)
class PlanSettled:
    """All tiles of a plan are judged; ``following`` is the plan that comes next, None when nothing will follow."""

    plan: Plan
    following: Plan | None


@dataclass(frozen=True, slots=True)
class TileVerdict:
    """What is known of a field after its last capture: enough to plan further."""

    planned: PlannedTile
    focus: TileFocus
    edges: Edges
    takes: int


class Replanner:
    """A fold over judged tiles; after each plan it says whether another must follow."""

    def __init__(self, profile: Profile, slide_to_stage: Affine, growable: bool) -> None:
        self._profile = profile
        self._slide_to_stage = slide_to_stage
        self._growable = growable
        self._fields: dict[Cell, TileVerdict] = {}

    def add(self, judged: Judged) -> None:
        """The last capture of a field counts."""
        planned, focus = judged.tile.planned, judged.tile.focus
        cell = planned.row, planned.col
        takes = self._fields[cell].takes + 1 if cell in self._fields else 1
        self._fields[cell] = TileVerdict(planned, focus, judged.sample_edges, takes)

    def next_plan(self, plans: Sequence[Plan]) -> Plan | None:
        """Border fields first, as often as they grow inside the canvas; then the soft tiles once more."""
        border = self._border(plans) if self._growable else None
        return border or retake_plan(plans, list(self._fields.values()), self._profile.acquisition.retakes)

    def border_left(self, plans: Sequence[Plan]) -> bool:
        """After the last plan: does sample reach an edge beyond which nothing was captured?"""
        taken = {(tile.row, tile.col) for plan in plans for tile in plan.tiles}
        return any(
            reaches and (cell[0] + step[0], cell[1] + step[1]) not in taken
            for cell, field in self._fields.items()
            for step, reaches in zip(NEIGHBOURS, field.edges, strict=True)
        )

    def _border(self, plans: Sequence[Plan]) -> Plan | None:
        edges: Mapping[Cell, Edges] = {cell: field.edges for cell, field in self._fields.items()}
        return border_plan(plans, edges, self._slide_to_stage, self._profile.limits)


def retake_plan(plans: Sequence[Plan], fields: Sequence[TileVerdict], retakes: int) -> Plan | None:
    """The soft fields again at the height their own curve peaks at; None when there are none left to take."""
    order = {tile.tile: n for n, tile in enumerate(tile for plan in plans for tile in plan.tiles)}
    soft = [field for field in fields if field.focus.retake and field.takes <= retakes]
    if not soft:
        return None
    soft.sort(key=lambda field: order[field.planned.tile])
    tiles = tuple(field.planned.model_copy(update={"z_um": field.focus.best_z_um}) for field in soft)
    update = {"number": len(plans) + 1, "reason": PlanReason.RETAKE, "tiles": tiles, "skipped": ()}
    return plans[0].model_copy(update=update)


def no_more(_: Sequence[Plan]) -> None:
    """Of most slides nothing but the image is captured."""


def settled(
    judged: Iterable[Judged | EndOfPlan],
    replanner: Replanner,
    first: Plan,
    tell: Callable[[Plan | None], None],
    beyond: Callable[[Sequence[Plan]], Plan | None] = no_more,
) -> Iterator[Judged | PlanSettled]:
    """Judged tiles as they come; where a plan ends, the next one is made and told to whoever moves the stage.

    It is told before any step hears of it: when the frames of the last plan go, the stage needs none of them. It ends
    with the image's last plan: nothing waits for the slide to leave the stage. ``beyond`` then says what else is to be
    captured of the slide, which is no part of its image.
    """
    plans = [first]
    for item in judged:
        if isinstance(item, Judged):
            replanner.add(item)
            yield item
            continue
        following = replanner.next_plan(plans)
        tell(beyond(plans) if following is None else following)
        yield PlanSettled(plans[-1], following)
        if following is None:
            return
        plans.append(following)
