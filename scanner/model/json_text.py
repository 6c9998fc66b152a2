"""How does any value of ours become one JSON object?"""

import dataclasses
import json
from enum import Enum


def json_text(value: object, indent: int | None = None) -> str:
    """Models, dataclasses, enums and paths included."""
    return json.dumps(value, default=_plain, ensure_ascii=False, indent=indent)


def _plain(value: object) -> object:
    """What ``json`` cannot write, as something it can."""
    from pydantic import BaseModel

    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    return str(value)
