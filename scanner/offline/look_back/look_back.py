"""How is an archive read again? Which images it holds, which are known already, and what the answers say together.

A case is done when its ``found.json`` is on disk: a stop or a kill loses the image at hand and nothing else.
"""

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scanner.errors import BadInput, RackscanError, Stopped
from scanner.offline.detect import opened
from scanner.offline.look_back.archive import holdings
from scanner.offline.look_back.diagnoses import Matched, read_diagnoses, with_diagnoses
from scanner.offline.look_back.discordance import Judged, discordant
from scanner.offline.look_back.page import write_page
from scanner.offline.look_back.past import Case, OperatingPoint, of_run, stand_alone
from scanner.offline.look_back.reading import Eyes, Found, known, read_case, still_holds
from scanner.offline.look_back.summary import DiagnosesUsed, LookBack, begin, counted, listed, write_summary
from scanner.offline.look_back.tables import write_tables
from scanner.offline.looking import looker
from scanner.session.request import IN_PROCESS

Show = Callable[[int, int, int, int], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """The command line. ``um_per_px`` is the scale of images that do not say theirs, ``workers`` who looks at them."""

    source: Path
    out: Path
    um_per_px: float | None = None
    detector: str | None = None
    diagnoses: Path | None = None
    operating_point: float | None = None
    workers: str = IN_PROCESS


@dataclass(frozen=True, slots=True)
class _Archive:
    """The cases with their numbers; slides of runs that were never scanned; images read earlier and gone."""

    cases: tuple[Case, ...]
    numbers: tuple[int, ...]
    without_image: int
    gone: int
    diagnoses: DiagnosesUsed | None


def look_back(asked: Asked, show: Show) -> LookBack:
    """Read what was not read yet; write ``cases/NNNN``, the tables, ``lookback.json`` and ``lookback.html``.

    Args:
        asked: what and how.
        show: told (cases done, cases in all, tiles done of the one at hand, its tiles in all).

    Raises:
        BadInput: nothing to read, an unusable detector or table, no such workers, an --out of something else; nothing
            was written.
        Stopped: the operator asked to; what was read is kept, and the list of it written.
        RackscanError: a disk refused, or the source is gone; the same command goes on from there.
    """
    source, out = asked.source.absolute(), asked.out.absolute()
    detector = opened(asked.detector)
    begun = begin(source, out, detector)
    archive = _archive(asked, source, out, detector.package.hash)
    found: list[Found] = []
    read = 0
    try:
        with _no_names_logged(), looker(detector, asked.workers, source) as looks:
            _begin_in(out, begun)
            eyes = Eyes(detector, looks)
            for case, number in zip(archive.cases, archive.numbers, strict=True):
                one, was_read = _known_or_read(case, number, asked, out, eyes, _of(show, found, archive))
                found.append(one)
                read += was_read
                _refuse_vanished(source, one)
    except KeyboardInterrupt:
        _write(out, begun.model_copy(update={"read": read}), archive, found)
        said = f"{len(found)} of {len(archive.cases)} images are read and kept"
        raise Stopped(f"stopped: {said}; the same command goes on from there") from None
    return _write(out, begun.model_copy(update={"read": read, "complete": True}), archive, found)


def _begin_in(out: Path, begun: LookBack) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_summary(out, begun)
    except (OSError, RackscanError) as error:
        raise BadInput.one(f"cannot be written to: {error}", "choose another --out", str(out)) from error


def _archive(asked: Asked, source: Path, out: Path, detector_hash: str) -> _Archive:
    given = asked.operating_point
    point = None if given is None else OperatingPoint(given, "--operating-point")
    held = holdings(source, out)
    slides = [of_run(slide, detector_hash, point) for slide in held.slides]
    cases = [stand_alone(image, point) for image in held.images] + [case for case in slides if case]
    if not cases:
        raise BadInput.one("holds no image: no slide of its runs was scanned", "check the path", str(source))
    ordered = sorted(cases, key=lambda case: case.image.name)
    matched = _matched(ordered, asked.diagnoses)
    kept = _kept(out)
    taken = set(kept.values())
    free = (number for number in itertools.count(1) if number not in taken)
    names = [case.image.name for case in ordered]
    return _Archive(
        cases=matched.cases,
        numbers=tuple(kept[name] if name in kept else next(free) for name in names),
        without_image=slides.count(None),
        gone=len(kept.keys() - set(names)),
        diagnoses=_used(matched) if asked.diagnoses else None,
    )


def _matched(cases: Sequence[Case], table: Path | None) -> Matched:
    if table is None:
        return Matched(tuple(cases), 0, 0)
    return with_diagnoses(cases, read_diagnoses(table), table)


def _used(matched: Matched) -> DiagnosesUsed:
    without = sum(case.past.case is None for case in matched.cases)
    return DiagnosesUsed(lines=matched.lines, without_image=matched.without_image, images_without=without)


def _kept(out: Path) -> dict[str, int]:
    """The number of every image that was read into ``out`` earlier: it keeps it, whatever joins the archive."""
    files = sorted((out / "cases").glob("*/found.json"))
    return {found.image: found.case for found in map(known, files) if found is not None}


def _known_or_read(
    case: Case, number: int, asked: Asked, out: Path, eyes: Eyes, show: Callable[[int, int], None]
) -> tuple[Found, bool]:
    """What is known of a case, and whether it had to be read for it."""
    folder = out / "cases" / f"{number:04d}"
    before = known(folder / "found.json")
    show(0, 0)
    if before is not None and still_holds(before, case, asked.um_per_px, eyes.detector.package.hash):
        return before, False
    found = read_case(case, number, folder, asked.um_per_px, eyes, lambda done, of, what: show(done, of))
    return found, True


def _of(show: Show, found: Sequence[Found], archive: _Archive) -> Callable[[int, int], None]:
    done, of = len(found), len(archive.cases)
    return lambda tiles, tiles_of: show(done, of, tiles, tiles_of)


@contextmanager
def _no_names_logged() -> Iterator[None]:
    """What tifffile dislikes it logs with the name of the file, which may be a patient's."""
    logger = logging.getLogger("tifffile")
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


def _refuse_vanished(source: Path, found: Found) -> None:
    """A drive that was unplugged makes no archive of unreadable images."""
    if not found.content and not source.exists():
        raise RackscanError(
            f"{source} is gone; what was read is kept: bring it back and give the same command again"
        )


def _write(out: Path, begun: LookBack, archive: _Archive, found: Sequence[Found]) -> LookBack:
    judged = [Judged(one, case.past, case.point) for one, case in zip(found, archive.cases, strict=False)]
    disagree = discordant(judged)
    troubles = {
        n: case.trouble for n, case in zip(archive.numbers, archive.cases, strict=True) if case.trouble
    }
    facts = {
        "images": len(archive.cases),
        "gone": archive.gone,
        "without_image": archive.without_image,
        "diagnoses": archive.diagnoses,
        "troubles": troubles,
    }
    summary = begun.model_copy(update={**facts, **counted(judged), **listed(disagree)})
    write_tables(out, sorted(judged, key=lambda one: one.found.case), disagree)
    places = {n: case.image for n, case in zip(archive.numbers, archive.cases, strict=True)}
    write_page(out, summary, disagree, places)
    write_summary(out, summary)
    return summary
