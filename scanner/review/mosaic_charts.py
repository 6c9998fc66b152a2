"""How do pair errors and stage errors become a map and charts of a page?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.model.geometry import Point, Rect
from scanner.pipeline.joints import DOUBT_PX, Joint
from scanner.pipeline.stage_errors import AxisErrors, StageErrors
from scanner.review.pictures import Colour, TileMap, data_uri

FloatArray = NDArray[np.float64]
CHART_W, CHART_H = 360.0, 190.0
MOST_DOTS = 500
MAP_PX, LEAST_CELL_PX, MOST_CELL_PX = 480, 8, 40
TILE, TILE_HELD = (236, 241, 243), (205, 213, 219)
REFUSED: Colour = (142, 152, 162)
GRADES: tuple[tuple[float, str, Colour], ...] = (
    (0.1, "up to 0.1 px", (42, 157, 143)),
    (0.25, "up to 0.25", (138, 177, 125)),
    (DOUBT_PX, "up to 0.75", (233, 180, 76)),
    (np.inf, "more: in doubt", (214, 50, 40)),
)


@dataclass(frozen=True, slots=True)
class Grade:
    """A line of the map's legend."""

    name: str
    colour: str
    count: int


@dataclass(frozen=True, slots=True)
class Dots:
    """Points of one kind as an SVG path, and the class they are drawn in."""

    kind: str
    path: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A number on an axis and where it stands."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of ``CHART_W`` × ``CHART_H``: dots, lines and (for uncertain lines) a band, as SVG points."""

    name: str
    across: str
    up: str
    dots: tuple[Dots, ...]
    lines: tuple[Dots, ...]
    band: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def pair_map(joints: Sequence[Joint]) -> TileMap:
    """Every tile as a square and every border between two tiles as a bar in the colour of its error.

    It lies over the places that the stage reported; what was refused or never measured is grey.
    """
    stations = {(s.row, s.col): s for joint in joints for s in (joint.first, joint.second)}
    top, left = min(row for row, _ in stations), min(col for _, col in stations)
    rows, cols = max(row for row, _ in stations) - top + 1, max(col for _, col in stations) - left + 1
    cell = int(np.clip(MAP_PX // max(rows, cols), LEAST_CELL_PX, MOST_CELL_PX))
    picture = np.zeros((rows * cell, cols * cell, 4), np.uint8)
    for (row, col), station in stations.items():
        y, x = (row - top) * cell, (col - left) * cell
        _fill(picture, (x, y, x + cell, y + cell), TILE_HELD if station.held else TILE)
    thick, gap = max(2, cell // 4), max(1, cell // 5)
    for joint in joints:
        y, x = (joint.first.row - top) * cell, (joint.first.col - left) * cell
        low, high = -(thick // 2), thick - thick // 2
        if joint.side_by_side:
            box = (x + cell + low, y + gap, x + cell + high, y + cell - gap)
        else:
            box = (x + gap, y + cell + low, x + cell - gap, y + cell + high)
        _fill(picture, box, colour_of(joint))
    encoded = cv2.imencode(".png", picture[..., [2, 1, 0, 3]], [cv2.IMWRITE_PNG_COMPRESSION, 2])[1]
    return TileMap(data_uri(bytes(encoded)), _extent(joints, (top, left), (rows, cols)))


def colour_of(joint: Joint) -> Colour:
    """The colour of a joint's error."""
    size = joint.size_px
    return REFUSED if size is None else next(colour for least, _, colour in GRADES if size <= least)


def grades(joints: Sequence[Joint]) -> tuple[Grade, ...]:
    """The legend of ``pair_map`` with how many there are of each."""
    colours = [colour_of(joint) for joint in joints]
    named = [(name, colour) for _, name, colour in GRADES] + [("not measured", REFUSED)]
    return tuple(
        Grade(name, "#{:02x}{:02x}{:02x}".format(*colour), colours.count(colour)) for name, colour in named
    )


def charts(errors: StageErrors, unit: str) -> tuple[Chart, ...]:
    """What shows backlash and thread: residuals along x, along y, and in x from row to row."""
    scale, far = (1000.0, "mm") if unit == "µm" else (1.0, unit)
    pairs = errors.joints
    middle = np.array([_middle(joint) for joint in pairs]) / scale
    leftwards = np.array([joint.second.direction.x < 0 for joint in pairs])
    beside = np.array([joint.side_by_side for joint in pairs])
    rows = np.array([joint.second.row for joint in pairs], float)
    cols = np.array([joint.first.col for joint in pairs], float)
    jitter = (cols - cols.mean()) / max(1.0, 3 * float(np.ptp(cols)))
    x, y = errors.residuals.T
    up = f"measured − reported, {unit}"
    upright = ~beside
    return tuple(
        chart
        for chart in (
            _chart(
                f"x, tiles side by side, along x ({far})",
                (far, up),
                middle[beside, 0],
                x[beside],
                leftwards[beside],
            ),
            _chart(
                f"y, tiles above each other, along y ({far})", (far, up), middle[upright, 1], y[upright], None
            ),
            _chart(
                "x, from each row to the next",
                ("row", up),
                rows[upright] + jitter[upright],
                x[upright],
                leftwards[upright],
                rows[upright],
            ),
        )
        if chart is not None
    )


def curve_chart(axis: AxisErrors, name: str, unit: str, said_by: str) -> Chart | None:
    """The error that repeats along an axis, with one sigma either side; None with fewer than three places."""
    if len(axis.at) < 3:
        return None
    scale, far = (1000.0, "mm") if unit == "µm" else (1.0, unit)
    low, high = axis.curve - axis.curve_sigma, axis.curve + axis.curve_sigma
    frame = _Frame.over(axis.at / scale, np.concatenate([low, high]))
    there = frame.points(axis.at / scale, high)
    back = frame.points(axis.at[::-1] / scale, low[::-1])
    line = frame.points(axis.at / scale, axis.curve)
    dots = _path(zip(*frame.place(axis.at / scale, axis.curve), strict=True))
    return Chart(
        f"{name}: error of the {said_by} along {name} ({far})",
        far,
        f"error, {unit}",
        (Dots("right", dots),),
        (Dots("mean", line),),
        f"{there} {back}",
        *frame.ticks(),
    )


def _chart(
    name: str,
    axes: tuple[str, str],
    at: FloatArray,
    value: FloatArray,
    leftwards: NDArray[np.bool_] | None,
    groups: FloatArray | None = None,
) -> Chart | None:
    """Dots in the colour of the direction, and the means of each place (or of each of ``groups``)."""
    if len(at) < 2:
        return None
    frame = _Frame.over(at, value, whole=groups is not None)
    places, means = _means(np.round(at, 1) if groups is None else groups, at, value)
    kinds = (
        {"right": ~leftwards, "left": leftwards}
        if leftwards is not None
        else {"down": np.ones(len(at), bool)}
    )
    few = np.arange(len(at)) % max(1, -(-len(at) // MOST_DOTS)) == 0
    x, y = frame.place(at, value)
    dots = tuple(
        Dots(kind, _path(zip(x[mine & few], y[mine & few], strict=True))) for kind, mine in kinds.items()
    )
    return Chart(name, *axes, dots, (Dots("mean", frame.points(places, means)),), "", *frame.ticks())


def _means(groups: FloatArray, at: FloatArray, value: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean place and mean value of each group, in order."""
    _, index = np.unique(groups, return_inverse=True)
    count = np.bincount(index)
    return np.bincount(index, at) / count, np.bincount(index, value) / count


@dataclass(frozen=True, slots=True)
class _Frame:
    """The part of the plane that a chart shows; ``whole``: x counts things."""

    x: tuple[float, float]
    y: tuple[float, float]
    whole: bool

    @classmethod
    def over(cls, x: FloatArray, y: FloatArray, whole: bool = False) -> "_Frame":
        reach = max(1e-3, 1.08 * float(np.abs(y).max()))
        margin = 0.03 * max(float(np.ptp(x)), 1e-6)
        return cls((float(x.min()) - margin, float(x.max()) + margin), (-reach, reach), whole)

    def place(self, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        return (
            CHART_W * (x - self.x[0]) / (self.x[1] - self.x[0]),
            CHART_H * (self.y[1] - y) / (self.y[1] - self.y[0]),
        )

    def points(self, x: FloatArray, y: FloatArray) -> str:
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(*self.place(x, y), strict=True))

    def ticks(self) -> tuple[tuple[Tick, ...], tuple[Tick, ...]]:
        return (
            tuple(
                Tick(float(self.place(np.array(v), np.array(0.0))[0]), f"{v:g}")
                for v in _round(*self.x, 1.0 if self.whole else 0.0)
            ),
            tuple(Tick(float(self.place(np.array(0.0), np.array(v))[1]), f"{v:g}") for v in _round(*self.y)),
        )


def _round(low: float, high: float, least: float = 0.0) -> list[float]:
    """Up to seven round numbers between two, at least ``least`` apart."""
    rough = max(least, (high - low) / 5)
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
    return [
        float(np.round(k * step, 9)) for k in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)
    ]


def _path(points: Iterable[tuple[float, float]]) -> str:
    """Dots as lines without length: a round cap makes each a disc, for a tenth of the text of circles."""
    return "".join(f"M{x:.0f} {y:.0f}h0" for x, y in points)


def _middle(joint: Joint) -> tuple[float, float]:
    a, b = joint.first.said, joint.second.said
    return (a.x + b.x) / 2, (a.y + b.y) / 2


def _fill(picture: NDArray[np.uint8], box: tuple[int, int, int, int], colour: Colour) -> None:
    x0, y0, x1, y1 = (max(0, value) for value in box)
    picture[y0:y1, x0:x1] = (*colour, 255)


def _extent(joints: Sequence[Joint], corner: tuple[int, int], size: tuple[int, int]) -> Rect:
    """What the map covers, in the unit of the reported places."""
    stations = [s for joint in joints for s in (joint.first, joint.second)]
    step_x, step_y = (
        float(np.median([_along(j, axis) for j in joints if j.side_by_side == (axis == "x")] or [0.0]))
        for axis in ("x", "y")
    )
    step_x, step_y = step_x or step_y, step_y or step_x
    x = float(np.median([s.said.x - (s.col - corner[1]) * step_x for s in stations])) - step_x / 2
    y = float(np.median([s.said.y - (s.row - corner[0]) * step_y for s in stations])) - step_y / 2
    return Rect(x, y, step_x * size[1], step_y * size[0])


def _along(joint: Joint, axis: str) -> float:
    away: Point = joint.second.said - joint.first.said
    return away.x if axis == "x" else away.y
