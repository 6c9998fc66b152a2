"""What does the newer detector say of one image of the archive, and is that known already?

An image that cannot be read is never taken for a negative one: it says why.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from detection.detector import Detector
from detection.errors import ImageRefused
from scanner.errors import DamagedRun
from scanner.model.base import Value
from scanner.offline.detect import refuse_too_coarse, write_findings
from scanner.offline.look_back.careful import CarefulImage, Unreadable, tried, words_of
from scanner.offline.look_back.past import Case, blocks_missing
from scanner.offline.looking import Looker, Progress
from scanner.pipeline.findings import Findings
from scanner.storage.atomic import SAME_COMMAND, write_atomic

NO_CELLS = "nothing found to judge: no cell was seen"


class Worst(Value):
    """The highest-ranked finding: its class and score, the centre of its box in px and µm from the image's corner."""

    name: str
    score: float
    x_px: float
    y_px: float
    x_um: float
    y_um: float


class Found(Value):
    """``cases/NNNN/found.json``: how an image of the archive was read and what came of it.

    Attributes:
        case: the number of its folder.
        image: its path below the source.
        content: what the image was when it was read; empty where it is to be tried again.
        um_per_px: the scale it was read at, None where it has none.
        own_um_per_px: the scale that it states.
        given_um_per_px: what ``--um-per-px`` said, which counts where it states none.
        unreadable: why it cannot be called negative, empty where it can be judged.
        slide_score: None where the detector did not see all of it.
    """

    case: int
    image: str
    content: str
    um_per_px: float | None = None
    own_um_per_px: float | None = None
    given_um_per_px: float | None = None
    scale: str = ""
    detector: str
    detector_hash: str
    provider: str
    findings: int = 0
    cells: int = 0
    slide_score: float | None = None
    worst: Worst | None = None
    unreadable: str = ""


@dataclass(frozen=True, slots=True)
class Eyes:
    """The newer detector, and who looks with it."""

    detector: Detector
    looker: Looker


def read_case(
    case: Case, number: int, folder: Path, um_per_px: float | None, eyes: Eyes, progress: Progress
) -> Found:
    """Look at one image, and write what was found; ``found.json`` comes last.

    Args:
        case: the image.
        number: of the case.
        folder: ``OUT/cases/NNNN``; what a killed reading left there goes.
        um_per_px: the scale of images that do not say theirs.
        eyes: who looks with what.
        progress: told (tiles done, tiles in all, what).

    Raises:
        RackscanError: the disk that is written to refused.
    """
    for left in folder.glob("*") if folder.is_dir() else ():
        left.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    content = content_of(case.image.path)
    found = Found(
        case=number,
        image=case.image.name,
        content=content,
        given_um_per_px=um_per_px,
        detector=eyes.detector.package.config.name,
        detector_hash=eyes.detector.package.hash,
        provider=eyes.looker.provider,
    )
    try:
        found = _looked_at(case, found, folder, um_per_px, eyes, progress)
        if content_of(case.image.path) != content:
            raise Unreadable("was changed while it was looked at", again=True)
    except Unreadable as error:
        kept = "" if error.again else content
        found = found.model_copy(update={"content": kept, "unreadable": str(error)})
    write_atomic(folder / "found.json", found.model_dump_json(indent=1) + "\n", SAME_COMMAND)
    return found


def known(file: Path) -> Found | None:
    """What an earlier reading wrote; None where there is nothing, or nothing whole."""
    try:
        return Found.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None


def still_holds(found: Found, case: Case, um_per_px: float | None, detector_hash: str) -> bool:
    """Was this same image read by this detector at the scale that it would be read at now?"""
    scaled = found.own_um_per_px is not None or found.given_um_per_px == um_per_px
    same = found.detector_hash == detector_hash and scaled
    return same and found.content != "" and found.content == content_of(case.image.path)


def content_of(path: Path) -> str:
    """Names the content without reading it: size and time of every file; empty where the image cannot be reached.

    An archive of days is not read once more to learn that it is the same.
    """
    digest = hashlib.sha256()
    try:
        for file in _files(path):
            facts = file.stat()
            name = os.fsencode(file.relative_to(path))
            digest.update(b"%s\0%d\0%d\n" % (name, facts.st_size, facts.st_mtime_ns))
    except OSError:
        return ""
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        return iter(sorted(file for file in path.rglob("*") if file.is_file()))
    return iter([path])


def _looked_at(
    case: Case, found: Found, folder: Path, um_per_px: float | None, eyes: Eyes, progress: Progress
) -> Found:
    with closing(CarefulImage(case.image)) as picture:
        scale = picture.um_per_px or um_per_px
        found = found.model_copy(update={"own_um_per_px": picture.um_per_px, "um_per_px": scale})
        try:
            seen, said = _seen(picture, case, scale, eyes, progress)
        except Unreadable as error:
            if error.again:
                raise
            return found.model_copy(update={"unreadable": str(error)})
        write_findings(folder, f"{found.case:04d}", seen, SAME_COMMAND)
        why = _doubt(case, picture, seen)
    return found.model_copy(
        update={
            "scale": said,
            "findings": len(seen),
            "cells": seen.cells,
            "slide_score": seen.slide_score,
            "worst": _worst(seen),
            "unreadable": why,
        }
    )


def _seen(
    picture: CarefulImage, case: Case, scale: float | None, eyes: Eyes, progress: Progress
) -> tuple[Findings, str]:
    if scale is None:
        raise Unreadable("does not say its µm per pixel: give --um-per-px")
    path = case.image.path
    said = tried(path, lambda: refuse_too_coarse(scale, eyes.detector, path))
    try:
        return eyes.looker.look(picture, path, scale, progress), said
    except ImageRefused as error:
        raise Unreadable(str(error)) from error
    except DamagedRun as error:
        raise Unreadable(words_of(error, path)) from error


def _doubt(case: Case, picture: CarefulImage, seen: Findings) -> str:
    """Why an image that was read to its end still shows no negative case; empty where nothing speaks against it."""
    try:
        place = case.image.path
        missing = tried(place, lambda: blocks_missing(place.parent)) if case.in_run else 0
    except Unreadable as error:
        return str(error)
    if missing:
        return f"{missing} blocks of the image are missing"
    if picture.unfinished:
        return "its scan was not completed"
    return "" if seen.cells else NO_CELLS


def _worst(seen: Findings) -> Worst | None:
    if not len(seen):
        return None
    x, y, w, h = (float(value) for value in seen.boxes_px[0])
    return Worst(
        name=seen.classes[0],
        score=float(seen.scores[0]),
        x_px=round(x + w / 2, 1),
        y_px=round(y + h / 2, 1),
        x_um=round(float(seen.centres_um[0, 0]), 2),
        y_um=round(float(seen.centres_um[0, 1]), 2),
    )
