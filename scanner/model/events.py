"""Which facts does a ledger hold? What is not in it did not happen.

An event's ``body`` is JSON: numbers, text, lists and dictionaries only, floats as Python writes them (exact).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"
Body: TypeAlias = dict[str, Json]


class Kind(StrEnum):
    """The kinds of facts, in the order a slide's road meets them."""

    RUN_STARTED = "run-started"
    RUN_STOPPED = "run-stopped"
    RUN_RESUMED = "run-resumed"
    RUN_FINISHED = "run-finished"
    WARNING = "warning"
    SLIDE_LOADED = "slide-loaded"
    IDENTITY = "identity"
    SEATED = "seated"
    PLAN = "plan"
    FOCUS_POINT = "focus-point"
    FOCUS_MAP = "focus-map"
    TILE = "tile"
    TILE_FAILED = "tile-failed"
    PLAN_CAPTURED = "plan-captured"
    FUSED = "fused"
    FLAT_FIELD = "flat-field"
    PAIRS = "pairs"
    LIGHT = "light"
    BACKGROUND = "background"
    PLACED = "placed"
    BLOCK = "block"
    DETECTED = "detected"
    CELLS_CHOSEN = "cells-chosen"
    CELL_READ = "cell-read"
    TILE_FINISHED = "tile-finished"
    SLIDE_CAPTURED = "slide-captured"
    SLIDE_UNLOADED = "slide-unloaded"
    SLIDE_FAULT = "slide-fault"
    SLIDE_FINISHED = "slide-finished"


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the ledger. ``seq`` counts from 1; ``digest`` chains it to everything before."""

    seq: int
    at: str
    kind: Kind
    slide_id: str
    key: str
    body: Body
    digest: str
