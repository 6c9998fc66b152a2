"""Where was a detector most wrong? The worst misses and the most confident false alarms."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detection.classes import CellClass
from detection.crop_level import abnormal_share
from detection.evaluation import iou, matched
from detection.seen import Seen, SeenCrops

HIT = 0.5
TOUCHES = 0.3
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Failure:
    """One cell: where it is, its box (x, y, w, h px; None for a whole crop), P(abnormal), and truth in words.

    ``score`` of a miss is the highest P(abnormal) of a box on it; None where there is none.
    """

    file: Path
    box: Box | None
    score: float | None
    truth: str


def misses(
    seen: Sequence[Seen], abnormal: Sequence[int], classes: Sequence[CellClass], most: int
) -> list[Failure]:
    """The true abnormal cells with the lowest scores, those without any box first."""
    found = [failure for s in seen for failure in _misses(s, abnormal, classes)]
    return sorted(found, key=lambda f: -1.0 if f.score is None else f.score)[:most]


def _misses(s: Seen, abnormal: Sequence[int], classes: Sequence[CellClass]) -> Iterator[Failure]:
    for box, label in zip(s.truth, s.labels, strict=True):
        if label in abnormal:
            on_it = s.found.abnormal[iou(s.found.boxes, box[None])[:, 0] >= HIT]
            score = float(on_it.max()) if len(on_it) else None
            yield Failure(s.file, _box(box), score, classes[int(label)].name)


def false_alarms(
    seen: Sequence[Seen], abnormal: Sequence[int], classes: Sequence[CellClass], most: int
) -> list[Failure]:
    """The boxes with the highest P(abnormal) that touch no abnormal cell."""
    found = [failure for s in seen for failure in _false_alarms(s, abnormal, classes, most)]
    return sorted(found, key=lambda f: -(f.score or 0.0))[:most]


def _false_alarms(
    s: Seen, abnormal: Sequence[int], classes: Sequence[CellClass], most: int
) -> Iterator[Failure]:
    wanted = np.isin(s.labels, abnormal)
    hit = matched(s.found.boxes, s.found.abnormal, s.truth[wanted])
    touching = iou(s.found.boxes, s.truth[wanted]).max(axis=1, initial=0.0) >= TOUCHES
    wrong = np.flatnonzero(~hit & ~touching)
    for index in wrong[np.argsort(-s.found.abnormal[wrong], kind="stable")][:most]:
        overlap = iou(s.found.boxes[index][None], s.truth)[0]
        nearest = int(overlap.argmax()) if len(overlap) else -1
        known = nearest >= 0 and overlap[nearest] >= TOUCHES
        truth = classes[int(s.labels[nearest])].name if known else "nothing labelled here"
        yield Failure(s.file, _box(s.found.boxes[index]), float(s.found.abnormal[index]), truth)


def crop_failures(
    seen: SeenCrops, abnormal: Sequence[int], classes: Sequence[CellClass], most: int
) -> tuple[list[Failure], list[Failure]]:
    """Abnormal crops with the lowest P(abnormal), and the others with the highest."""
    said, truth = abnormal_share(seen, abnormal), np.isin(seen.truth, abnormal)
    order = np.argsort(said, kind="stable")
    low, high = [i for i in order if truth[i]][:most], [i for i in order[::-1] if not truth[i]][:most]
    made = [
        [Failure(seen.files[i], None, float(said[i]), classes[int(seen.truth[i])].name) for i in part]
        for part in (low, high)
    ]
    return made[0], made[1]


def _box(values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Box:
    x, y, w, h = (float(v) for v in values)
    return x, y, w, h
