"""What does the detector say about every tile while the stage moves? In its own process, each answer a fact once.

A tile searched before a kill is not searched again, and one that two sessions searched counts with its first answer:
``search_keys`` says by which name.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from detection.detections import Detections, Image
from detection.detector import open_detector, provider_here
from scanner.answering import Workers
from scanner.model.events import Body, Json, Kind
from scanner.model.tile import Judged, Pixels, Tile
from scanner.pipeline.replan import PlanSettled
from scanner.pipeline.search_keys import Answers, SearchKeys
from scanner.storage.facts import tile_key
from scanner.storage.ledger import Ledger
from scanner.stream import Road, Worker

AHEAD = 4


@dataclass(frozen=True, slots=True)
class Job:
    """One tile to search: (h, w, 3) uint8 and its scale."""

    image: Image
    um_per_px: float

    @property
    def nbytes(self) -> int:
        """Bytes of its pixels."""
        return self.image.nbytes


class Search:
    """The work of the detector's process: a package opened on its device and tested against its own image."""

    def __init__(self, package: Path) -> None:
        cv2.setNumThreads(1)
        self._detector = open_detector(package)

    def __call__(self, job: Job) -> Detections:
        """The cells of one tile."""
        return self._detector.detect([job.image], job.um_per_px)[0]


@dataclass(frozen=True, slots=True)
class CellSearch:
    """Who searches; ``provider`` is the runtime, its version and device: answers are the same bytes only within one."""

    workers: Workers[Job, Detections]
    provider: str


def cell_search(package: Path) -> CellSearch:
    """The process that searches tiles with a detector package."""
    return CellSearch(Worker(partial(Search, package), "detector", nice=10), provider_here())


@dataclass(frozen=True, slots=True)
class CellWork:
    """What the branch works with; ``keys`` name the answers in the ledger."""

    slide_id: str
    um_per_px: float
    search: CellSearch
    keys: SearchKeys
    ledger: Path


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
            yield bare, Job(as_rgb8(judged.pixels), work.um_per_px)


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
            yield tile_key(tile.planned.tile, tile.plan), detections_from_body(body)


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


def as_rgb8(pixels: Pixels) -> Image:
    """(h, w, 3) uint8 of a gray or colour frame of 8 or 16 bits."""
    eight = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    return np.asarray(eight if eight.ndim == 3 else np.repeat(eight[..., None], 3, axis=2), np.uint8)
