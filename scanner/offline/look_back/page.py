"""How does a list of discordant cases become a page to look at: each with its most suspicious cells as pictures?

The page is self-contained and runs no script.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from scanner.offline.look_back.archive import Place
from scanner.offline.look_back.careful import CarefulImage, Unreadable
from scanner.offline.look_back.discordance import Discordant, Judged, Kind, State
from scanner.offline.look_back.past import Past
from scanner.offline.look_back.summary import LookBack
from scanner.review.pictures import crops
from scanner.review.report import templates
from scanner.review.rows import FindingRows, finding_rows
from scanner.review.slide_page import Card, card
from scanner.review.words import VERDICTS, Words
from scanner.storage.atomic import SAME_COMMAND, write_atomic
from scanner.storage.tables import FINDING_COLUMNS, read_table

PAGE = "lookback.html"
MOST_CELLS = 8
MOST_PICTURED = 200

KINDS = {
    Kind.MISSED_THEN: Words(
        "Called negative then, suspicious now",
        "Look at these slides again first: what was called negative looks suspicious to the newer detector.",
        "bad",
    ),
    Kind.UNRECORDED: Words(
        "Suspicious now, nothing recorded",
        "These slides look suspicious, and no verdict or diagnosis was found: somebody has to look.",
        "bad",
    ),
    Kind.MISSED_NOW: Words(
        "Abnormal then, not suspicious now",
        "The newer detector sees nothing where somebody once did: its misses, or a diagnosis of another slide.",
        "warn",
    ),
    Kind.UNREADABLE: Words(
        "Could not be judged",
        "Nothing is said about these cases, least of all that they are negative.",
        "quiet",
    ),
}
STATES = {
    State.SUSPICIOUS: "suspicious",
    State.NOT_SUSPICIOUS: "not suspicious",
    State.UNREADABLE: "could not be judged",
}


@dataclass(frozen=True, slots=True)
class CaseView:
    """One discordant case; ``unseen`` says why there are no pictures."""

    rank: int
    judged: Judged
    then: str
    cards: tuple[Card, ...] = ()
    unseen: str = ""

    @property
    def number(self) -> str:
        """The name of its folder."""
        return f"{self.judged.found.case:04d}"


@dataclass(frozen=True, slots=True)
class Group:
    """The cases of one kind."""

    kind: Kind
    words: Words
    cases: tuple[CaseView, ...]


@dataclass(frozen=True, slots=True)
class LookBackPage:
    """All that the page shows."""

    summary: LookBack
    written: datetime
    groups: tuple[Group, ...]
    most_cells: int = MOST_CELLS
    most_pictured: int = MOST_PICTURED

    @property
    def read(self) -> int:
        """Images that have an answer."""
        return sum(self.summary.states.values())

    @property
    def states(self) -> list[tuple[int, str]]:
        """How many images are in which state, in words."""
        return [(self.summary.states.get(state, 0), words) for state, words in STATES.items()]


def write_page(
    out: Path, summary: LookBack, found: Sequence[Discordant], places: Mapping[int, Place]
) -> Path:
    """Write ``lookback.html``; where it is. ``places`` says where the image of a case lies.

    Raises:
        RackscanError: the disk is full or read-only.
    """
    views = [_view(one, out, places[one.judged.found.case]) for one in found]
    kinds = [one.kind for one in found]
    groups = tuple(
        Group(kind, words, tuple(view for view, its in zip(views, kinds, strict=True) if its is kind))
        for kind, words in KINDS.items()
        if kind in kinds
    )
    page = LookBackPage(summary, datetime.now(UTC), groups)
    text = templates().get_template("look_back.html.j2").render(page=page)
    write_atomic(out / PAGE, text, SAME_COMMAND)
    return out / PAGE


def _view(one: Discordant, out: Path, place: Place) -> CaseView:
    then = _then(one.judged.past)
    found = one.judged.found
    if not found.findings:
        return CaseView(one.rank, one.judged, then)
    if one.rank > MOST_PICTURED:
        return CaseView(one.rank, one.judged, then, unseen="see its findings.geojson")
    table = read_table(out / "cases" / f"{found.case:04d}" / "findings.parquet", FINDING_COLUMNS)
    try:
        cards = tuple(_cards(finding_rows(table), place, found.um_per_px or 1.0))
        return CaseView(one.rank, one.judged, then, cards)
    except Unreadable as error:
        return CaseView(one.rank, one.judged, then, unseen=str(error))


def _cards(rows: FindingRows, place: Place, um_per_px: float) -> Iterator[Card]:
    with closing(CarefulImage(place)) as image:
        w, h = image.width_px, image.height_px
        found = crops(rows, lambda y, x, high, wide: image.read(x, y, wide, high), w, h, MOST_CELLS)
        for crop in found:
            yield card(rows, crop, um_per_px)


def _then(past: Past) -> str:
    """The old word for a person: a verdict in the report's words, a diagnosis as it stands."""
    known = {verdict.value: words.name for verdict, words in VERDICTS.items()}
    return known.get(past.word, past.word) or "nothing recorded"
