"""What are a detector's figures on labelled images, and what were they made from?"""

from collections.abc import Sequence
from dataclasses import dataclass

from detection.cell_floor import counted_of_labelled
from detection.cell_level import cell_figures, ranking
from detection.classes import Role
from detection.crop_level import abnormal_share, crop_figures
from detection.detector import Detector
from detection.errors import ImageRefused
from detection.evaluation import auc, balanced_accuracy, confusion
from detection.figures import Figures, Strained
from detection.labelled import DataSet, Kind, Labelled
from detection.seen import STRAINS, Progress, Seen, SeenCrops, Strain, class_map, look, look_at_crops
from detection.slide_level import SAFE, Rule, slide_figures, slides_of


@dataclass(frozen=True, slots=True)
class Assessment:
    """The figures, and every answer of the detector that they were counted from: fields or crops."""

    figures: Figures
    fields: tuple[Seen, ...] = ()
    crops: SeenCrops | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked beyond the plain figures: the operating point, and how they bear changed images (4 more looks)."""

    rule: Rule = SAFE
    stress: bool = False


PLAIN = Question()


def assess(
    detector: Detector,
    data: DataSet,
    images: Sequence[Labelled],
    progress: Progress,
    question: Question = PLAIN,
) -> Assessment:
    """All figures that the data allow.

    Raises:
        DataError: where the data have classes that the package does not know.
        ImageRefused: where an image is too coarse for the package.
    """
    strains = STRAINS if question.stress else ()
    if data.kind is Kind.CROPS:
        return _crops(detector, data, images, progress, strains)
    seen = look(detector, data, images, progress)
    abnormal = detector.package.of_role(Role.ABNORMAL)
    rows = [_strained_fields(detector, data, images, progress, strain) for strain in strains]
    to_package = class_map(data, detector.package.classes).tolist()
    names = dict(zip((entry.name for entry in data.classes), to_package, strict=True))
    cell = cell_figures(seen, abnormal, names)
    counted = counted_of_labelled(seen, detector.package.classes, detector.package.config.rackscan.cell_floor)
    figures = Figures(
        slide=slide_figures(slides_of(seen, abnormal), question.rule).model_copy(
            update={"stress": tuple(slide for slide, _ in rows)}
        ),
        cell=cell.model_copy(
            update={
                "counted": counted,
                "stress": tuple(row for _, row in rows),
                "notes": (*cell.notes, *_scale_note(data)),
            }
        ),
        n={
            "images": len(images),
            "slides": len({s.slide for s in seen}),
            "boxes": sum(len(s.labels) for s in seen),
        },
    )
    return Assessment(figures, fields=tuple(seen))


def _scale_note(data: DataSet) -> list[str]:
    said = f"the data do not say the scale of every image: {data.um_per_px:g} µm/px is taken, and mm² follow from it"
    return [] if data.scale_known else [said]


def _strained_fields(
    detector: Detector, data: DataSet, images: Sequence[Labelled], progress: Progress, strain: Strain
) -> tuple[Strained, Strained]:
    """Slides' AUC and cells' AP on changed images; None where they became too coarse to be looked at."""
    abnormal = detector.package.of_role(Role.ABNORMAL)
    try:
        seen = look(detector, data, images, progress, strain)
    except ImageRefused:
        name = f"{strain.name}: too coarse for the package"
        return Strained(name=name, figures={"auc": None}), Strained(name=name, figures={"ap50": None})
    slides = slides_of(seen, abnormal)
    precision = ranking(seen, abnormal, "abnormal").precision()
    return (
        Strained(name=strain.name, figures={"auc": auc(slides.scores, slides.truth)}),
        Strained(name=strain.name, figures={"ap50": precision}),
    )


def _crops(
    detector: Detector,
    data: DataSet,
    images: Sequence[Labelled],
    progress: Progress,
    strains: Sequence[Strain],
) -> Assessment:
    seen = look_at_crops(detector, data, images, progress)
    abnormal = detector.package.of_role(Role.ABNORMAL)
    names = [entry.name for entry in detector.package.classes]
    rows = [
        _strained_crops(look_at_crops(detector, data, images, progress, strain), abnormal, strain)
        for strain in strains
    ]
    crop = crop_figures(seen, abnormal, names).model_copy(update={"stress": tuple(rows)})
    return Assessment(Figures(crop=crop, n={"crops": len(images)}), crops=seen)


def _strained_crops(seen: SeenCrops, abnormal: Sequence[int], strain: Strain) -> Strained:
    counts = confusion(seen.truth, seen.shares.argmax(axis=1), seen.shares.shape[1])
    truth = [label in abnormal for label in seen.truth]
    area = auc(abnormal_share(seen, abnormal), truth)
    figures = {"balanced_accuracy": balanced_accuracy(counts), "auc_abnormal": area}
    return Strained(name=strain.name, figures=figures)
