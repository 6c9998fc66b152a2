"""How does an evaluation become one page: the figures, the curves, and the failures as pictures?

``rackscan train`` writes the same page as the model card. It is self-contained and runs no script.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from detection.assess import Assessment
from detection.cell_level import ranking
from detection.classes import Role
from detection.crop_level import abnormal_share
from detection.evaluation import at_threshold
from detection.failures import Failure, crop_failures, false_alarms, misses
from detection.figures import CropFigures, Figures
from detection.intervals import Interval
from detection.model_card import with_interval
from detection.package import DetectorPackage
from detection.slide_level import Slides, slides_of
from scanner.offline.evaluate_rows import FigureTable, tables
from scanner.offline.failure_pictures import Shown, shown
from scanner.review.report import templates
from scanner.review.score_charts import (
    ScoreChart,
    froc_chart,
    precision_chart,
    reliability_chart,
    roc_chart,
)
from scanner.storage.atomic import AGAIN, replacing

MOST_FAILURES = 16
MOST_SLIDES = 20


@dataclass(frozen=True, slots=True)
class Headline:
    """One figure that stands large at the top; ``tone`` is a class of the page's style."""

    value: str
    name: str
    tone: str = "plain"


@dataclass(frozen=True, slots=True)
class ConfusionRow:
    """A true class: how many crops were called what, each with its share of the row."""

    name: str
    cells: tuple[tuple[int, float], ...]
    total: int


@dataclass(frozen=True, slots=True)
class WrongSlide:
    """A slide on the wrong side of the operating point."""

    name: str
    truth: str
    score: float


@dataclass(frozen=True, slots=True)
class EvaluationPage:
    """All that the page shows."""

    title: str
    written: datetime
    package: DetectorPackage
    data: str
    command: str
    n: dict[str, int]
    headlines: tuple[Headline, ...]
    charts: tuple[ScoreChart, ...]
    tables: tuple[FigureTable, ...]
    confused_with: tuple[str, ...]
    confusion: tuple[ConfusionRow, ...]
    wrong_slides: tuple[WrongSlide, ...]
    misses: tuple[Shown, ...]
    alarms: tuple[Shown, ...]
    notes: tuple[str, ...]


def write_evaluation_page(
    out: Path, title: str, package: DetectorPackage, assessment: Assessment, data: str, command: str
) -> Path:
    """Write the page of an evaluation on ``data``, which ``command`` makes again; where it is.

    Raises:
        RackscanError: the disk is full or read-only.
    """
    environment = templates()
    environment.filters["between"] = _between
    page = evaluation_page(title, package, assessment, data, command)
    text = environment.get_template("evaluation.html.j2").render(page=page)
    with replacing(out, AGAIN) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return out


def evaluation_page(
    title: str, package: DetectorPackage, assessment: Assessment, data: str, command: str
) -> EvaluationPage:
    """Everything the page shows."""
    figures = assessment.figures
    failed = _failures(assessment, package)
    crop = figures.crop
    return EvaluationPage(
        title=title,
        written=datetime.now(UTC),
        package=package,
        data=data,
        command=command,
        n=figures.n,
        headlines=tuple(_headlines(figures)),
        charts=tuple(chart for chart in _charts(assessment, package) if chart is not None),
        tables=tuple(tables(figures)),
        confused_with=tuple(_said_at_all(crop)),
        confusion=tuple(_confusion(crop)),
        wrong_slides=tuple(_wrong_slides(assessment, package)),
        misses=tuple(shown(failed[0])),
        alarms=tuple(shown(failed[1])),
        notes=(*figures.slide.notes, *figures.cell.notes, *crop.notes),
    )


def _between(value: float | None, interval: Interval | None = None) -> str:
    return with_interval(value, interval)


def _headlines(figures: Figures) -> Iterator[Headline]:
    slide, cell, crop = figures.slide, figures.cell, figures.crop
    named = (
        ("AUC of slides", slide.auc, slide.auc_ci95),
        ("sensitivity at the operating point", slide.sensitivity, slide.sensitivity_ci95),
        ("normal slides excluded", slide.excluded, slide.excluded_ci95),
        ("average precision, abnormal cells", cell.ap50, cell.ap50_ci95),
        ("AUC of abnormal crops", crop.auc_abnormal, crop.auc_abnormal_ci95),
        ("balanced accuracy of crops", crop.balanced_accuracy, crop.balanced_accuracy_ci95),
    )
    for name, value, interval in named:
        if value is not None:
            reach = f", {interval[0]:.2f}–{interval[1]:.2f}" if interval else ""
            yield Headline(f"{value:.3f}", f"{name}{reach}")
    controls = slide.controls + crop.controls
    if controls:
        beaten = min(c.ahead for c in controls) > 0
        tone = "good" if not any(c.is_rival for c in controls) else "warn" if beaten else "bad"
        best = max(c.best for c in controls)
        yield Headline(f"{best:.3f}", "AUC of the best control that knows no cells", tone)


def _charts(assessment: Assessment, package: DetectorPackage) -> Iterator[ScoreChart | None]:
    abnormal, figures = package.of_role(Role.ABNORMAL), assessment.figures
    if assessment.fields:
        slides, cells = (
            slides_of(assessment.fields, abnormal),
            ranking(assessment.fields, abnormal, "abnormal"),
        )
        threshold = figures.slide.threshold
        point = None if threshold is None else at_threshold(slides.scores, slides.truth, threshold)
        blind = (("mean density", slides.density), ("dark area", slides.dark_share))
        yield roc_chart("ROC of slides", slides.scores, slides.truth, point, blind)
        yield froc_chart(cells)
        yield precision_chart(cells)
        yield reliability_chart(figures.cell.calibration.bins)
    if assessment.crops is not None:
        seen = assessment.crops
        truth, said = np.isin(seen.truth, abnormal), abnormal_share(seen, abnormal)
        blind = (
            ("mean density", np.array([look.density for look in seen.looks])),
            ("dark area", np.array([look.dark_share for look in seen.looks])),
        )
        yield roc_chart("ROC of crops, abnormal against the others", said, truth, None, blind)
        yield reliability_chart(figures.crop.calibration.bins)


def _failures(
    assessment: Assessment, package: DetectorPackage
) -> tuple[Sequence[Failure], Sequence[Failure]]:
    abnormal = package.of_role(Role.ABNORMAL)
    if assessment.crops is not None:
        return crop_failures(assessment.crops, abnormal, package.classes, MOST_FAILURES)
    return (
        misses(assessment.fields, abnormal, package.classes, MOST_FAILURES),
        false_alarms(assessment.fields, abnormal, package.classes, MOST_FAILURES),
    )


def _said_at_all(crop: CropFigures) -> list[str]:
    """The classes that are true or said anywhere: the others would be empty columns."""
    counts = np.array(crop.confusion)
    return [name for k, name in enumerate(crop.classes) if counts[:, k].any() or counts[k].any()]


def _confusion(crop: CropFigures) -> Iterator[ConfusionRow]:
    columns = [crop.classes.index(name) for name in _said_at_all(crop)]
    for name, row in zip(crop.classes, crop.confusion, strict=True):
        total = sum(row)
        if total:
            yield ConfusionRow(name, tuple((row[k], row[k] / total) for k in columns), total)


def _wrong_slides(assessment: Assessment, package: DetectorPackage) -> Iterator[WrongSlide]:
    """Abnormal slides under the operating point, the lowest first; then normal ones at or over it, highest first."""
    threshold = assessment.figures.slide.threshold
    if not assessment.fields or threshold is None:
        return
    slides: Slides = slides_of(assessment.fields, package.of_role(Role.ABNORMAL))
    order = np.argsort(slides.scores, kind="stable")
    missed = [i for i in order if slides.truth[i] and slides.scores[i] < threshold]
    kept = [i for i in order[::-1] if not slides.truth[i] and slides.scores[i] >= threshold]
    for i in missed[:MOST_SLIDES]:
        yield WrongSlide(slides.names[i], "abnormal, would be excluded", float(slides.scores[i]))
    for i in kept[:MOST_SLIDES]:
        yield WrongSlide(slides.names[i], "normal, not excluded", float(slides.scores[i]))
