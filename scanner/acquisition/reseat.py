"""Where does a slide lie now that was touched after some of its tiles were taken? Three kept fields tell.

The shift of most of them becomes the slide's new seating; where they do not agree, the glass is not where it was.
"""

import logging

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.acquisition.earlier import Earlier
from scanner.acquisition.locate import camera_to_slide
from scanner.devices.rig import Rig
from scanner.model.geometry import Affine, Point
from scanner.model.tile import FocusState, Pixels, Tile
from scanner.storage.spool import Spool

log = logging.getLogger("scanner.reseat")

FIELDS = 3
BIN = 4
LEAST_MATCH = 0.6
AGREE_UM = 5.0
LEAST_TEXTURE_DN = 3.0


def reseat(rig: Rig, earlier: Earlier, spool: Spool) -> Affine | None:
    """Stage µm → slide µm as the slide lies now; None where fewer than two fields agree.

    A shift within the stage's own scatter is none.

    Raises:
        DeviceFault, Stopped: from the stage and the camera.
    """
    if earlier.stage_to_slide is None:
        return None
    fields = kept_fields(earlier, spool)
    shifts = [shift for tile in fields if (shift := _shift(rig, earlier.stage_to_slide, tile)) is not None]
    agreed = _agreed(shifts, len(fields))
    if agreed is None:
        return None
    if agreed.distance(Point(0, 0)) < AGREE_UM:
        return earlier.stage_to_slide
    log.info(
        "the slide lies %.1f, %.1f µm from where it was",
        agreed.x,
        agreed.y,
        extra={"slide_id": earlier.slide_id},
    )
    return earlier.stage_to_slide.shifted(Point(-agreed.x, -agreed.y))


def kept_fields(earlier: Earlier, spool: Spool) -> list[Tile]:
    """The latest tiles whose pixels are still here and show texture, most textured last seen first."""
    fields = []
    for key in reversed(list(earlier.tiles)):
        tile = earlier.tile(key, spool)
        if tile.frame is None or tile.focus.state in (FocusState.NO_SAMPLE, FocusState.UNREADABLE):
            continue
        if float(_small(tile.frame.pixels).std()) >= LEAST_TEXTURE_DN:
            fields.append(tile)
        if len(fields) == FIELDS:
            break
    return fields


def _shift(rig: Rig, to_slide: Affine, tile: Tile) -> Point | None:
    """How far (slide µm) the field has moved, None where it is not found."""
    frame = tile.frame
    if frame is None:
        return None
    rig.stage.start_move(to_slide.inverse().apply(Point(tile.reported_x_um, tile.reported_y_um))).wait()
    if rig.z is not None:
        rig.z.start_move(frame.z_um).wait()
    exposure = rig.camera.start_exposure()
    exposure.exposed()
    moved = displacement_px(frame.pixels, exposure.read().pixels)
    if moved is None:
        return None
    x, y = camera_to_slide(rig.profile) @ moved
    return Point(float(x), float(y))


def displacement_px(before: Pixels, now: Pixels) -> NDArray[np.float64] | None:
    """(x, y) camera px by which what ``before`` shows has moved in ``now``, up to a quarter of the field."""
    old, new = _small(before), _small(now)
    h, w = old.shape
    patch = old[h // 4 : h - h // 4, w // 4 : w - w // 4]
    match = cv2.matchTemplate(new, np.ascontiguousarray(patch), cv2.TM_CCOEFF_NORMED)
    _, value, _, (x, y) = cv2.minMaxLoc(match)
    if value < LEAST_MATCH:
        return None
    return np.array([x - w // 4, y - h // 4], float) * BIN


def _small(pixels: Pixels) -> NDArray[np.float32]:
    plane = pixels[..., 1] if pixels.ndim == 3 else pixels
    scale = 1 / 257 if pixels.dtype == np.uint16 else 1.0
    binned = cv2.resize(plane, None, fx=1 / BIN, fy=1 / BIN, interpolation=cv2.INTER_AREA)
    return np.asarray(binned, np.float32) * np.float32(scale)


def _agreed(shifts: list[Point], fields: int) -> Point | None:
    """The mean of the shifts that agree with their median; all of a single kept field, two of three."""
    if not shifts or len(shifts) < min(2, fields):
        return None
    x, y = (float(np.median([getattr(s, axis) for s in shifts])) for axis in "xy")
    near = [s for s in shifts if s.distance(Point(x, y)) <= AGREE_UM]
    if len(near) < min(2, fields):
        return None
    return Point(sum(s.x for s in near) / len(near), sum(s.y for s in near) / len(near))
