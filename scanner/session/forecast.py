"""What would a run take? Tiles, time and disk from the profile's own kinematics; nothing is opened, nothing moves."""

import itertools
import math
import shutil
from enum import StrEnum
from pathlib import Path

from scanner.acquisition.focus_survey import SurveyUnderWay, survey_places
from scanner.acquisition.locate import field_um, plan_slide
from scanner.model.base import Value
from scanner.model.geometry import Point, Rect
from scanner.model.plan import Grid, grid_over, serpentine
from scanner.model.profile import FocusStrategy, Profile
from scanner.model.slide import UM_PER_MM, Preparation, RackSlot, Slide
from scanner.session.request import Prepared, RunRequest, prepare

SURVEY_FRAMES = 5
PYRAMID_SHARE = 4 / 3
HEIGHT_SHARE = 4 / 3 / 64  # four bytes against three, one pixel for 64


class FocusPointsFrom(StrEnum):
    """Who says where to focus before the first tile."""

    RACK = "rack file"
    CHOSEN = "chosen"
    SAMPLE = "chosen once the sample is seen"
    NONE = "the rig does not focus"


class SlideForecast(Value):
    """One slide of a dry run. ``disk_bytes`` is what it needs at most, before compression.

    ``focus_points``: x, y in mm as the rack file has them; None where only the sample decides them.
    """

    slot: int
    slide: str | None
    tiles: int
    seconds: float
    disk_bytes: int
    focus_points: tuple[tuple[float, float], ...] | None = None
    focus_points_from: FocusPointsFrom


class Forecast(Value):
    """``rackscan run --dry-run``: ``exact`` plans are known; others assume a full deposit, the sample decides.

    ``excluding`` says on what grounds the run may call slides negative, or why it may not.
    """

    exact: bool
    slides: tuple[SlideForecast, ...]
    tiles: int
    seconds: float
    disk_bytes: int
    free_bytes: int
    excluding: str


def forecast(request: RunRequest) -> Forecast:
    """What the run would take.

    Raises:
        BadInput: with every problem that would stop the run; nothing was written.
    """
    return forecast_of(prepare(request), request.out)


def forecast_of(prepared: Prepared, out: Path) -> Forecast:
    """What a request that can be done would take."""
    slides = tuple(_slide(prepared, entry) for entry in prepared.rack.slots)
    return Forecast(
        exact=prepared.region_um is not None,
        slides=slides,
        tiles=sum(slide.tiles for slide in slides),
        seconds=sum(slide.seconds for slide in slides),
        disk_bytes=sum(slide.disk_bytes for slide in slides),
        free_bytes=_free_bytes(out),
        excluding=_excluding(prepared),
    )


def _excluding(prepared: Prepared) -> str:
    record, cells = prepared.search.record, prepared.profile.capture_cells.cells
    if prepared.search.package is None:
        return "no slide is excluded: no detector looks at it"
    if prepared.region_um is not None:
        return "no slide is excluded: only a region is scanned"
    if record is None:
        return "no slide is excluded: no evaluation record of this detector on this rig"
    if not record.excludes:
        return (
            "no slide is excluded: the evaluation record of this detector on this rig has no operating point"
        )
    said = f"slides that score under {record.operating_point:.4f} may be excluded, {record.excluded:.0%} of normal ones"
    if record.again is not None:
        return f"{said} where {record.again.cells} cells are taken again"
    return f"{said}; what is taken again can only add suspicion" if cells else said


def needed_bytes(prepared: Prepared, out: Path) -> int:
    """What must be free before a run begins; 0 for a picture as specimen, whose size only its rig knows."""
    return 0 if "specimen" in prepared.run_values else forecast_of(prepared, out).disk_bytes


def _slide(prepared: Prepared, entry: RackSlot) -> SlideForecast:
    profile = prepared.profile
    grid, cells = _cells(profile, entry.preparation, prepared.region_um)
    said_by = _focus_points_from(prepared, entry)
    return SlideForecast(
        slot=entry.slot,
        slide=entry.slide,
        tiles=len(cells),
        seconds=scan_seconds(profile, grid, cells, len(entry.focus_points or ()) or None)
        + cells_seconds(profile, grid, cells),
        disk_bytes=_disk_bytes(profile, len(cells), prepared.settings.keep_tiles),
        focus_points=entry.focus_points or (_chosen(prepared) if said_by is FocusPointsFrom.CHOSEN else None),
        focus_points_from=said_by,
    )


def _focus_points_from(prepared: Prepared, entry: RackSlot) -> FocusPointsFrom:
    if prepared.profile.focus.strategy is FocusStrategy.FIXED:
        return FocusPointsFrom.NONE
    if entry.focus_points is not None:
        return FocusPointsFrom.RACK
    return FocusPointsFrom.SAMPLE if prepared.region_um is None else FocusPointsFrom.CHOSEN


def _chosen(prepared: Prepared) -> tuple[tuple[float, float], ...]:
    """As the survey will choose them; a region's plan is known."""
    profile = prepared.profile
    plan = plan_slide(None, profile, Slide(slot=1, slide_id="1-forecast"), prepared.region_um)
    most = SurveyUnderWay(profile).most
    places = survey_places(plan.tiles, profile.focus.point_spacing_fields, most) if plan else []
    return tuple((round(tile.x_um / UM_PER_MM, 3), round(tile.y_um / UM_PER_MM, 3)) for tile in places)


def describe(expected: Forecast) -> str:
    """A forecast in the words of a person."""
    about = "" if expected.exact else "at most about "
    lines = [
        f"slot {s.slot}: {about}{s.tiles} tiles, {s.seconds / 60:.1f} min, {_in_words(s)}"
        for s in expected.slides
    ]
    needed, free = expected.disk_bytes / 1e9, expected.free_bytes / 1e9
    lines.append(f"disk: at most {needed:.1f} GB needed, {free:.1f} GB free")
    return "\n".join([*lines, expected.excluding, "nothing was moved or written"])


def _in_words(slide: SlideForecast) -> str:
    if slide.focus_points is None:
        return f"focus points: {slide.focus_points_from}"
    return f"{len(slide.focus_points)} focus points ({slide.focus_points_from})"


def _cells(
    profile: Profile, preparation: Preparation, region: Rect | None
) -> tuple[Grid, list[tuple[int, int]]]:
    """The grid over the region, or over the whole round deposit, and its fields in scan order."""
    area = region or preparation.deposit_um
    grid, rows, cols = grid_over(area, field_um(profile), profile.acquisition.overlap)
    cells = [(row, col) for row in range(rows) for col in range(cols)]
    if region is None and preparation.liquid_based:
        reach = area.w / 2 + max(grid.step_um) / 2
        cells = [cell for cell in cells if grid.centre(*cell).distance(area.centre) <= reach]
    return grid, serpentine(cells)


def scan_seconds(
    profile: Profile, grid: Grid, cells: list[tuple[int, int]], focus_points: int | None = None
) -> float:
    """Survey and scan without loading, seconds.

    XY and z start when an exposure ends; a readout costs only what outlasts them.
    """
    xy, z = profile.measured.xy_kinematics, profile.measured.z_kinematics
    exposure_s, readout_s = profile.camera.exposure_ms / 1000, _readout_s(profile)
    z_s = z.value.seconds(profile.active_objective.depth_of_field_um() * 2) if z else 0.0
    places = [grid.centre(*cell) for cell in cells]
    steps = [a.distance(b) for a, b in itertools.pairwise(places)]
    moving_s = sum(max(readout_s, xy.value.seconds(step) if xy else 0.0) for step in steps)
    again_s = (_exposures(profile) - 1) * (exposure_s + max(z_s, readout_s))
    return (
        moving_s
        + len(cells) * (exposure_s + again_s)
        + _survey_seconds(profile, places, exposure_s + readout_s + z_s, focus_points)
    )


def cells_seconds(profile: Profile, grid: Grid, cells: list[tuple[int, int]]) -> float:
    """At most, for taking suspicious cells again: none shares a field, and they lie all over the sample."""
    asked, xy, z = profile.capture_cells, profile.measured.xy_kinematics, profile.measured.z_kinematics
    if asked.cells == 0:
        return 0.0
    apart_um = math.sqrt(len(cells) / asked.cells) * math.hypot(*grid.step_um)
    moving_s = max(_readout_s(profile), xy.value.seconds(apart_um) if xy else 0.0)
    step_s = max(_readout_s(profile), z.value.seconds(asked.layer_step_um) if z else 0.0)
    return asked.cells * (moving_s + asked.layers * (profile.camera.exposure_ms / 1000 + step_s))


def _exposures(profile: Profile) -> int:
    """How often a tile is exposed."""
    if profile.focus.layered:
        return profile.focus.layers
    return 1 if profile.focus.strategy in (FocusStrategy.FIXED, FocusStrategy.MAP) else 2


def _survey_seconds(profile: Profile, places: list[Point], look_s: float, given: int | None) -> float:
    if profile.focus.strategy is FocusStrategy.FIXED:
        return 0.0
    xy = profile.measured.xy_kinematics
    points = given or max(1, round(len(places) / profile.focus.point_spacing_fields**2))
    apart_um = math.sqrt(len(places) / points) * field_um(profile)[0]
    return points * (SURVEY_FRAMES * look_s + (xy.value.seconds(apart_um) if xy else 0.0))


def _readout_s(profile: Profile) -> float:
    measured = profile.measured.readout_ms
    return (measured.value if measured else profile.camera.readout_ms) / 1000


def _disk_bytes(profile: Profile, tiles: int, keep_tiles: bool) -> int:
    camera = profile.camera
    frame = camera.width_px * camera.height_px * camera.channels * camera.bits // 8
    image = tiles * frame * (1 - profile.acquisition.overlap) ** 2 * PYRAMID_SHARE
    kept = tiles * frame * (profile.focus.layers if profile.focus.layered else 1)
    asked = profile.capture_cells
    again = (
        asked.cells * asked.layers * frame * (PYRAMID_SHARE + 1)
    )  # its frames wait until its image is whole
    return round(image * _images(profile) + (kept if keep_tiles else 0) + again)


def _images(profile: Profile) -> float:
    """How much is written of a field, in images of one plane; the map of heights is small beside them."""
    if profile.focus.strategy is FocusStrategy.Z_STACK:
        return profile.focus.layers
    return 2 + HEIGHT_SHARE if profile.focus.strategy is FocusStrategy.EDF else 1


def _free_bytes(out: Path) -> int:
    there = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    return shutil.disk_usage(there).free
