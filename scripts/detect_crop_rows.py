"""What does ``rackscan train`` reach on a few hundred real crops, beside a classical baseline? Rows for the bench.

Five-fold cross-validation, classes spread evenly over the folds. The crops are not ours to give away: without them the
rows say so. Each set is also trained and judged with every crop resized to one size, so that how large a crop was cut
can tell nothing.
"""

import csv
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.assess import assess
from detection.evaluation import balanced_accuracy, confusion
from detection.labelled import read_data, read_pixels
from detection.learn import train_package
from detection.model_card import Statement
from detection.opening import open_detector
from detection.training import TrainSettings
from scripts.classical_baseline import classical_features, told_by_trees
from scripts.rows import Row, at_least, at_most, row

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FOLDS = 5
ONE_SIZE_PX = 96
MOST_LOST = 0.05


@dataclass(frozen=True, slots=True)
class CropSet:
    """A folder of crops by class, and what balanced accuracy is wanted."""

    name: str
    folder: str
    wanted: float


SETS = (
    CropSet("11 classes of crops", "B_tct_crops_dev", 0.60),
    CropSet("7 classes of Herlev", "B_herlev_dev", 0.65),
)


def crop_rows() -> Iterator[Row]:
    """Balanced accuracy of both sets, as they are and at one size, and the baseline's."""
    for given in SETS:
        labelled = DATA / given.folder / "labels.csv"
        if not labelled.is_file():
            yield row(f"balanced accuracy, {given.name}: no data here", None, given.wanted)
            continue
        files, labels, names = _read(labelled)
        reached = cross_validated(files, labels, names, None)
        yield at_least(f"balanced accuracy, {given.name}, 5-fold", reached, given.wanted)
        resized = cross_validated(files, labels, names, ONE_SIZE_PX)
        yield at_most("lost where every crop is resized to one size", reached - resized, MOST_LOST)
        yield row("classical baseline, same folds", _baseline(files, labels, len(names)))


def _read(labelled: Path) -> tuple[list[Path], NDArray[np.int64], list[str]]:
    with labelled.open(encoding="utf-8") as lines:
        entries = list(csv.DictReader(lines))
    names = sorted({entry["label"] for entry in entries})
    labels = np.array([names.index(entry["label"]) for entry in entries])
    return [labelled.parent / entry["file"] for entry in entries], labels, names


def folds(labels: NDArray[np.int64], seed: int = 0) -> NDArray[np.int64]:
    """(n,) 0..4, every class spread evenly, shuffled."""
    rng = np.random.default_rng(seed)
    fold = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        own = rng.permutation(np.flatnonzero(labels == label))
        fold[own] = np.arange(len(own)) % FOLDS
    return fold


def cross_validated(
    files: Sequence[Path], labels: NDArray[np.int64], names: Sequence[str], side_px: int | None
) -> float:
    """Balanced accuracy of packages trained without a fold on that fold, all folds' answers together."""
    fold = folds(labels)
    right, total = np.zeros(len(names)), np.zeros(len(names))
    for number in range(FOLDS):
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            _lay_out(work / "train", files, labels, names, fold != number, side_px)
            _lay_out(work / "test", files, labels, names, fold == number, side_px)
            train_package(
                work / "train", work / "p", TrainSettings(held_out=0.0), Statement("fold", "crops"), _silent
            )
            data = read_data(work / "test")
            detector = open_detector(work / "p", "onnx")
            crop = assess(detector, data, data.images, _silent).figures.crop
            kept = [crop.classes.index(entry.name) for entry in data.classes]
            counts = np.array(crop.confusion)[kept]
            right += counts[np.arange(len(kept)), kept]
            total += counts.sum(axis=1)
    return float((right / total).mean())


def _lay_out(
    out: Path,
    files: Sequence[Path],
    labels: NDArray[np.int64],
    names: Sequence[str],
    chosen: NDArray[np.bool_],
    side_px: int | None,
) -> None:
    """A folder a class with links to the chosen crops, or copies of one size."""
    for index in np.flatnonzero(chosen).tolist():
        target = out / names[labels[index]] / f"{index:04d}{'.png' if side_px else files[index].suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        if side_px is None:
            target.symlink_to(files[index])
        else:
            pixels = cv2.resize(read_pixels(files[index]), (side_px, side_px), interpolation=cv2.INTER_AREA)
            cv2.imwrite(str(target), np.asarray(pixels)[:, :, ::-1])


def _baseline(files: Sequence[Path], labels: NDArray[np.int64], classes: int) -> float | None:
    features = np.stack([classical_features(read_pixels(file)) for file in files])
    fold, said = folds(labels), np.zeros(len(labels), np.int64)
    for number in range(FOLDS):
        answer = told_by_trees(features[fold != number], labels[fold != number], features[fold == number])
        if answer is None:
            return None
        said[fold == number] = answer
    return balanced_accuracy(confusion(labels, said, classes))


def _silent(done: int, of: int, what: str) -> None:
    """Nobody listens."""


if __name__ == "__main__":
    from scripts.rows import tell

    cv2.setNumThreads(1)
    tell(crop_rows())
