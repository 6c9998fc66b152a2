"""How does a lab get a detector of its own? One folder of labelled images in, one package out."""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from detection.errors import DataError, PackageError
from detection.model_card import Statement
from detection.package import DetectorPackage
from scanner.errors import BadInput, Problem
from scanner.model.base import Value
from scanner.offline.evaluate_page import write_evaluation_page

if TYPE_CHECKING:
    from detection.learn import Learnt

Progress = Callable[[int, int, str], None]
GENTLE_RATE = 2e-3
PAGE = "MODEL_CARD.html"


class TrainResult(Value):
    """What was learnt from how many images, and the first figures."""

    package: str
    hash: str
    training_images: int
    held_out_images: int
    figures: dict[str, object]


def train(
    data: Path,
    out: Path,
    seed: int = 0,
    progress: Progress | None = None,
    steps: int | None = None,
    statement: Statement | None = None,
    start: Path | None = None,
    further: Mapping[str, object] | None = None,
) -> TrainResult:
    """Train a package on ``data``.

    Args:
        data: crops in class folders, COCO boxes, or QuPath GeoJSON beside images.
        out: the package to write, a new or empty folder.
        seed: the same data and seed give the same package on the same machine.
        progress: told (steps done, steps in all, what).
        steps: how long to learn from boxes, each of the two looks; by default 2,400 steps. Crops are learnt in one.
        statement: what the package says about itself; by default the folders' names.
        start: a package to go on from. For boxes one with the same network, by default random weights; for crops any,
            by default the shipped one.
        further: settings of ``detection.training.TrainSettings`` that shall differ.

    Raises:
        BadInput: torch is not installed, the labels are not in order, or ``out`` is occupied; nothing was written.
    """
    _refuse(out)
    command = f"rackscan train --data {data.name} --out {out.name} --seed {seed}"
    said = statement or Statement(out.name, f"labelled images of the folder {data.name}", command=command)
    long = {} if steps is None else {"steps": steps, "second_steps": steps}
    given = {"seed": seed, **long, **(further or {})}
    learnt = _learnt(data, out, given, said, start, progress or _silent)
    where = f"{learnt.held_out_images} images of {data.name} that were held out of training, chosen by slide"
    write_evaluation_page(out / PAGE, "Model card", learnt.package, learnt.assessment, where, learnt.command)
    return TrainResult(
        package=str(out),
        hash=learnt.package.hash,
        training_images=learnt.training_images,
        held_out_images=learnt.held_out_images,
        figures=learnt.assessment.figures.model_dump(mode="json"),
    )


def _learnt(
    data: Path,
    out: Path,
    given: Mapping[str, object],
    said: Statement,
    start: Path | None,
    progress: Progress,
) -> "Learnt":
    from detection.learn import train_package
    from detection.training import TrainSettings

    first = _opened(start) if start else None
    going_on = {"learning_rate": GENTLE_RATE, "network": first.config.rackscan.network} if first else {}
    settings = TrainSettings.model_validate({**given, **going_on})
    try:
        return train_package(data, out, settings, said, progress, first)
    except DataError as error:
        problems = [Problem(text, "correct the labels", file=error.path) for text in error.problems]
        raise BadInput(problems) from error


def _refuse(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput.one("is not an empty folder", "choose another --out", file=str(out))
    if any(importlib.util.find_spec(name) is None for name in ("torch", "onnx")):
        raise BadInput.one("training needs torch and onnx", "install rackscan with the extra 'torch'")


def _opened(path: Path) -> DetectorPackage:
    try:
        return DetectorPackage.load(path)
    except PackageError as error:
        raise BadInput.one(str(error), "give the folder of a detector package", file=error.path) from error


def _silent(done: int, of: int, what: str) -> None:
    """Nobody listens."""
