"""How does a package with one network get a second look? Trained on what the first one found, then both are weighed."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detection.calibrating import of_two_looks
from detection.classes import Role, indices
from detection.descent import Progress
from detection.detections import Detections, Floats, Image
from detection.evaluation import matched, unasked
from detection.package import Calibration, Extension, SecondCalibration, SecondLook, named
from detection.second_training import PatchSampler, SecondSettings, fit_second, suspects
from detection.training import Example
from detection.writing import Trained

HIT_IOU = 0.3
AS_IT_IS = Calibration()
SECOND_ONLY = SecondCalibration(second=1.0, first=0.0, offset=0.0)
FIRST_ONLY = SecondCalibration(second=0.0, first=1.0, offset=0.0)
LEAST_HITS = 5
Numbers = NDArray[np.float64]


def with_second_look(
    trained: Trained,
    look: SecondLook,
    training: Sequence[Example],
    held: Sequence[Example],
    settings: SecondSettings,
    seed: int,
    known: dict[str, Floats],
    progress: Progress,
) -> Trained:
    """``trained`` with a second network, whose say was weighed on ``held``.

    ``known`` are weights to go on from.
    """
    once = _changed(trained, calibration=AS_IT_IS, second_look=None)
    found = _found(once, training, progress, "looking at what to look at twice")
    names = {entry.name for entry in trained.config.rackscan.classes if entry.role is Role.ABNORMAL}
    abnormal = [index for index, name in enumerate(look.class_names) if name in names]
    given = suspects(found, training, len(look.class_names), look.floor, abnormal)
    sampler = PatchSampler(training, given, look, settings, seed, abnormal)
    second = fit_second(sampler, look, settings, seed, known, progress, abnormal)
    return weighed(trained, look, second, held, progress)


def weighed(
    trained: Trained, look: SecondLook, second: dict[str, Floats], held: Sequence[Example], progress: Progress
) -> Trained:
    """``trained`` with a second network of these weights, whose say is weighed on ``held``."""
    both = trained.weights | named(second)
    once, twice = (
        _changed(
            Trained(trained.config, both),
            calibration=AS_IT_IS,
            second_look=look.model_copy(update={"calibration": how}),
        )
        for how in (FIRST_ONLY, SECOND_ONLY)
    )
    weighed = look.model_copy(update={"calibration": _weighed(once, twice, held, look, progress)})
    return _changed(Trained(trained.config, both), second_look=weighed)


def _changed(trained: Trained, **update: object) -> Trained:
    extension: Extension = trained.config.rackscan.model_copy(update=update)
    return Trained(trained.config.model_copy(update={"rackscan": extension}), trained.weights)


def _found(trained: Trained, examples: Sequence[Example], progress: Progress, what: str) -> list[Detections]:
    detector = trained.opened(_no_image())
    answers = []
    for number, example in enumerate(examples):
        answers += detector.detect([example.image], example.zoom * trained.config.spacing_um_px)
        progress(number + 1, len(examples), what)
    return answers


def _weighed(
    once: Trained, twice: Trained, held: Sequence[Example], look: SecondLook, progress: Progress
) -> SecondCalibration:
    """The weights of both looks from held-out images; as ``look`` has them where these hold too few abnormal cells."""
    abnormal = indices(once.config.rackscan.classes, Role.ABNORMAL)
    first = _found(once, held, progress, "weighing the first look")
    second = _found(twice, held, progress, "weighing the second look")
    rows: list[tuple[float, float, bool]] = []
    for one, all_two, example in zip(first, second, held, strict=True):
        truth = example.cells.boxes[np.isin(example.cells.labels, abnormal)]
        two = all_two.take(~unasked(all_two.boxes, example.cells.named.boxes, example.cells.unknown))
        hit = matched(two.boxes, two.abnormal, truth, HIT_IOU)
        before = {box.tobytes(): float(chance) for box, chance in zip(one.boxes, one.abnormal, strict=True)}
        rows += [
            (before[box.tobytes()], float(chance), bool(true))
            for box, chance, true in zip(two.boxes, two.abnormal, hit, strict=True)
            if before.get(box.tobytes(), 0.0) >= look.floor
        ]
    truth_of = np.array([true for _, _, true in rows], bool)
    if min(truth_of.sum(), (~truth_of).sum()) < LEAST_HITS:
        return look.calibration
    return of_two_looks(np.array([r[0] for r in rows]), np.array([r[1] for r in rows]), truth_of)


def _no_image() -> Image:
    return np.zeros((8, 8, 3), np.uint8)
