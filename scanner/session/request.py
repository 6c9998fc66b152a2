"""What was asked for, and can it be done? Every fault is told at once, before anything moves or is written."""

import importlib.metadata
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import JsonValue, ValidationError

from detection.errors import DetectionError
from detection.package import DetectorPackage
from detection.record import EvaluationRecord, matching, read_records
from scanner.acquisition.locate import plan_slide, reachable_um
from scanner.errors import BadInput, Problem
from scanner.model.events import Kind
from scanner.model.geometry import Rect
from scanner.model.layers import CellCapture
from scanner.model.profile import FocusStrategy, Profile
from scanner.model.slide import Rack, RackSlot, Slide
from scanner.pipeline.searching import CellSearch
from scanner.pipeline.verdict import rig_hash, taken_again
from scanner.storage.ledger import LedgerProtocol
from scanner.storage.profiles import read_profile
from scanner.storage.racks import read_rack
from scanner.storage.run_folder import FrozenFile, RunSettings, new_run_id, problems_with

T = TypeVar("T")

NO_DETECTOR = "none"
RACK_FILE = "rack"
IN_PROCESS, LOCAL = "in-process", "local"
DEFAULT_PACKAGE = Path(__file__).parents[2] / "detection" / "packages" / "default"
DECIDE_ABOUT_PIXELS = (
    "numpy",
    "opencv-python-headless",
    "scipy",
    "tensorstore",
    "onnxruntime",
    "pymmcore-plus",
)


@dataclass(frozen=True, slots=True)
class RunRequest:
    """The command line of ``rackscan run``; ``region_um`` in slide µm, ``detector`` a path, ``none`` or None.

    ``capture_cells``: how many suspicious cells of a slide are taken again, None as the profile says. ``workers`` says
    where the detector is at work: ``in-process``, ``local`` or the address of a scheduler.
    """

    profile: Path
    out: Path
    rack: Path | None = None
    slides: int | None = None
    specimens: tuple[Path, ...] = ()
    um_per_px: float | None = None
    region_um: Rect | None = None
    detector: str | None = None
    keep_tiles: bool = False
    seed: int | None = None
    capture_cells: int | None = None
    workers: str = LOCAL


@dataclass(frozen=True, slots=True)
class Search:
    """The detector of a run and on what grounds it may exclude; both None for a scan without one."""

    path: Path | None
    package: DetectorPackage | None
    record: EvaluationRecord | None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that can be done. ``run_values`` are what the rig's devices are told of it, ``cells`` searches."""

    profile: Profile
    profile_path: Path
    rack: Rack
    region_um: Rect | None
    search: Search
    settings: RunSettings
    run_values: dict[str, str] = field(default_factory=dict)
    cells: CellSearch | None = None


def prepare(request: RunRequest) -> Prepared:
    """Read and check everything a run needs.

    Raises:
        BadInput: with every problem of profile, rack, detector, specimens, region and output folder.
    """
    problems: list[Problem] = []
    profile = _try(problems, lambda: asked_of(read_profile(request.profile), request.capture_cells))
    search = _try(problems, lambda: _search(request, profile))
    rack = _try(problems, lambda: _rack(request, profile))
    problems += [*_specimen_problems(request), *problems_with(request.out)]
    if profile is not None:
        problems += [*_region_problems(request, profile), *_cell_problems(request, profile)]
    if problems or profile is None or rack is None or search is None:
        raise BadInput(problems)
    settings = _settings(request, profile, rack, search)
    values = run_values(settings)
    return Prepared(profile, request.profile, rack, request.region_um, search, settings, values)


def reopen(settings: RunSettings, ledger: LedgerProtocol) -> Prepared:
    """The same request again, from a run folder; which slides lie where, the ledger knows.

    Raises:
        BadInput: the profile was changed since the run began, or what it needs is gone.
    """
    rack = _rack_of(settings, ledger)
    if settings.profile is None or rack is None:
        raise BadInput.one("this run has no rig to go on with", "a replay is run again as a whole")
    path = Path(settings.profile.path)
    if FrozenFile.of(path).sha256 != settings.profile.sha256:
        mend = "put the profile back as it was, or begin a new run"
        raise BadInput.one("the profile was changed since this run began", mend, file=str(path))
    said = settings.options.get("capture_cells")
    profile = asked_of(read_profile(path), said if isinstance(said, int) else None)
    package = None if settings.detector is None else _load(Path(settings.detector))
    if package is not None and package.hash != settings.detector_hash:
        mend = "put the detector back as it was, or begin a new run"
        raise BadInput.one("the detector was changed since this run began", mend, file=str(settings.detector))
    own_slides = package is not None and not settings.options.get("specimens")
    search = _with_record(package, profile, path) if package and own_slides else _without_record(package)
    return Prepared(profile, path, rack, _region(settings), search, settings, run_values(settings))


def asked_of(profile: Profile, cells: int | None) -> Profile:
    """The profile with what the command line says instead.

    Raises:
        BadInput: no such number of cells.
    """
    if cells is None:
        return profile
    try:
        capture = CellCapture.model_validate({**profile.capture_cells.model_dump(), "cells": cells})
    except ValidationError as error:
        words = error.errors()[0]["msg"].lower()
        raise BadInput.one(words, "say how many cells, 0 for none", field="--capture-cells") from error
    return profile.model_copy(update={"capture_cells": capture})


def run_values(settings: RunSettings) -> dict[str, str]:
    """What the rig's devices are told of the command line: see ``Profile.run_properties``."""
    options = settings.options
    values = {key: str(options[key]) for key in ("um_per_px", "seed") if options.get(key) is not None}
    specimens = options.get("specimens")
    if isinstance(specimens, list) and specimens:
        values["specimen"] = ";".join(map(str, specimens))
    return values


def _without_identities(rack: Rack) -> Rack:
    """Slots and preparations only: who a slide is stays in the ledger and the local report."""
    return Rack(slots=tuple(entry.model_copy(update={"slide": None}) for entry in rack.slots))


def _rack_of(settings: RunSettings, ledger: LedgerProtocol) -> Rack | None:
    """Which slides lie where, as the ledger knows it; None for a replay.

    Raises:
        BadInput: the run was killed before the ledger knew, and only the rack file said so.
    """
    started = ledger.latest(Kind.RUN_STARTED)
    if started is not None:
        rack = started.body.get("rack")
        return Rack.model_validate(rack) if rack else None
    if settings.options.get(RACK_FILE):
        problem = "the run was killed before it had written down whose slides these are; nothing had moved"
        raise BadInput.one(problem, "delete its folder and give rackscan run again")
    return settings.rack


def _try(problems: list[Problem], read: Callable[[], T]) -> T | None:
    try:
        return read()
    except BadInput as error:
        problems += error.problems
        return None


def _search(request: RunRequest, profile: Profile | None) -> Search:
    if request.detector == NO_DETECTOR:
        return Search(None, None, None)
    package = _load(Path(request.detector) if request.detector else DEFAULT_PACKAGE)
    if profile is None or request.specimens:
        return Search(package.path, package, None)
    return _with_record(package, profile, request.profile)


def _load(path: Path) -> DetectorPackage:
    try:
        return DetectorPackage.load(path)
    except DetectionError as error:
        raise BadInput.one(str(error), "give another --detector, or none", file=str(path)) from error


def _with_record(package: DetectorPackage, profile: Profile, profile_path: Path) -> Search:
    """The record made with this detector on this rig's own slides; a picture as specimen is none of them."""
    records = read_records(profile_path.parent)
    rig, again = rig_hash(profile), taken_again(profile)
    return Search(package.path, package, matching(records, package.hash, profile.name, rig, again))


def _without_record(package: DetectorPackage | None) -> Search:
    return Search(package.path if package else None, package, None)


def _rack(request: RunRequest, profile: Profile | None) -> Rack | None:
    held = profile.devices.loader.slots if profile else None
    if request.rack is not None:
        reach = (lambda slot: reachable_um(profile, slot)) if profile else None
        rack = _first(read_rack(request.rack, held, reach), request.slides)
        return _focusable(rack, request.rack, profile)
    count = request.slides if request.slides is not None else (len(request.specimens) or held)
    if count is None:
        return None
    if count < 1 or (held is not None and count > held):
        raise BadInput.one(
            f"{count} slides, but the loader holds 1 to {held}", "correct --slides", field="--slides"
        )
    return Rack(slots=tuple(RackSlot(slot=slot) for slot in range(1, count + 1)))


def _focusable(rack: Rack, file: Path, profile: Profile | None) -> Rack:
    """The same rack, unless it gives focus points to a rig that does not focus."""
    fixed = profile is not None and profile.focus.strategy is FocusStrategy.FIXED
    given = [index for index, entry in enumerate(rack.slots) if entry.focus_points is not None]
    if fixed and given:
        problem = "focus points are given, but the profile's focus.strategy is `fixed`"
        mend = "leave them out, or let the rig focus"
        raise BadInput.one(problem, mend, file=str(file), field=f"slots[{given[0]}].focus_points")
    return rack


def _first(rack: Rack, count: int | None) -> Rack:
    """The first slots of a rack file; all of them where no number was given."""
    if count is not None and not 1 <= count <= len(rack.slots):
        problem = f"{count} slides, but the rack file names {len(rack.slots)}"
        raise BadInput.one(problem, "correct --slides or the rack file", field="--slides")
    return Rack(slots=rack.slots[:count])


def _specimen_problems(request: RunRequest) -> list[Problem]:
    return [
        Problem(
            "there is no such specimen",
            "give an image or a folder of planes",
            file=str(path),
            field="--specimen",
        )
        for path in request.specimens
        if not path.exists()
    ]


def _region_problems(request: RunRequest, profile: Profile) -> list[Problem]:
    """Whether the stage reaches the region, and whether the rig can do without one."""
    if request.region_um is None:
        if profile.devices.overview is not None:
            return []
        return [
            Problem("this rig has no overview camera to find the sample with", "add --region X,Y,W,H in mm")
        ]
    try:
        plan = plan_slide(None, profile, Slide(slot=1, slide_id="1-check"), request.region_um)
    except BadInput as error:
        return list(error.problems)
    return [] if plan is None else plan.problems(profile.stage_to_slide(1).inverse(), profile.limits)


def _cell_problems(request: RunRequest, profile: Profile) -> list[Problem]:
    """Taking cells again needs a detector that finds them and a drive that may move."""
    asked = profile.capture_cells
    if asked.cells == 0:
        return []
    field = "--capture-cells" if request.capture_cells else "capture_cells"
    if request.detector == NO_DETECTOR:
        return [
            Problem("cells are to be taken again, but no detector finds any", "leave one out", field=field)
        ]
    focuses = profile.devices.z is not None and profile.focus.strategy is not FocusStrategy.FIXED
    if not focuses or profile.measured.z_sign is None:
        mend = "set it to 0, or let the rig focus (rackscan profile measure tells which way z is up)"
        return [Problem("cells are to be taken again, but this rig does not move z", mend, field=field)]
    low, high = profile.limits.z_um
    if max(asked.offsets_um) - min(asked.offsets_um) >= high - low:
        mend = "take fewer or closer layers, or widen limits.z_um"
        return [Problem("the layers of a cell reach beyond the limits of z", mend, field=field)]
    return []


def _settings(request: RunRequest, profile: Profile, rack: Rack, search: Search) -> RunSettings:
    region = request.region_um
    options: dict[str, JsonValue] = {
        RACK_FILE: str(request.rack.absolute()) if request.rack else None,
        "region_um": [region.x, region.y, region.w, region.h] if region else None,
        "seed": request.seed,
        "specimens": [str(path.absolute()) for path in request.specimens],
        "um_per_px": request.um_per_px,
    }
    if request.capture_cells is not None:
        options["capture_cells"] = request.capture_cells
    return RunSettings(
        run=new_run_id(),
        begun=datetime.now(UTC),
        profile=FrozenFile.of(request.profile),
        cfg=FrozenFile.of(request.profile.parent / profile.devices.cfg),
        rack=_without_identities(rack),
        detector=str(search.path) if search.path else None,
        detector_hash=search.package.hash if search.package else None,
        keep_tiles=request.keep_tiles,
        options=options,
        salt=secrets.token_hex(8) if request.seed is None else f"seed {request.seed}",
        versions={name: importlib.metadata.version(name) for name in DECIDE_ABOUT_PIXELS},
    )


def _region(settings: RunSettings) -> Rect | None:
    region = settings.options.get("region_um")
    return Rect(*(float(str(v)) for v in region)) if isinstance(region, list) else None
