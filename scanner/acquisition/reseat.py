"""Where does a slide lie now that may have been touched after some of its tiles were taken? Kept fields tell.

The shift on which most of them agree becomes the slide's new seating; where they do not agree, the glass is not where
it was. It must never give a slide up for the stage's own scatter, nor for a field without texture.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from scanner.acquisition.earlier import Earlier
from scanner.acquisition.locate import camera_to_slide
from scanner.devices.rig import Rig
from scanner.errors import CameraFault, DamagedRun
from scanner.model.geometry import Affine, Point
from scanner.model.profile import Profile
from scanner.model.tile import FocusState, Pixels, Tile
from scanner.pipeline.registration import noise_of, register
from scanner.storage.spool import Spool

log = logging.getLogger("scanner.reseat")

ENOUGH = 3  # fields that agree
MOST_FIELDS = 12
SEARCH_SHARE = 0.25  # of a field
TOUCHED_UM = 20.0  # the edges of the glass tell its place to a few µm
STRAY = 2.0  # of the stage's tolerance: what lies between two visits to a place, σ 3.9 µm where that is 5 µm
DETAIL_SIGMAS = 2.0
DETAIL_PX = 33


@dataclass(frozen=True, slots=True)
class Seat:
    """Stage µm → slide µm as a slide lies now; ``recognised`` where its own fields were seen again."""

    to_slide: Affine
    recognised: bool


def reseat(rig: Rig, earlier: Earlier, spool: Spool, edges: Affine | None) -> Seat | None:
    """Where the slide lies now; None where its kept fields are not found again.

    A shift within the stage's own scatter is none. Where no kept field has texture, the edges of the glass decide, as
    they did when the slide came; without them only a slide that showed no sample yet stays where it was.

    Args:
        rig: at rest, light on.
        earlier: with tiles.
        spool: what is left of its frames.
        edges: stage µm → slide µm by the edges of the glass, None where the rig does not see them.

    Raises:
        DeviceFault, Stopped: from stage, drive and camera.
        DamagedRun: the ledger holds tiles of the slide and no seating.
    """
    before = earlier.stage_to_slide
    if before is None:
        raise DamagedRun(f"slide {earlier.slide_id} has tiles, and no seating in the ledger")
    expected = before if edges is None or _apart_um(edges, before) < TOUCHED_UM else edges
    found = _agreed(rig, expected, kept_fields(earlier, spool))
    if found is None:
        return None
    if not found:
        known = edges is not None or _all_blank(earlier, spool)
        return Seat(expected, recognised=False) if known else None
    moved = Point(sum(s.x for s in found) / len(found), sum(s.y for s in found) / len(found))
    now = expected.shifted(Point(-moved.x, -moved.y))
    if _apart_um(now, before) < _stray_um(rig):
        return Seat(before, recognised=True)
    moved = _apart(before, now)
    words = "the slide lies %.1f, %.1f µm from where it was"
    log.info(words, moved.x, moved.y, extra={"slide_id": earlier.slide_id})
    return Seat(now, recognised=True)


def _agreed(rig: Rig, expected: Affine, fields: Iterator[Tile]) -> list[Point] | None:
    """Shifts (slide µm) of the fields that agree; empty where there is none to ask, None where they disagree."""
    shifts: list[Point] = []
    near: list[Point] = []
    asked = 0
    for asked, tile in enumerate(fields, 1):
        shift = _shift(rig, expected, tile)
        shifts += [] if shift is None else [shift]
        near = most_alike(shifts, 2 * _stray_um(rig))
        if len(near) == ENOUGH or asked == MOST_FIELDS:
            break
    enough = len(near) >= min(2, asked) and 2 * len(near) > len(shifts)
    return near if enough or not asked else None


def _stray_um(rig: Rig) -> float:
    return STRAY * rig.profile.acquisition.arrival_tolerance_um


def most_alike(shifts: Sequence[Point], within_um: float) -> list[Point]:
    """The largest group of shifts that lie within ``within_um`` of one of them."""
    groups = [[s for s in shifts if s.distance(middle) <= within_um] for middle in shifts]
    return max(groups, key=len, default=[])


def kept_fields(earlier: Earlier, spool: Spool) -> Iterator[Tile]:
    """The tiles whose pixels are still here and show texture, the last one taken first."""
    for key in reversed(list(earlier.tiles)):
        tile = earlier.tile(key, spool)
        if tile.frame is not None and _has_texture(tile, tile.frame.pixels):
            yield tile


def _has_texture(tile: Tile, pixels: Pixels) -> bool:
    """Where focus was measured it says so; where not, detail above the noise does."""
    if tile.focus.state is not FocusState.UNMEASURED:
        return tile.focus.state in (FocusState.SHARP, FocusState.USABLE)
    plane = np.asarray(pixels[..., 1] if pixels.ndim == 3 else pixels, np.float32)
    detail = plane - cv2.blur(plane, (DETAIL_PX, DETAIL_PX))
    return float(detail.std()) > DETAIL_SIGMAS * max(noise_of(pixels), 0.3)


def _all_blank(earlier: Earlier, spool: Spool) -> bool:
    tiles = [earlier.tile(key, spool) for key in earlier.tiles]
    return all(tile.focus.state is FocusState.NO_SAMPLE for tile in tiles)


def _shift(rig: Rig, to_slide: Affine, tile: Tile) -> Point | None:
    """How far (slide µm) a field has moved from where ``to_slide`` has it, None where it is not found."""
    frame = tile.frame
    if frame is None:
        return None
    goal = Point(tile.planned.x_um, tile.planned.y_um)
    at = to_slide.apply(rig.stage.start_move(to_slide.inverse().apply(goal)).wait().position)
    if rig.z is not None:
        rig.z.start_move(frame.z_um).wait()
    moved = displacement_um(rig.profile, frame.pixels, _seen(rig, tile))
    return None if moved is None else moved + at - Point(tile.reported_x_um, tile.reported_y_um)


def _seen(rig: Rig, tile: Tile) -> Pixels:
    """What the camera sees now, asked once more where no frame came."""
    try:
        return rig.camera.start_exposure().read().pixels
    except CameraFault as fault:
        log.warning("retry: the place of tile %d could not be seen: %s", tile.planned.tile, fault)
        return rig.camera.start_exposure().read().pixels


def displacement_um(profile: Profile, before: Pixels, now: Pixels) -> Point | None:
    """(x, y) slide µm by which what ``before`` shows has moved in ``now``, up to a quarter of the field."""
    search_px = SEARCH_SHARE * min(before.shape[:2])
    found = register(before, now, Point(0.0, 0.0), search_px, noise_of(before))
    if not found.accepted:
        return None
    x, y = camera_to_slide(profile) @ np.array([-found.dx_px, -found.dy_px])
    return Point(float(x), float(y))


def _apart(a: Affine, b: Affine) -> Point:
    return Point(a.offset[0] - b.offset[0], a.offset[1] - b.offset[1])


def _apart_um(a: Affine, b: Affine) -> float:
    return _apart(a, b).distance(Point(0.0, 0.0))
