"""What turns a folder of labelled images into a package? Read, hold out, train, calibrate, measure, write."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from detection.assess import Assessment, assess
from detection.classes import Role, indices
from detection.descent import Progress
from detection.detections import Floats
from detection.errors import DataError
from detection.figures import Figures
from detection.labelled import (
    ASSUMED_UM_PER_PX,
    DataSet,
    Kind,
    Labelled,
    ScaleOf,
    read_data,
    unsaid,
)
from detection.learn_crops import with_crops
from detection.learn_on import second_of, with_classes
from detection.learn_twice import weighed, with_second_look
from detection.model_card import Statement, model_card
from detection.package import (
    CROP_PREFIX,
    DetectorPackage,
    Network,
    SecondLook,
    default_package,
    first_weights,
    named,
    weights_of,
)
from detection.packing import calibrated, config_of, counting_as_labelled, self_test_image
from detection.second_training import SecondSettings
from detection.seen import too_coarse
from detection.training import Example, TrainSettings, fit, read_example, split
from detection.writing import Trained, write_package

SECOND_RATE = 2 / 3
"""The second look learns a little slower than the first."""
SECOND_NETWORK = Network(channels=(32, 64, 128), dilations=(1, 1, 1))
AROUND_NETWORK = Network(channels=(24, 48, 96), dilations=(1, 1))
SECOND_PATCH_PX, PLACES = 64, 24
"""What a second look that fields teach sees: 32 µm around a candidate's middle, with so many numbers of a place.

Of 64 µm around it sees less: a squamous cell's outline, and what lies beside a cell.
"""


MIRRORED_FROM = 0.3


@dataclass(frozen=True, slots=True)
class Learnt:
    """A package on disk and how it did on held-out images, with the command that made it.

    ``assumed`` is the µm per px of the ``unscaled`` fields that do not say theirs.
    """

    package: DetectorPackage
    assessment: Assessment
    command: str
    training_images: int
    held_out_images: int
    unscaled: int = 0
    assumed: float = ASSUMED_UM_PER_PX


def train_package(
    data_path: Path,
    out: Path,
    settings: TrainSettings,
    statement: Statement,
    progress: Progress,
    start: DetectorPackage | None = None,
    scale_of: ScaleOf = unsaid,
) -> Learnt:
    """Train on the images of a folder, from random weights or going on from those of ``start``.

    A detector of crops always goes on from one, the shipped one unless said. Its figures are those of the same training
    without the held-out crops; then it learns from all of them, for a few hundred are few. ``scale_of`` gives the µm
    per px of an image file whose labels do not say it.

    Raises:
        DataError: where the folder's labels are not in order, or images too coarse.
    """
    data = read_data(data_path, lambda read: too_coarse(read, settings.spacing_um_px), scale_of)
    if settings.keeps_classes and start is not None:
        data = with_classes(data, start.classes)
    kept, held = split(data, settings)
    examples, rest = (
        [read_example(image, data.kind, settings, data.um_per_px) for image in images]
        for images in (kept, held)
    )
    test_image = self_test_image(held or kept, data, settings)
    if data.kind is Kind.CROPS:
        trained = _taught_by_crops(data, examples, statement, start, progress)
    else:
        trained = _taught_by_fields(data, held, examples, rest, settings, statement, start, progress)
    nothing = Assessment(Figures(n={"images": 0}))
    assessment = assess(trained.opened(test_image), data, held, progress) if held else nothing
    trained, assessment = counting_as_labelled(trained, assessment)
    if data.kind is Kind.CROPS and held:
        trained = _taught_by_crops(data, [*examples, *rest], statement, start, progress)
    card = model_card(trained.config, data.counts(), assessment.figures, statement.command)
    package = write_package(trained, test_image, card, out)
    unscaled = [image for image in data.images if data.kind is Kind.FIELDS and not image.um_per_px]
    sizes = len(kept), len(held), len(unscaled)
    return Learnt(package, assessment, statement.command, *sizes, data.um_per_px)


def _taught_by_fields(
    data: DataSet,
    held: Sequence[Labelled],
    examples: Sequence[Example],
    rest: Sequence[Example],
    settings: TrainSettings,
    statement: Statement,
    start: DetectorPackage | None,
    progress: Progress,
) -> Trained:
    """Two looks of its own; ``rest`` are the ``held`` images as examples."""
    watched = rest if settings.stops_early else []
    if settings.steps or start is None:
        weights = fit(examples, data.classes, settings, start, progress, watched)
    else:
        weights = _first_look(start, data)
    trained = Trained(config_of(data, settings, statement, start), weights)
    before = start if settings.keeps_classes else None
    image = self_test_image(held or data.images, data, settings)
    trained = calibrated(trained, data, held, image, before, progress)
    trained = _looking_twice(trained, data, examples, rest, settings, start, progress)
    return trained if before is None else _naming_as(before, trained)


def _first_look(start: DetectorPackage, data: DataSet) -> dict[str, Floats]:
    """That of ``start``, as it is.

    Raises:
        DataError: where the data have other classes than it.
    """
    if [entry.name for entry in data.classes] != [entry.name for entry in start.classes]:
        raise DataError(str(data.path), [f"its classes are not those of {start.config.name}, which is kept"])
    return first_weights(start.weights)


def _taught_by_crops(
    data: DataSet,
    examples: Sequence[Example],
    statement: Statement,
    start: DetectorPackage | None,
    progress: Progress,
) -> Trained:
    start = start or DetectorPackage.load(default_package())
    trained = with_crops(start, data.classes, examples, progress)
    before = start.config.rackscan
    said = {
        "provenance": f"{len(examples)} crops, each at one size, taught to the last layer of a look of their own; else "
        f"{start.config.name} ({start.hash[:16]}): {before.provenance}",
        "training_data": f"{statement.training_data}; before: {before.training_data}",
        "intended_use": statement.intended_use,
    }
    extension = trained.config.rackscan.model_copy(update=said)
    update = {"name": statement.name, "rackscan": extension}
    return Trained(trained.config.model_copy(update=update), trained.weights)


def second_look_of(names: tuple[str, ...], settings: TrainSettings) -> SecondLook:
    """The second look that fields teach."""
    return SecondLook(
        class_names=names,
        network=SECOND_NETWORK,
        patch_px=SECOND_PATCH_PX,
        places=PLACES,
        around=AROUND_NETWORK,
        mirrored_from=MIRRORED_FROM,
        centred=True,
        floor=settings.second_floor,
    )


def _looking_twice(
    trained: Trained,
    data: DataSet,
    examples: Sequence[Example],
    held: Sequence[Example],
    settings: TrainSettings,
    start: DetectorPackage | None,
    progress: Progress,
) -> Trained:
    """With a second look, where there are two classes to tell apart and one of them is abnormal."""
    names = tuple(entry.name for entry in data.classes)
    known = {} if start is None else weights_of(start.weights)
    before = None if start is None else second_of(start, data.classes)
    if not settings.second_steps:
        return trained if before is None else _kept(trained, *before, held, settings, progress)
    if len(names) < 2 or not indices(data.classes, Role.ABNORMAL):
        return trained
    again = second_look_of(names, settings)
    looked = None if start is None else start.config.rackscan.second_look
    if looked is None or looked.class_names != names:
        known = {name: values for name, values in known.items() if not name.startswith("head.")}
    if settings.keeps_classes and start is not None:
        if before is None:
            return trained
        again, known = before
    how = SecondSettings(
        steps=settings.second_steps,
        learning_rate=SECOND_RATE * settings.learning_rate,
    )
    return with_second_look(trained, again, examples, held, how, settings.seed, known, progress)


def _kept(
    trained: Trained,
    look: SecondLook,
    weights: dict[str, Floats],
    held: Sequence[Example],
    settings: TrainSettings,
    progress: Progress,
) -> Trained:
    """With a second look as it was; how much it counts is weighed anew."""
    again = look.model_copy(update={"floor": settings.second_floor})
    return weighed(trained, again, weights, held, progress)


def _naming_as(start: DetectorPackage, trained: Trained) -> Trained:
    """With what crops taught ``start``, if they did: fields do not teach that look."""
    update = {"crop_look": start.config.rackscan.crop_look}
    extension = trained.config.rackscan.model_copy(update=update)
    weights = trained.weights | named(weights_of(start.weights, CROP_PREFIX), CROP_PREFIX)
    return Trained(trained.config.model_copy(update={"rackscan": extension}), weights)
