"""Where does each thing of a run lie, and how is the folder begun without touching what is there already?

``run.json`` comes first, by rename: a folder without it is no run, a folder with it can be resumed.
"""

import os
import secrets
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from pydantic import Field, JsonValue, ValidationError

from scanner.errors import BadInput, DamagedRun, Problem, RackscanError
from scanner.model.base import Value
from scanner.model.slide import Rack
from scanner.storage.atomic import is_temporary, write_atomic
from scanner.storage.hashes import text_hash


class FrozenFile(Value):
    """A file as it was when the run began: where, its text, and the SHA-256 of that text (UTF-8)."""

    path: str
    text: str
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Self:
        """Read and freeze a text file; Micro-Manager on Windows writes its .cfg in Latin-1, not in UTF-8.

        Raises:
            BadInput: it is not there, or not text.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BadInput.one(f"cannot be read: {error}", "give a text file", file=str(path)) from error
        if b"\0" in data:
            raise BadInput.one("cannot be read: it is no text", "give a text file", file=str(path))
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
        return cls(path=str(path.absolute()), text=text, sha256=text_hash(text))


class RunSettings(Value):
    """``run.json``: everything a resume or a replay needs to do the same again.

    ``options`` is the command line (region, seed, specimens, …), ``versions`` of the packages that decide about pixels.
    ``salt`` is what lots are drawn with; runs without one use their name.
    """

    run: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]*$")
    begun: datetime
    profile: FrozenFile | None = None
    cfg: FrozenFile | None = None
    rack: Rack | None = None
    detector: str | None = None
    detector_hash: str | None = None
    keep_tiles: bool = False
    options: dict[str, JsonValue] = {}
    versions: dict[str, str] = {}
    salt: str = ""


@dataclass(frozen=True, slots=True)
class SlidePaths:
    """Where the things of one slide lie."""

    folder: Path

    @property
    def image(self) -> Path:
        """The pyramid."""
        return self.folder / "image.ome.zarr"

    @property
    def edf(self) -> Path:
        """The fused plane of a thick sample, where asked for."""
        return self.folder / "edf.ome.zarr"

    @property
    def height(self) -> Path:
        """The heights of the fused plane, µm."""
        return self.folder / "height.ome.zarr"

    @property
    def cells(self) -> Path:
        """Suspicious cells with more planes, where asked for."""
        return self.folder / "cells.ome.zarr"

    @property
    def images(self) -> tuple[Path, ...]:
        """Those of the four that are there, the slide's own last."""
        there = (self.cells, self.height, self.edf, self.image)
        return tuple(path for path in there if path.is_dir())

    @property
    def findings(self) -> Path:
        """The findings table."""
        return self.folder / "findings.parquet"

    @property
    def geojson(self) -> Path:
        """The findings for other viewers."""
        return self.folder / "findings.geojson"

    @property
    def corrections(self) -> Path:
        """What people said about the findings, where they did; one file an answer."""
        return self.folder / "corrections"

    @property
    def tiles(self) -> Path:
        """The tiles table."""
        return self.folder / "tiles.parquet"

    @property
    def thumbnail(self) -> Path:
        """The slide small enough for a page."""
        return self.folder / "thumbnail.png"

    @property
    def label(self) -> Path:
        """The picture of the label."""
        return self.folder / "label.png"

    @property
    def report(self) -> Path:
        """The slide's report."""
        return self.folder / "report.json"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run; its layout is DESIGN's and other programs read it."""

    root: Path
    settings: RunSettings

    @classmethod
    def create(cls, out: Path, settings: RunSettings, needed_bytes: int = 0) -> Self:
        """Begin a run in ``out``, which is made where it is absent; the first thing a run writes.

        Raises:
            BadInput: ``out`` is occupied, read-only or on a disk with less than ``needed_bytes``; nothing was written.
        """
        problems = problems_with(out, needed_bytes)
        if problems:
            raise BadInput(problems)
        made = not out.exists()
        try:
            out.mkdir(parents=True, exist_ok=True)
            write_atomic(out / "run.json", settings.model_dump_json(indent=1))
        except (OSError, RackscanError) as error:
            if made and out.is_dir():
                out.rmdir()
            raise BadInput.one(f"cannot be written to: {error}", "choose another --out", str(out)) from error
        return cls(out, settings)

    @classmethod
    def open(cls, root: Path) -> Self:
        """An existing run.

        Raises:
            BadInput: ``root`` is no run folder.
            DamagedRun: its ``run.json`` is not what we wrote.
        """
        try:
            text = (root / "run.json").read_text(encoding="utf-8")
        except OSError as error:
            mend = "give the --out folder of an earlier rackscan run"
            raise BadInput.one("is not a run folder (no run.json)", mend, file=str(root)) from error
        try:
            return cls(root, RunSettings.model_validate_json(text))
        except ValidationError as error:
            raise DamagedRun(f"{root / 'run.json'}: not the settings of a run: {error}") from error

    @property
    def ledger(self) -> Path:
        """The facts."""
        return self.root / "run.sqlite"

    @property
    def log(self) -> Path:
        """The log without identifiers."""
        return self.root / "log.jsonl"

    @property
    def report_page(self) -> Path:
        """The report to look at."""
        return self.root / "report.html"

    @property
    def report(self) -> Path:
        """The report for programs."""
        return self.root / "report.json"

    @property
    def frames(self) -> Path:
        """Where the spool keeps its frames: ``tiles`` where they stay, ``spool`` where they go."""
        return self.root / ("tiles" if self.settings.keep_tiles else "spool")

    @property
    def fused(self) -> Path:
        """Where fused planes wait for their blocks; never kept, they follow from the layers."""
        return self.root / "fused"

    @property
    def slides(self) -> Path:
        """One folder a slide."""
        return self.root / "slides"

    def slide(self, slide_id: str) -> SlidePaths:
        """Where the things of a slide lie, whether they are there or not."""
        return SlidePaths(self.slides / slide_id)

    def relative(self, path: Path) -> str:
        """A path as the reports name it: from the run folder, with forward slashes."""
        return path.relative_to(self.root).as_posix()


def problems_with(out: Path, needed_bytes: int = 0) -> list[Problem]:
    """Everything that keeps a run from beginning in ``out``; looks only, writes nothing."""
    if out.exists() and not out.is_dir():
        return [Problem("is a file", "give a new or empty folder as --out", str(out))]
    home = _nearest_folder(out)
    try:
        kept = [path.name for path in out.iterdir() if not is_temporary(path)] if out.is_dir() else []
        return [*_occupied(out, kept), *_unwritable(out, home), *_too_full(out, home, needed_bytes)]
    except OSError as error:
        return [Problem(f"cannot be looked at: {error.strerror}", "choose another --out", str(out))]


def new_run_id() -> str:
    """A short name of a run: UTC date, time, and four random hexadecimal digits."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def slide_id(slot: int, run: str) -> str:
    """The name of a slide in a run, SLOT-RUNID: nothing about a patient."""
    return f"{slot}-{run}"


def _nearest_folder(path: Path) -> Path:
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())


def _occupied(out: Path, kept: list[str]) -> list[Problem]:
    if "run.json" in kept:
        mend = f"go on with it by `rackscan resume {out}`, or give another --out"
        return [Problem("holds another run", mend, str(out))]
    if kept:
        return [Problem(f"is not empty: it holds {kept[0]}", "give a new or empty folder as --out", str(out))]
    return []


def _unwritable(out: Path, home: Path) -> list[Problem]:
    if os.access(home, os.W_OK | os.X_OK):
        return []
    return [Problem(f"{home} may not be written to", "choose another --out or make it writable", str(out))]


def _too_full(out: Path, home: Path, needed_bytes: int) -> list[Problem]:
    free = shutil.disk_usage(home).free
    if free >= max(needed_bytes, _LEAST_BYTES):
        return []
    needed = f"{max(needed_bytes, _LEAST_BYTES) / 1e9:.2f} GB needed, {free / 1e9:.2f} GB free"
    return [Problem(f"the disk is too full: {needed}", "free space or choose another --out", str(out))]


_LEAST_BYTES = 1_000_000
"""The ledger and the log of the smallest run."""
