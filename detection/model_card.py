"""What must a person know before trusting a package? Its model card, in Markdown."""

from collections.abc import Mapping
from dataclasses import dataclass

from detection.classes import CellClass, is_known
from detection.figures import Figures
from detection.intervals import Interval
from detection.package import PackageConfig

INTENDED_USE = "Not for diagnosis. Supports the people who sign out a slide and never replaces them."


@dataclass(frozen=True, slots=True)
class Statement:
    """What a package says about itself: its name, its data, its use, and the command that makes it."""

    name: str
    training_data: str
    intended_use: str = INTENDED_USE
    command: str = "rackscan train"


def model_card(config: PackageConfig, counts: Mapping[str, int], figures: Figures, command: str) -> str:
    """The card of a freshly trained package; ``figures`` are those on held-out images."""
    extension = config.rackscan
    return "\n".join(
        [
            f"# {config.name}",
            "",
            f"**{extension.intended_use}**",
            "",
            f"- Network: `{config.architecture}`, {extension.network.channels} channels, stride 8, "
            f"{config.spacing_um_px} µm/px",
            f"- Input: {config.transform[0].name}",
            f"- Training data: {extension.training_data}",
            f"- Made by: {extension.provenance}",
            f"- Command: `{command}`",
            "",
            "## Classes",
            "",
            "| class | role | labelled boxes |",
            "|---|---|---|",
            *(_class_row(entry, counts) for entry in extension.classes),
            "",
            "## Figures on held-out images (chosen by slide, never shown in training)",
            "",
            "95 % intervals in brackets. `rackscan train` leaves curves and the worst failures in MODEL_CARD.html.",
            "",
            *_figure_lines(figures),
            "",
            "## Limits",
            "",
            "Figures hold for images like the ones it was trained on. Ranking fields and filling a gallery for a",
            "person is what such a detector supports; it finds single cells in images from elsewhere unreliably.",
            "P(abnormal) is calibrated at the frequency of abnormal cells in the held-out images, not at that of a",
            "screening population.",
            "",
        ]
    )


def _class_row(entry: CellClass, counts: Mapping[str, int]) -> str:
    note = "" if is_known(entry.name) else " (unknown name, taken for abnormal to be safe)"
    return f"| {entry.name} | {entry.role}{note} | {counts.get(entry.name, 0)} |"


def _figure_lines(figures: Figures) -> list[str]:
    cell, slide, crop = figures.cell, figures.slide, figures.crop
    lines = [f"- {name}: {number}" for name, number in figures.n.items()]
    named = (
        ("average precision at IoU 0.5, abnormal cells", cell.ap50, cell.ap50_ci95),
        ("average precision at IoU 0.5, any labelled object", cell.ap50_any, None),
        *(
            (f"abnormal cells found at {r} false per mm²", v, cell.froc_ci95.get(r))
            for r, v in cell.froc.items()
        ),
        ("squamous cells counted for each labelled one", cell.counted, None),
        ("expected calibration error of P(abnormal), boxes", cell.calibration.error, None),
        ("area under the ROC curve of whole slides", slide.auc, slide.auc_ci95),
        ("balanced accuracy of crops", crop.balanced_accuracy, crop.balanced_accuracy_ci95),
        (
            "area under the ROC curve of crops, abnormal against the others",
            crop.auc_abnormal,
            crop.auc_abnormal_ci95,
        ),
        *(
            (f"control that knows no cells: {c.name}, AUC", c.auc, c.auc_ci95)
            for c in slide.controls + crop.controls
        ),
    )
    lines += [
        f"- {name}: {with_interval(value, interval)}" for name, value, interval in named if value is not None
    ]
    return lines + [f"- Note: {note}" for note in (*slide.notes, *cell.notes, *crop.notes)]


def with_interval(value: float | None, interval: Interval | None) -> str:
    """``0.912 (0.850 to 0.961)``, a dash where there is no figure."""
    if value is None:
        return "–"
    return f"{value:.3f}" if interval is None else f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"
