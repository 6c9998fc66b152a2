"""What was said of a case when it was first looked at: by a run, or by whoever signed it out?"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from detection.errors import PackageError
from detection.record import matching, read_records
from scanner.errors import BadInput, DamagedRun
from scanner.model.events import Kind
from scanner.model.profile import Profile
from scanner.model.report import SlideReport, Verdict
from scanner.offline.look_back.archive import Place
from scanner.pipeline.verdict import rig_hash
from scanner.storage.facts import BlockFact
from scanner.storage.reader import RunReader, block_file
from scanner.storage.run_folder import FrozenFile, RunSettings, SlidePaths
from scanner.storage.strict_yaml import parse_document, validate


class Says(StrEnum):
    """What the old word means for the case. ``PERSON``: someone was asked to look, and the answer is not known."""

    NEGATIVE = "negative"
    ABNORMAL = "abnormal"
    PERSON = "person"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Past:
    """The old word; ``gravity`` 0..6 orders abnormal ones; images of one recorded case share ``case``."""

    word: str
    says: Says
    gravity: int = 0
    case: int | None = None


URGENT_GRAVITY, REVIEW_GRAVITY = 5, 2
NOTHING_SAID = Past("", Says.NOTHING)


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A slide score at or over it is suspicious; ``said`` tells where it comes from."""

    value: float
    said: str


DEFAULT_POINT = OperatingPoint(
    0.5,
    "the default: no evaluation record says how this detector does on the rig that took the image",
)


@dataclass(frozen=True, slots=True)
class Case:
    """An image to read, what was said of it, and which score of it is suspicious.

    ``names`` are what a list of diagnoses may call its case, the surest first.
    ``trouble`` says why the old word of a run is not known.
    """

    image: Place
    past: Past
    point: OperatingPoint
    names: tuple[str, ...]
    in_run: bool = False
    trouble: str = ""


def stand_alone(image: Place, point: OperatingPoint | None) -> Case:
    """An image that no run made."""
    stem = _stem(image.path.name)
    return Case(image, NOTHING_SAID, point or DEFAULT_POINT, (stem, *_folders(image.name)))


def of_run(slide: Place, detector: str, point: OperatingPoint | None) -> Case | None:
    """The case of a run's slide; None where the run made no image of it and never said it had.

    Args:
        slide: the folder of the slide.
        detector: hash of the newer detector.
        point: what ``--operating-point`` says.

    Raises:
        BadInput: an evaluation record beside the rig's profile is none.
    """
    root, paths, slide_id = slide.path.parent.parent, SlidePaths(slide.path), slide.path.name
    image = Place(paths.image, f"{slide.name}/{paths.image.name}")
    names = (slide_id, *_folders(slide.name))
    try:
        with RunReader.open(root) as reader:
            report, settings = reader.report(slide_id), reader.folder.settings
            past = _past(reader, slide_id, report)
    except (DamagedRun, BadInput, ValueError) as error:
        trouble = str(error).replace(str(root), "the run")
        return Case(image, NOTHING_SAID, point or DEFAULT_POINT, names, True, trouble)
    if not paths.image.is_dir() and (report is None or report.image is None):
        return None
    accession = report.accession if report is not None else None
    point = point or _recorded_point(settings, detector) or DEFAULT_POINT
    return Case(image, past, point, (*((accession,) if accession else ()), *names), True)


def blocks_missing(slide: Path) -> int:
    """How many blocks that the ledger knows are not in the slide's image; such places read as empty glass.

    Raises:
        DamagedRun: the ledger cannot be read.
    """
    with RunReader.open(slide.parent.parent) as reader:
        events = reader.ledger.events(Kind.BLOCK, slide.name)
        return sum(not block_file(slide, BlockFact.from_body(event.body)).is_file() for event in events)


def _past(reader: RunReader, slide_id: str, report: SlideReport | None) -> Past:
    """The ledger's last word; what never was finished said nothing."""
    finished = reader.ledger.latest(Kind.SLIDE_FINISHED, slide_id)
    if finished is None:
        return Past("not finished", Says.NOTHING)
    verdict = Verdict(str(finished.body.get("verdict")))
    if verdict is Verdict.NEGATIVE_EXCLUDED:
        return Past(verdict.value, Says.NEGATIVE)
    if verdict is Verdict.URGENT:
        return Past(verdict.value, Says.ABNORMAL, URGENT_GRAVITY)
    if verdict is not Verdict.REVIEW:
        return Past(verdict.value, Says.NOTHING)
    over = _was_over_the_point(report)
    return Past(verdict.value, Says.ABNORMAL, REVIEW_GRAVITY) if over else Past(verdict.value, Says.PERSON)


def _was_over_the_point(report: SlideReport | None) -> bool:
    if report is None or report.slide_score is None or report.operating_point is None:
        return False
    return report.slide_score >= report.operating_point


def _recorded_point(settings: RunSettings, detector: str) -> OperatingPoint | None:
    """That of the record made with the newer detector on the rig as it was when it scanned its own slides."""
    if settings.profile is None or settings.options.get("specimens"):
        return None
    profile = _rig(settings.profile)
    if profile is None:
        return None
    try:
        records = read_records(Path(settings.profile.path).parent)
    except PackageError as error:
        mend = "mend or remove it, or give --operating-point"
        raise BadInput.one(str(error), mend, file=error.path) from error
    record = matching(records, detector, profile.name, rig_hash(profile))
    if record is None:
        return None
    if not record.excludes:
        return OperatingPoint(
            DEFAULT_POINT.value,
            f"the default: by its evaluation record this detector excludes no slide on {record.profile}",
        )
    return OperatingPoint(
        record.operating_point, f"the evaluation record of this detector on {record.profile}"
    )


def _rig(frozen: FrozenFile) -> Profile | None:
    """The profile as it was frozen; None where an older rackscan wrote it otherwise."""
    try:
        return validate(parse_document(frozen.text, Path(frozen.path)), Profile)[0]
    except BadInput:
        return None


def _folders(name: str) -> tuple[str, ...]:
    """The folders a thing lies in, the nearest first."""
    return tuple(reversed(name.split("/")[:-1]))


def _stem(name: str) -> str:
    """A file's name without its ending: ``B7`` of ``B7.ome.zarr``."""
    stem = Path(name).stem
    return stem[: -len(".ome")] if stem.lower().endswith(".ome") else stem
