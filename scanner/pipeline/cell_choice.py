"""Which cells of a slide are worth more planes, and which fields show them?

Judged by what the detector has said when the image is captured; places are those that the stage reported, which is what
it needs to go back there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from autofocus.point_choice import short_way
from detection.classes import CellClass
from detection.detections import Detections
from detection.merging import TileDetections, merge
from scanner.model.geometry import Affine, Point, Rect
from scanner.model.plan import Plan, PlannedTile, PlanReason
from scanner.model.profile import Profile
from scanner.model.tile import Tile
from scanner.pipeline.canvas import MosaicFrame
from scanner.pipeline.findings import LEAST_SCORE
from scanner.storage.cell_facts import ChosenCell

MARGIN_UM = 25.0  # between a cell and the edge of its field: the stage's scatter and some surroundings


@dataclass(frozen=True, slots=True)
class Suspect:
    """A cell that may be chosen, with its box on the slide (µm) and the height its tile was sharp at."""

    tile: Tile
    name: str
    score: float
    box_px: tuple[float, float, float, float]
    box_um: Rect
    z_um: float


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen cells, best first, and the plan that takes them again; None where there are none."""

    cells: tuple[ChosenCell, ...]
    plan: Plan | None


def choose_cells(
    answers: Mapping[int, tuple[Tile, Detections]],
    classes: Sequence[CellClass],
    frame: MosaicFrame,
    profile: Profile,
    slide_to_stage: Affine,
    plans: Sequence[Plan],
) -> Choice:
    """The best cells of a slide and the fields over them, as many of both as the profile asks for at most.

    Args:
        answers: by tile number its last capture that was answered, and what was found in it.
        classes: of the detector.
        frame: of the slide's image.
        profile: of the rig.
        slide_to_stage: for the limits.
        plans: every plan of the slide so far.
    """
    best = list(islice(_suspects(answers, classes, frame), profile.capture_cells.cells))
    if not best:
        return Choice((), None)
    groups = _groups(best, Rect(0, 0, *plans[0].grid.field_um))
    taken = [tile.tile for plan in plans for tile in plan.tiles]
    first = 1 + max([*taken, *(field.tile for plan in plans for field in plan.skipped)])
    centres = [_reachable(_around(group).centre, profile, slide_to_stage) for group in groups]
    begin = plans[-1].tiles[-1]
    way = short_way(np.array([(c.x, c.y) for c in centres]), np.array([begin.x_um, begin.y_um]))
    tiles = tuple(
        PlannedTile(
            tile=first + n,
            row=0,
            col=n,
            x_um=centres[g].x,
            y_um=centres[g].y,
            z_um=_within_limits(groups[g][0].z_um, profile),
        )
        for n, g in enumerate(way)
    )
    field_of = {id(suspect): first + n for n, g in enumerate(way) for suspect in groups[g]}
    update = {
        "number": len(plans) + 1,
        "reason": PlanReason.CELLS,
        "tiles": tiles,
        "skipped": (),
        "layers_um": profile.capture_cells.offsets_um,
    }
    plan = plans[0].model_copy(update=update)
    return Choice(tuple(_chosen(suspect, field_of[id(suspect)]) for suspect in best), plan)


def _suspects(
    answers: Mapping[int, tuple[Tile, Detections]], classes: Sequence[CellClass], frame: MosaicFrame
) -> Iterator[Suspect]:
    """Every candidate of the slide, best first; of a cell that two tiles show, the view that the findings will keep.

    The tiles lie where the stage says, too roughly to tell whether a cut view is another tile's whole cell. So a cut
    one is left to the tile that shows its middle well inside, if there is one.
    """
    if not answers:
        return
    h, w = frame.lattice.tile_px
    corners = {n: frame.corner(tile.reported_x_um, tile.reported_y_um) for n, (tile, _) in answers.items()}
    views = [TileDetections(n, corners[n].x, corners[n].y, w, h, answers[n][1]) for n in sorted(answers)]
    merged, to_slide = merge(views), frame.slide_to_mosaic.inverse()
    cells = merged.detections
    for n in np.flatnonzero((cells.abnormal_classes >= 0) & (cells.abnormal >= LEAST_SCORE)):
        tile, corner = answers[int(merged.tiles[n])][0], corners[int(merged.tiles[n])]
        x, y, w_px, h_px = (float(v) for v in cells.boxes[n])
        middle = Point(x + w_px / 2, y + h_px / 2)
        if _edge_px(middle, corner, (w, h)) < max(w_px, h_px) / 2 and any(
            _edge_px(middle, other, (w, h)) >= max(w_px, h_px) / 2 for other in corners.values()
        ):
            continue
        centre = to_slide.apply(middle)
        w_um, h_um = w_px * frame.um_per_px, h_px * frame.um_per_px
        best = tile.focus.best_z_um
        yield Suspect(
            tile=tile,
            name=classes[int(cells.abnormal_classes[n])].name,
            score=round(float(cells.abnormal[n]), 4),
            box_px=(x - corner.x, y - corner.y, w_px, h_px),
            box_um=Rect(centre.x - w_um / 2, centre.y - h_um / 2, w_um, h_um),
            z_um=tile.focus.z_um if best is None else best,
        )


def _edge_px(middle: Point, corner: Point, size_px: tuple[int, int]) -> float:
    """How far inside a tile a place lies, px from its nearest edge; negative outside."""
    x, y = middle.x - corner.x, middle.y - corner.y
    return min(x, y, size_px[0] - x, size_px[1] - y)


def _groups(best: Sequence[Suspect], field: Rect) -> list[list[Suspect]]:
    """Cells that one field shows together; the first of each is its best."""
    groups: list[list[Suspect]] = []
    for suspect in best:
        room = (group for group in groups if _fits(_around([*group, suspect]), field))
        group = next(room, None)
        if group is None:
            groups.append([suspect])
        else:
            group.append(suspect)
    return groups


def _fits(box: Rect, field: Rect) -> bool:
    return box.w + 2 * MARGIN_UM <= field.w and box.h + 2 * MARGIN_UM <= field.h


def _around(group: Sequence[Suspect]) -> Rect:
    box = group[0].box_um
    for suspect in group[1:]:
        box = box.union(suspect.box_um)
    return box


def _reachable(centre: Point, profile: Profile, slide_to_stage: Affine) -> Point:
    """The nearest place that the stage may go to; a cell near a limit lies beside the middle of its field."""
    (low_x, high_x), (low_y, high_y) = profile.limits.x_um, profile.limits.y_um
    at = slide_to_stage.apply(centre)
    inside = Point(float(np.clip(at.x, low_x, high_x)), float(np.clip(at.y, low_y, high_y)))
    return centre if inside == at else slide_to_stage.inverse().apply(inside)


def _within_limits(z_um: float, profile: Profile) -> float:
    """The whole stack stays within the limits of z."""
    low, high = profile.limits.z_um
    reach = max(profile.capture_cells.offsets_um)
    return float(np.clip(z_um, low + reach, high - reach))


def _chosen(suspect: Suspect, field: int) -> ChosenCell:
    x, y, w, h = suspect.box_px
    return ChosenCell(
        tile=suspect.tile.planned.tile,
        plan=suspect.tile.plan,
        name=suspect.name,
        score=suspect.score,
        x_px=x,
        y_px=y,
        w_px=w,
        h_px=h,
        field=field,
    )
