"""Which figures of an evaluation does a person read, in which order and under which names? For terminal and page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from detection.figures import CellFigures, Control, CropFigures, Figures, SlideFigures, Strained
from detection.intervals import Interval

Row = tuple[str, float | None, Interval | None]
_OF_STRESS = {"auc": "AUC", "ap50": "AP", "balanced_accuracy": "balanced accuracy", "auc_abnormal": "AUC"}


@dataclass(frozen=True, slots=True)
class FigureTable:
    """Rows of a name, a figure (None where the data cannot give it) and its interval, and what stands below."""

    title: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    remark: str = ""


def tables(figures: Figures) -> Iterator[FigureTable]:
    """All levels that the data have."""
    if figures.slide.abnormal + figures.slide.normal:
        yield _slides(figures.slide)
    if figures.cell.area_mm2 is not None:
        yield from _cells(figures.cell)
    if figures.crop.confusion:
        yield from _crops(figures.crop)


def _slides(slide: SlideFigures) -> FigureTable:
    rows: list[Row] = [("area under the ROC curve", slide.auc, slide.auc_ci95), *_controls(slide.controls)]
    remark = ""
    if slide.threshold is not None:
        remark = f"operating point {slide.threshold:.4f}: {slide.rule}"
        rows += [
            ("sensitivity at the operating point", slide.sensitivity, slide.sensitivity_ci95),
            ("normal slides excluded", slide.excluded, slide.excluded_ci95),
            ("excluded, 10 % of them read after all", slide.excluded_after_second_reading, None),
        ]
    if slide.unseen is not None:
        rows += [
            ("sensitivity, slides left out", slide.unseen.sensitivity, slide.unseen.sensitivity_ci95),
            ("excluded, slides left out", slide.unseen.excluded, slide.unseen.excluded_ci95),
        ]
    title = f"Slides: {slide.abnormal} abnormal, {slide.normal} normal"
    return FigureTable(title, (*rows, *_stress(slide.stress)), slide.notes, remark)


def _cells(cell: CellFigures) -> Iterator[FigureTable]:
    found = ((f"found at {r} false per mm²", v, cell.froc_ci95.get(r)) for r, v in cell.froc.items())
    rows: tuple[Row, ...] = (
        ("average precision, abnormal cells", cell.ap50, cell.ap50_ci95),
        ("average precision, any labelled cell", cell.ap50_any, None),
        *found,
        ("squamous cells counted for each labelled one", cell.counted, None),
        ("calibration error of P(abnormal)", cell.calibration.error, None),
        *_stress(cell.stress),
    )
    yield FigureTable(f"Cells at IoU 0.5, on {cell.area_mm2:.3g} mm²", rows, cell.notes)
    classes = (
        (f"{name}, {cell.boxes_of[name]} boxes", v, cell.ap50_of_ci95[name])
        for name, v in cell.ap50_of.items()
    )
    yield FigureTable("Average precision by class", tuple(classes))
    if cell.groups:
        groups = (
            (f"{g.by} {g.name}: {g.images} images, {g.abnormal} abnormal", g.ap50, g.ap50_ci95)
            for g in cell.groups
        )
        yield FigureTable("Average precision of abnormal cells, by group", tuple(groups))
        errors: tuple[Row, ...] = tuple((f"{g.by} {g.name}", g.calibration_error, None) for g in cell.groups)
        yield FigureTable("Calibration error of P(abnormal), by group", errors)


def _crops(crop: CropFigures) -> Iterator[FigureTable]:
    rows: tuple[Row, ...] = (
        ("balanced accuracy", crop.balanced_accuracy, crop.balanced_accuracy_ci95),
        ("AUC of abnormal against the others", crop.auc_abnormal, crop.auc_abnormal_ci95),
        *_controls(crop.controls),
        ("calibration error of P(abnormal)", crop.calibration.error, None),
        *_stress(crop.stress),
    )
    yield FigureTable("Crops", rows, crop.notes)
    totals = {name: sum(row) for name, row in zip(crop.classes, crop.confusion, strict=True)}
    recall = (
        (f"{name}, {totals[name]} crops", v, crop.recall_of_ci95[name]) for name, v in crop.recall_of.items()
    )
    yield FigureTable("Recall by class", tuple(recall))


def _controls(controls: Sequence[Control]) -> list[Row]:
    return [(f"AUC of a control without cells: {c.name}", c.auc, c.auc_ci95) for c in controls]


def _stress(stress: Sequence[Strained]) -> list[Row]:
    return [
        (f"{_OF_STRESS[key]} at {row.name}", value, None)
        for row in stress
        for key, value in row.figures.items()
    ]
