"""What lies where on a procedural liquid-based slide, and how does a field of it look at a given height?"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.devices.simulated.bodies import Palette
from scanner.devices.simulated.motion import draw
from scanner.devices.simulated.optics import defocus_sigma_px
from scanner.devices.simulated.scene import draw_object
from scanner.devices.simulated.specimen import (
    DEPOSIT_CENTRE_UM,
    DEPOSIT_RADIUS_UM,
    OVERVIEW_SHAPE,
    OVERVIEW_UM_PER_PX,
    CameraGrid,
    Surface,
)
from scanner.devices.simulated.sprites import COARSE, MOST_BLUR_PX, Sprite, turned, turned_box, turned_shape
from scanner.devices.simulated.textures import FloatImage, Textures
from scanner.devices.simulated.truth import ABNORMAL, CellClass, Nuclei, TruthObject

HEIGHT_SIGMA_UM = 1.5
_BUCKET_PX = 256
_FAR_UM = 8.5
_CLUMP_CELL_UM = 100.0

COUNTS: dict[CellClass, int] = {
    CellClass.SUPERFICIAL: 4_000,
    CellClass.INTERMEDIATE: 12_400,
    CellClass.PARABASAL: 1_400,
    CellClass.METAPLASTIC: 1_000,
    CellClass.REACTIVE: 1_200,
    CellClass.ENDOCERVICAL: 400,
    CellClass.BARE_NUCLEUS: 700,
    CellClass.LEUCOCYTE: 15_000,
    CellClass.LEUCOCYTE_CLUMP: 700,
    CellClass.CANDIDA: 60,
    CellClass.TRICHOMONAS: 120,
    CellClass.FLORA: 250,
    CellClass.DEBRIS: 2_500,
    CellClass.MUCUS: 300,
    CellClass.BUBBLE: 12,
}
"""Objects on a slide; the squamous cells are 20,000, abnormal ones among them taking the place of intermediate ones."""
_DRAWN: dict[CellClass, int] = {
    CellClass.SUPERFICIAL: 22,
    CellClass.INTERMEDIATE: 48,
    CellClass.PARABASAL: 12,
    CellClass.METAPLASTIC: 12,
    CellClass.REACTIVE: 24,
    CellClass.ENDOCERVICAL: 12,
    CellClass.BARE_NUCLEUS: 8,
    CellClass.LEUCOCYTE: 48,
    CellClass.LEUCOCYTE_CLUMP: 20,
    CellClass.CANDIDA: 8,
    CellClass.TRICHOMONAS: 8,
    CellClass.FLORA: 8,
    CellClass.DEBRIS: 30,
    CellClass.MUCUS: 12,
    CellClass.BUBBLE: 4,
}
"""How many different drawings of each class a slide has; turned 8 ways and stained anew for every object."""


@dataclass(frozen=True, slots=True)
class _Placed:
    """One object: its drawing, the corner of its picture on the camera's grid, and how it lies there."""

    sprite: Sprite
    corner: tuple[int, int]
    turn: int
    stains: tuple[tuple[float, float, float], tuple[float, float, float]]
    x_um: float
    y_um: float
    height_um: float


class ProceduralSlide:
    """Liquid-based cytology from a seed.

    Args:
        key: what the slide depends on, such as (seed, slot).
        abnormal: how many cells of each abnormal class it holds.
        grid: the camera that will look at it.
    """

    def __init__(self, key: tuple[int, ...], abnormal: dict[CellClass, int], grid: CameraGrid) -> None:
        self._grid = grid
        rng = draw("slide", *key)
        self.surface = Surface(float(rng.uniform(-3, 3)), heading_rad=float(rng.uniform(0, 2 * math.pi)))
        self._strengths = (float(rng.uniform(0.85, 1.2)), float(rng.uniform(0.9, 1.15)))
        self._palette = Palette()
        self._textures = Textures(int(rng.integers(2**31)), grid.um_per_px)
        self._placed = tuple(self._all_objects(rng, _slide_counts(rng, abnormal)))
        self._buckets = _bucketed(self._placed)

    def absorb(self, od: FloatImage, corner: tuple[int, int], z_um: float) -> None:
        """Add the field's optical density; see ``Specimen``."""
        shape = (od.shape[1], od.shape[2])
        x, y = self._grid.to_slide(corner[0] + shape[1] / 2, corner[1] + shape[0] / 2)
        if abs(z_um - self.surface.height(x, y)) > _FAR_UM:
            self._absorb_far(od, corner, z_um)
            return
        for item in self._near(corner, shape, 0):
            sigma = defocus_sigma_px(z_um - item.height_um, self._grid.um_per_px)
            for plane in item.sprite.filled:
                picture, box = item.sprite.density(plane, sigma)
                x, y, _, _ = turned_box(box, item.sprite.shape, item.turn)
                _add(
                    od, (item.corner[0] - corner[0] + x, item.corner[1] - corner[1] + y), item, plane, picture
                )

    def _absorb_far(self, od: FloatImage, corner: tuple[int, int], z_um: float) -> None:
        """A field far out of focus, at a quarter of the resolution."""
        h, w = od.shape[1] // COARSE, od.shape[2] // COARSE
        x, y = self._grid.to_slide(corner[0] + od.shape[2] / 2, corner[1] + od.shape[1] / 2)
        sigma = defocus_sigma_px(z_um - self.surface.height(x, y), self._grid.um_per_px)
        rest = min(math.sqrt(max(sigma**2 - MOST_BLUR_PX**2, 0.01)) / COARSE, 12.0)
        margin = 2 * math.ceil(rest)
        wide = np.zeros((3, h + 2 * margin + 1, w + 2 * margin + 1), np.float32)
        start = (corner[0] // COARSE - margin, corner[1] // COARSE - margin)
        for item in self._near(corner, (od.shape[1], od.shape[2]), margin * COARSE):
            at = (item.corner[0] // COARSE - start[0], item.corner[1] // COARSE - start[1])
            for plane in item.sprite.filled:
                _add(wide, at, item, plane, item.sprite.coarse(plane))
        for channel, coarse in enumerate(wide):
            soft = cv2.GaussianBlur(coarse, (0, 0), rest)[margin : margin + h + 1, margin : margin + w + 1]
            od[channel] += cv2.resize(soft, None, fx=COARSE, fy=COARSE)[: od.shape[1], : od.shape[2]]

    def overview_od(self) -> FloatImage:
        """(1250, 3750, 3) float32: every object's absorption spread over the pixels of 20 µm it covers."""
        h, w = OVERVIEW_SHAPE
        at = np.array([(item.x_um, item.y_um) for item in self._placed]) // OVERVIEW_UM_PER_PX
        flat = (at[:, 1] * w + at[:, 0]).astype(np.int64)
        masses = np.array([item.sprite.mass for item in self._placed])
        stains = np.array([item.stains for item in self._placed])
        absorbed = np.einsum("np,npc->nc", masses, stains) * (self._grid.um_per_px / OVERVIEW_UM_PER_PX) ** 2
        planes = [
            np.bincount(flat, weights, h * w).reshape(h, w).astype(np.float32) for weights in absorbed.T
        ]
        return np.asarray(cv2.GaussianBlur(cv2.merge(planes), (0, 0), 1.1), np.float32)

    def truth(self) -> tuple[TruthObject, ...]:
        """Every object with its box in slide µm and its height."""
        return tuple(_truth(item, self._grid) for item in self._placed)

    def nuclei_in(self, corner: tuple[int, int], shape: tuple[int, int]) -> Nuclei:
        """The nuclei whose middle lies in a field of (h, w) px with its first pixel at ``corner`` of the grid.

        Leucocytes and litter drawn as dark as a nucleus are among them; their classes tell.
        """
        rows = []
        for item in self._near(corner, shape, 0):
            if item.sprite.nucleus_area_px:
                u, v, _, _ = turned_box(item.sprite.nucleus_box_px, item.sprite.shape, item.turn)
                at = (item.corner[0] + u - corner[0], item.corner[1] + v - corner[1])
                if 0 <= at[0] < shape[1] and 0 <= at[1] < shape[0]:
                    rows.append(
                        (at, item.height_um, item.sprite.nucleus_area_px, item.sprite.body.cell_class)
                    )
        return _nuclei(rows)

    def nuclei_shown_in(self, corner: tuple[int, int], shape: tuple[int, int]) -> Nuclei:
        """The same, of all nuclei of which the field shows any; their areas are what it shows."""
        rows = []
        for item in self._near(corner, shape, 0):
            if not item.sprite.nucleus_area_px:
                continue
            nuclear = turned(item.sprite.nuclear, item.turn)
            left, top = item.corner[0] - corner[0], item.corner[1] - corner[1]
            inside = nuclear[max(-top, 0) : max(shape[0] - top, 0), max(-left, 0) : max(shape[1] - left, 0)]
            y, x = np.nonzero(inside)
            if len(x):
                at = (max(left, 0) + float(x.mean()), max(top, 0) + float(y.mean()))
                rows.append((at, item.height_um, len(x), item.sprite.body.cell_class))
        return _nuclei(rows)

    def close(self) -> None:
        """Nothing is held open."""

    def _near(self, corner: tuple[int, int], shape: tuple[int, int], margin: int) -> Iterator[_Placed]:
        """The objects whose pictures may touch a window, always in the same order."""
        reach = margin + _BUCKET_PX
        columns = range((corner[0] - reach) // _BUCKET_PX, (corner[0] + shape[1] + margin) // _BUCKET_PX + 1)
        rows = range((corner[1] - reach) // _BUCKET_PX, (corner[1] + shape[0] + margin) // _BUCKET_PX + 1)
        for row in rows:
            for column in columns:
                yield from self._buckets.get((column, row), ())

    def _all_objects(self, rng: np.random.Generator, counts: dict[CellClass, int]) -> Iterator[_Placed]:
        """Draw the store of drawings and lay them down where the sample is dense."""
        places = _clumped_places(rng, sum(counts.values()))
        start = 0
        for kind, count in counts.items():
            drawn = count if kind in ABNORMAL else min(count, _DRAWN[kind])
            sprites = [self._sprite(rng, kind) for _ in range(drawn)]
            yield from self._laid_down(rng, sprites, places[start : start + count])
            start += count

    def _sprite(self, rng: np.random.Generator, kind: CellClass) -> Sprite:
        return Sprite(draw_object(rng, self._textures, self._palette, kind, self._grid.um_per_px))

    def _laid_down(
        self, rng: np.random.Generator, sprites: list[Sprite], places: NDArray[np.float64]
    ) -> Iterator[_Placed]:
        """Objects of one class: each drawing in turn, turned, stained and at a height of its own."""
        count = len(places)
        turns = rng.integers(0, 8, count).tolist()
        lifts = rng.normal(0, HEIGHT_SIGMA_UM, count).tolist()
        strengths = np.clip(rng.normal(1, (0.18, 0.1), (count, 2)), 0.5, None) * self._strengths
        for n, ((x, y), turn, lift, strength) in enumerate(
            zip(places.tolist(), turns, lifts, strengths.tolist(), strict=True)
        ):
            sprite = sprites[n % len(sprites)]
            h, w = turned_shape(sprite.shape, turn)
            u, v = self._grid.from_slide(x, y)
            stains = (
                _scaled(sprite.body.cytoplasm_od, strength[0]),
                _scaled(sprite.body.nucleus_od, strength[1]),
            )
            corner = (round(u) - w // 2, round(v) - h // 2)
            yield _Placed(sprite, corner, turn, stains, x, y, self.surface.height(x, y) + lift)


def _nuclei(rows: Sequence[tuple[tuple[float, float], float, int, CellClass]]) -> Nuclei:
    return Nuclei(
        np.array([row[0] for row in rows], np.float32).reshape(-1, 2),
        np.array([row[1] for row in rows], np.float64),
        np.array([row[2] for row in rows], np.int64),
        np.array([row[3].value for row in rows], np.str_),
    )


def _scaled(od: tuple[float, float, float], factor: float) -> tuple[float, float, float]:
    r, g, b = od
    return r * factor, g * factor, b * factor


def _slide_counts(rng: np.random.Generator, abnormal: dict[CellClass, int]) -> dict[CellClass, int]:
    """Objects of one slide: inflammation and organisms differ from slide to slide, squamous cells do not."""
    counts = dict(COUNTS)
    for kind in (CellClass.LEUCOCYTE, CellClass.LEUCOCYTE_CLUMP, CellClass.MUCUS, CellClass.FLORA):
        counts[kind] = int(counts[kind] * rng.lognormal(-0.1, 0.4))
    for kind in (CellClass.CANDIDA, CellClass.TRICHOMONAS):
        counts[kind] = int(counts[kind] * rng.uniform(0, 2)) if rng.random() < 0.4 else 0
    squamous = sum(n for kind, n in abnormal.items() if kind is not CellClass.AGC)
    counts[CellClass.INTERMEDIATE] -= squamous
    return counts | abnormal


def _clumped_places(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """(count, 2) slide µm inside the deposit, in random order, dense in clumps and absent from wide gaps."""
    side = int(2 * DEPOSIT_RADIUS_UM / _CLUMP_CELL_UM)
    wide, narrow = (
        cv2.GaussianBlur(rng.standard_normal((side, side)), (0, 0), scale_um / _CLUMP_CELL_UM)
        for scale_um in (500.0, 170.0)
    )
    field = wide / wide.std() + 0.7 * narrow / narrow.std()
    at = (np.arange(side) + 0.5) * _CLUMP_CELL_UM - DEPOSIT_RADIUS_UM
    inside = np.hypot(at[:, None], at[None]) < DEPOSIT_RADIUS_UM - _CLUMP_CELL_UM
    low, high = np.quantile(field[inside], (0.42, 0.999))
    chance = np.where(inside, np.clip((field - low) / (high - low), 0.0, 1) ** 0.8 + 0.004, 0).ravel()
    cells = rng.choice(chance.size, count, p=chance / chance.sum())
    rows, columns = np.divmod(cells, side)
    corner = np.array(DEPOSIT_CENTRE_UM) - DEPOSIT_RADIUS_UM
    return np.asarray(
        corner + (np.stack([columns, rows], 1) + rng.random((count, 2))) * _CLUMP_CELL_UM, np.float64
    )


def _bucketed(placed: tuple[_Placed, ...]) -> dict[tuple[int, int], tuple[_Placed, ...]]:
    buckets: dict[tuple[int, int], list[_Placed]] = {}
    for item in placed:
        key = (item.corner[0] // _BUCKET_PX, item.corner[1] // _BUCKET_PX)
        buckets.setdefault(key, []).append(item)
    return {key: tuple(items) for key, items in buckets.items()}


def _add(od: FloatImage, at: tuple[int, int], item: _Placed, stain: int, picture: FloatImage) -> None:
    """Add one density of an object, stained, to the three planes with its corner ``at``, cut at their border."""
    picture = turned(picture, item.turn)
    left, top = at
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + picture.shape[1], od.shape[2]), min(top + picture.shape[0], od.shape[1])
    if x0 >= x1 or y0 >= y1:
        return
    cut = picture[y0 - top : y1 - top, x0 - left : x1 - left]
    for plane, strength in zip(od, item.stains[stain], strict=True):
        target = plane[y0:y1, x0:x1]
        cv2.scaleAdd(cut, strength, target, target)


def _truth(item: _Placed, grid: CameraGrid) -> TruthObject:
    x, y, w, h = turned_box(item.sprite.box_px, item.sprite.shape, item.turn)
    centre = grid.to_slide(item.corner[0] + x + w / 2 - 0.5, item.corner[1] + y + h / 2 - 0.5)
    size = (w * grid.um_per_px, h * grid.um_per_px)
    return TruthObject(item.sprite.body.cell_class, *centre, *size, item.height_um)
