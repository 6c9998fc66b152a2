"""How does a field of a procedural tissue section look at a given height, and which nuclei lie in it?

A section is laid together from a few blocks of tissue that are drawn once. A quarter of a block (128 µm) shares one
height, and what a place looks like depends on its absolute place alone.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.devices.simulated.motion import draw
from scanner.devices.simulated.optics import BLUR_UM_PER_UM, defocus_sigma_px
from scanner.devices.simulated.section import Section, SectionSurface, cut_section, joint
from scanner.devices.simulated.specimen import (
    DEPOSIT_CENTRE_UM,
    OVERVIEW_SHAPE,
    OVERVIEW_UM_PER_PX,
    CameraGrid,
)
from scanner.devices.simulated.sprites import COARSE, MOST_BLUR_PX
from scanner.devices.simulated.textures import FloatImage
from scanner.devices.simulated.tissue import BLOCK_PX, FULL_PX, MAP_PX, PAD_PX, Painter, TissueKind
from scanner.devices.simulated.tissue_block import EOSIN_PER_STEP, NUCLEAR_PER_STEP, Densities, TissueBlock
from scanner.devices.simulated.tissue_bodies import grain
from scanner.devices.simulated.truth import Nuclei, TruthObject

_BLOCKS = {TissueKind.STROMA: 6, TissueKind.GLANDS: 6, TissueKind.SHEET: 4, TissueKind.LYMPHOID: 2}
_EOSIN_OD = (0.13, 0.62, 0.30)
_NUCLEAR_OD = (0.95, 1.05, 0.45)
_FAR_UM = 8.5
_UNIT_PX = BLOCK_PX // 2
_WIDE_PX = _UNIT_PX + PAD_PX
_MAP_PER_BLOCK = BLOCK_PX // MAP_PX
_MAP_PER_UNIT = _UNIT_PX // MAP_PX
_MAP_MARGIN = 3
_EDGE_UM = 2.0
_RAGGED_UM = 2.5
_SURE_UM = 25.0
"""Deeper inside the outline, or farther outside, no place needs a look at it: edge, raggedness and blur together."""
_FOLD_SHIFT = (7, 5)
TISSUE, FOLD = "tissue", "fold"


@dataclass(frozen=True, slots=True)
class _Unit:
    """A quarter of a block with what hangs over the block's border.

    ``at``: row and column among the units; ``start``: x, y of its first pixel on the section; ``box``: where its 288 px
    begin in the block.
    """

    at: tuple[int, int]
    start: tuple[int, int]
    box: tuple[int, int]


class HistologySection:
    """A stained tissue section of about 20 × 15 mm from a seed.

    Args:
        key: what the section depends on, such as (seed, slot).
        grid: the camera that will look at it.
    """

    def __init__(self, key: tuple[int, ...], grid: CameraGrid) -> None:
        self._grid = grid
        rng = draw("section", *key)
        self.surface = SectionSurface(rng)
        kinds = tuple(kind for kind, count in _BLOCKS.items() for _ in range(count))
        painter = Painter(rng, grid.um_per_px)
        self._blocks = tuple(TissueBlock(painter.block(rng, kind)) for kind in kinds)
        self._section = cut_section(rng, kinds, grid.from_slide(*DEPOSIT_CENTRE_UM), grid.um_per_px)
        self._ragged = np.pad(_RAGGED_UM * grain(rng, BLOCK_PX, (5.0, 5.0)), PAD_PX, mode="wrap")
        self._joint = joint(rng)
        strength = rng.uniform((0.85, 0.85), (1.15, 1.1))
        self._eosin_od = tuple(float(strength[0]) * od * EOSIN_PER_STEP for od in _EOSIN_OD)
        self._nuclear_od = tuple(float(strength[1]) * od * NUCLEAR_PER_STEP for od in _NUCLEAR_OD)
        self._covered, self._whole, self._folded = _cover(self._section)

    def absorb(self, od: FloatImage, corner: tuple[int, int], z_um: float) -> None:
        """Add the field's optical density; see ``Specimen``."""
        shape = (od.shape[1], od.shape[2])
        x, y = self._grid.to_slide(corner[0] + shape[1] / 2, corner[1] + shape[0] / 2)
        local = self._local(corner)
        if abs(z_um - self.surface.height(x, y)) > _FAR_UM:
            self._absorb_far(od, local, defocus_um=z_um - self.surface.height(x, y))
            return
        for unit in self._units(local, shape):
            self._add_unit(od, local, unit, z_um - self._height(unit.at))

    def overview_od(self) -> FloatImage:
        """(1250, 3750, 3) float32: every block's absorption, shrunk."""
        rows, columns = self._section.blocks.shape
        side, seam = _MAP_PER_BLOCK, _smaller(self._joint, MAP_PX)
        eosin, nuclear = (np.zeros((rows * side + 2, columns * side + 2), np.float32) for _ in range(2))
        for row, column in np.ndindex(rows, columns):
            here = (slice(row * side, (row + 1) * side + 2), slice(column * side, (column + 1) * side + 2))
            thumbnail = self._block((row, column)).thumbnail(int(self._section.turns[row, column]))
            eosin[here] += thumbnail[0] * seam
            nuclear[here] += thumbnail[1]
        there = np.clip(0.5 + self._section.depth_um / 16, 0, 1) * (1 + self._section.fold)
        eosin, nuclear = (np.asarray(plane[1:-1, 1:-1] * there, np.float32) for plane in (eosin, nuclear))
        od = self._stained((eosin, nuclear))
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        seen = cv2.warpAffine(od, self._overview_to_map(), OVERVIEW_SHAPE[::-1], flags=flags)
        return np.asarray(cv2.GaussianBlur(seen, (0, 0), 0.9), np.float32)

    def truth(self) -> tuple[TruthObject, ...]:
        """Nothing: a section has no cells of the classes of a cytology slide; see ``nuclei_in``."""
        return ()

    def nuclei_in(self, corner: tuple[int, int], shape: tuple[int, int]) -> Nuclei:
        """The nuclei whose middle lies in a field of (h, w) px with its first pixel at ``corner`` of the grid.

        Their class is ``tissue``, or ``fold`` where they lie in a second layer raised above the first.
        """
        local = self._local(corner)
        found = [part for unit in self._units(local, shape) for part in self._unit_nuclei(unit)]
        places, heights, areas, raised = (
            np.concatenate([part[n] for part in found]) if found else np.zeros(0) for n in range(4)
        )
        places = places.reshape(-1, 2) - local
        keep = ((places >= 0) & (places < shape[::-1])).all(1)
        return Nuclei(
            places[keep].astype(np.float32),
            heights[keep],
            areas[keep].astype(np.int64),
            np.where(raised[keep] > 0, FOLD, TISSUE),
        )

    def close(self) -> None:
        """Nothing is held open."""

    # ------------------------------------------------------------------ where things are

    def _local(self, corner: tuple[int, int]) -> tuple[int, int]:
        """Pixels from the section's own corner."""
        return corner[0] - self._section.corner_px[0], corner[1] - self._section.corner_px[1]

    def _units(self, local: tuple[int, int], shape: tuple[int, int]) -> Iterator[_Unit]:
        """The units with tissue whose pictures may touch a window, always in the same order."""
        limit_rows, limit_columns = self._covered.shape
        rows = range((local[1] - PAD_PX) // _UNIT_PX, (local[1] + shape[0] + PAD_PX - 1) // _UNIT_PX + 1)
        columns = range((local[0] - PAD_PX) // _UNIT_PX, (local[0] + shape[1] + PAD_PX - 1) // _UNIT_PX + 1)
        for row in rows:
            for column in columns:
                if 0 <= row < limit_rows and 0 <= column < limit_columns and self._covered[row, column]:
                    box = (column % 2 * (FULL_PX // 2), row % 2 * (FULL_PX // 2))
                    start = (
                        column // 2 * BLOCK_PX - PAD_PX + box[0],
                        row // 2 * BLOCK_PX - PAD_PX + box[1],
                    )
                    yield _Unit((row, column), start, box)

    def _height(self, at: tuple[int, int]) -> float:
        """Height of the section in the middle of a unit, stage z in µm."""
        u = self._section.corner_px[0] + (at[1] + 0.5) * _UNIT_PX
        v = self._section.corner_px[1] + (at[0] + 0.5) * _UNIT_PX
        return self.surface.height(*self._grid.to_slide(u, v))

    def _block(self, at: tuple[int, int]) -> TissueBlock:
        return self._blocks[int(self._section.blocks[at])]

    def _laid(self, unit: _Unit, raised: bool) -> tuple[TissueBlock, int]:
        """Which block a unit shows and which way; in a fold, that of a place not far away lies above it."""
        row, column = unit.at[0] // 2, unit.at[1] // 2
        if raised:
            rows, columns = self._section.blocks.shape
            row, column = (row + _FOLD_SHIFT[0]) % rows, (column + _FOLD_SHIFT[1]) % columns
        return self._block((row, column)), int(self._section.turns[row, column])

    def _lift(self, unit: _Unit) -> float:
        """By how much the fold in a unit is raised, µm."""
        row, column = unit.at[0] * _MAP_PER_UNIT, unit.at[1] * _MAP_PER_UNIT
        return float(self._section.lift_um[row : row + _MAP_PER_UNIT, column : column + _MAP_PER_UNIT].max())

    # ------------------------------------------------------------------ drawing

    def _add_unit(self, od: FloatImage, local: tuple[int, int], unit: _Unit, defocus_um: float) -> None:
        """Add what of a unit lies in the field, and the second layer where it is folded."""
        x0, y0 = max(unit.start[0], local[0]), max(unit.start[1], local[1])
        x1 = min(unit.start[0] + _WIDE_PX, local[0] + od.shape[2])
        y1 = min(unit.start[1] + _WIDE_PX, local[1] + od.shape[1])
        if x0 >= x1 or y0 >= y1:
            return
        dx, dy, w, h = x0 - unit.start[0], y0 - unit.start[1], x1 - x0, y1 - y0
        target = od[:, y0 - local[1] : y1 - local[1], x0 - local[0] : x1 - local[0]]
        box, cut = (unit.box[0] + dx, unit.box[1] + dy, w, h), (slice(dy, dy + h), slice(dx, dx + w))
        there = None if self._whole[unit.at] else self._there(unit, defocus_um)[cut]
        seam = self._joint[box[1] : box[1] + h, box[0] : box[0] + w]
        block, turn = self._laid(unit, raised=False)
        self._stain(target, block.densities(turn, box, defocus_um, self._grid.um_per_px), seam, there)
        if self._folded[unit.at]:
            fold = self._enlarged(self._section.fold, unit)[cut]
            block, turn = self._laid(unit, raised=True)
            above = block.densities(turn, box, defocus_um - self._lift(unit), self._grid.um_per_px)
            self._stain(target, above, seam, fold if there is None else fold * there)

    def _stain(
        self, target: FloatImage, densities: Densities, seam: FloatImage, share: FloatImage | None
    ) -> None:
        """Add two densities, stained, to the three planes of a cut of the field, where there is tissue."""
        eosin, nuclear = np.asarray(cv2.multiply(densities[0], seam), np.float32), densities[1]
        if share is not None:
            eosin, nuclear = eosin * share, nuclear * share
        for plane, pink, blue in zip(target, self._eosin_od, self._nuclear_od, strict=True):
            cv2.scaleAdd(eosin, pink, plane, plane)
            cv2.scaleAdd(nuclear, blue, plane, plane)

    def _there(self, unit: _Unit, defocus_um: float) -> FloatImage:
        """(288, 288) float32: 1 on tissue, 0 on glass, softer the more out of focus."""
        depth = self._enlarged(self._section.depth_um, unit)
        depth += self._ragged[unit.box[1] : unit.box[1] + _WIDE_PX, unit.box[0] : unit.box[0] + _WIDE_PX]
        width = math.hypot(_EDGE_UM, 3.4 * BLUR_UM_PER_UM * defocus_um)
        return np.asarray(np.clip(0.5 + depth / width, 0, 1), np.float32)

    def _enlarged(self, coarse: FloatImage, unit: _Unit) -> FloatImage:
        """(288, 288) float32: the piece of a coarse map that lies on a unit, always enlarged as a whole."""
        side = _WIDE_PX // MAP_PX
        return _enlarged(coarse, (unit.start[0] // MAP_PX, unit.start[1] // MAP_PX), side, MAP_PX)

    def _absorb_far(self, od: FloatImage, local: tuple[int, int], defocus_um: float) -> None:
        """A field far out of focus, at a quarter of the resolution."""
        h, w = od.shape[1] // COARSE, od.shape[2] // COARSE
        sigma = defocus_sigma_px(defocus_um, self._grid.um_per_px)
        rest = min(math.sqrt(max(sigma**2 - MOST_BLUR_PX**2, 0.01)) / COARSE, 12.0)
        margin = 2 * math.ceil(rest)
        start = (local[0] // COARSE - margin, local[1] // COARSE - margin)
        wide = self._coarse_field(start, (h + 2 * margin + 1, w + 2 * margin + 1))
        soft = cv2.GaussianBlur(self._stained(wide), (0, 0), rest)[
            margin : margin + h + 1, margin : margin + w + 1
        ]
        large = cv2.resize(soft, None, fx=COARSE, fy=COARSE)[: od.shape[1], : od.shape[2]]
        for plane, seen in zip(od, cv2.split(large), strict=True):
            cv2.add(plane, seen, plane)

    def _coarse_field(self, start: tuple[int, int], shape: tuple[int, int]) -> Densities:
        """Both densities of a window of the section at a quarter of the resolution, blurred by MOST_BLUR_PX."""
        side, pad = BLOCK_PX // COARSE, PAD_PX // COARSE
        field = (np.zeros(shape, np.float32), np.zeros(shape, np.float32))
        seam = _smaller(self._joint, COARSE)
        for row in range((start[1] - pad) // side, (start[1] + shape[0] + pad) // side + 1):
            for column in range((start[0] - pad) // side, (start[0] + shape[1] + pad) // side + 1):
                if not self._any_unit(self._covered, row, column):
                    continue
                eosin, nuclear = self._block((row, column)).coarse(int(self._section.turns[row, column]))
                there = self._coarse_share(row, column)
                at = (column * side - pad - start[0], row * side - pad - start[1])
                _add(field[0], eosin * seam * there, at)
                _add(field[1], nuclear * there, at)
        return field

    def _any_unit(self, which: NDArray[np.bool_], row: int, column: int) -> bool:
        """Is it so in any of the four units of a block? Not beyond the section."""
        if row < 0 or column < 0:
            return False
        return bool(which[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].any())

    def _coarse_share(self, row: int, column: int) -> FloatImage | float:
        """(144, 144) float32 or 1: how many layers of tissue lie on a block."""
        if not self._any_unit(~self._whole | self._folded, row, column):
            return 1.0
        at, step = (column * _MAP_PER_BLOCK - 1, row * _MAP_PER_BLOCK - 1), MAP_PX // COARSE
        depth, fold = (
            _enlarged(coarse, at, _MAP_PER_BLOCK + 2, step)
            for coarse in (self._section.depth_um, self._section.fold)
        )
        return np.asarray(np.clip(0.5 + depth / 12, 0, 1) * (1 + fold), np.float32)

    def _stained(self, densities: Densities) -> FloatImage:
        """(h, w, 3) float32 optical density."""
        planes = [
            cv2.addWeighted(densities[0], pink, densities[1], blue, 0)
            for pink, blue in zip(self._eosin_od, self._nuclear_od, strict=True)
        ]
        return np.asarray(cv2.merge(planes), np.float32)

    def _overview_to_map(self) -> NDArray[np.float64]:
        """(2, 3): from a pixel of the overview to one of the coarse maps."""
        corners = [
            self._local_of_slide((x + 0.5) * OVERVIEW_UM_PER_PX, (y + 0.5) * OVERVIEW_UM_PER_PX)
            for x, y in ((0, 0), (1, 0), (0, 1))
        ]
        start, right, down = ((np.array(place) + 0.5) / MAP_PX - 0.5 for place in corners)
        return np.column_stack([right - start, down - start, start])

    def _local_of_slide(self, x_um: float, y_um: float) -> tuple[float, float]:
        u, v = self._grid.from_slide(x_um, y_um)
        return u - self._section.corner_px[0], v - self._section.corner_px[1]

    # ------------------------------------------------------------------ truth

    def _unit_nuclei(self, unit: _Unit) -> Iterator[tuple[NDArray[np.float64], ...]]:
        """Places on the section, heights, areas and whether they lie in a fold, of the nuclei of a unit."""
        height = self._height(unit.at)
        there = None if self._whole[unit.at] else self._there(unit, 0.0)
        yield self._layer_nuclei(unit, False, height, there)
        if self._folded[unit.at]:
            fold = self._enlarged(self._section.fold, unit)
            there = fold if there is None else fold * there
            yield self._layer_nuclei(unit, True, height + self._lift(unit), there)

    def _layer_nuclei(
        self, unit: _Unit, raised: bool, height_um: float, share: FloatImage | None
    ) -> tuple[NDArray[np.float64], ...]:
        block, turn = self._laid(unit, raised)
        places = block.places(turn) - unit.box
        inside = ((places >= 0) & (places < _WIDE_PX)).all(1)
        if share is not None:
            u, v = np.clip(places, 0, _WIDE_PX - 1).astype(int).T
            inside &= share[v, u] > 0.5
        heights, areas = height_um + block.heights_um[inside], block.areas_px[inside].astype(np.float64)
        return places[inside] + unit.start, heights, areas, np.full(len(heights), float(raised))


def _cover(section: Section) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Which units hold any tissue, which nothing else, and which a fold."""
    window = np.ones((2 * _MAP_MARGIN + 1, 2 * _MAP_MARGIN + 1), np.uint8)
    most, fold = (
        _by_unit(cv2.dilate(plane, window)).max((1, 3)) for plane in (section.depth_um, section.fold)
    )
    least = _by_unit(cv2.erode(section.depth_um, window)).min((1, 3))
    return most > -_SURE_UM, least > _SURE_UM, fold > 0


def _by_unit(plane: object) -> FloatImage:
    """(rows, 8, columns, 8) float32: a coarse map, one unit a row and column."""
    picture = np.asarray(plane, np.float32)
    rows, columns = picture.shape
    return picture.reshape(rows // _MAP_PER_UNIT, _MAP_PER_UNIT, columns // _MAP_PER_UNIT, _MAP_PER_UNIT)


def _smaller(picture: FloatImage, step: int) -> FloatImage:
    h, w = picture.shape
    return np.asarray(cv2.resize(picture, (w // step, h // step), interpolation=cv2.INTER_AREA), np.float32)


def _enlarged(coarse: FloatImage, at: tuple[int, int], side: int, step: int) -> FloatImage:
    """(side * step, side * step) float32: the pixels of a map from column, row ``at``, each ``step`` wide and high."""
    rows = np.clip(np.arange(at[1] - _MAP_MARGIN, at[1] + side + _MAP_MARGIN), 0, coarse.shape[0] - 1)
    columns = np.clip(np.arange(at[0] - _MAP_MARGIN, at[0] + side + _MAP_MARGIN), 0, coarse.shape[1] - 1)
    wide = cv2.resize(coarse[np.ix_(rows, columns)], None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR)
    inner = slice(_MAP_MARGIN * step, (_MAP_MARGIN + side) * step)
    return np.ascontiguousarray(wide[inner, inner], np.float32)


def _add(field: FloatImage, picture: FloatImage, at: tuple[int, int]) -> None:
    """Add a picture with its corner ``at``, cut at the field's border."""
    x0, y0 = max(at[0], 0), max(at[1], 0)
    x1, y1 = min(at[0] + picture.shape[1], field.shape[1]), min(at[1] + picture.shape[0], field.shape[0])
    if x0 < x1 and y0 < y1:
        field[y0:y1, x0:x1] += picture[y0 - at[1] : y1 - at[1], x0 - at[0] : x1 - at[0]]
