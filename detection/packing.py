"""What does a package need besides its weights? Words about itself, a self-test image, a calibration."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from detection.assess import Assessment
from detection.cell_floor import counted_of_labelled, level_floor
from detection.cell_level import HIT_IOU
from detection.classes import Role, indices
from detection.crops import PATCH_PX, zoom_of
from detection.descent import Progress
from detection.detections import Image
from detection.evaluation import Numbers, matched, platt
from detection.labelled import DataSet, Kind, Labelled, read_pixels
from detection.learn_twice import LEAST_HITS
from detection.model_card import Statement
from detection.package import CELL_FLOOR, Calibration, DetectorPackage, Extension, PackageConfig, Transform
from detection.seen import Seen, look
from detection.targets import NONE, Cells, cut
from detection.training import ARCHITECTURE, TrainSettings
from detection.writing import Trained


def config_of(
    data: DataSet, settings: TrainSettings, statement: Statement, start: DetectorPackage | None
) -> PackageConfig:
    """What a package says of itself that learns from ``data``; not yet how its looks are weighed."""
    scale = "as stated by the data" if data.scale_known else "assumed, the data do not say it"
    return PackageConfig(
        architecture=ARCHITECTURE,
        name=statement.name,
        num_classes=len(data.classes),
        class_names=tuple(entry.name for entry in data.classes),
        patch_size_pixels=settings.patch_px,
        spacing_um_px=settings.spacing_um_px,
        transform=(Transform(name="WhiteNormalisedOpticalDensity", arguments={"white_percentile": 95.0}),),
        rackscan=Extension(
            classes=data.classes,
            network=settings.network,
            provenance=_provenance(settings, start),
            training_data=f"{statement.training_data}; scale {scale}",
            cell_floor=start.config.rackscan.cell_floor if start else CELL_FLOOR,
            intended_use=statement.intended_use,
            sha256={},
        ),
    )


def _provenance(settings: TrainSettings, start: DetectorPackage | None) -> str:
    first = f"{settings.steps} steps of {settings.batch} patches"
    if start is not None:
        before = f"{start.config.name} ({start.hash[:16]}): {start.config.rackscan.provenance}"
        first = f"{first}, from {before}" if settings.steps else f"first look of {before}"
    return f"{first}; second look {settings.second_steps} steps; seed {settings.seed}"


def self_test_image(images: Sequence[Labelled], data: DataSet, settings: TrainSettings) -> Image:
    """The middle of the first image, at the package's scale."""
    image = read_pixels(images[0].file)
    field_zoom = (images[0].um_per_px or data.um_per_px) / settings.spacing_um_px
    zoom = zoom_of(image) if data.kind is Kind.CROPS else field_zoom
    nothing = Cells(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    centre = (image.shape[1] / 2, image.shape[0] / 2)
    return cut(image, nothing, centre, zoom, NONE, PATCH_PX, np.random.default_rng(0))[0]


def calibrated(
    trained: Trained,
    data: DataSet,
    held: Sequence[Labelled],
    image: Image,
    before: DetectorPackage | None,
    progress: Progress,
) -> Trained:
    """With P(abnormal) fitted to how often held-out detections are abnormal cells; ``before``'s where these are few."""
    wanted = indices(data.classes, Role.ABNORMAL)
    calibration = before.config.rackscan.calibration if before else Calibration()
    if held and wanted:
        raw, truth = _abnormal_hits(look(trained.opened(image), data, held, progress), wanted)
        if min(truth.sum(), (~truth).sum()) >= (LEAST_HITS if before else 1):
            slope, offset = platt(raw, truth)
            calibration = Calibration(slope=slope, offset=offset)
    extension = trained.config.rackscan.model_copy(update={"calibration": calibration})
    return Trained(trained.config.model_copy(update={"rackscan": extension}), trained.weights)


def counting_as_labelled(trained: Trained, assessment: Assessment) -> tuple[Trained, Assessment]:
    """With the floor at which as many squamous cells count in held-out fields as are labelled, if they tell one."""
    classes = trained.config.rackscan.classes
    floor = level_floor(assessment.fields, classes)
    if floor is None:
        return trained, assessment
    extension = trained.config.rackscan.model_copy(update={"cell_floor": floor})
    counted = counted_of_labelled(assessment.fields, classes, floor)
    cell = assessment.figures.cell.model_copy(update={"counted": counted})
    figures = assessment.figures.model_copy(update={"cell": cell})
    config = trained.config.model_copy(update={"rackscan": extension})
    return Trained(config, trained.weights), replace(assessment, figures=figures)


def _abnormal_hits(seen: Sequence[Seen], wanted: Sequence[int]) -> tuple[Numbers, NDArray[np.bool_]]:
    hits = [
        matched(s.found.boxes, s.found.abnormal, s.truth[np.isin(s.labels, wanted)], HIT_IOU) for s in seen
    ]
    raw = np.concatenate([s.found.abnormal for s in seen]).astype(float)
    return raw, np.concatenate(hits)
