"""How does a lab get a detector of its own? Labelled images or corrected runs in, one package out."""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from detection.errors import DataError, PackageError
from detection.model_card import Statement
from detection.package import DetectorPackage
from scanner.errors import BadInput, Problem
from scanner.model.base import Value
from scanner.offline.corrected_fields import detectors_of, runs_in, write_fields
from scanner.offline.detect import opened
from scanner.offline.evaluate_page import write_evaluation_page
from scanner.storage.images import stated_scale

if TYPE_CHECKING:
    from detection.learn import Learnt

Progress = Callable[[int, int, str], None]
GENTLE_RATE = 2e-3
CORRECTING_RATE = 3e-4
CORRECTING_STEPS = 400
"""Corrections are few: as many steps as labelled images get would learn them by heart."""
PAGE = "MODEL_CARD.html"


class TrainResult(Value):
    """What was learnt from how many images, the first figures, and what had to be assumed."""

    package: str
    hash: str
    training_images: int
    held_out_images: int
    figures: dict[str, object]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class How:
    """How to learn.

    Attributes:
        seed: the same data and seed give the same package on the same machine.
        steps: how long each of the two looks learns from boxes; by default 2,400 steps, from corrections 400. Crops are
            learnt in one.
        start: a package to go on from. For boxes one with the same network, by default random weights; for crops any,
            by default the shipped one; for corrections any, by default the one that made the findings.
        um_per_px: scale of images that do not say theirs; 0.5 is assumed without it.
        stops_early: keep the weights that did best on the held-out slides; else learn to the end.
        second_steps: how long the second look learns, by default as long; 0 keeps that of ``start``. 0 ``steps`` keep
            its first look.
    """

    seed: int = 0
    steps: int | None = None
    start: Path | None = None
    um_per_px: float | None = None
    stops_early: bool = True
    second_steps: int | None = None

    def command(self, data: Path, out: Path) -> str:
        """The words that do the same again."""
        more = {
            "--start": self.start and self.start.name,
            "--steps": self.steps,
            "--um-per-px": self.um_per_px,
        }
        words = [f"{option} {value}" for option, value in more.items() if value is not None]
        return " ".join([f"rackscan train --data {data.name} --out {out.name} --seed {self.seed}", *words])

    def settings(self) -> dict[str, object]:
        """What of it the training itself depends on."""
        long = {} if self.steps is None else {"steps": self.steps, "second_steps": self.steps}
        long |= {} if self.second_steps is None else {"second_steps": self.second_steps}
        return {
            "seed": self.seed,
            "stops_early": self.stops_early,
            **long,
        }


def train(
    data: Path,
    out: Path,
    how: How | None = None,
    progress: Progress | None = None,
    statement: Statement | None = None,
) -> TrainResult:
    """Train a package on ``data``.

    Args:
        data: crops in class folders, COCO boxes, or QuPath GeoJSON beside images; or a run folder, or a folder of run
            folders, whose findings people corrected.
        out: the package to write, a new or empty folder.
        how: how to learn.
        progress: told (steps done, steps in all, what).
        statement: what the package says about itself; by default the folders' names. Of corrections it is said.

    Raises:
        BadInput: torch is not installed, the labels are not in order, or ``out`` is occupied; nothing was written.
    """
    _refuse(out)
    how, tell, runs = how or How(), progress or _silent, runs_in(data)
    command = how.command(data, out)
    if runs:
        learnt = _from_corrections(runs, out, how, command, tell)
    else:
        said = statement or Statement(out.name, f"labelled images of the folder {data.name}", command=command)
        task = _Task(data, out, said, lambda file: stated_scale(file) or how.um_per_px)
        learnt = _learnt(task, how.settings(), _opened(how.start) if how.start else None, tell)
    where = f"{learnt.held_out_images} images of {data.name} that were held out of training, chosen by slide"
    write_evaluation_page(out / PAGE, "Model card", learnt.package, learnt.assessment, where, learnt.command)
    return TrainResult(
        package=str(out),
        hash=learnt.package.hash,
        training_images=learnt.training_images,
        held_out_images=learnt.held_out_images,
        figures=learnt.assessment.figures.model_dump(mode="json"),
        notes=_notes(learnt),
    )


def _notes(learnt: "Learnt") -> tuple[str, ...]:
    if not learnt.unscaled:
        return ()
    of = learnt.training_images + learnt.held_out_images
    assumed = f"{learnt.assumed:g} µm/px is assumed; --um-per-px says it"
    return (f"{learnt.unscaled} of {_count(of, 'image')} do not say their scale: {assumed}",)


@dataclass(frozen=True, slots=True)
class _Task:
    """What is learnt, where to, what is said of it; ``scale_of``: the µm per px of images whose labels lack it."""

    data: Path
    out: Path
    said: Statement
    scale_of: Callable[[Path], float | None]


def _learnt(
    task: _Task, given: Mapping[str, object], first: DetectorPackage | None, progress: Progress
) -> "Learnt":
    from detection.learn import train_package
    from detection.training import TrainSettings

    going_on: dict[str, object] = {}
    if first is not None:
        config = first.config
        going_on = {
            "learning_rate": GENTLE_RATE,
            "network": config.rackscan.network,
            "spacing_um_px": config.spacing_um_px,
        }
    settings = TrainSettings.model_validate({**going_on, **given})
    try:
        return train_package(task.data, task.out, settings, task.said, progress, first, task.scale_of)
    except DataError as error:
        problems = [Problem(text, "correct the labels", file=error.path) for text in error.problems]
        raise BadInput(problems) from error


def _from_corrections(
    runs: Sequence[Path], out: Path, how: How, command: str, progress: Progress
) -> "Learnt":
    detector = opened(str(how.start or _found_by(runs)))
    first = detector.package
    gently = {"steps": CORRECTING_STEPS, "second_steps": CORRECTING_STEPS, "learning_rate": CORRECTING_RATE}
    with TemporaryDirectory(prefix="rackscan-fields-") as folder:
        fields = Path(folder) / "fields"
        number = write_fields(runs, fields, detector)
        what = (
            f"{_count(number, 'correction')} of {_count(len(runs), 'run')}, going on from {first.config.name} "
            f"({first.hash[:16]}); figures are of fields around corrected cells, without what nobody answered; "
            f"before: {first.config.rackscan.training_data}"
        )
        task = _Task(fields, out, Statement(out.name, what, command=command), lambda _: None)
        return _learnt(task, {**gently, "keeps_classes": True, **how.settings()}, first, progress)


def _found_by(runs: Sequence[Path]) -> str:
    """The package that made the findings, where it is still there as it was."""
    mend = "say which detector to go on from: --start PACKAGE"
    found = detectors_of(runs)
    if len({made_by for _, made_by in found}) != 1:
        many = "were made by several detectors" if found else "are of no detector, or nothing was corrected"
        raise BadInput.one(f"the findings of {', '.join(str(run) for run in runs[:3])} {many}", mend)
    for path, made_by in sorted(found):
        if Path(path).is_dir() and _opened(Path(path)).hash == made_by:
            return path
    raise BadInput.one("the detector that made the findings is no longer where it was, or changed", mend)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


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
