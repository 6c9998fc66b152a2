"""What does a person have to mend when a value does not fit its model?"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

Location = tuple[str | int, ...]

FILL_IN = "FILL_IN"

MENDS = {
    "string_type": "put the value in quotes",
    "float_parsing": "write a number, such as 12.5",
    "int_parsing": "write a whole number, such as 3",
    "bool_parsing": "write true or false",
    "finite_number": "write a finite number",
    "tuple_type": "write a list, such as [0, 100]",
    "list_type": "write a list, such as [0, 100]",
    "dict_type": "write `key: value` lines under it",
    "model_type": "write `key: value` lines under it",
    "enum": "choose one of these",
    "value_error": "correct the value",
    "datetime_from_date_parsing": "write a time, such as 2026-01-31T12:00:00Z",
    "datetime_parsing": "write a time, such as 2026-01-31T12:00:00Z",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Where in the model, what is wrong there, and how to mend it."""

    location: Location
    problem: str
    mend: str


def explain(model: type[BaseModel], error: ErrorDetails) -> Fault:
    """A validation error of ``model`` in the words of the person who wrote the file."""
    location = error["loc"]
    key = str(location[-1]) if location else ""
    if error["type"] == "missing":
        where = f" under `{location[-2]}`" if len(location) > 1 else ""
        return Fault(location, "is missing", f"add `{key}:`{where}")
    if error["type"] == "extra_forbidden":
        return Fault(location, "is not a known key", _known_keys(model, location))
    if error.get("input") == FILL_IN:
        return Fault(location, "is still to be filled in", "the comments beside it and the README say how")
    said = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    given = error.get("input")
    shown = f" (it is {given!r})" if isinstance(given, str | int | float) else ""
    return Fault(location, f"{said}{shown}", MENDS.get(error["type"], "correct the value"))


def _known_keys(model: type[BaseModel], location: Location) -> str:
    known = list(_fields(model, location[:-1]))
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    if near:
        return f"did you mean `{near[0]}`?"
    return f"remove it; known keys are {', '.join(known)}" if known else "remove it"


def _fields(model: type[BaseModel], location: Location) -> Mapping[str, object]:
    """The fields of the model at ``location`` inside ``model``; none where no model stands there."""
    here: Any = model
    for key in location:
        inside = _model_in(here)
        here = inside.model_fields[key].annotation if inside and isinstance(key, str) else here
    inside = _model_in(here)
    return inside.model_fields if inside else {}


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model in ``X``, ``X | None``, ``tuple[X, ...]`` or ``list[X]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    origin = get_origin(annotation)
    if origin in (Union, UnionType, tuple, list):
        return next((found for arg in get_args(annotation) if (found := _model_in(arg))), None)
    return None
