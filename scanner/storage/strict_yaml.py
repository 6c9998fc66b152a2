"""How is a YAML file that a person wrote read once, strictly, and every fault in it named with its line?

The model decides what a scalar is, never the file: every scalar is kept as the text that stands there, so
``on`` stays a word, ``1e3`` becomes a number where one is wanted, and a slide called ``007`` keeps its zeros.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from scanner.errors import BadInput, Problem
from scanner.storage.model_problems import explain
from scanner.storage.yaml_tree import Location, Tree, TreeBuilder, dotted

ModelT = TypeVar("ModelT", bound=BaseModel)

MOST_BYTES = 1_000_000
UNPRINTABLE = "it holds characters that are not text"


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says: ``tree`` of mappings, lists, texts and None; ``lines`` (1-based) by location."""

    file: Path
    tree: dict[str, Tree]
    lines: Mapping[Location, int]

    def line(self, location: Location) -> int | None:
        """The line of ``location``, or of the nearest thing around it that the file has."""
        for length in range(len(location), -1, -1):
            if location[:length] in self.lines:
                return self.lines[location[:length]]
        return None

    def at(self, *location: str | int) -> Tree:
        """What stands at ``location``; None where there is nothing."""
        node: Tree = self.tree
        for key in location:
            if isinstance(node, dict) and isinstance(key, str):
                node = node.get(key)
            elif isinstance(node, list) and isinstance(key, int) and key < len(node):
                node = node[key]
            else:
                return None
        return node

    def text(self, *location: str | int) -> str | None:
        """The scalar at ``location``; None where there is none."""
        node = self.at(*location)
        return node if isinstance(node, str) else None

    def problem(self, location: Location, problem: str, mend: str) -> Problem:
        """A problem with what stands at ``location``."""
        return Problem(problem, mend, str(self.file), self.line(location), dotted(location))


def read_document(file: Path) -> Document:
    """Read one YAML mapping.

    Raises:
        BadInput: with every problem: no such file, not text, broken YAML, a key twice, anchors, tags.
    """
    return parse_document(_text(file), file)


def parse_document(text: str, file: Path) -> Document:
    """One YAML mapping from the text that ``file`` held; raises as ``read_document`` does."""
    try:
        events = list(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        raise BadInput([_broken(file, error)]) from error
    except yaml.YAMLError as error:
        raise BadInput.one(UNPRINTABLE, "give a YAML text file", file=str(file)) from error
    builder = TreeBuilder(str(file))
    tree = builder.document(iter(events))
    if not builder.problems and not isinstance(tree, dict):
        what = "is empty" if tree is None else "is not a list of `key: value` lines"
        builder.problems.append(
            Problem(f"the file {what}", "start from one in hardware_profiles/", str(file))
        )
    if builder.problems or not isinstance(tree, dict):
        raise BadInput(builder.problems)
    return Document(file, tree, builder.lines)


def read_model(file: Path, model: type[ModelT]) -> tuple[ModelT, Document]:
    """Read one YAML mapping as ``model``.

    Raises:
        BadInput: with every problem in the file.
    """
    document = read_document(file)
    value, problems = validate(document, model)
    if value is None:
        raise BadInput(problems)
    return value, document


def validate(document: Document, model: type[ModelT]) -> tuple[ModelT | None, list[Problem]]:
    """The document as ``model``, or every reason why it is none."""
    try:
        return model.model_validate(document.tree), []
    except ValidationError as error:
        faults = [explain(model, fault) for fault in _causes(error.errors(include_url=False))]
        return None, [document.problem(f.location, f.problem, f.mend) for f in faults]


def _causes(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without the lists that are only too short because an entry of theirs is wrong."""
    inner = {error["loc"][:length] for error in errors for length in range(len(error["loc"]))}
    return [error for error in errors if not (error["type"] == "too_short" and error["loc"] in inner)]


def _text(file: Path) -> str:
    try:
        raw = file.read_bytes()
    except FileNotFoundError as error:
        raise BadInput.one("there is no such file", "check the path", file=str(file)) from error
    except OSError as error:
        raise BadInput.one(
            f"cannot be read: {error.strerror}", "give a file you may read", file=str(file)
        ) from error
    if len(raw) > MOST_BYTES:
        raise BadInput.one(
            f"has {len(raw)} bytes", f"give a YAML file below {MOST_BYTES} bytes", file=str(file)
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput.one(UNPRINTABLE, "save it as UTF-8 text", file=str(file)) from error


def _broken(file: Path, error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else None
    if error.problem and "'\\t'" in error.problem:
        return Problem("a tab stands where YAML wants spaces", "indent with spaces", str(file), line)
    said = error.problem or error.context or "unreadable"
    return Problem(f"broken YAML: {said}", "mend this line or the one above it", str(file), line)
