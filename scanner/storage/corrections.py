"""Where does it lie what people said about a slide's cells? One file an answer, numbered, chained, never rewritten.

It lies beside the ledger and not in it: a ledger has one writer, the scan, and a finished one is evidence; people
answer while it is written, years later, and several at once.
"""

import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from scanner.errors import DamagedRun, RackscanError
from scanner.model.correction import Answers, Asked, Correction
from scanner.storage.atomic import AGAIN, TEMPORARY_SUFFIX, disk_error
from scanner.storage.hashes import file_hash

TRIES = 100
NAME = re.compile(r"(\d{6})\.json")


def read_answers(folder: Path) -> tuple[Answers, ...]:
    """Everything that was said, first to last; empty where nothing was.

    Raises:
        DamagedRun: a file is not what ``keep_answers`` wrote.
    """
    return tuple(_read(path) for path in _files(folder))


def keep_answers(folder: Path, asked: Asked, corrections: Sequence[Correction]) -> Answers:
    """Write ``corrections`` as one further file, whole or not at all, also while others write beside us.

    Raises:
        RackscanError: the disk refuses; nothing was kept.
    """
    for _ in range(TRIES):
        files = _files(folder)
        answers = Answers(
            **dict(asked),
            number=_number(files[-1]) + 1 if files else 1,
            previous=file_hash(files[-1]) if files else "",
            at=datetime.now(UTC),
            corrections=tuple(corrections),
        )
        if _written(folder / f"{answers.number:06d}.json", answers.model_dump_json(indent=1) + "\n"):
            return answers
    raise RackscanError(f"{folder}: others write here all the time; nothing was kept, try again")


def chain_problems(folder: Path, slide_id: str) -> Iterator[str]:
    """What was altered, removed, or is of another slide."""
    previous = ""
    for number, path in enumerate(_files(folder), start=1):
        answers = _read(path)
        if _number(path) != number or answers.number != number:
            yield f"corrections/{path.name} is not number {number}: one is missing"
            return
        if answers.previous != previous:
            yield f"corrections/{path.name} does not follow the one before it: that one was altered"
        if answers.slide_id != slide_id:
            yield f"corrections/{path.name} is of slide {answers.slide_id}"
        previous = file_hash(path)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.json") if NAME.fullmatch(path.name))


def _number(path: Path) -> int:
    return int(path.stem)


def _read(path: Path) -> Answers:
    try:
        return Answers.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, ValidationError) as error:
        raise DamagedRun(f"{path}: cannot be read as corrections: {error}") from error


def _written(path: Path, text: str) -> bool:
    """False where another was faster: a link, unlike a renaming, never replaces what is there."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    try:
        path.parent.mkdir(exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise disk_error(error, path, AGAIN) from error
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        raise disk_error(error, path, AGAIN) from error
    finally:
        temporary.unlink()
    return True
