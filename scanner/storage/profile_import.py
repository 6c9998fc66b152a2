"""What does a profile for an existing Micro-Manager configuration look like, and what must a person still fill in?"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scanner.errors import BadInput
from scanner.storage.mm_config import CfgDevice, MMConfig, read_cfg
from scanner.storage.model_problems import FILL_IN

XY_STAGE = r"(?<![a-z])d?(tofra )?xy[ _-]?(stage|drive)|^t?xy$|xystage"
SINGLE_AXIS = r"^[xy]$"
OBJECTIVE = r"obj|nosepiece"
MAGNIFICATION = re.compile(r"(\d+(?:\.\d+)?)\s*x\b", re.IGNORECASE)
APERTURE = re.compile(r"(?:NA\s*|/\s*)(\d\.\d+)", re.IGNORECASE)
NEEDED = "Replace every FILL_IN"

TEMPLATE = """\
# Skeleton made by `rackscan profile import {cfg}`. {needed}, then run
#   rackscan profile check THIS.yaml      until it says good, apart from the measured values
#   rackscan profile measure THIS.yaml    with a textured slide in place: it moves the rig
# Lengths are µm, times ms or s as the names say; hardware_profiles/README.md explains every key.
name: {name}
description: {description}

devices:
  cfg: {cfg}    # path relative to this file
  camera: {camera}    # {camera_note}
  xy: {xy}    # {xy_note}
{z}{light}{objective}  loader: {{kind: manual, slots: 1}}    # manual, insert or motor

limits:    # the soft limits must lie within the travel; leave room for condenser, insert and objective
  x_um: [{fill}, {fill}]
  y_um: [{fill}, {fill}]
  z_um: [{fill}, {fill}]
  travel_x_um: [{fill}, {fill}]    # from the stage's data sheet
  travel_y_um: [{fill}, {fill}]
  travel_z_um: [{fill}, {fill}]
  z_safe_um: {fill}    # where z waits while slides are loaded

# 1 or 3 channels of 8 or 16 bits
camera: {{width_px: {fill}, height_px: {fill}, channels: {fill}, bits: {fill}, exposure_ms: {fill}}}

objectives:
{objectives}
objective: {active}    # the one that scans

slide:
  axes: [[1, 0], [0, 1]]    # slide = axes @ (stage - origin); -1 where an axis counts the other way
  origins_stage_um: [[{fill}, {fill}]]    # stage position of the glass's top-left corner, label to the left

focus: {{strategy: {strategy}}}    # hybrid, every-tile, map, or fixed (z never moves)

# measured: is written by `rackscan profile measure`
"""


@dataclass(frozen=True, slots=True)
class _Stage:
    label: str
    note: str


def import_cfg(file: Path) -> str:
    """The text of a profile skeleton for the configuration in ``file``.

    Raises:
        BadInput: the file is no configuration, or has no camera or no XY stage, so that no slide can be scanned.
    """
    config = read_cfg(file)
    camera = _camera(config)
    stage = _xy_stage(config)
    return TEMPLATE.format(
        needed=NEEDED,
        fill=FILL_IN,
        cfg=_scalar(file.name),
        name=_name(file),
        description=_scalar(f"imported from {file.name}: {', '.join(sorted(_libraries(config)))}"),
        camera=_scalar(camera.label),
        camera_note=f"{camera.library} {camera.name}",
        xy=_scalar(stage.label),
        xy_note=stage.note,
        z=_z_line(config),
        light=_light_line(config),
        objective=_objective_line(config),
        objectives="\n".join(_objective_entries(config)),
        active=_scalar(next(iter(_objective_names(config)))),
        strategy="hybrid" if _focus_label(config) else "fixed",
    )


def _scalar(text: str) -> str:
    """Quoted where YAML would read the text as something else."""
    plain = re.fullmatch(r"[A-Za-z0-9_/.][A-Za-z0-9 _./()-]*", text)
    return (
        text if plain and text == text.strip() else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    )


def _name(file: Path) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", file.stem).strip("-").lower() or "rig"


def _libraries(config: MMConfig) -> set[str]:
    return {device.library for device in config.devices}


def _camera(config: MMConfig) -> CfgDevice:
    named = config.device(config.roles.get("camera", ""))
    likely = [d for d in config.matching(r"cam|^ixon$|^cascade$") if "shutter" not in d.label.lower()]
    camera = named or next(iter(likely), None)
    if camera is None:
        raise _refusal(config, "names no camera", "add a Device line for it and Property,Core,Camera,LABEL")
    return camera


def _xy_stage(config: MMConfig) -> _Stage:
    named = config.device(config.roles.get("xystage", ""))
    device = named or next(iter(config.matching(XY_STAGE)), None)
    if device is not None:
        return _Stage(device.label, f"{device.library} {device.name}")
    axes = [device.label for device in config.matching(SINGLE_AXIS)]
    if {label.upper() for label in axes} == {"X", "Y"}:
        return _Stage(
            "XY",
            f"{' and '.join(sorted(axes))} are two single-axis stages: join them in the .cfg with "
            "`Device,XY,Utilities,ComboXYStage` and its properties PhysicalStage1 and PhysicalStage2",
        )
    raise _refusal(
        config,
        "has no XY stage, so no slide can be scanned with it",
        "add the stage's Device line to the .cfg",
    )


def _refusal(config: MMConfig, problem: str, mend: str) -> BadInput:
    loaded = ", ".join(device.label for device in config.devices)
    return BadInput.one(f"{problem}; it loads {loaded}", mend, file=str(config.file))


def _focus_label(config: MMConfig) -> str | None:
    label = config.roles.get("focus")
    return label if label and config.device(label) else None


def _z_line(config: MMConfig) -> str:
    label = _focus_label(config)
    if label is None:
        return "  # z: LABEL of the focus drive; the configuration names none\n"
    said = {1: "towards the sample", -1: "away from the sample"}.get(config.focus_directions.get(label, 0))
    note = (
        f"the .cfg says a larger z goes {said}"
        if said
        else "say which way it goes in the .cfg: FocusDirection,LABEL,1 towards the sample, -1 away"
    )
    return f"  z: {_scalar(label)}    # {note}\n"


def _light_line(config: MMConfig) -> str:
    label = config.roles.get("shutter")
    if label is None or config.device(label) is None:
        return "  # light: {device: LABEL, property: State, on: 1, off: 0}    # the configuration names no shutter\n"
    return f"  light: {{device: {_scalar(label)}, property: State, on: 1, off: 0}}\n"


def _turret(config: MMConfig) -> CfgDevice | None:
    return next(iter(config.matching(OBJECTIVE)), None)


def _objective_line(config: MMConfig) -> str:
    turret = _turret(config)
    return f"  objective: {_scalar(turret.label)}\n" if turret else ""


def _objective_names(config: MMConfig) -> Mapping[str, int | None]:
    """Names with a magnification in them by turret state; where there are none, one to fill in."""
    turret = _turret(config)
    labels = config.labels.get(turret.label, {}) if turret else {}
    named: dict[str, int | None] = {labels[s]: s for s in sorted(labels) if MAGNIFICATION.search(labels[s])}
    return named or {"objective": None}


def _objective_entries(config: MMConfig) -> list[str]:
    return [_objective_entry(config, name, state) for name, state in _objective_names(config).items()]


def _objective_entry(config: MMConfig, name: str, state: int | None) -> str:
    power, aperture = MAGNIFICATION.search(name), APERTURE.search(name)
    values = {
        "name": _scalar(name),
        "magnification": power.group(1) if power else FILL_IN,
        "na": aperture.group(1) if aperture else FILL_IN,
        "working_distance_um": FILL_IN,
        "um_per_px": _um_per_px(config, name, state) or FILL_IN,
    }
    if state is not None:
        values["state"] = str(state)
    return "  - {" + ", ".join(f"{key}: {value}" for key, value in values.items()) + "}"


def _um_per_px(config: MMConfig, name: str, state: int | None) -> str | None:
    turret = _turret(config)
    for size in config.pixel_sizes:
        setting = size.settings.get(turret.label) if turret else None
        if setting is not None and setting in (name, str(state)):
            return f"{size.um_per_px:g}"
    return None
