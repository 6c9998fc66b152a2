"""What does ``lookback.json`` say of an archive that was read again? Case numbers only, no path of an image."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import ValidationError

from detection.detector import Detector
from scanner.errors import BadInput
from scanner.model.base import Value
from scanner.offline.look_back.discordance import Discordant, Judged, Kind, State, asked_then
from scanner.offline.look_back.reading import Worst
from scanner.storage.atomic import SAME_COMMAND, is_temporary, write_atomic

SUMMARY = "lookback.json"


class PointUsed(Value):
    """An operating point, where it comes from, and how many images it was laid on."""

    operating_point: float
    said: str
    images: int


class DiagnosesUsed(Value):
    """Lines of the table, those that name no image of the source, and images without a line."""

    lines: int
    without_image: int
    images_without: int


class Line(Value):
    """A case that needs a person; where its image lies stands in ``discordant.csv``."""

    rank: int
    kind: Kind
    case: int
    slide_score: float | None
    operating_point: float
    old: str
    cells: int
    worst: Worst | None
    why: str


class LookBack(Value):
    """``lookback.json``, and what ``rackscan detect SOURCE --json`` prints of an archive.

    Attributes:
        complete: was every image of the source read?
        images: how many the source holds, ``read`` of them by this call.
        gone: images read earlier that are no longer in the source.
        without_image: slides of its runs that were never scanned.
        states: how many images are suspicious, not-suspicious, unreadable.
        kinds: how many cases need a person, by kind.
        asked_then: suspicious now, and a run had asked a person whose answer is not known.
        troubles: cases of damaged runs, and why the old word is not known.
    """

    complete: bool = False
    source: str
    detector: str
    detector_hash: str
    provider: str
    images: int = 0
    read: int = 0
    gone: int = 0
    without_image: int = 0
    states: dict[State, int] = {}
    kinds: dict[Kind, int] = {}
    asked_then: int = 0
    operating_points: tuple[PointUsed, ...] = ()
    diagnoses: DiagnosesUsed | None = None
    troubles: dict[int, str] = {}
    discordant: tuple[Line, ...] = ()


def begin(source: Path, out: Path, detector: Detector) -> LookBack:
    """An --out that is new or belongs to this source and detector; writes nothing yet.

    Raises:
        BadInput: it holds something else.
    """
    begun = LookBack(
        source=str(source),
        detector=detector.package.config.name,
        detector_hash=detector.package.hash,
        provider=detector.provider,
    )
    earlier = _earlier(out)
    if earlier is not None and earlier.detector_hash != begun.detector_hash:
        what = f"was read with another detector ({earlier.detector}, {earlier.detector_hash[:16]}…)"
        raise BadInput.one(what, "give that --detector, or another --out", file=str(out))
    if earlier is not None and earlier.source != begun.source:
        what = f"belongs to another source, {earlier.source}"
        raise BadInput.one(
            what, "give another --out (a source that moved: link its old place)", file=str(out)
        )
    return begun


def write_summary(out: Path, summary: LookBack) -> None:
    """``lookback.json``, in one step."""
    write_atomic(out / SUMMARY, summary.model_dump_json(indent=1) + "\n", SAME_COMMAND)


def counted(cases: Sequence[Judged]) -> dict[str, object]:
    """What the judged images say together, by field of ``LookBack``."""
    states = Counter(one.state for one in cases)
    points = Counter(one.point for one in cases)
    return {
        "states": {state: states[state] for state in State},
        "asked_then": asked_then(cases),
        "operating_points": tuple(
            PointUsed(operating_point=point.value, said=point.said, images=n) for point, n in points.items()
        ),
    }


def listed(found: Iterable[Discordant]) -> dict[str, object]:
    """The cases that need a person, by field of ``LookBack``."""
    lines = tuple(_line(one) for one in found)
    kinds = Counter(line.kind for line in lines)
    return {"kinds": {kind: kinds[kind] for kind in Kind}, "discordant": lines}


def _line(one: Discordant) -> Line:
    found = one.judged.found
    return Line(
        rank=one.rank,
        kind=one.kind,
        case=found.case,
        slide_score=found.slide_score,
        operating_point=one.judged.point.value,
        old=one.judged.past.word,
        cells=found.cells,
        worst=found.worst,
        why=found.unreadable,
    )


def _earlier(out: Path) -> LookBack | None:
    if not out.exists():
        return None
    if out.is_dir() and (out / SUMMARY).is_file():
        try:
            return LookBack.model_validate_json((out / SUMMARY).read_text(encoding="utf-8"))
        except (OSError, ValidationError) as error:
            mend = "choose another --out"
            raise BadInput.one(f"holds a {SUMMARY} that cannot be read", mend, file=str(out)) from error
    if not out.is_dir() or any(not is_temporary(path) for path in out.iterdir()):
        raise BadInput.one("is not an empty folder", "choose another --out", file=str(out))
    return None
