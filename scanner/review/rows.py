"""What do a slide's tables of tiles and findings hold, as arrays to draw from?"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from scanner.storage.tables import AGAIN_COLUMNS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TileRows:
    """One entry a field, its last accepted capture where there is one; all (n,) arrays, in the order of the table.

    ``x_um``, ``y_um`` is the planned centre (slide µm), ``x_px``, ``y_px`` the placed top-left (mosaic px; NaN where
    not placed), ``z_um`` NaN where not captured. ``state`` is a focus state, ``failed`` or ``skipped``.
    """

    tile: Ints
    plan: Ints
    row: Ints
    col: Ints
    x_um: Floats
    y_um: Floats
    x_px: Floats
    y_px: Floats
    z_um: Floats
    quality: Floats
    trigger_s: Floats
    state: NDArray[np.str_]
    captured: NDArray[np.bool_]

    @property
    def retaken(self) -> NDArray[np.bool_]:
        """(n,) bool: captured by a further plan."""
        return self.captured & (self.plan > 1)

    def counts(self) -> dict[str, int]:
        """How many fields are in each state."""
        names, numbers = np.unique(self.state, return_counts=True)
        return {str(name): int(n) for name, n in zip(names, numbers, strict=True)}

    def step_um(self) -> tuple[float, float]:
        """Distance of neighbouring fields, slide µm; that of the other axis where there is one row or column."""
        x, y = _step(self.x_um, self.col), _step(self.y_um, self.row)
        return x or y or 1.0, y or x or 1.0


@dataclass(frozen=True, slots=True)
class FindingRows:
    """Findings, best first; all (n,) arrays. Boxes in mosaic px, ``x_um``, ``y_um`` their centres in slide µm.

    ``score_again`` around the sharpest plane, which ``layer`` that is: NaN and -1 where the cell was not taken again.
    """

    rank: Ints
    tile: Ints
    name: NDArray[np.str_]
    score: Floats
    x_px: Floats
    y_px: Floats
    w_px: Floats
    h_px: Floats
    x_um: Floats
    y_um: Floats
    score_again: Floats
    layer: Ints

    def __len__(self) -> int:
        return len(self.rank)


def tile_rows(table: pa.Table, failed: Collection[int]) -> TileRows:
    """The last word on every field of a tiles table; ``failed`` holds the tiles that failed."""
    chosen = _last_words(table)
    accepted = _bools(table, "accepted")[chosen]
    tile = _ints(table, "tile")[chosen]
    missing = np.where(np.isin(tile, list(failed)), "failed", "skipped")
    state = np.where(accepted, _texts(table, "focus_state")[chosen], missing)
    return TileRows(
        tile=tile,
        plan=_ints(table, "plan")[chosen],
        row=_ints(table, "row")[chosen],
        col=_ints(table, "col")[chosen],
        x_um=_floats(table, "x_um")[chosen],
        y_um=_floats(table, "y_um")[chosen],
        x_px=_floats(table, "x_px")[chosen],
        y_px=_floats(table, "y_px")[chosen],
        z_um=_floats(table, "z_um")[chosen],
        quality=_floats(table, "quality")[chosen],
        trigger_s=_floats(table, "t_trigger_s")[chosen],
        state=state.astype(np.str_),
        captured=accepted,
    )


def finding_rows(table: pa.Table) -> FindingRows:
    """A findings table, rank 1 first."""
    order = np.argsort(_ints(table, "rank"), kind="stable")
    again, layer = (_again(table, name) for name in AGAIN_COLUMNS.names)
    return FindingRows(
        rank=_ints(table, "rank")[order],
        tile=_ints(table, "tile")[order],
        name=_texts(table, "class")[order],
        score=_floats(table, "score")[order],
        x_px=_floats(table, "x_px")[order],
        y_px=_floats(table, "y_px")[order],
        w_px=_floats(table, "w_px")[order],
        h_px=_floats(table, "h_px")[order],
        x_um=_floats(table, "x_um")[order],
        y_um=_floats(table, "y_um")[order],
        score_again=again[order],
        layer=np.nan_to_num(layer[order], nan=-1).astype(np.int64),
    )


def _again(table: pa.Table, name: str) -> Floats:
    """A column that only runs have which take cells again, NaN where nothing is said."""
    return _floats(table, name) if name in table.schema.names else np.full(table.num_rows, np.nan)


def _last_words(table: pa.Table) -> Ints:
    """Indices of one row a tile: accepted before not, then the highest plan and attempt."""
    tile, plan, attempt = (_ints(table, name) for name in ("tile", "plan", "attempt"))
    order = np.lexsort((attempt, plan, _bools(table, "accepted"), tile))
    last = np.append(tile[order][1:] != tile[order][:-1], True) if len(order) else np.zeros(0, np.bool_)
    return np.sort(order[last])


def _step(place: Floats, index: Ints) -> float:
    span = int(index.max() - index.min()) if len(index) else 0
    return float(place.max() - place.min()) / span if span else 0.0


def _floats(table: pa.Table, name: str) -> Floats:
    return np.array(table.column(name).to_pylist(), dtype=float)


def _ints(table: pa.Table, name: str) -> Ints:
    return np.array(table.column(name).to_pylist(), dtype=np.int64)


def _bools(table: pa.Table, name: str) -> NDArray[np.bool_]:
    return np.array(table.column(name).to_pylist(), dtype=np.bool_)


def _texts(table: pa.Table, name: str) -> NDArray[np.str_]:
    return np.array([text or "" for text in table.column(name).to_pylist()], dtype=np.str_)
