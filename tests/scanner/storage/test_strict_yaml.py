"""Does a YAML file mean what its writer meant, and does every fault in it get its line?"""

import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from scanner.errors import BadInput
from scanner.model.base import Value
from scanner.storage.strict_yaml import read_document, read_model


class Inner(Value):
    on: str
    off: str = "0"


class Example(Value):
    name: str
    speed: float = 1.0
    count: int = Field(default=1, ge=1)
    wanted: bool = False
    light: Inner | None = None
    entries: tuple[Inner, ...] = ()


def written(folder: Path, text: str) -> Path:
    file = folder / "example.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def problems(folder: Path, text: str) -> list[tuple[int | None, str, str]]:
    with pytest.raises(BadInput) as caught:
        read_model(written(folder, text), Example)
    return [(p.line, p.field, p.problem) for p in caught.value.problems]


@pytest.mark.parametrize(
    "word", ["on", "off", "yes", "no", "12:30", "007", "1e3", "0x10", "1_000", "2026-01-31"]
)
def test_a_word_stays_the_word_that_stands_there(tmp_path: Path, word: str) -> None:
    example, _ = read_model(written(tmp_path, f"name: {word}\n"), Example)
    assert example.name == word


@pytest.mark.parametrize(
    ("text", "number"), [("1e3", 1000.0), ("1E-2", 0.01), ("-0.5", -0.5), ("'7'", 7.0), ("010", 10.0)]
)
def test_a_number_is_read_where_a_number_is_wanted(tmp_path: Path, text: str, number: float) -> None:
    example, _ = read_model(written(tmp_path, f"name: x\nspeed: {text}\n"), Example)
    assert example.speed == number


def test_the_keys_on_and_off_are_words(tmp_path: Path) -> None:
    example, _ = read_model(written(tmp_path, "name: x\nlight: {on: 1, off: 0}\n"), Example)
    assert example.light == Inner(on="1", off="0")


def test_every_problem_is_reported_at_once_with_its_line(tmp_path: Path) -> None:
    text = "name: x\nspeed: fast\nmore: 1\ncount: 0\nentries:\n  - {on: 1}\n  - {of: 2}\n"
    found = {(line, field) for line, field, _ in problems(tmp_path, text)}
    assert found == {(2, "speed"), (3, "more"), (4, "count"), (7, "entries[1].on"), (7, "entries[1].of")}


def test_a_key_written_twice_names_both_lines(tmp_path: Path) -> None:
    assert problems(tmp_path, "name: x\nspeed: 1\nname: y\n") == [(3, "name", "named twice, first in line 1")]


def test_a_near_miss_is_answered_with_the_right_key(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="did you mean `speed`"):
        read_model(written(tmp_path, "name: x\nspede: 3\n"), Example)


def test_a_tab_is_named_as_a_tab(tmp_path: Path) -> None:
    ((line, _, problem),) = problems(tmp_path, "name: x\nlight:\n\ton: 1\n")
    assert line == 3
    assert "tab" in problem


@pytest.mark.parametrize("text", ["name: &a x\nother: *a\n", "name: !!python/name:os.system x\n", "<<: *b\n"])
def test_anchors_aliases_and_tags_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadInput):
        read_document(written(tmp_path, text))


@pytest.mark.parametrize("value", [".inf", ".nan", "nan", "-inf", "1e999"])
def test_no_number_is_infinite(tmp_path: Path, value: str) -> None:
    assert problems(tmp_path, f"name: x\nspeed: {value}\n")[0][:2] == (2, "speed")


@pytest.mark.parametrize(
    "text", ["", "# only words\n", "- a\n- b\n", "just text\n", "name: x\n---\nname: y\n", "a: [\n"]
)
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadInput):
        read_document(written(tmp_path, text))


def test_nesting_without_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="levels"):
        read_document(written(tmp_path, "a: " + "[" * 200 + "]" * 200))


@given(st.binary(max_size=300))
def test_no_bytes_make_the_reader_fail_otherwise(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    file = tmp_path_factory.mktemp("bytes") / "any.yaml"
    file.write_bytes(raw)
    with contextlib.suppress(BadInput):
        assert isinstance(read_document(file).tree, dict)


words = st.text("abcdefghij ", min_size=1, max_size=8).map(str.strip).filter(bool)
trees = st.recursive(
    words, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3)
)


@given(st.dictionaries(words, trees, min_size=1, max_size=4))
def test_what_a_standard_writer_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, object]
) -> None:
    file = tmp_path_factory.mktemp("tree") / "tree.yaml"
    file.write_text(yaml.safe_dump(tree), encoding="utf-8")
    document = read_document(file)
    assert document.tree == tree
    lines = file.read_text(encoding="utf-8").splitlines()
    for key in tree:
        line = document.line((key,))
        assert line is not None
        assert key in lines[line - 1]
