"""What does the detector say about every tile while the stage moves? In its own process, each answer a fact once.

The ledger's key is (slide, tile, content, detector): a tile searched before a kill is not searched again, and one
that two sessions searched counts with its first answer.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from detection.detections import Detections, Image
from detection.detector import open_detector
from detection.package import DetectorPackage
from scanner.model.events import Body, Json, Kind
from scanner.model.tile import Judged, Pixels, Tile
from scanner.pipeline.replan import PlanSettled
from scanner.storage.facts import tile_key
from scanner.storage.ledger import Ledger
from scanner.stream import Road, Worker

AHEAD = 4


@dataclass(frozen=True, slots=True)
class Job:
    """One tile to search: (h, w, 3) uint8 and its scale."""

    image: Image
    um_per_px: float


class Search:
    """The work of the detector's process: a package opened on its device and tested against its own image."""

    def __init__(self, package: Path) -> None:
        cv2.setNumThreads(1)
        self._detector = open_detector(package)

    def __call__(self, job: Job) -> Detections:
        """The cells of one tile."""
        return self._detector.detect([job.image], job.um_per_px)[0]


CellSearch = Worker[Job, Detections]


def cell_search(package: Path) -> CellSearch:
    """The process that searches tiles with a detector package."""
    return Worker(partial(Search, package), "detector", nice=10)


@dataclass(frozen=True, slots=True)
class CellWork:
    """What the branch works with; ``heard`` is told every answer as it comes."""

    slide_id: str
    um_per_px: float
    search: CellSearch
    package: DetectorPackage
    ledger: Path
    heard: Callable[[Tile, Detections], None] | None = None


Found = dict[str, Detections]


def look_for_cells(items: Iterable[Judged | PlanSettled], work: CellWork, road: Road) -> Found:
    """The detections of every capture, by ``tile_key``; each is in the ledger when this returns."""
    with Ledger.open(work.ledger) as ledger:
        known = {event.key: event.body for event in ledger.events(Kind.DETECTED, work.slide_id)}
    tiles = (item for item in items if isinstance(item, Judged))

    def job(judged: Judged) -> Job | None:
        if detection_key(judged.tile, work.package) in known or judged.pixels is None:
            return None
        return Job(as_rgb8(judged.pixels), work.um_per_px)

    answered = road.parallel(tiles, job, work.search, AHEAD, "detector")
    return dict(_booked(answered, work, known))


def _booked(
    answered: Iterable[tuple[Judged, Detections | None]], work: CellWork, known: dict[str, Body]
) -> Iterator[tuple[str, Detections]]:
    with Ledger.open(work.ledger) as ledger:
        for judged, found in answered:
            tile = judged.tile
            key = detection_key(tile, work.package)
            body = known.get(key)
            if found is not None:
                body = ledger.append(Kind.DETECTED, work.slide_id, key, _to_body(tile, found)).body
            if body is None:
                raise ValueError(f"tile {tile.planned.tile} has neither pixels nor an answer")
            said = detections_from_body(body)
            if work.heard is not None:
                work.heard(tile, said)
            yield tile_key(tile.planned.tile, tile.plan), said


def detection_key(tile: Tile, package: DetectorPackage) -> str:
    """The ledger's key of an answer; the package's hash covers its configuration."""
    return f"{tile.planned.tile}.{tile.content[:32]}.{package.hash[:32]}"


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
