"""What tree of texts does a stream of YAML events describe, and in which line does each part stand?"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import yaml

from scanner.errors import BadInput, Problem

Tree: TypeAlias = "str | list[Tree] | dict[str, Tree] | None"
Location: TypeAlias = tuple[str | int, ...]

MOST_LEVELS = 30
NULLS = {"", "~", "null", "Null", "NULL"}


def dotted(location: Location) -> str:
    """``("objectives", 0, "na")`` as ``objectives[0].na``."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in location)
    return text.removeprefix(".")


@dataclass(slots=True)
class TreeBuilder:
    """Folds the parser's events into a tree, and collects every problem on the way."""

    file: str
    lines: dict[Location, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def document(self, events: Iterator[yaml.Event]) -> Tree:
        """The tree of the first document; a second one is a problem."""
        tree: Tree = None
        starts = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                starts += 1
                if starts > 1:
                    self._complain(event, (), "a second document starts here", "give one document a file")
                    break
                tree = self._node(next(events), events, ())
        return tree

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], at: Location) -> Tree:
        self.lines.setdefault(at, _line(event))
        self._refuse_magic(event, at)
        if len(at) > MOST_LEVELS:
            fault = Problem(f"more than {MOST_LEVELS} levels", "nest less", self.file, self.lines[at])
            raise BadInput([*self.problems, fault])
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(events, at)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(events, at)
        if isinstance(event, yaml.ScalarEvent):
            return None if event.implicit[0] and event.value in NULLS else event.value
        return None

    def _mapping(self, events: Iterator[yaml.Event], at: Location) -> dict[str, Tree]:
        tree: dict[str, Tree] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = event.value if isinstance(event, yaml.ScalarEvent) else ""
            if not isinstance(event, yaml.ScalarEvent):
                self._complain(event, at, "a key is not a word", "write `key: value`")
                self._node(event, events, (*at, key))
            elif key in tree:
                first = self.lines[*at, key]
                self._complain(
                    event, (*at, key), f"named twice, first in line {first}", "keep one of the two"
                )
            else:
                self.lines[*at, key] = _line(event)
            tree[key] = self._node(next(events), events, (*at, key))
        return tree

    def _sequence(self, events: Iterator[yaml.Event], at: Location) -> list[Tree]:
        items: list[Tree] = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self._node(event, events, (*at, len(items))))
        return items

    def _refuse_magic(self, event: yaml.Event, at: Location) -> None:
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            self._complain(event, at, "anchors and aliases (& and *) are not read", "write the value out")
        if getattr(event, "tag", None):
            self._complain(event, at, "tags (!) are not read", "write the plain value")

    def _complain(self, event: yaml.Event, at: Location, problem: str, mend: str) -> None:
        self.problems.append(Problem(problem, mend, self.file, _line(event), dotted(at)))


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1
