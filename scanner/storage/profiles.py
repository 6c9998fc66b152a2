"""Is this file the profile of a rig, and if not, what has to be mended?"""

from datetime import UTC, datetime
from pathlib import Path

from scanner.errors import BadInput, Problem
from scanner.model.profile import Profile
from scanner.storage import profile_checks
from scanner.storage.strict_yaml import Document, read_document, validate


def read_profile(file: Path, need_measured: bool = True) -> Profile:
    """The profile in ``file``; without ``need_measured`` also one whose rig was never measured.

    Raises:
        BadInput: with every problem of the profile and its Micro-Manager configuration at once.
    """
    profile, problems = _examine(file, need_measured)
    if profile is None or problems:
        raise BadInput(problems)
    return profile


def check_profile(file: Path) -> list[Problem]:
    """Every problem at once: none for a profile that a run would accept."""
    try:
        return _examine(file, need_measured=True)[1]
    except BadInput as error:
        return list(error.problems)


def profile_warnings(file: Path, now: datetime | None = None) -> list[Problem]:
    """What a run would accept and a careful person would not: measured values past their date."""
    document = read_document(file)
    profile, _ = validate(document, Profile)
    if profile is None:
        return []
    return profile_checks.expired_values(profile, document, now or datetime.now(UTC))


def cfg_path(file: Path, profile: Profile) -> Path:
    """The Micro-Manager configuration of the profile that was read from ``file``."""
    return (file.parent / profile.devices.cfg).resolve()


def missing_values(profile: Profile) -> list[str]:
    """Names of the measured values that a run needs and the profile lacks."""
    return [name for name in _needed(profile) if getattr(profile.measured, name) is None]


def _needed(profile: Profile) -> list[str]:
    always = ["camera_to_stage", "backlash_um", "xy_kinematics", "readout_ms"]
    return [*always, "z_kinematics", "z_sign"] if profile_checks.focuses(profile) else always


def _examine(file: Path, need_measured: bool) -> tuple[Profile | None, list[Problem]]:
    document = read_document(file)
    profile, problems = validate(document, Profile)
    problems += profile_checks.configuration_problems(document)
    if profile is not None:
        problems += profile_checks.contradictions(profile, document)
        problems += _unmeasured(profile, document) if need_measured else []
    return profile, problems


def _unmeasured(profile: Profile, document: Document) -> list[Problem]:
    measure = f"run `rackscan profile measure {document.file}`"
    say_first = (
        f"say FocusDirection,{profile.devices.z},1 (towards the sample) or -1 in {profile.devices.cfg}, then"
    )
    return [
        document.problem(
            ("measured", name),
            "was never measured on this rig",
            f"{say_first} {measure}" if name == "z_sign" else measure,
        )
        for name in missing_values(profile)
    ]
