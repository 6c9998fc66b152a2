"""Does the ledger keep every fact once, in one order, unalterable, through threads, processes and kills?"""

import math
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.errors import DamagedRun, RackscanError
from scanner.model.events import Body, Event, Kind
from scanner.storage.ledger import ONCE, Ledger, canonical

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
bodies = st.dictionaries(st.text(), json_values, max_size=5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.sqlite"


def forge(path: Path, statement: str) -> None:
    """Alter the file as somebody would who knows SQLite and wants to."""
    connection = sqlite3.connect(path)
    connection.executescript(f"DROP TRIGGER events_stay; DROP TRIGGER events_remain; {statement}")
    connection.close()


def three_facts(path: Path) -> None:
    with Ledger.open(path, create=True) as ledger:
        for n in range(3):
            ledger.append(Kind.WARNING, "1-a", "", {"n": n})


def test_facts_come_back_in_the_order_they_were_appended(path: Path) -> None:
    with Ledger.open(path, create=True) as ledger:
        appended = [ledger.append(Kind.WARNING, "1-a", str(n), {"n": n}) for n in range(1200)]
        assert list(ledger.events()) == appended
        assert [event.seq for event in appended] == list(range(1, 1201))
        assert ledger.verify_chain() == []


def test_every_json_body_comes_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Ledger.open(tmp_path_factory.mktemp("ledger") / "run.sqlite", create=True) as ledger:

        @given(body=bodies, key=st.text(st.characters(exclude_categories=["Cs"])))
        def comes_back(body: Body, key: str) -> None:
            event = ledger.append(Kind.WARNING, "1-a", key, body)
            found = ledger.latest(Kind.WARNING, "1-a", key)
            assert found == event
            assert found is not None
            assert canonical(found.body) == canonical(body)

        comes_back()
        assert ledger.verify_chain() == []


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_does_not_have_is_refused_before_anything_is_written(
    path: Path, number: float
) -> None:
    with Ledger.open(path, create=True) as ledger:
        with pytest.raises(ValueError, match="not JSON compliant"):
            ledger.append(Kind.WARNING, "1-a", "", {"z_um": number})
        assert list(ledger.events()) == []


@pytest.mark.parametrize("kind", sorted(ONCE))
def test_a_fact_that_may_happen_once_gives_back_the_first_when_it_is_appended_again(
    path: Path, kind: Kind
) -> None:
    with Ledger.open(path, create=True) as ledger:
        first = ledger.append(kind, "1-a", "4.1", {"content": "x"})
        assert ledger.append(kind, "1-a", "4.1", {"content": "y"}) == first
        assert ledger.append(kind, "2-a", "4.1", {"content": "y"}) != first
        assert ledger.append(kind, "1-a", "4.2", {"content": "y"}) != first
        assert len(list(ledger.events(kind))) == 3


def test_a_fact_that_may_happen_again_is_told_again_and_the_latest_counts(path: Path) -> None:
    with Ledger.open(path, create=True) as ledger:
        ledger.append(Kind.SEATED, "1-a", "", {"dx_um": 1.0})
        second = ledger.append(Kind.SEATED, "1-a", "", {"dx_um": 2.0})
        assert ledger.latest(Kind.SEATED, "1-a") == second
        assert len(list(ledger.events(Kind.SEATED, "1-a"))) == 2
        assert ledger.latest(Kind.SEATED, "2-a") is None


def test_facts_are_found_by_kind_and_by_slide(path: Path) -> None:
    with Ledger.open(path, create=True) as ledger:
        for slide in ("1-a", "2-a"):
            for kind in (Kind.TILE, Kind.PLACED):
                ledger.append(kind, slide, "0.1", {})
        assert [e.kind for e in ledger.events(slide_id="2-a")] == [Kind.TILE, Kind.PLACED]
        assert [e.slide_id for e in ledger.events(Kind.TILE)] == ["1-a", "2-a"]
        assert len(list(ledger.events(Kind.TILE, "1-a"))) == 1


def test_facts_appended_while_reading_are_read_too(path: Path) -> None:
    with Ledger.open(path, create=True) as ledger, Ledger.open(path) as other:
        ledger.append(Kind.WARNING, "", "", {"n": 0})
        seen = 0
        for event in ledger.events():
            seen += 1
            if seen < 5:
                other.append(Kind.WARNING, "", "", {"n": seen})
                ledger.append(Kind.SEATED, "", "", {"after": event.seq})
        assert seen == len(list(other.events())) == 9


@pytest.mark.parametrize("statement", ["UPDATE events SET body = '{}'", "DELETE FROM events WHERE seq = 2"])
def test_the_database_itself_refuses_to_change_or_remove_a_fact(path: Path, statement: str) -> None:
    three_facts(path)
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE events SET body = '{\"n\":9}' WHERE seq = 2", "fact 2"),
        ("UPDATE events SET at = '2020-01-01T00:00:00' WHERE seq = 1", "fact 1"),
        ("UPDATE events SET slide_id = '2-a' WHERE seq = 3", "fact 3"),
        ("DELETE FROM events WHERE seq = 2", "facts 2 to 2 are missing"),
        ("UPDATE events SET seq = 9 WHERE seq = 3", "facts 3 to 8 are missing"),
    ],
)
def test_a_forged_fact_breaks_the_chain(path: Path, statement: str, told: str) -> None:
    three_facts(path)
    forge(path, statement)
    with Ledger.read(path) as ledger:
        problems = ledger.verify_chain()
    assert problems
    assert problems[0].startswith(told)


def test_threads_with_ledgers_of_their_own_share_one_unbroken_chain(path: Path) -> None:
    Ledger.open(path, create=True).close()

    def write(worker: int) -> None:
        with Ledger.open(path) as ledger:
            for n in range(40):
                ledger.append(Kind.TILE, "1-a", f"{n}.1", {"worker": worker})
                ledger.append(Kind.WARNING, "1-a", "", {"worker": worker, "n": n})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    with Ledger.read(path) as ledger:
        assert ledger.verify_chain() == []
        assert len(list(ledger.events(Kind.TILE))) == 40
        assert len(list(ledger.events(Kind.WARNING))) == 160
        assert all(b.seq == a.seq + 1 for a, b in pairwise(ledger.events()))


def test_a_fact_acknowledged_before_a_kill_is_there_after_it(path: Path) -> None:
    script = """
import sys
from pathlib import Path
from scanner.model.events import Kind
from scanner.storage.ledger import Ledger
ledger = Ledger.open(Path(sys.argv[1]), create=True)
for n in range(100_000):
    print(ledger.append(Kind.TILE, "1-a", f"{n}.1", {"n": n}).seq, flush=True)
"""
    acknowledged = 0
    for kill in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True, env=os.environ
        )
        assert process.stdout is not None
        for line in process.stdout:
            acknowledged = max(acknowledged, int(line))
            if acknowledged >= 60 * (kill + 1):
                break
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split("\n")[:-1]
        process.stdout.close()
        process.wait()
        acknowledged = max([acknowledged, *map(int, rest)])
        with Ledger.open(path) as ledger:
            assert ledger.verify_chain() == []
            assert len(list(ledger.events(Kind.TILE))) >= acknowledged


def test_a_reader_sees_facts_while_the_writer_is_open_and_cannot_append(path: Path) -> None:
    with Ledger.open(path, create=True) as writer, Ledger.read(path) as reader:
        writer.append(Kind.WARNING, "", "", {})
        assert len(list(reader.events())) == 1
        with pytest.raises(RackscanError, match="cannot be used"):
            reader.append(Kind.WARNING, "", "", {})


def test_when_everybody_has_left_the_facts_lie_in_one_file(path: Path) -> None:
    with Ledger.open(path, create=True) as writer:
        reader = Ledger.read(path)
        writer.append(Kind.WARNING, "", "", {"n": 1})
        assert len(list(reader.events())) == 1
    reader.close()
    with Ledger.read(path) as late:
        assert len(list(late.events())) == 1
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_disk_that_takes_no_more_stops_in_words_and_keeps_what_was_acknowledged(path: Path) -> None:
    body: Body = {"text": "x" * 20_000}
    ledger = Ledger.open(path, create=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    kept: list[Event] = []
    try:
        with pytest.raises(RackscanError, match="rackscan resume"):
            kept.extend(ledger.append(Kind.WARNING, "", str(n), body) for n in range(1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(ledger.events()) == kept
    assert kept
    ledger.append(Kind.WARNING, "", "again", body)
    assert ledger.verify_chain() == []
    ledger.close()


def test_a_missing_ledger_is_not_made_up(path: Path) -> None:
    for door in (Ledger.open, Ledger.read):
        with pytest.raises(DamagedRun, match="missing"):
            door(path)
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"hello, this is no database at all" * 50])
def test_a_file_that_is_no_ledger_is_refused_in_words(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(DamagedRun, match="damaged"):
        Ledger.read(path)
