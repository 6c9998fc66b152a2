"""How does the focus of a stack become one page to look at: curves, the field with its blocks, the focus surface?

The page is self-contained and runs no script.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np

from scanner.errors import BadInput
from scanner.offline.focus import FocusBlock, Focused, FocusResult, Told, focus_planes
from scanner.offline.stack_pixels import full_range
from scanner.review.mosaic_charts import Tick
from scanner.review.pictures import data_uri, eight_bit, jpeg, shrunk
from scanner.review.report import templates
from scanner.storage.atomic import write_atomic

FIELD_PX = 900
CHART_W, CHART_H = 720.0, 300.0
CELL_W, CELL_H = 150.0, 56.0
LINES = ("#0b6e8f", "#d1495b", "#edae49", "#5b8e7d", "#7d5ba6", "#8d6e63", "#c2185b", "#455a64")
_SIDE = 4
_TABLE = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_VIRIDIS)[:, 0, ::-1]
_ISO_X, _ISO_Y, _ISO_Z, _ISO_LEAST = 46.0, 27.0, 42.0, 6.0
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Line:
    """A curve as SVG points."""

    name: str
    colour: str
    points: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One block: what it says, its colour (None where no plane was found), its curve, and its mark on it."""

    number: str
    block: FocusBlock
    colour: str | None
    ink: str
    points: str
    mark: float | None


@dataclass(frozen=True, slots=True)
class Column:
    """A block on the isometric plot: the faces of a column as SVG points; without colour only its foot."""

    cell: Cell
    top: str
    left: str
    right: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class FocusPage:
    """All that the page shows."""

    name: str
    written: datetime
    result: FocusResult
    picture: str
    shown_plane: int
    width_px: int
    height_px: int
    lines: tuple[Line, ...]
    whole: str
    ticks: tuple[Tick, ...]
    mark: float | None
    cells: tuple[Cell, ...]
    columns: tuple[Column, ...]
    low: str
    high: str

    @property
    def unanswered(self) -> list[Cell]:
        """Blocks without a plane."""
        return [cell for cell in self.cells if cell.block.best_plane is None]

    @property
    def noted(self) -> list[Cell]:
        """Blocks whose answer holds, with something to know."""
        return [cell for cell in self.cells if cell.block.notes and cell.block.best_plane is not None]


def focus_with_page(stack: Path, z_step_um: float | None, out: Path | None, told: Told) -> FocusResult:
    """Focus a stack as ``scanner.offline.focus.focus`` does, and write the page where one is wanted.

    Raises:
        BadInput: as for the stack, or the page cannot be written there; then nothing was read.
        RackscanError: the disk is full or read-only.
    """
    check_place(out)
    focused = focus_planes(stack, z_step_um, told)
    if out is not None:
        write_focus_page(out, stack.resolve().name, focused)
    return focused.result


def check_place(out: Path | None) -> None:
    """Before a long stack is read: can the page be written there?

    Raises:
        BadInput: it is a folder, or lies in none.
    """
    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise BadInput.one(
            "the report cannot be written there", "give a file in a folder that exists", file=str(out)
        )


def write_focus_page(out: Path, name: str, focused: Focused) -> Path:
    """Write the page; where it is. Raises RackscanError where the disk is full or read-only."""
    environment = templates()
    write_atomic(out, environment.get_template("focus.html.j2").render(page=focus_page(name, focused)))
    return out


def focus_page(name: str, focused: Focused) -> FocusPage:
    """Everything the page shows of a stack called ``name``."""
    result, planes = focused.result, focused.planes
    shown = result.best_plane if result.best_plane is not None else _middle(result, len(planes))
    cells = tuple(_cells(result))
    low, high = _range(result)
    return FocusPage(
        name=name,
        written=datetime.now(UTC),
        result=result,
        picture=_picture(focused, shown),
        shown_plane=shown,
        width_px=planes[shown].shape[1],
        height_px=planes[shown].shape[0],
        lines=tuple(
            Line(metric.replace("_", " "), LINES[n % len(LINES)], _polyline(curve, CHART_W, CHART_H))
            for n, (metric, curve) in enumerate(result.curves.items())
        ),
        whole=_polyline(result.curve, CHART_W, CHART_H),
        ticks=tuple(_ticks(result, len(planes))),
        mark=_at(result.best_plane, len(planes), CHART_W),
        cells=cells,
        columns=tuple(_columns(cells, low, high)),
        low=_said(result, low),
        high=_said(result, high),
    )


def _middle(result: FocusResult, planes: int) -> int:
    found = [block.best_plane for block in result.blocks if block.best_plane is not None]
    return int(np.median(found)) if found else planes // 2


def _picture(focused: Focused, shown: int) -> str:
    pixels = focused.planes[shown]
    if pixels.dtype not in (np.uint8, np.uint16):
        pixels = np.full((*pixels.shape[:2],), 230, np.uint8)
    stretched = full_range([pixels])[0]
    return data_uri(
        jpeg(shrunk(eight_bit(stretched[..., :3] if stretched.ndim == 3 else stretched), FIELD_PX))
    )


def _cells(result: FocusResult) -> Iterator[Cell]:
    low, high = _range(result)
    for n, block in enumerate(result.blocks):
        level = None if block.best_plane is None else _level(block.best_plane, low, high)
        yield Cell(
            number=f"{'ABCD'[n // _SIDE]}{n % _SIDE + 1}",
            block=block,
            colour=None if level is None else _colour(level),
            ink="#fff" if level is not None and level < 0.6 else "#16212b",
            points=_polyline(block.curve, CELL_W, CELL_H),
            mark=_at(block.best_plane, len(block.curve), CELL_W),
        )


def _range(result: FocusResult) -> tuple[int, int]:
    """Lowest and highest plane of the blocks."""
    found = [block.best_plane for block in result.blocks if block.best_plane is not None]
    return (min(found), max(found)) if found else (0, 0)


def _level(plane: int, low: int, high: int) -> float:
    return 0.5 if high == low else (plane - low) / (high - low)


def _colour(level: float, dim: float = 1.0) -> str:
    red, green, blue = (round(float(part) * dim) for part in _TABLE[round(level * 255)])
    return f"#{red:02x}{green:02x}{blue:02x}"


def _said(result: FocusResult, plane: int) -> str:
    heights = result.heights_um
    return f"plane {plane}" if heights is None else f"{heights[plane]:.2f} µm"


def _polyline(curve: Sequence[float], width: float, height: float) -> str:
    """(n,) values of 0 … 1 as points across a box, 1 at the top."""
    step = width / max(len(curve) - 1, 1)
    return _svg([(n * step, height * (1 - min(max(value, 0.0), 1.0))) for n, value in enumerate(curve)])


def _svg(points: Points) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _at(plane: int | None, planes: int, width: float) -> float | None:
    return None if plane is None or planes < 2 else round(width * plane / (planes - 1), 1)


def _ticks(result: FocusResult, planes: int) -> Iterator[Tick]:
    step = max(1, round(planes / 10))
    for plane in range(0, planes, step):
        text = str(plane) if result.heights_um is None else f"{plane}\n{result.heights_um[plane]:.4g}"
        yield Tick(_at(plane, planes, CHART_W) or 0.0, text)


def _columns(cells: Sequence[Cell], low: int, high: int) -> Iterator[Column]:
    """Seen from the front corner: rows run down to the left, columns down to the right."""
    for n, cell in enumerate(cells):
        row, column = divmod(n, _SIDE)
        plane = cell.block.best_plane
        lift = 0.0 if plane is None else _ISO_LEAST + (_ISO_Z - _ISO_LEAST) * _level(plane, low, high)
        corners = [_iso(row + r, column + c, lift) for r, c in ((0, 0), (0, 1), (1, 1), (1, 0))]
        feet = [_iso(row + r, column + c, 0.0) for r, c in ((0, 0), (0, 1), (1, 1), (1, 0))]
        x, y = np.mean(corners, axis=0)
        left, right = (corners[3], corners[2], feet[2], feet[3]), (corners[1], corners[2], feet[2], feet[1])
        yield Column(cell, _svg(corners), _svg(left), _svg(right), float(x), float(y))


def _iso(row: float, column: float, lift: float) -> tuple[float, float]:
    return (_SIDE + column - row) * _ISO_X, (column + row) * _ISO_Y + _ISO_Z - lift
