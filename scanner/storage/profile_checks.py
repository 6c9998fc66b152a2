"""Which values of a profile contradict each other, or its Micro-Manager configuration?"""

import difflib
from collections.abc import Iterator
from datetime import datetime

from scanner.errors import BadInput, Problem
from scanner.model.geometry import Affine, Space
from scanner.model.optics import ChannelShift
from scanner.model.profile import FocusStrategy, LoaderKind, MeasuredValues, Profile
from scanner.storage.mm_config import MMConfig, read_cfg
from scanner.storage.strict_yaml import Document
from scanner.storage.yaml_tree import Location

LABELS: tuple[Location, ...] = (
    ("devices", "camera"),
    ("devices", "xy"),
    ("devices", "z"),
    ("devices", "light", "device"),
    ("devices", "overview", "camera"),
    ("devices", "loader", "device"),
    ("devices", "objective"),
)
RUN_PROPERTIES = ("specimen", "um_per_px", "seed", "slides", "truth")
SCALE_TOLERANCE = 0.1
MOST_BENT = 0.05
MOST_SHIFT_PX, MOST_SPLIT = 10.0, 0.01


def focuses(profile: Profile) -> bool:
    """Does the rig move z to focus?"""
    return profile.devices.z is not None and profile.focus.strategy is not FocusStrategy.FIXED


def configuration_problems(document: Document) -> list[Problem]:
    """A missing or unreadable ``.cfg``, and every label that it does not load; also for a broken profile."""
    name = document.text("devices", "cfg")
    if name is None:
        return []
    try:
        config = read_cfg((document.file.parent / name).resolve())
    except BadInput as error:
        return [document.problem(("devices", "cfg"), f"{name}: {p.problem}", p.mend) for p in error.problems]
    return [*_unknown_labels(document, config), *_unknown_properties(document, config)]


def _unknown_labels(document: Document, config: MMConfig) -> Iterator[Problem]:
    for location in LABELS:
        label = document.text(*location)
        if label is not None and config.device(label) is None:
            problem = f"no device is labelled {label} in {config.file.name}"
            yield document.problem(location, problem, _nearest(label, config))


def _unknown_properties(document: Document, config: MMConfig) -> Iterator[Problem]:
    properties = document.at("run_properties")
    for key, target in (properties if isinstance(properties, dict) else {}).items():
        at: Location = ("run_properties", key)
        if key not in RUN_PROPERTIES:
            yield document.problem(
                at, "no option of a run has this name", f"one of {', '.join(RUN_PROPERTIES)}"
            )
        label, dot, name = target.rpartition(".") if isinstance(target, str) else ("", "", "")
        if not (dot and label and name):
            yield document.problem(at, f"{target} is no property", "write DEVICE.PROPERTY")
        elif config.device(label) is None:
            yield document.problem(at, f"no device is labelled {label}", _nearest(label, config))


def _nearest(label: str, config: MMConfig) -> str:
    labels = [device.label for device in config.devices]
    near = difflib.get_close_matches(label, labels, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"it loads {', '.join(labels)}"


def contradictions(profile: Profile, document: Document) -> list[Problem]:
    """Values that are each possible and cannot be true together."""
    checks = (_loader, _heights, _timing, _scale, _measured_signs, _lens, _level)
    faults = [*(fault for check in checks for fault in check(profile)), *_colour_profile(profile, document)]
    return [document.problem(*fault) for fault in faults]


Faults = Iterator[tuple[Location, str, str]]


def _loader(profile: Profile) -> Faults:
    loader, origins = profile.devices.loader, len(profile.slide.origins_stage_um)
    if loader.kind is LoaderKind.MOTOR and loader.device is None:
        yield ("devices", "loader"), "a motor loader needs its device", "add `device: LABEL` to it"
    wanted = loader.slots if loader.kind is LoaderKind.INSERT else 1
    if origins != wanted:
        mend = f"give {wanted} [x, y] of a glass's top-left corner, stage µm"
        yield ("slide", "origins_stage_um"), f"{origins} places for {wanted} on the stage", mend


def _heights(profile: Profile) -> Faults:
    low, high = profile.limits.z_um
    if profile.devices.z is None and profile.focus.strategy is not FocusStrategy.FIXED:
        mend = "name devices.z, or choose strategy: fixed"
        yield ("focus", "strategy"), f"{profile.focus.strategy} needs a z device", mend
    if not low <= profile.limits.z_safe_um <= high:
        problem = f"{profile.limits.z_safe_um} lies outside z_um {low}..{high}"
        yield ("limits", "z_safe_um"), problem, "choose a height within the limits"
    sign = profile.measured.z_sign
    # a stack reaches half its height beyond what was found, and once more where it is taken again at its edge
    start, reach = profile.focus.start_um, profile.focus.range_um + profile.focus.stack_um
    if sign is not None and focuses(profile) and sign.value * (profile.limits.z_safe_um - start) < reach:
        problem = (
            f"{profile.limits.z_safe_um} is not further from the slide than the focus at {start} ± {reach}"
        )
        yield ("limits", "z_safe_um"), problem, "choose a height that is clear of the slide"
    if focuses(profile) and not low <= start - reach <= start + reach <= high:
        layers = f" and its {profile.focus.layers} layers" if profile.focus.layered else ""
        problem = f"the search{layers} {start} ± {reach} leaves z_um {low}..{high}"
        fewer = ", or take fewer layers" if layers else ""
        yield ("focus", "start_um"), problem, f"start nearer to the middle, or search less far{fewer}"


def _timing(profile: Profile) -> Faults:
    frame_s = (profile.camera.exposure_ms + profile.camera.readout_ms) / 1000
    if frame_s >= profile.deadlines.camera_s:
        problem = f"{profile.deadlines.camera_s} s is over before a frame of {frame_s} s is read"
        yield ("deadlines", "camera_s"), problem, "give the camera more time"


def _scale(profile: Profile) -> Faults:
    measured = profile.measured.camera_to_stage
    if measured is None:
        return
    at: Location = ("measured", "camera_to_stage")
    (a, b), (c, d) = measured.value
    if a * d - b * c == 0:
        yield at, "maps every pixel to one line", "run `rackscan profile measure` again"
        return
    scale = Affine(Space.CAMERA, Space.STAGE, measured.value).scale
    nominal = profile.active_objective.um_per_px
    if abs(scale / nominal - 1) > SCALE_TOLERANCE:
        problem = f"measured {scale:.4f} µm/px, but objective {profile.objective} says {nominal}"
        yield at, problem, "correct the objective, or measure again"


def _measured_signs(profile: Profile) -> Faults:
    sign, flat = profile.measured.z_sign, profile.measured.flat_field
    if sign is not None and sign.value not in (-1, 1):
        yield ("measured", "z_sign"), f"{sign.value} is no sign", "write 1 or -1"
    if flat is not None and len(flat.value.coefficients) != profile.camera.channels:
        problem = f"{len(flat.value.coefficients)} channels for a camera of {profile.camera.channels}"
        yield ("measured", "flat_field"), problem, "run `rackscan profile measure` again"


def _lens(profile: Profile) -> Faults:
    bent, split = profile.measured.distortion, profile.measured.chromatic
    again = "run `rackscan profile measure` again, or leave it out"
    if bent is not None:
        k1, k2 = bent.value.k1, bent.value.k2
        if max(abs(k1), abs(k1 + k2), abs(k2)) > MOST_BENT:
            at: Location = ("measured", "distortion", "value")
            yield at, f"k1 {k1:g}, k2 {k2:g} would move corners by more than {100 * MOST_BENT:g} %", again
        if max(map(abs, bent.value.centre)) > 1:
            at = ("measured", "distortion", "value", "centre")
            yield (
                at,
                f"{list(bent.value.centre)} lies outside the frame",
                "give it in half widths and half heights",
            )
    if split is None:
        return
    if profile.camera.channels != 3:
        yield ("measured", "chromatic"), "a camera of one channel has no colours to shift", "leave it out"
    for name, shift in (("red", split.value.red), ("blue", split.value.blue)):
        if _implausible(shift):
            shown = f"({shift.x_px:g}, {shift.y_px:g}) px and {shift.magnification:g}"
            problem = f"{shown} is more than lenses split colours"
            yield ("measured", "chromatic", "value", name), problem, again


def _implausible(shift: ChannelShift) -> bool:
    return max(abs(shift.x_px), abs(shift.y_px)) > MOST_SHIFT_PX or abs(shift.magnification) > MOST_SPLIT


def _level(profile: Profile) -> Faults:
    level, full = profile.measured.background_dn, 2**profile.camera.bits - 1
    at: Location = ("measured", "background_dn")
    if level is not None and len(level.value) != profile.camera.channels:
        problem = f"{len(level.value)} levels for a camera of {profile.camera.channels} channels"
        yield at, problem, "run `rackscan profile measure` again"
    elif level is not None and not all(full / 10 < one < full for one in level.value):
        problem = f"{list(level.value)} is no level of lit glass between {full / 10:g} and {full}"
        yield at, problem, "run `rackscan profile measure` again"


def _colour_profile(profile: Profile, document: Document) -> Faults:
    icc = profile.image.colour_profile
    if icc is not None and not (document.file.parent / icc).is_file():
        at: Location = ("image", "colour_profile")
        yield at, f"there is no file {icc} beside the profile", "give an ICC file, or leave it out"


def expired_values(profile: Profile, document: Document, now: datetime) -> list[Problem]:
    """Measured values whose ``valid_until`` lies before ``now``; a time without a zone is UTC."""
    problems = []
    for name in MeasuredValues.model_fields:
        measured = getattr(profile.measured, name)
        until = measured.valid_until if measured is not None else None
        if measured is not None and until is not None and measured.expired(now):
            mend = f"run `rackscan profile measure {document.file}`"
            problems.append(document.problem(("measured", name), f"was valid until {until:%Y-%m-%d}", mend))
    return problems
