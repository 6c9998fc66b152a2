"""What does ``rackscan evaluate --json`` say? The figures of a detector, each with its interval.

Every ``_ci95`` is (low, high); a figure that the data cannot give is null, and ``notes`` of its level say why.
"""

from pydantic import BaseModel, ConfigDict

from detection.curves import Bin
from detection.intervals import Interval


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Control(_Value):
    """What something that knows no cells reaches; over 0.5: darker images are the abnormal ones.

    ``ahead`` is the detector's AUC less the control's, whatever its direction, with an interval of drawing both
    together.
    """

    name: str
    auc: float
    auc_ci95: Interval | None = None
    ahead: float
    ahead_ci95: Interval | None = None

    @property
    def best(self) -> float:
        """The AUC of the control when its direction is chosen well."""
        return max(self.auc, 1 - self.auc)

    @property
    def is_rival(self) -> bool:
        """Do the data fail to show that the detector is better than this?"""
        return (self.ahead if self.ahead_ci95 is None else self.ahead_ci95[0]) <= 0


class Strained(_Value):
    """The same figures after the images were changed; ``name`` says how."""

    name: str
    figures: dict[str, float | None]


class Reliability(_Value):
    """Is a probability as often true as it says? ``error`` is the expected calibration error."""

    error: float | None = None
    bins: tuple[Bin, ...] = ()


class Unseen(_Value):
    """An operating point chosen on slides drawn with replacement, measured on the slides that were not drawn."""

    sensitivity: float
    sensitivity_ci95: Interval | None
    excluded: float
    excluded_ci95: Interval | None


class SlideFigures(_Value):
    """Slides ranked by score; ``sensitivity`` and ``excluded`` at ``threshold``, which ``rule`` chose.

    Intervals of the AUC are bootstrapped by slide, those of shares are exact and take the threshold as given.
    ``excluded_after_second_reading``: where a person reads a random tenth of the exclusions as well.
    """

    auc: float | None = None
    auc_ci95: Interval | None = None
    sensitivity: float | None = None
    excluded: float | None = None
    threshold: float | None = None
    rule: str = ""
    sensitivity_ci95: Interval | None = None
    excluded_ci95: Interval | None = None
    excluded_after_second_reading: float | None = None
    unseen: Unseen | None = None
    abnormal: int = 0
    normal: int = 0
    controls: tuple[Control, ...] = ()
    stress: tuple[Strained, ...] = ()
    notes: tuple[str, ...] = ()


class GroupFigures(_Value):
    """Images that look alike, or have the same ``group`` in their COCO file."""

    by: str
    name: str
    images: int
    abnormal: int
    ap50: float | None = None
    ap50_ci95: Interval | None = None
    calibration_error: float | None = None


class CellFigures(_Value):
    """``ap50`` of abnormal cells ranked by P(abnormal), ``ap50_any`` of all labelled cells by their object score.

    ``froc``: share of abnormal cells found at so many false detections on a square millimetre. Intervals are
    bootstrapped by slide; there is none where fewer than 5 slides have such cells, or where no draw differs.
    ``counted``: squamous cells that adequacy counts for each labelled one; null where fewer than 200 are labelled.
    """

    ap50: float | None = None
    ap50_any: float | None = None
    ap50_of: dict[str, float | None] = {}
    froc: dict[str, float] = {}
    ap50_ci95: Interval | None = None
    ap50_of_ci95: dict[str, Interval | None] = {}
    boxes_of: dict[str, int] = {}
    froc_ci95: dict[str, Interval] = {}
    counted: float | None = None
    area_mm2: float | None = None
    calibration: Reliability = Reliability()
    groups: tuple[GroupFigures, ...] = ()
    stress: tuple[Strained, ...] = ()
    notes: tuple[str, ...] = ()


class CropFigures(_Value):
    """Crops by class; rows of ``confusion`` are true classes in the package's order, which ``classes`` names."""

    balanced_accuracy: float | None = None
    auc_abnormal: float | None = None
    confusion: tuple[tuple[int, ...], ...] = ()
    balanced_accuracy_ci95: Interval | None = None
    auc_abnormal_ci95: Interval | None = None
    classes: tuple[str, ...] = ()
    recall_of: dict[str, float] = {}
    recall_of_ci95: dict[str, Interval | None] = {}
    calibration: Reliability = Reliability()
    controls: tuple[Control, ...] = ()
    stress: tuple[Strained, ...] = ()
    notes: tuple[str, ...] = ()


class Figures(_Value):
    """``rackscan evaluate --json``."""

    slide: SlideFigures = SlideFigures()
    cell: CellFigures = CellFigures()
    crop: CropFigures = CropFigures()
    n: dict[str, int]
