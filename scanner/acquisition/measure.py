"""What can a rig find out about itself? Moves it over a slide with texture and writes what it saw into its profile.

Needs a slide with cells or tissue in the first slot. Nothing is assumed of the camera: flips, turns and scale come
out of the pictures. Which way z is up is never tried out: Micro-Manager's configuration or the owner must say it.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import numpy as np

from scanner.acquisition import measure_fits as fits
from scanner.acquisition import measure_steps as steps
from scanner.acquisition.measure_lens import fit_chromatic, fit_distortion
from scanner.acquisition.measure_steps import Bench, Line
from scanner.devices.rig import Rig, open_rig
from scanner.model.geometry import Affine, Rect
from scanner.model.optics import Chromatic, Distortion
from scanner.model.profile import (
    CameraNoise,
    Deadlines,
    FlatField,
    Matrix,
    Measured,
    MeasuredValues,
    Profile,
    XYKinematics,
    ZKinematics,
)
from scanner.model.slide import Preparation
from scanner.storage.profile_measured import write_measured
from scanner.storage.profiles import read_profile

log = logging.getLogger("scanner.measure")

T = TypeVar("T")
Say = Callable[[str], None]

VALID_DAYS = 365
LONGEST_SHIFT_PX = 0.5
LEAST_FIELDS = 12


def measure_profile(file: Path, region_um: Rect | None = None, say: Say = log.info) -> MeasuredValues:
    """Measure the rig of a profile and write the values into it, each with when, how and how sure.

    Args:
        file: the profile.
        region_um: where on the slide (slide µm) there is texture; None for where a liquid-based preparation has it.
        say: told what is being done, in words for the person who waits.

    Raises:
        BadInput: the profile cannot be used, or nothing with texture was found.
        DeviceFault: a device did not do what it was told; the profile is as it was.
    """
    profile = read_profile(file, need_measured=False)
    sign = _z_sign(profile, file.parent)
    if sign is None:
        say("which way z is up is unknown: z stays where it is, so focus the slide by hand")
    with _ready(_unprejudiced(profile, sign), file.parent) as rig:
        measured = _measure(rig, region_um or _middle_of(Preparation.THINPREP.deposit_um), say)
    write_measured(file, measured)
    return measured


def _middle_of(deposit: Rect) -> Rect:
    centre = deposit.centre
    return Rect(centre.x - deposit.w / 4, centre.y - deposit.h / 4, deposit.w / 2, deposit.h / 2)


def _unprejudiced(profile: Profile, sign: Measured[int] | None) -> Profile:
    """Nothing measured before may colour a new measurement; only the direction of z is kept, for safety.

    The stage may leave at the end of an exposure, because whether it may is one of the questions.
    """
    patient = Deadlines(xy_s=60, z_s=60, camera_s=10, loader_s=profile.deadlines.loader_s)
    readout = _measured(profile.camera.readout_ms, "as the profile says", None)
    values = MeasuredValues(z_sign=sign, readout_ms=readout)
    return profile.model_copy(update={"deadlines": patient, "measured": values})


@contextmanager
def _ready(profile: Profile, folder: Path) -> Iterator[Rig]:
    """The rig with its light on and the first slide loaded; unloaded in the end."""
    with open_rig(profile, folder, {}, ask=_on_the_stage) as rig:
        rig.loader.load(1)
        if rig.light is not None:
            rig.light.switch(on=True)
        yield rig
        rig.loader.unload()


def _on_the_stage(sentence: str) -> bool:
    """Who measures by hand has put the slide on the stage before."""
    log.info("%s (taken as done)", sentence)
    return True


def _measured(value: T, how: str, sigma: float | None) -> Measured[T]:
    now = datetime.now(UTC).replace(microsecond=0)
    sure = None if sigma is None else float(f"{sigma:.3g}")
    return Measured(value=value, when=now, how=how, sigma=sure, valid_until=now + timedelta(days=VALID_DAYS))


def _z_sign(profile: Profile, folder: Path) -> Measured[int] | None:
    """What the Micro-Manager configuration says counts more than what the profile says; both are people's words."""
    label = profile.devices.z
    if label is None:
        return None
    with open_rig(_unprejudiced(profile, None), folder, {}, ask=_on_the_stage) as rig:
        told = rig.mm.z_sign(label)
    if told is None:
        return profile.measured.z_sign
    return _measured(told, "FocusDirection in the Micro-Manager configuration", None)


def _measure(rig: Rig, region: Rect, say: Say) -> MeasuredValues:
    say("looking for a place with texture")
    bench = steps.find_bench(rig, region)
    say(f"flips, turns, scale, backlash: lines about {bench.spot.x / 1000:.2f}, {bench.spot.y / 1000:.2f} mm")
    lines = list(steps.lines(bench, steps.coarse_matrix(bench)))
    matrix, error = steps.fine_matrix(lines)
    say("how long moves take")
    xy, z = _xy(bench), _z(bench)
    say("the light, the lens, the camera's readout and noise")
    flat = _flat_field(lines, say)
    return MeasuredValues(
        camera_to_stage=_camera_to_stage(matrix, error, lines),
        backlash_um=_backlash(matrix, lines),
        xy_kinematics=xy,
        z_kinematics=z,
        readout_ms=_readout(bench),
        z_sign=rig.profile.measured.z_sign,
        noise=_noise(bench),
        flat_field=flat,
        background_dn=_background(rig, lines, flat) if flat else None,
        distortion=_distortion(rig, lines),
        chromatic=_chromatic(rig, lines),
    )


def _camera_to_stage(matrix: Affine, error: float, lines: Sequence[Line]) -> Measured[Matrix]:
    (a, b), (c, d) = matrix.matrix
    rounded = ((round(a, 7), round(b, 7)), (round(c, 7), round(d, 7)))
    frames = sum(len(chain.stage_um) for line in lines for chain in line.chains)
    how = f"least squares over {frames} frames registered along two lines in x and two in y, there and back"
    return _measured(rounded, how, error)


def _backlash(matrix: Affine, lines: Sequence[Line]) -> Measured[tuple[float, float]] | None:
    """The stage's slack along the axis of each line; None where the ways there and back have too little in common."""
    half = len(lines) // 2
    along = [
        np.concatenate([steps.slack_um(line, matrix)[:, axis] for line in part])
        for axis, part in enumerate((lines[:half], lines[half:]))
    ]
    if min(len(part) for part in along) < steps.LEAST_LINKS:
        return None
    errors = [float(np.std(part)) / float(np.sqrt(len(part))) for part in along]
    x, y = (round(float(np.mean(part)), 2) for part in along)
    how = "true place after a move towards smaller coordinates less that after one towards larger, same reported place"
    return _measured((x, y), how, max(errors))


def _xy(bench: Bench) -> Measured[XYKinematics]:
    distances, seconds = steps.timed_xy(bench)
    value, off_ms = fits.fit_xy_kinematics(distances, seconds)
    how = f"{len(distances)} distances from {distances.min():.0f} to {distances.max():.0f} µm; sigma in ms"
    return _measured(value, how, off_ms)


def _z(bench: Bench) -> Measured[ZKinematics] | None:
    sign = bench.rig.profile.measured.z_sign
    if bench.z_um is None or sign is None:
        return None
    distances, seconds = steps.timed_z(bench, bench.z_um, sign.value)
    value, off_ms = fits.fit_z_kinematics(distances, seconds)
    how = f"{len(distances)} distances from {distances.min():.1f} to {distances.max():.0f} µm; sigma in ms"
    return _measured(value, how, off_ms)


def _readout(bench: Bench) -> Measured[float]:
    """Zero means that the stage waits for the frame: the sensor is not done when its exposure time is over."""
    shift_px = steps.shift_when_leaving_px(bench)
    if shift_px > LONGEST_SHIFT_PX:
        how = f"the image shifts by {shift_px:.1f} px when the stage leaves after the exposure: it waits for the frame"
        return _measured(0.0, how, None)
    found = steps.readouts_ms(bench)
    how = f"the least of {len(found)} exposures; a leaving stage shifts the image by {shift_px:.2f} px"
    return _measured(round(float(found.min()), 2), how, float(np.median(found) - found.min()))


def _noise(bench: Bench) -> Measured[CameraNoise] | None:
    pairs = steps.still_pairs(bench)
    how = f"photon transfer over {len(pairs)} pairs of still frames"
    return _if_it_tells("noise was", lambda: fits.fit_noise(pairs), how)


def _flat_field(lines: Sequence[Line], say: Say) -> Measured[FlatField] | None:
    fields = [field for line in lines for field in line.fields]
    if len(fields) < LEAST_FIELDS:
        say("too few fields for a flat field")
        return None
    value, left = fits.fit_flat_field(fields)
    return _measured(value, f"background of {len(fields)} fields, polynomial a channel", left)


def _background(
    rig: Rig, lines: Sequence[Line], flat: Measured[FlatField]
) -> Measured[tuple[float, ...]] | None:
    fields = [field for line in lines for field in line.fields]
    full, how = (
        float(2**rig.profile.camera.bits - 1),
        f"glass in {len(fields)} fields, evenly lit; sigma of one exposure",
    )
    return _if_it_tells("the background was", lambda: fits.fit_background(fields, flat.value, full), how)


def _distortion(rig: Rig, lines: Sequence[Line]) -> Measured[Distortion] | None:
    pairs, shape = [pair for line in lines for pair in line.twice], _shape(rig)
    how = f"blocks of {len(pairs)} pairs of frames; sigma in px at a corner"
    return _if_it_tells("the lens was", lambda: fit_distortion(pairs, shape), how)


def _chromatic(rig: Rig, lines: Sequence[Line]) -> Measured[Chromatic] | None:
    if rig.profile.camera.channels != 3:
        return None
    frames, shape = [frame for line in lines for frame in line.colours], _shape(rig)
    how = f"blocks of {len(frames)} frames; sigma in px at a corner"
    return _if_it_tells("the lens's colours were", lambda: fit_chromatic(frames, shape), how)


def _shape(rig: Rig) -> tuple[int, int]:
    return rig.profile.camera.height_px, rig.profile.camera.width_px


def _if_it_tells(what: str, fit: Callable[[], tuple[T, float]], how: str) -> Measured[T] | None:
    """What a fit gives, or nothing and a warning where the frames do not tell it."""
    try:
        value, sigma = fit()
    except ValueError as unfit:
        log.warning("%s not measured: %s", what, unfit)
        return None
    return _measured(value, how, sigma)
