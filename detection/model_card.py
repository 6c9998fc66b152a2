"""What must a person know before trusting a package? Its model card, in Markdown."""

from collections.abc import Mapping
from dataclasses import dataclass

from detection.assess import Figures
from detection.classes import CellClass, is_known
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
    lines = [f"- images: {figures.n}"]
    if figures.cell.ap50 is not None:
        lines.append(f"- average precision at IoU 0.5, abnormal cells: {figures.cell.ap50:.3f}")
    if figures.cell.ap50_any is not None:
        lines.append(f"- average precision at IoU 0.5, any labelled object: {figures.cell.ap50_any:.3f}")
    lines += [
        f"- abnormal cells found at {rate} false per mm²: {found:.2f}"
        for rate, found in figures.cell.froc.items()
    ]
    if figures.slide.auc is not None:
        lines.append(
            f"- area under the ROC curve of whole images: {figures.slide.auc:.3f}, {figures.slide.auc_ci95}"
        )
    if figures.crop.balanced_accuracy is not None:
        lines.append(f"- balanced accuracy of crops: {figures.crop.balanced_accuracy:.3f}")
    return lines
