"""What does the detector say about every tile while the stage moves? Each answer is a fact, once.

A tile searched before a kill is not searched again, and one that two sessions searched counts with its first answer:
``search_keys`` says by which name.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from detection.detections import Detections
from scanner.model.events import Body, Json, Kind
from scanner.model.tile import Judged, Tile
from scanner.pipeline.replan import PlanSettled
from scanner.pipeline.search_keys import Answers, SearchKeys
from scanner.pipeline.searching import CellSearch, Job
from scanner.storage.facts import tile_key
from scanner.storage.ledger import Ledger
from scanner.stream import Road

AHEAD = 4


@dataclass(frozen=True, slots=True)
class CellWork:
    """What the branch works with: ``job`` makes one of a tile and its name, ``keys`` name the answers in the ledger.

    ``heard`` is told every answer as it comes.
    """

    slide_id: str
    job: Callable[[Judged, str], Job]
    search: CellSearch
    keys: SearchKeys
    ledger: Path
    heard: Callable[[Tile, Detections], None] | None = None


Found = dict[str, Detections]


def look_for_cells(items: Iterable[Judged | PlanSettled], work: CellWork, road: Road) -> Found:
    """The detections of every capture, by ``tile_key``; each is in the ledger when this returns."""
    with Ledger.open(work.ledger) as ledger:
        known = Answers(ledger.events(Kind.DETECTED, work.slide_id), work.keys)
    asked = _asked((item for item in items if isinstance(item, Judged)), work, known)
    answered = road.parallel(asked, work.search.workers, AHEAD, "detector")
    return dict(_booked(answered, work, known))


def _asked(tiles: Iterable[Judged], work: CellWork, known: Answers) -> Iterator[tuple[Tile, Job | None]]:
    """Every tile with what is to be searched; its pixels go with the job and are not waited for any longer."""
    for judged in tiles:
        bare = replace(judged.tile, frame=None)
        if judged.pixels is None or known.of(bare, pixels_here=True) is not None:
            yield bare, None
        else:
            yield bare, work.job(judged, f"{work.slide_id}.{work.keys.of(bare)}")


def _booked(
    answered: Iterable[tuple[Tile, Detections | None]], work: CellWork, known: Answers
) -> Iterator[tuple[str, Detections]]:
    with Ledger.open(work.ledger) as ledger:
        for tile, found in answered:
            if found is None:
                body = known.of(tile, pixels_here=False)
            else:
                key = work.keys.of(tile)
                body = ledger.append(Kind.DETECTED, work.slide_id, key, _to_body(tile, found)).body
            if body is None:
                raise ValueError(f"tile {tile.planned.tile} has neither pixels nor an answer")
            said = detections_from_body(body)
            if work.heard is not None:
                work.heard(tile, said)
            yield tile_key(tile.planned.tile, tile.plan), said


def searched(ledger: Ledger, slide_id: str, keys: SearchKeys, tile: Tile) -> bool:
    """Does the ledger hold the answer that counts for a tile, so that its pixels may go?"""
    names = (keys.of(tile), keys.without_config(tile))
    return any(ledger.latest(Kind.DETECTED, slide_id, name) is not None for name in names)


def _to_body(tile: Tile, found: Detections) -> Body:
    cells: dict[str, Json] = {name: list(values) for name, values in found.to_json().items()}
    return {"tile": tile.planned.tile, "plan": tile.plan, "cells": cells}


def detections_from_body(body: Body) -> Detections:
    """The detections of a ``detected`` fact."""
    cells = body["cells"]
    return Detections.from_json(cells)  # type: ignore[arg-type]  # written by _to_body
