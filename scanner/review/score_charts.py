"""How do a ranking and its uncertainty become charts of a page: ROC, precision and recall, FROC, reliability?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detection.cell_level import Ranking
from detection.curves import Bin, falling, froc_curve, precision_recall, rising, roc
from detection.evaluation import Numbers, OperatingPoint
from detection.intervals import band
from detection.slide_level import Flags, roc_band
from scanner.review.mosaic_charts import Tick

CHART_W, CHART_H = 300.0, 230.0
_GRID = np.linspace(0, 1, 81)
_MOST_POINTS = 400


@dataclass(frozen=True, slots=True)
class Stroke:
    """A line as SVG points, drawn in the class ``kind``; ``name`` stands in the legend."""

    kind: str
    name: str
    points: str


@dataclass(frozen=True, slots=True)
class Spot:
    """A mark at a place, with an interval upwards where there is one."""

    x: float
    y: float
    low: float | None
    high: float | None
    said: str


@dataclass(frozen=True, slots=True)
class ScoreChart:
    """A chart of ``CHART_W`` × ``CHART_H``; ``band`` is the 95 % bootstrap band of the first stroke."""

    name: str
    across: str
    up: str
    strokes: tuple[Stroke, ...]
    band: str
    spots: tuple[Spot, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


Named = tuple[str, Numbers]


def roc_chart(
    name: str, scores: Numbers, truth: Flags, point: OperatingPoint | None, controls: Sequence[Named]
) -> ScoreChart | None:
    """ROC curve with its band, the curves of the controls, and the operating point; None where a side is missing."""
    if not truth.any() or truth.all():
        return None
    low, high = roc_band(scores, truth, _GRID)
    area = _area(_GRID, low, high) if (high > low).any() else ""
    strokes = [Stroke("main", "detector", _line(*roc(scores, truth)))]
    strokes += [
        Stroke(f"control{k}", f"{said}, no cells", _line(*roc(values, truth)))
        for k, (said, values) in enumerate(controls)
    ]
    chance = Stroke("chance", "", _line(np.array([0.0, 1.0]), np.array([0.0, 1.0])))
    spots: tuple[Spot, ...] = ()
    if point is not None:
        x, y = _place(1 - point.excluded, point.sensitivity)
        spots = (Spot(x, y, None, None, f"operating point {point.threshold:.4f}"),)
    return ScoreChart(
        name,
        "false positive rate",
        "sensitivity",
        (*strokes, chance),
        area,
        spots,
        *_shares(),
    )


def precision_chart(ranking: Ranking) -> ScoreChart | None:
    """Precision over recall of abnormal cells; None without any."""
    truths = int(ranking.truths.sum())
    if not truths or not len(ranking.scores):
        return None

    def drawn(weight: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Numbers | None:
        wanted = int(weight @ ranking.truths)
        each = weight[ranking.owner].astype(float)
        return (
            falling(_GRID, *precision_recall(ranking.scores, ranking.hits, wanted, each)) if wanted else None
        )

    ends = band(drawn, len(ranking.truths)) if ranking.may_be_drawn else None
    recall, precision = precision_recall(ranking.scores, ranking.hits, truths)
    line = Stroke("main", "detector", _line(recall, precision))
    area = _area(_GRID, *ends) if ends else ""
    return ScoreChart(
        "Precision and recall, abnormal cells", "recall", "precision", (line,), area, (), *_shares()
    )


def froc_chart(ranking: Ranking) -> ScoreChart | None:
    """Abnormal cells found over false boxes on a square millimetre (logarithmic); None without any."""
    truths, area = int(ranking.truths.sum()), float(ranking.area_mm2.sum())
    if not truths or not len(ranking.scores):
        return None
    false, found = froc_curve(ranking.scores, ranking.hits, truths, area)
    first = np.floor(np.log10(max(0.1, min(1.0, 1 / area))))
    last = max(first + 2, np.ceil(np.log10(max(false[-1], 1.0))))
    grid = 10 ** np.linspace(first, last, 81)

    def drawn(weight: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Numbers | None:
        wanted, seen = int(weight @ ranking.truths), float(weight @ ranking.area_mm2)
        each = weight[ranking.owner].astype(float)
        return rising(grid, *froc_curve(ranking.scores, ranking.hits, wanted, seen, each)) if wanted else None

    ends = band(drawn, len(ranking.truths)) if ranking.may_be_drawn else None
    across = (np.log10(grid) - first) / (last - first)
    line = Stroke("main", "detector", _line(across, rising(grid, false, found)))
    ticks = tuple(
        Tick(float(CHART_W * (e - first) / (last - first)), f"{10.0**e:g}")
        for e in np.arange(first, last + 1)
    )
    return ScoreChart(
        "FROC, abnormal cells",
        "false boxes per mm²",
        "found",
        (line,),
        _area(across, *ends) if ends else "",
        (),
        ticks,
        _shares()[1],
    )


def reliability_chart(bins: Sequence[Bin]) -> ScoreChart | None:
    """How often what was said came true, with exact intervals; None without any bin."""
    if not bins:
        return None
    spots = []
    for entry in bins:
        x, y = _place(entry.said, entry.found)
        low, high = (_place(0, end)[1] for end in entry.found_ci95)
        spots.append(Spot(x, y, low, high, f"said {entry.said:.2f}, found {entry.found:.2f}, n {entry.n}"))
    said, found = np.array([b.said for b in bins]), np.array([b.found for b in bins])
    strokes = (
        Stroke("main", "how often it came true, exact 95 %", _line(said, found)),
        Stroke("chance", "", _line(np.array([0.0, 1.0]), np.array([0.0, 1.0]))),
    )
    return ScoreChart(
        "Reliability of P(abnormal)", "P(abnormal) said", "found", strokes, "", tuple(spots), *_shares()
    )


def _place(x: float, y: float) -> tuple[float, float]:
    return round(CHART_W * x, 1), round(CHART_H * (1 - y), 1)


def _line(x: Numbers, y: Numbers) -> str:
    few = np.unique(np.linspace(0, len(x) - 1, min(len(x), _MOST_POINTS)).astype(int))
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in (_place(float(x[i]), float(y[i])) for i in few))


def _area(x: Numbers, low: Numbers, high: Numbers) -> str:
    return f"{_line(x, high)} {_line(x[::-1], low[::-1])}"


def _shares() -> tuple[tuple[Tick, ...], tuple[Tick, ...]]:
    marks = (0.0, 0.25, 0.5, 0.75, 1.0)
    return (
        tuple(Tick(CHART_W * v, f"{v:g}") for v in marks),
        tuple(Tick(CHART_H * (1 - v), f"{v:g}") for v in marks),
    )
