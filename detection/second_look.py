"""Which candidates are looked at a second time, what of the image does that look see, and what does it change?

A candidate's patch depends on the image around it only, not on how many others there are.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detection.classes import Role, plain
from detection.crop_look import ORGANISM, named_by_crops
from detection.decoding import Candidates, calibrated, detections_of, joined, softmax, together
from detection.detections import Detections, Floats
from detection.evaluation import iou
from detection.package import BOX, Extension, SecondLook

BATCH = 8
MOST_PER_IMAGE = 160
SAME_BOX_IOU = 0.5
BOX_STEP_PX = 16.0
BOX_SIDE_PX = 32.0
FARTHEST = 3.0
NAMED_FROM = 0.1
Numbers = NDArray[np.float64]


def chosen(candidates: Candidates, extension: Extension) -> NDArray[np.intp]:
    """(n,) the candidates whose first look is at or over the floor; at most the 160 highest, in reading order."""
    look = extension.second_look or extension.crop_look
    if look is None:
        return np.zeros(0, np.intp)
    raw = candidates.raw(extension)
    suspicious = np.nonzero(raw >= look.floor)[0]
    highest = suspicious[np.argsort(-raw[suspicious], kind="stable")[:MOST_PER_IMAGE]]
    return np.sort(highest)


def patches(density: Floats, boxes: Numbers, look: SecondLook) -> Floats:
    """(n, 3, s, s) float32: the densities around the middles of ``boxes``, mirrored beyond the image's edges."""
    side = look.seen_px
    out = np.empty((len(boxes), len(density), side, side), np.float32)
    height, width = density.shape[1:]
    for patch, (x, y) in zip(out, corners(boxes, look), strict=True):
        if x >= 0 and y >= 0 and x + side <= width and y + side <= height:
            patch[:] = density[:, y : y + side, x : x + side]
            continue
        rows = _mirrored(np.arange(y, y + side), height)
        cols = _mirrored(np.arange(x, x + side), width)
        patch[:] = density[:, rows[:, None], cols[None]]
    return out


def corners(boxes: Numbers, look: SecondLook) -> NDArray[np.int64]:
    """(n, 2) x, y of the first px of the patches around ``boxes``; they may begin and end outside the image."""
    return np.asarray(middles_of(boxes).astype(np.int64) - look.seen_px // 2)


def middles_of(boxes: Numbers) -> Numbers:
    """(n, 2) where the patches of ``boxes`` have their middle: whole px."""
    return np.asarray(np.round(boxes[:, :2] + boxes[:, 2:] / 2))


def _mirrored(index: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Every index as one inside 0..length-1, mirrored at both ends without repeating the edge."""
    period = max(1, 2 * (length - 1))
    turned = np.abs(index) % period
    return np.asarray(np.minimum(turned, period - turned) if length > 1 else np.zeros_like(index))


def batches(given: Floats) -> list[tuple[Floats, int]]:
    """Fixed batches of 8, the last filled with empty glass: (patches, how many count)."""
    found = []
    for start in range(0, len(given), BATCH):
        part = given[start : start + BATCH]
        whole = np.zeros((BATCH, *given.shape[1:]), np.float32)
        whole[: len(part)] = part
        found.append((whole, len(part)))
    return found


def suspicion(answers: NDArray[np.floating], extension: Extension, look: SecondLook) -> Numbers:
    """(n,) P(abnormal) as the second look alone says it, uncalibrated."""
    shares = softmax(answers[:, : len(look.class_names) + 1])
    roles = {entry.name: entry.role for entry in extension.classes}
    which = [index for index, name in enumerate(look.class_names) if roles[name] is Role.ABNORMAL]
    return np.asarray(shares[:, which].sum(axis=1))


def asks_crops(answers: NDArray[np.floating], extension: Extension) -> NDArray[np.bool_]:
    """(n,) is the crop look asked about the cells of these ``answers`` of the second?

    It names cells that may be abnormal or an organism. Where it also says how abnormal they are, it is asked of all.
    """
    look, crops = extension.second_look, extension.crop_look
    if crops is None or not len(answers):
        return np.zeros(len(answers), bool)
    if look is None or crops.calibration.second:
        return np.ones(len(answers), bool)
    shares = softmax(answers[:, : len(look.class_names) + 1])[:, :-1]
    organism = [plain(name) == ORGANISM for name in look.class_names]
    return np.asarray(suspicion(answers, extension, look) + shares[:, organism].sum(axis=1) >= NAMED_FROM)


def all_told(
    seen: Sequence[Candidates],
    extension: Extension,
    again: Sequence[NDArray[np.intp]],
    answers: NDArray[np.floating],
    by_crops: NDArray[np.floating] | None = None,
) -> list[Detections]:
    """What all looks say together of each image; ``answers`` (n, outputs) are the second's of all of ``again``.

    Classes that only the first look knows keep its share; the rest is shared out by the second. Where it says boxes,
    those count, and of several for one cell the most suspicious stays. ``by_crops`` are the crop look's answers, not
    a number where it was not asked.
    """
    ends = np.cumsum([len(candidates) for candidates in seen])
    starts = ends - [len(candidates) for candidates in seen]
    those = [start + own for start, own in zip(starts, again, strict=True)]
    whole, asked = joined(seen), np.concatenate(those)
    classes, abnormal, doubt = _both(whole, extension, asked, answers)
    _name_by_crops(classes, abnormal, asked, by_crops, extension)
    look, kept = extension.second_look, np.arange(len(whole))
    if look is not None and look.places and len(asked):
        boxes = whole.boxes.copy()
        boxes[asked] = placed(boxes[asked], answers[:, -BOX:])
        whole = Candidates(boxes, whole.objectness, whole.shares)
        suspicions = np.split(doubt, np.cumsum([len(own) for own in those])[:-1])
        fallen = [own[_doubles(boxes[own], s)] for own, s in zip(those, suspicions, strict=True)]
        kept = np.delete(kept, np.concatenate(fallen))
    told = detections_of(whole, classes, abnormal, extension)
    return [told.take(own) for own in np.split(kept, np.searchsorted(kept, ends[:-1]))]


def _name_by_crops(
    classes: Numbers,
    abnormal: Numbers,
    again: NDArray[np.intp],
    by_crops: NDArray[np.floating] | None,
    extension: Extension,
) -> None:
    """Changes what the other looks said of those of the candidates ``again`` that the crop look was asked about."""
    crops = extension.crop_look
    if crops is None or by_crops is None:
        return
    asked = ~np.isnan(by_crops[:, 0])
    if not asked.any():
        return
    own = again[asked]
    classes[own], abnormal[own] = named_by_crops(
        classes[own], abnormal[own], by_crops[asked], crops, extension.classes
    )


def _both(
    candidates: Candidates, extension: Extension, again: NDArray[np.intp], answers: NDArray[np.floating]
) -> tuple[Numbers, Numbers, Numbers]:
    """(m, k) class probabilities and (m,) P(abnormal) by both looks, (n,) the suspicion of the second alone."""
    look, classes, raw = extension.second_look, candidates.shares.copy(), candidates.raw(extension)
    abnormal = calibrated(raw, extension.calibration)
    if look is None or not len(again):
        return classes, abnormal, raw[again]
    shares = softmax(answers[:, : len(look.class_names) + 1])
    names = [entry.name for entry in extension.classes]
    column = np.array([names.index(name) for name in look.class_names])
    among = candidates.shares[np.ix_(again, column)].sum(axis=1, keepdims=True)
    classes[np.ix_(again, column)] = among * shares[:, :-1]
    doubt = suspicion(answers, extension, look)
    abnormal[again] = together(look.calibration, doubt, raw[again])
    return classes, abnormal, doubt


def placed(boxes: Numbers, said: NDArray[np.floating]) -> Numbers:
    """(n, 4) where the second look sees the cells of the candidates ``boxes``, from its (n, 4) last outputs.

    Those are the middle's offset from that of the patch, in 16 px, and the logarithms of width and height, in 32 px.
    """
    near = np.clip(said.astype(np.float64), -FARTHEST, FARTHEST)
    middles = middles_of(boxes) + near[:, :2] * BOX_STEP_PX
    sides = np.exp(near[:, 2:]) * BOX_SIDE_PX
    return np.hstack([middles - sides / 2, sides])


def box_of(middles: Numbers, boxes: Numbers) -> Numbers:
    """(n, 4) what the second look should say of ``boxes`` that it sees from patches around ``middles``."""
    offsets = (boxes[:, :2] + boxes[:, 2:] / 2 - middles) / BOX_STEP_PX
    return np.hstack([offsets, np.log(np.maximum(boxes[:, 2:], 1.0) / BOX_SIDE_PX)])


def _doubles(boxes: Numbers, suspicion: Numbers) -> NDArray[np.intp]:
    """The boxes that mean the same cell as a more suspicious one, which is one that stays."""
    overlap, left = iou(boxes.astype(np.float32), boxes.astype(np.float32)), np.ones(len(boxes), bool)
    same = overlap >= SAME_BOX_IOU
    np.fill_diagonal(same, False)
    order = np.argsort(-suspicion, kind="stable")
    for index in order[np.asarray(same.any(axis=1))[order]]:
        if left[index]:
            left &= ~same[index]
    return np.flatnonzero(~left)
