"""Does a file appear whole or not at all?"""

import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scanner.errors import RackscanError
from scanner.storage.atomic import disk_error, is_temporary, replacing, write_atomic


@contextmanager
def small_files_only() -> Iterator[None]:
    """A process that may write 4 kB a file: the nearest thing to a full disk without one.

    Only around the write itself: the test runner writes files of its own.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomic(path, "one")
    with replacing(path) as temporary:
        temporary.write_text("two")
        assert path.read_text() == "one"
        assert is_temporary(temporary)
    assert path.read_text() == "two"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_fails_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomic(path, "one")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("tw" * (1 // 0))
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_takes_no_more_is_told_in_words_and_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_atomic(path, b"one")
    with small_files_only(), pytest.raises(RackscanError, match=r"a\.bin: .*rackscan resume"):
        write_atomic(path, bytes(10_000))
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("code", "told"),
    [(errno.ENOSPC, "disk is full"), (errno.EROFS, "may not be written"), (errno.EIO, "disk failed")],
)
def test_each_failure_of_a_disk_says_what_to_do(code: int, told: str) -> None:
    error = disk_error(OSError(code, "as the system says"), Path("frame.tif"))
    assert told in str(error)
    assert "frame.tif" in str(error)


def test_what_a_kill_leaves_of_any_writer_counts_as_temporary() -> None:
    assert is_temporary(Path(".run.json.00ff.rackscan.tmp"))
    assert is_temporary(Path(".run.sqlite.00ff.rackscan.tmp-journal"))
    assert not is_temporary(Path("notes.tmp"))
