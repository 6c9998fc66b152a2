"""What does ``log.jsonl`` say? One JSON object a line for the person who looks for a cause, without identifiers.

It must never carry an accession number or a barcode: those are dropped by name, and every message must do without.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

PACKAGES = ("scanner", "autofocus", "detection")
IDENTIFIERS = frozenset({"accession", "barcode", "label", "patient", "slide"})
"""Extra fields that never reach the log; a slide is named by its ``slide_id``."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class JsonLine(logging.Formatter):
    """A record as one JSON object: ``t`` (UTC), ``level``, ``message``, ``logger`` and the record's extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its newline."""
        line: dict[str, object] = {
            "t": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            "logger": record.name,
        }
        line |= {name: value for name, value in vars(record).items() if _tellable(name)}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


@contextmanager
def run_log(path: Path, level: int = logging.INFO) -> Iterator[None]:
    """While the block runs, what the packages log is appended to ``path``, from this process.

    Another process of the run opens it too: lines are appended whole.
    """
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(JsonLine())
    loggers = [logging.getLogger(name) for name in PACKAGES]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, was in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(was)
        handler.close()


def _tellable(name: str) -> bool:
    return name not in _STANDARD and name not in IDENTIFIERS
