"""How do measured values get into a profile without touching a word that its owner wrote?"""

import os
import tempfile
from pathlib import Path

import yaml

from scanner.model.profile import MeasuredValues
from scanner.storage.profiles import read_profile

HEADER = "# written by `rackscan profile measure`; a new measurement replaces this section\n"


def write_measured(file: Path, measured: MeasuredValues) -> None:
    """Replace the ``measured:`` section of ``file``; values that ``measured`` lacks keep what they were.

    Everything else stays as it is, byte for byte; the file changes by rename, or not at all.

    Raises:
        BadInput: ``file`` is no profile.
        OSError: it cannot be written.
    """
    old = read_profile(file, need_measured=False).measured
    merged = MeasuredValues(**{**_given(old), **_given(measured)})
    before, after = _around(file.read_text(encoding="utf-8"))
    _replace(file, before + _section(merged) + after)


def _given(measured: MeasuredValues) -> dict[str, object]:
    names = MeasuredValues.model_fields
    return {name: value for name in names if (value := getattr(measured, name)) is not None}


def _section(measured: MeasuredValues) -> str:
    values = measured.model_dump(mode="json", exclude_none=True)
    text = yaml.safe_dump(
        {"measured": values}, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
    )
    return HEADER + text


def _around(text: str) -> tuple[str, str]:
    """The text before the section (without an old header) and after it; the section ends the file where it lacks."""
    lines = text.splitlines(keepends=True)
    start = next((i for i, line in enumerate(lines) if line.startswith("measured:")), len(lines))
    ends = (i for i in range(start + 1, len(lines)) if lines[i].strip() and lines[i][0] not in " \t-}]")
    end = next(ends, len(lines))
    before = "".join(line for line in lines[:start] if line != HEADER)
    if before and not before.endswith("\n"):
        before += "\n"
    return before, "".join(lines[end:])


def _replace(file: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    new = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        new.chmod(file.stat().st_mode)
        read_profile(new, need_measured=False)
        new.replace(file)
    finally:
        new.unlink(missing_ok=True)
