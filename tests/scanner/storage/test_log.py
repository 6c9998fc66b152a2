"""Does the log say what happened, as JSON a line, without naming a patient?"""

import json
import logging
from pathlib import Path

import pytest

from scanner.storage.log import run_log

LOGGER = logging.getLogger("scanner.acquisition.acquire")


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_record_becomes_one_line_with_its_fields(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with run_log(path):
        LOGGER.warning("tile %d: the stage did not arrive, retry", 7, extra={"slide_id": "1-a", "tile": 7})
    [line] = lines(path)
    assert str(line.pop("t")).endswith("+00:00")
    assert line == {
        "level": "warning",
        "message": "tile 7: the stage did not arrive, retry",
        "logger": "scanner.acquisition.acquire",
        "slide_id": "1-a",
        "tile": 7,
    }


def test_a_warning_is_found_by_its_level(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with run_log(path):
        LOGGER.warning("soft")
    assert '"level": "warning"' in path.read_text()


@pytest.mark.parametrize("field", ["accession", "barcode", "label", "slide", "patient"])
def test_an_identifier_given_as_a_field_is_left_out(tmp_path: Path, field: str) -> None:
    path = tmp_path / "log.jsonl"
    with run_log(path):
        LOGGER.info("label read", extra={field: "C26-0815", "state": "read"})
    assert "C26-0815" not in path.read_text()
    assert lines(path)[0]["state"] == "read"


def test_line_ends_in_a_message_do_not_make_a_second_line(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with run_log(path):
        LOGGER.error('first\nsecond\u2028"third"')
    assert path.read_bytes().count(b"\n") == 1
    assert lines(path)[0]["message"] == 'first\nsecond\u2028"third"'


def test_a_cause_is_written_with_its_traceback(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with run_log(path):
        try:
            json.loads("{")
        except ValueError:
            LOGGER.exception("broken")
    assert "JSONDecodeError" in str(lines(path)[0]["traceback"])


def test_after_the_run_nothing_is_written_and_a_resume_appends(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for message in ("first", "second"):
        with run_log(path):
            LOGGER.info(message)
        LOGGER.info("between")
    assert [line["message"] for line in lines(path)] == ["first", "second"]


def test_what_other_libraries_log_stays_out(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with run_log(path):
        logging.getLogger("someone.else").warning("noise")
    assert path.read_text() == ""
