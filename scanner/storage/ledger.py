"""Where are a run's facts kept, in which order, and how does one see that none was altered?

``run.sqlite``: append-only by trigger, each line chained to the one before by SHA-256. What was appended survives
``kill -9`` (write-ahead log, synchronous=NORMAL); a power cut may take the last moments, never the order.
A connection belongs to one thread: each thread and process opens a ledger of its own, and the chain still has one
order. The tail of a chain can be cut off unseen by the chain alone; the counts that ``verify`` reconciles
show it.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from scanner.errors import DamagedRun, RackscanError
from scanner.model.events import Body, Event, Kind
from scanner.storage.atomic import replacing

ONCE = frozenset(
    {
        Kind.RUN_STARTED,
        Kind.PLAN,
        Kind.TILE,
        Kind.PLAN_CAPTURED,
        Kind.FUSED,
        Kind.FLAT_FIELD,
        Kind.PAIRS,
        Kind.LIGHT,
        Kind.BACKGROUND,
        Kind.PLACED,
        Kind.BLOCK,
        Kind.DETECTED,
        Kind.CELLS_CHOSEN,
        Kind.CELL_READ,
        Kind.TILE_FINISHED,
        Kind.SLIDE_CAPTURED,
    }
)
"""Kinds of which (slide, key) may happen once; the others (a load, a warning, a seating) may be told again."""

_GENESIS = "0" * 64
_PAGE = 512
_BUSY_S = 30.0
_COLUMNS = "seq, at, kind, slide_id, key, body, digest"
_SCHEMA = (
    """CREATE TABLE events (
         seq INTEGER PRIMARY KEY, at TEXT NOT NULL, kind TEXT NOT NULL, slide_id TEXT NOT NULL,
         key TEXT NOT NULL, body TEXT NOT NULL, digest TEXT NOT NULL)""",
    "CREATE INDEX events_of ON events (kind, slide_id, key, seq)",
    "CREATE UNIQUE INDEX events_once ON events (kind, slide_id, key) WHERE kind IN "
    f"({', '.join(repr(kind.value) for kind in sorted(ONCE))})",
    """CREATE TRIGGER events_stay BEFORE UPDATE ON events
         BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END""",
    """CREATE TRIGGER events_remain BEFORE DELETE ON events
         BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END""",
)

_Row = tuple[int, str, str, str, str, str, str]


class LedgerProtocol(Protocol):
    """What the road needs of a ledger, whatever database stands behind it."""

    def append(self, kind: Kind, slide_id: str, key: str, body: Body) -> Event:
        """Acknowledge a fact; a second one of a ``ONCE`` kind with the same key gives back the first."""
        ...

    def events(self, kind: Kind | None = None, slide_id: str | None = None) -> Iterator[Event]:
        """The facts in the order they were appended."""
        ...

    def latest(self, kind: Kind, slide_id: str | None = None, key: str | None = None) -> Event | None:
        """The last such fact, None where it did not happen."""
        ...

    def verify_chain(self) -> list[str]:
        """Every break of the chain in words; none when it holds."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...


class Ledger:
    """The ledger in a SQLite file; use it in the thread that opened it."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    @classmethod
    def open(cls, path: Path, create: bool = False) -> "Ledger":
        """Open for appending; with ``create`` an absent ledger is begun (by one caller, before the others open it).

        Raises:
            DamagedRun: there is no ledger at ``path`` (and ``create`` is False), or the file is not one.
            RackscanError: the disk is full or read-only.
        """
        if create and not path.exists():
            _begin(path)
        _require(path)
        with _in_words(path):
            connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=NORMAL")
            except sqlite3.Error:
                connection.close()
                raise
        return cls(connection, path)

    @classmethod
    def read(cls, path: Path) -> "Ledger":
        """Open for reading only, also on a read-only disk and beside a running scan.

        Raises:
            DamagedRun: there is no ledger at ``path``, or the file is not one.
        """
        _require(path)
        with _in_words(path):
            return cls(_connect_reader(path), path)

    def append(self, kind: Kind, slide_id: str, key: str, body: Body) -> Event:
        """Acknowledge a fact; when this returns it survives a kill.

        A second fact of a ``ONCE`` kind with the same slide and key is not written: the first is given back.

        Raises:
            ValueError: ``body`` is not JSON (NaN, infinity).
            RackscanError: the disk is full or the ledger stayed locked.
        """
        text = canonical(body)
        with _in_words(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                event = self._first(kind, slide_id, key) or self._insert(kind, slide_id, key, text)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        return event

    def events(self, kind: Kind | None = None, slide_id: str | None = None) -> Iterator[Event]:
        """The facts in the order they were appended, those appended meanwhile included.

        They are fetched page by page, so that no read stays open while this thread appends.
        """
        seq = 0
        where, values = _where(kind, slide_id, None)
        statement = f"SELECT {_COLUMNS} FROM events WHERE seq > ?{where} ORDER BY seq LIMIT {_PAGE}"
        while rows := self._rows(statement, (seq, *values)):
            yield from map(_event, rows)
            seq = rows[-1][0]

    def latest(self, kind: Kind, slide_id: str | None = None, key: str | None = None) -> Event | None:
        """The last such fact, None where it did not happen."""
        where, values = _where(kind, slide_id, key)
        statement = f"SELECT {_COLUMNS} FROM events WHERE seq > 0{where} ORDER BY seq DESC LIMIT 1"
        rows = self._rows(statement, values)
        return _event(rows[0]) if rows else None

    def verify_chain(self) -> list[str]:
        """Every break of the chain in words; none when it holds."""
        problems = []
        seq, digest = 0, _GENESIS
        statement = f"SELECT {_COLUMNS} FROM events WHERE seq > ? ORDER BY seq LIMIT {_PAGE}"
        while rows := self._rows(statement, (seq,)):
            for row in rows:
                if row[0] != seq + 1:
                    problems.append(f"facts {seq + 1} to {row[0] - 1} are missing")
                if row[6] != _digest(digest, *row[:6]):
                    problems.append(
                        f"fact {row[0]} ({row[2]} {row[4]}) does not carry the digest of its content"
                    )
                seq, digest = row[0], row[6]
        return problems

    def close(self) -> None:
        """Let go of the file; the last one to close folds the write-ahead log in."""
        self._connection.close()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _first(self, kind: Kind, slide_id: str, key: str) -> Event | None:
        return self.latest(kind, slide_id, key) if kind in ONCE else None

    def _insert(self, kind: Kind, slide_id: str, key: str, text: str) -> Event:
        rows = self._connection.execute("SELECT seq, digest FROM events ORDER BY seq DESC LIMIT 1").fetchall()
        last, before = rows[0] if rows else (0, _GENESIS)
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = (last + 1, at, kind.value, slide_id, key, text)
        row = (*line, _digest(before, *line))
        self._connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        return _event(row)

    def _rows(self, statement: str, values: tuple[object, ...]) -> list[_Row]:
        with _in_words(self._path):
            return self._connection.execute(statement, values).fetchall()


def canonical(body: Body) -> str:
    """The one JSON text of a body: sorted keys, no blanks, ASCII, floats exact.

    Raises:
        ValueError: NaN or infinity.
    """
    return json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(before: str, *line: object) -> str:
    text = json.dumps(line, separators=(",", ":"))
    return hashlib.sha256((before + text).encode()).hexdigest()


def _event(row: _Row) -> Event:
    try:
        return Event(row[0], row[1], Kind(row[2]), row[3], row[4], json.loads(row[5]), row[6])
    except ValueError as error:
        raise DamagedRun(f"fact {row[0]} of the ledger cannot be read: {error}") from error


def _where(kind: Kind | None, slide_id: str | None, key: str | None) -> tuple[str, tuple[str, ...]]:
    asked = {"kind": kind, "slide_id": slide_id, "key": key}
    given = {name: str(value) for name, value in asked.items() if value is not None}
    return "".join(f" AND {name} = ?" for name in given), tuple(given.values())


def _require(path: Path) -> None:
    if not path.is_file():
        raise DamagedRun(f"{path}: the ledger is missing; nothing can be said about this run without it")


def _begin(path: Path) -> None:
    """An empty ledger appears whole, so that a kill leaves either none or one with all its triggers."""
    with replacing(path) as temporary, _in_words(path):
        connection = sqlite3.connect(temporary, isolation_level=None)
        try:
            for statement in _SCHEMA:
                connection.execute(statement)
        finally:
            connection.close()


def _connect_reader(path: Path) -> sqlite3.Connection:
    """A reader that SQLite knows to be one leaves empty ``-wal`` and ``-shm`` files behind; this one tidies up.

    A read-only disk has no room for them, and no writer either: there the file alone is right, unless a killed
    writer's log still lies beside it.
    """
    address = path.absolute().as_uri()
    try:
        return _readable(f"{address}?mode=rw")
    except sqlite3.OperationalError as error:
        log = path.with_name(f"{path.name}-wal")
        read_only = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
        if not read_only or (log.is_file() and log.stat().st_size):
            raise
    return _readable(f"{address}?mode=ro&immutable=1")


def _readable(address: str) -> sqlite3.Connection:
    connection = sqlite3.connect(address, uri=True, timeout=_BUSY_S, isolation_level=None)
    try:
        connection.execute("PRAGMA query_only=ON")
        connection.execute("SELECT count(*) FROM (SELECT seq FROM events LIMIT 1)").fetchall()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """Turn what SQLite says into what a person can do; misuse by our own code stays what it is."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise
    except sqlite3.DatabaseError as error:
        usable = (
            isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode != sqlite3.SQLITE_ERROR
        )
        if not usable:
            raise DamagedRun(f"{path}: the ledger is damaged: {error}") from error
        mend = "free the disk or end the other program, then run `rackscan resume`"
        raise RackscanError(f"{path}: the ledger cannot be used: {error}; {mend}") from error
