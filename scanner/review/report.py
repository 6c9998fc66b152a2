"""How does a run become one page that a lab can read, print and keep?

The page is self-contained, runs no script and decides nothing: it shows what the reports and tables say.
A slide's section is kept beside its report, so that a long rack's page is written as fast as a short one's.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup

from scanner.model.report import Outcome, RunResult, SlideReport
from scanner.review.slide_page import picture_uri, sharp_share, slide_page, title
from scanner.review.words import OUTCOMES, VERDICTS, Words, amount, minutes
from scanner.storage.atomic import write_atomic
from scanner.storage.hashes import text_hash
from scanner.storage.reader import RunReader

MINI_PX = 96
OF_A_RUN = (
    *("report.html.j2", "report.css", "mosaic.css"),
    *("section.html.j2", "panels.html.j2", "mosaic_panels.html.j2"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One finished slide: its line in the table and its section, finished HTML."""

    report: SlideReport
    title: str
    verdict: Words
    outcome: Words
    mini: str | None
    sharp_share: float | None
    section: Markup


@dataclass(frozen=True, slots=True)
class RunPage:
    """All that the page shows of a run."""

    run: str
    begun: datetime
    written: datetime
    rig: str
    detector: str
    slides: tuple[Entry, ...]
    unfinished: tuple[str, ...]

    @property
    def tally(self) -> list[tuple[Words, int]]:
        """How many slides have each verdict, the most pressing first; empty slots are counted as such."""
        counts = Counter(slide.report.verdict for slide in self.slides if not _is_empty(slide.report))
        empty = sum(_is_empty(slide.report) for slide in self.slides)
        said = [(VERDICTS[verdict], counts[verdict]) for verdict in VERDICTS if counts[verdict]]
        return said + ([(OUTCOMES[Outcome.EMPTY], empty)] if empty else [])

    @property
    def scan_seconds(self) -> float:
        """The scans of all slides together."""
        return sum(slide.report.seconds.scan for slide in self.slides)

    @property
    def counted(self) -> RunResult:
        """The exclusions of the run, before and after the second reader."""
        return RunResult.of(self.run, tuple(slide.report for slide in self.slides))

    @property
    def needing_a_person(self) -> int:
        """Slides that are neither excluded nor empty."""
        return sum(not _is_settled(slide.report) for slide in self.slides)


def _is_empty(report: SlideReport) -> bool:
    return report.outcome is Outcome.EMPTY


def _is_settled(report: SlideReport) -> bool:
    return report.excluded or _is_empty(report)


def write_report(run_dir: Path) -> Path:
    """Write ``report.html`` of a run, finished or not, with missing thumbnails and sections; where it is.

    Raises:
        BadInput: ``run_dir`` is no run folder.
        DamagedRun: something in it cannot be read.
        RackscanError: the disk is full or read-only.
    """
    with RunReader.open(run_dir) as reader:
        environment = templates()
        text = environment.get_template("report.html.j2").render(page=run_page(reader, environment))
        write_atomic(reader.folder.report_page, text)
        return reader.folder.report_page


def compile_templates() -> None:
    """Those of a run's page, ahead of the first one: 0.2 s that the end of a slide must not wait for."""
    for name in OF_A_RUN:
        templates().get_template(name)


def run_page(reader: RunReader, environment: jinja2.Environment) -> RunPage:
    """Everything the page shows: finished slides in full, the others by their slot."""
    ids = _met(reader)
    reports = [reader.report(slide_id) for slide_id in ids]
    settings = reader.folder.settings
    return RunPage(
        run=settings.run,
        begun=settings.begun,
        written=datetime.now(UTC),
        rig=Path(settings.profile.path).stem if settings.profile else "not recorded",
        detector=Path(settings.detector).name if settings.detector else "none",
        slides=tuple(entry(reader, report, environment) for report in reports if report is not None),
        unfinished=tuple(i for i, report in zip(ids, reports, strict=True) if report is None),
    )


def _met(reader: RunReader) -> list[str]:
    """Every slide that was loaded, planned or decided without a look, by slot."""
    told = {path.parent.name for path in reader.folder.slides.glob("*/report.json")}
    return sorted(told | set(reader.slides()), key=lambda name: int(name.split("-")[0]))


def entry(reader: RunReader, report: SlideReport, environment: jinja2.Environment) -> Entry:
    """A finished slide; its section is made where it is missing or tells of another report."""
    paths = reader.paths(report.slide_id)
    kept, mark = paths.folder / "section.html", _mark(report)
    section = kept.read_text(encoding="utf-8") if kept.is_file() else ""
    if not section.startswith(mark):
        template = environment.get_template("section.html.j2")
        section = mark + template.render(slide=slide_page(reader, report))
        write_atomic(kept, section)
    return Entry(
        report=report,
        title=title(report),
        verdict=VERDICTS[report.verdict],
        outcome=OUTCOMES[report.outcome],
        mini=picture_uri(paths.thumbnail, MINI_PX),
        sharp_share=sharp_share(report),
        section=Markup(section),  # it was escaped when it was rendered
    )


def _mark(report: SlideReport) -> str:
    """The first line of a section: its report's hash, without the times, which are known last and told beside it."""
    return f"<!-- {text_hash(report.model_dump_json(exclude={'seconds'}))} -->\n"


@cache
def templates() -> jinja2.Environment:
    """The pages' templates, read once: they escape everything and know no undefined name."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("scanner.review"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"amount": amount, "minutes": minutes}
    return environment
