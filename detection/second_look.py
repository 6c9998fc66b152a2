"""Which candidates are looked at a second time, what of the image does that look see, and what does it change?

A candidate's patch depends on the image around it only, not on how many others there are.
"""

import numpy as np
from numpy.typing import NDArray

from detection.classes import Role
from detection.decoding import Candidates, calibrated, detections_of, logit, sigmoid, softmax, told
from detection.detections import Detections, Floats
from detection.evaluation import iou
from detection.package import BOX, Extension, SecondLook

BATCH = 8
MOST_PER_IMAGE = 160
SAME_BOX_IOU = 0.5
BOX_STEP_PX = 16.0
BOX_SIDE_PX = 32.0
FARTHEST = 3.0
Numbers = NDArray[np.float64]


def chosen(candidates: Candidates, extension: Extension) -> NDArray[np.intp]:
    """(n,) the candidates whose first look is at or over the floor; at most the 160 highest, in reading order."""
    look = extension.second_look
    if look is None:
        return np.zeros(0, np.intp)
    raw = candidates.raw(extension)
    suspicious = np.nonzero(raw >= look.floor)[0]
    highest = suspicious[np.argsort(-raw[suspicious], kind="stable")[:MOST_PER_IMAGE]]
    return np.sort(highest)


def patches(density: Floats, boxes: Numbers, look: SecondLook) -> Floats:
    """(n, 3, p, p) float32: the densities around the middles of ``boxes``, mirrored beyond the image's edges."""
    side = look.patch_px
    corners = _middles(boxes).astype(int) - side // 2
    out = np.empty((len(boxes), len(density), side, side), np.float32)
    for patch, (x, y) in zip(out, corners, strict=True):
        rows = _mirrored(np.arange(y, y + side), density.shape[1])
        cols = _mirrored(np.arange(x, x + side), density.shape[2])
        patch[:] = density[:, rows[:, None], cols[None]]
    return out


def _middles(boxes: Numbers) -> Numbers:
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


def told_again(
    candidates: Candidates, extension: Extension, again: NDArray[np.intp], answers: NDArray[np.floating]
) -> Detections:
    """What both looks say together; ``answers`` (n, outputs) of the second are of the candidates ``again``.

    Classes that only the first look knows keep its share; the rest is shared out by the second. Where it says boxes,
    those count, and of several for one cell the most suspicious stays.
    """
    look = extension.second_look
    if look is None or not len(again):
        return told(candidates, extension)
    shares = softmax(answers[:, : len(look.class_names) + 1])
    names = [entry.name for entry in extension.classes]
    column = np.array([names.index(name) for name in look.class_names])
    classes = candidates.shares.copy()
    among = candidates.shares[np.ix_(again, column)].sum(axis=1, keepdims=True)
    classes[np.ix_(again, column)] = among * shares[:, :-1]
    raw = candidates.raw(extension)
    abnormal = calibrated(raw, extension.calibration)
    which = [i for i, c in enumerate(column) if extension.classes[c].role is Role.ABNORMAL]
    suspicion = shares[:, which].sum(axis=1)
    how = look.calibration
    abnormal[again] = sigmoid(how.second * logit(suspicion) + how.first * logit(raw[again]) + how.offset)
    if not look.places:
        return detections_of(candidates, classes, abnormal, extension)
    boxes = candidates.boxes.copy()
    boxes[again] = placed(boxes[again], answers[:, -BOX:])
    moved = Candidates(boxes, candidates.objectness, candidates.shares)
    kept = np.delete(np.arange(len(boxes)), again[_doubles(boxes[again], suspicion)])
    return detections_of(moved, classes, abnormal, extension).take(kept)


def placed(boxes: Numbers, said: NDArray[np.floating]) -> Numbers:
    """(n, 4) where the second look sees the cells of the candidates ``boxes``, from its (n, 4) last outputs.

    Those are the middle's offset from that of the patch, in 16 px, and the logarithms of width and height, in 32 px.
    """
    near = np.clip(said.astype(np.float64), -FARTHEST, FARTHEST)
    middles = _middles(boxes) + near[:, :2] * BOX_STEP_PX
    sides = np.exp(near[:, 2:]) * BOX_SIDE_PX
    return np.hstack([middles - sides / 2, sides])


def box_of(middles: Numbers, boxes: Numbers) -> Numbers:
    """(n, 4) what the second look should say of ``boxes`` that it sees from patches around ``middles``."""
    offsets = (boxes[:, :2] + boxes[:, 2:] / 2 - middles) / BOX_STEP_PX
    return np.hstack([offsets, np.log(np.maximum(boxes[:, 2:], 1.0) / BOX_SIDE_PX)])


def _doubles(boxes: Numbers, suspicion: Numbers) -> NDArray[np.intp]:
    """The boxes that mean the same cell as a more suspicious one, which is one that stays."""
    overlap, left = iou(boxes.astype(np.float32), boxes.astype(np.float32)), np.ones(len(boxes), bool)
    for index in np.argsort(-suspicion, kind="stable"):
        if left[index]:
            left &= (overlap[index] < SAME_BOX_IOU) | (np.arange(len(boxes)) == index)
    return np.flatnonzero(~left)
