"""What was signed out? A CSV file with one recorded diagnosis a line, in the words of the Bethesda system."""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from detection.classes import plain
from scanner.errors import BadInput, Problem
from scanner.offline.look_back.past import Case, Past, Says

KNOWN = {
    "NILM": (Says.NEGATIVE, 0),
    "unsatisfactory": (Says.NOTHING, 0),
    "ASC-US": (Says.ABNORMAL, 1),
    "LSIL": (Says.ABNORMAL, 2),
    "AGC": (Says.ABNORMAL, 4),
    "AGC-NOS": (Says.ABNORMAL, 4),
    "AGC-FN": (Says.ABNORMAL, 4),
    "ASC-H": (Says.ABNORMAL, 4),
    "HSIL": (Says.ABNORMAL, 5),
    "AIS": (Says.ABNORMAL, 6),
    "SCC": (Says.ABNORMAL, 6),
    "adenocarcinoma": (Says.ABNORMAL, 6),
}
"""Bethesda 2014: what each says of the case, and how grave it is."""

_BY_PLAIN = {plain(name): name for name in KNOWN}
_WORD = re.compile(r"[A-Za-z][A-Za-z _-]*")
_DELIMITERS = ",;\t"
_MEND = f"one of {', '.join(KNOWN)}"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One line: whom it names (``file``: by its file, else by its case) and what it says."""

    line: int
    names: str
    file: bool
    past: Past


@dataclass(frozen=True, slots=True)
class Matched:
    """The cases with their recorded diagnoses, and how many lines named no image of the source."""

    cases: tuple[Case, ...]
    lines: int
    without_image: int


def read_diagnoses(file: Path) -> tuple[Diagnosis, ...]:
    """Every line of the table: columns ``case,diagnosis`` or ``file,diagnosis``, others are not read.

    Raises:
        BadInput: with every fault at once: no such columns, an empty field, an unknown diagnosis, a name twice
            with different diagnoses. A line is named by its number, never by whom it is about.
    """
    columns, rows = _rows(file)
    column = _column(file, columns)
    problems: list[Problem] = []
    found: dict[str, Diagnosis] = {}
    for line, row in rows:
        faults, one = _read(file, line, row, column)
        problems += faults
        before = found.setdefault(one.names.casefold(), one) if one else None
        if one and before and before.past.word != one.past.word:
            what = f"says something else of the {column} in line {before.line}"
            problems.append(Problem(what, "keep one of the two", str(file), line))
    if problems:
        raise BadInput(problems)
    return tuple(found.values())


def with_diagnoses(cases: Sequence[Case], diagnoses: Sequence[Diagnosis], file: Path) -> Matched:
    """What the table says takes the place of what a run said.

    Raises:
        BadInput: a bare file name fits several images, lines contradict each other over one image, or no line
            names any image; every fault at once.
    """
    by_file = {one.names.replace("\\", "/").casefold(): one for one in diagnoses if one.file}
    by_case = {one.names.casefold(): one for one in diagnoses if not one.file}
    named = [_lines_of(case, by_file, by_case) for case in cases]
    problems = [*_unclear(file, named), *_contradictions(file, named)]
    used = {one.line for lines in named for one in lines}
    if not used and not problems:
        mend = (
            "names are paths below the source, file names without their ending, folders, or accession numbers"
        )
        problems.append(Problem("no line names an image of the source", mend, str(file)))
    if problems:
        raise BadInput(problems)
    told = (
        replace(case, past=lines[0].past) if lines else case for case, lines in zip(cases, named, strict=True)
    )
    return Matched(tuple(told), len(diagnoses), len(diagnoses) - len(used))


def _rows(file: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The columns, and (line, fields by column) of every line that is not empty; the first line has the separator."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput.one("is no UTF-8 text", "save it as CSV UTF-8", file=str(file)) from error
    except OSError as error:
        raise BadInput.one(f"cannot be read: {error.strerror}", "check the path", file=str(file)) from error
    header = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    columns = [name.strip().casefold() for name in next(reader, [])]
    rows = [
        (reader.line_num, dict(zip(columns, (field.strip() for field in row), strict=False)))
        for row in reader
        if any(field.strip() for field in row)
    ]
    return columns, rows


def _column(file: Path, columns: Sequence[str]) -> str:
    """``case`` or ``file``."""
    naming = [name for name in ("case", "file") if name in columns]
    if len(naming) != 1 or "diagnosis" not in columns:
        mend = "give lines under the columns case,diagnosis or file,diagnosis"
        raise BadInput.one("is no table of diagnoses", mend, file=str(file))
    return naming[0]


def _read(
    file: Path, line: int, row: Mapping[str, str], column: str
) -> tuple[list[Problem], Diagnosis | None]:
    names, said = row.get(column, ""), row.get("diagnosis", "")
    known = _BY_PLAIN.get(plain(said)) if _WORD.fullmatch(said) else None
    faults = [] if names else [Problem("is empty", f"name the {column}", str(file), line, column)]
    if known is None:
        what = f"{said!r} is no diagnosis of the Bethesda system" if said else "is empty"
        faults.append(Problem(what, _MEND, str(file), line, "diagnosis"))
    if known is None or faults:
        return faults, None
    says, gravity = KNOWN[known]
    return [], Diagnosis(line, names, column == "file", Past(known, says, gravity, case=line))


def _lines_of(
    case: Case, by_file: Mapping[str, Diagnosis], by_case: Mapping[str, Diagnosis]
) -> list[Diagnosis]:
    """The lines that name this image: by its path below the source before its bare name, the nearest name first."""
    path = case.image.name.casefold()
    exact = [one for name in (path, path.rpartition("/")[2]) if (one := by_file.get(name))]
    if exact:
        return exact[:1]
    return [one for name in dict.fromkeys(case.names) if (one := by_case.get(name.casefold()))]


def _unclear(file: Path, named: Iterable[Sequence[Diagnosis]]) -> list[Problem]:
    counts: dict[int, int] = defaultdict(int)
    for lines in named:
        for one in lines:
            counts[one.line] += one.file
    return [
        Problem(f"names {n} images", "give its path below the source", str(file), line)
        for line, n in sorted(counts.items())
        if n > 1
    ]


def _contradictions(file: Path, named: Iterable[Sequence[Diagnosis]]) -> list[Problem]:
    pairs = {
        (lines[0].line, other.line)
        for lines in named
        for other in lines[1:]
        if other.past.word != lines[0].past.word
    }
    return [
        Problem(
            f"says something else of an image that line {first} names too",
            "keep one of them",
            str(file),
            line,
        )
        for first, line in sorted(pairs)
    ]
