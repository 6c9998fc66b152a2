"""What does a Micro-Manager configuration file say, as far as a file can say it without the hardware?

Read leniently: old files know no ``FocusDirection``, have ``Equipment`` and ``ImageSynchro`` lines, and differ
in case; what a line means to Micro-Manager itself is decided when the rig is started.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scanner.errors import BadInput

PYTHON_LINE = re.compile(r"^#\s*py\s+", re.IGNORECASE)
PYTHON_DEVICE = "pydevice"
DEVICE_FIELDS = 4
ROLE_FIELDS = 3
PIXEL_SIZE_FIELDS = 3


@dataclass(frozen=True, slots=True)
class CfgDevice:
    """One ``Device`` line: a label for device ``name`` of adapter ``library`` (a module for Python devices)."""

    label: str
    library: str
    name: str
    line: int


@dataclass(frozen=True, slots=True)
class CfgPixelSize:
    """One pixel-size preset: its µm per pixel, and the state or label of the objective it stands for."""

    preset: str
    um_per_px: float
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class MMConfig:
    """A parsed ``.cfg``; ``roles`` are the Core's (lower case), ``labels`` names of states by device."""

    file: Path
    devices: tuple[CfgDevice, ...]
    roles: Mapping[str, str]
    labels: Mapping[str, Mapping[int, str]]
    focus_directions: Mapping[str, int]
    pixel_sizes: tuple[CfgPixelSize, ...]
    unread: tuple[int, ...]

    def device(self, label: str) -> CfgDevice | None:
        """The device of that label."""
        return next((device for device in self.devices if device.label == label), None)

    def matching(self, pattern: str) -> list[CfgDevice]:
        """Devices whose label or device name matches a regular expression, any case."""
        seek = re.compile(pattern, re.IGNORECASE)
        return [device for device in self.devices if seek.search(device.name) or seek.search(device.label)]


def read_cfg(file: Path) -> MMConfig:
    """Parse a configuration.

    Raises:
        BadInput: it cannot be read, is not text, or has no ``Device`` line.
    """
    lines = _lines(file)
    rows = [(number, _fields(line)) for number, line in enumerate(lines, 1) if _speaks(line)]
    devices = tuple(_device(fields, number) for number, fields in rows if _is_device(fields))
    if not devices:
        raise BadInput.one(
            "no line of it loads a device", "give a Micro-Manager hardware configuration", file=str(file)
        )
    unread = tuple(number for number, fields in rows if len(fields) < 2)
    plain = [fields for _, fields in rows]
    return MMConfig(
        file, devices, _roles(plain), _labels(plain), _directions(plain), _pixel_sizes(plain), unread
    )


def _lines(file: Path) -> list[str]:
    try:
        raw = file.read_bytes()
    except OSError as error:
        said = error.strerror or "cannot be read"
        raise BadInput.one(
            f"the Micro-Manager configuration: {said}", "correct the path", str(file)
        ) from error
    if b"\0" in raw:
        raise BadInput.one("is not text", "give a Micro-Manager hardware configuration", file=str(file))
    # Configurators of the 2000s wrote the local code page; every byte is a Latin-1 character.
    try:
        return raw.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        return raw.decode("latin-1").splitlines()


def _speaks(line: str) -> bool:
    text = line.strip()
    return bool(text) and (not text.startswith("#") or bool(PYTHON_LINE.match(text)))


def _fields(line: str) -> list[str]:
    return [part.strip() for part in PYTHON_LINE.sub("", line.strip()).split(",")]


def _is_device(fields: list[str]) -> bool:
    return fields[0].lower() in ("device", PYTHON_DEVICE) and len(fields) >= DEVICE_FIELDS


def _device(fields: list[str], line: int) -> CfgDevice:
    return CfgDevice(fields[1], fields[2], fields[3], line)


def _roles(rows: list[list[str]]) -> dict[str, str]:
    """``Property,Core,Camera,X``; else the preset System/Startup, else the first preset that names the role."""
    presets = [
        (fields[1:3] != ["System", "Startup"], fields[3:]) for fields in rows if _is(fields, "configgroup")
    ]
    direct = [fields[1:] for fields in rows if _is(fields, "property")]
    settings = direct + [setting for _, setting in sorted(presets, key=lambda preset: preset[0])]
    roles: dict[str, str] = {}
    for setting in settings:
        if len(setting) == ROLE_FIELDS and setting[0].lower() == "core" and setting[2]:
            roles.setdefault(setting[1].lower(), setting[2])
    return roles


def _is(fields: list[str], kind: str) -> bool:
    return fields[0].lower() == kind


def _labels(rows: list[list[str]]) -> dict[str, dict[int, str]]:
    labels: dict[str, dict[int, str]] = {}
    for fields in rows:
        if _is(fields, "label") and len(fields) >= DEVICE_FIELDS and fields[2].isdecimal():
            labels.setdefault(fields[1], {})[int(fields[2])] = ",".join(fields[3:])
    return labels


def _directions(rows: list[list[str]]) -> dict[str, int]:
    stated = [fields for fields in rows if _is(fields, "focusdirection") and len(fields) > 2]
    return {fields[1]: int(fields[2]) for fields in stated if fields[2] in ("-1", "0", "1")}


def _pixel_sizes(rows: list[list[str]]) -> tuple[CfgPixelSize, ...]:
    settings: dict[str, dict[str, str]] = {}
    for fields in rows:
        if _is(fields, "configpixelsize") and len(fields) > DEVICE_FIELDS:
            settings.setdefault(fields[1], {})[fields[2]] = fields[4]
    sizes = [fields for fields in rows if _is(fields, "pixelsize_um") and len(fields) >= PIXEL_SIZE_FIELDS]
    return tuple(
        CfgPixelSize(fields[1], size, settings.get(fields[1], {}))
        for fields in sizes
        if (size := _positive(fields[2])) is not None
    )


def _positive(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 < number < float("inf") else None
