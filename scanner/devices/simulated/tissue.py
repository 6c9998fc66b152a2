"""What does one block of a tissue section look like: which nuclei, which fibres, at which height in the section?"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from scanner.devices.simulated.textures import FloatImage, Textures
from scanner.devices.simulated.tissue_bodies import (
    Fibres,
    Gland,
    NucleusKind,
    NucleusStore,
    Stamp,
    cell_borders,
    gland,
    smooth_noise,
)

BLOCK_PX = 512
PAD_PX = 32
FULL_PX = BLOCK_PX + 2 * PAD_PX
MAP_PX = 32
"""Pixels of the camera a pixel of a section's coarse maps."""
LAYERS_UM = (-0.49, 0.0, 0.49)
"""Heights of the nuclei in the section; a third in each gives a standard deviation of 0.40 µm."""


class TissueKind(StrEnum):
    """What a block holds most of."""

    STROMA = "stroma"
    GLANDS = "glands"
    SHEET = "sheet"
    LYMPHOID = "lymphoid"


@dataclass(frozen=True, slots=True)
class Drawing:
    """One block with what hangs over its border by 32 px on each side.

    ``eosin``: (576, 576) float32; ``nuclear``: three such pictures, one a layer of height, with whole nuclei whose
    middles lie in the block; ``places_px``: (n, 2) float64 middles u, v of the nuclei, with the layer and the area in
    px of each.
    """

    kind: TissueKind
    eosin: FloatImage
    nuclear: tuple[FloatImage, FloatImage, FloatImage]
    places_px: NDArray[np.float64]
    layers: NDArray[np.int64]
    areas_px: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Placed:
    """One nucleus to be drawn."""

    u: float
    v: float
    stamp: Stamp


class Painter:
    """Draws blocks of one section."""

    def __init__(self, rng: np.random.Generator, um_per_px: float) -> None:
        self._um_per_px = um_per_px
        self._textures = Textures(int(rng.integers(2**31)), um_per_px)
        self._nuclei = NucleusStore(rng, self._textures, um_per_px)
        self._fibres = Fibres(rng, um_per_px)

    def block(self, rng: np.random.Generator, kind: TissueKind) -> Drawing:
        """Draw one block."""
        heading = float(rng.uniform(-0.5, 0.5))
        if kind is TissueKind.SHEET:
            eosin, placed = self._sheet(rng)
        elif kind is TissueKind.LYMPHOID:
            eosin, placed = self._lymphoid(rng, heading)
        else:
            eosin, placed = self._stroma(rng, heading)
        haze = np.zeros_like(eosin)
        if kind is TissueKind.GLANDS:
            for one in self._glands(rng):
                placed = [item for item in placed if one.inside[round(item.v), round(item.u)] < 0.05]
                eosin = eosin * (1 - one.inside) + one.eosin
                haze = haze + one.haze
                placed += self._stamped(rng, NucleusKind.COLUMNAR, one.nuclei)
        return self._drawing(rng, kind, eosin, haze, placed)

    def _stroma(self, rng: np.random.Generator, heading: float) -> tuple[FloatImage, list[_Placed]]:
        """Bundles of fibres with clefts between them, spindle nuclei along them, a few wandering cells."""
        eosin = self._fibrous(rng, heading, wave=float(rng.uniform(0.6, 1.5)))
        places = self._scattered(rng, float(rng.uniform(2_300, 3_600)))
        headings = heading + rng.normal(0, 0.3, len(places))
        lone = rng.random(len(places)) < float(rng.uniform(0.08, 0.3))
        spindles = self._stamped(rng, NucleusKind.SPINDLE, np.column_stack([places, headings])[~lone])
        others = self._stamped(rng, NucleusKind.LYMPHOCYTE, np.column_stack([places, headings])[lone])
        return eosin, spindles + others

    def _fibrous(self, rng: np.random.Generator, heading: float, wave: float) -> FloatImage:
        thick, thin = self._fibres.piece(rng, FULL_PX, heading, wave)
        body = 0.66 + 0.17 * thick + 0.10 * thin
        cleft = np.clip((thick + 0.25 * thin + float(rng.uniform(1.25, 1.7))) / 0.22, 0.12, 1)
        return np.asarray(np.clip(body, 0.25, 1.5) * cleft, np.float32)

    def _sheet(self, rng: np.random.Generator) -> tuple[FloatImage, list[_Placed]]:
        """Cells side by side, each with a round nucleus and a visible border."""
        places = self._scattered(rng, float(rng.uniform(4_300, 5_600)), jitter=0.16)
        grain = 0.10 * self._noise(rng, 6.0) + 0.06 * self._noise(rng, 1.2) + 0.05 * self._noise(rng, 0.6)
        borders = cell_borders(places, FULL_PX)
        eosin = np.clip(0.55 + grain, 0.15, 2) + float(rng.uniform(0.15, 0.35)) * borders
        turned = np.column_stack([places, rng.uniform(0, math.pi, len(places))])
        return np.asarray(eosin, np.float32), self._stamped(rng, NucleusKind.ROUND, turned)

    def _lymphoid(self, rng: np.random.Generator, heading: float) -> tuple[FloatImage, list[_Placed]]:
        """A follicle of small dark round nuclei close together, its rim loose, in stroma."""
        eosin, stroma = self._stroma(rng, heading)
        places = self._scattered(rng, float(rng.uniform(10_500, 12_500)), jitter=0.3)
        away = np.hypot(*(places - FULL_PX / 2 - rng.normal(0, 18, 2)).T) / (0.5 * BLOCK_PX)
        lump = self._noise(rng, 14.0)[tuple(places.astype(int)[:, ::-1].T)]
        places = places[away + 0.12 * lump + rng.normal(0, 0.1, len(places)) < 0.8]
        turned = np.column_stack([places, rng.uniform(0, math.pi, len(places))])
        return eosin, stroma + self._stamped(rng, NucleusKind.LYMPHOCYTE, turned)

    def _glands(self, rng: np.random.Generator) -> Iterator[Gland]:
        """One to four glands of different sizes that keep their distance from each other and from the border."""
        taken: list[tuple[float, float, float]] = []
        wanted, tries = int(rng.integers(1, 5)), 60
        while tries and len(taken) < wanted:
            tries -= 1
            radius = float(rng.uniform(30, 80 if wanted == 1 else 58))
            reach = 1.3 * radius / self._um_per_px
            u, v = (float(at) for at in rng.uniform(PAD_PX + reach, FULL_PX - PAD_PX - reach, 2))
            if all(math.hypot(u - x, v - y) > reach + other for x, y, other in taken):
                taken.append((u, v, reach))
                yield gland(rng, self._textures, self._um_per_px, FULL_PX, (u, v), radius)

    def _noise(self, rng: np.random.Generator, sigma_um: float) -> FloatImage:
        return smooth_noise(rng, FULL_PX, sigma_um / self._um_per_px)

    def _scattered(
        self, rng: np.random.Generator, per_mm2: float, jitter: float = 0.3
    ) -> NDArray[np.float64]:
        """(n, 2) places u, v inside the block, about evenly apart."""
        rows = round(BLOCK_PX * self._um_per_px / 1000 * math.sqrt(per_mm2))
        step = BLOCK_PX / rows
        row, column = np.divmod(np.arange(rows * rows), rows)
        grid = np.stack([column + 0.5 * (row % 2), row], 1) + rng.normal(0, jitter, (rows * rows, 2))
        return np.asarray(PAD_PX + (grid * step) % BLOCK_PX, np.float64)

    def _stamped(
        self, rng: np.random.Generator, kind: NucleusKind, rows: NDArray[np.float64]
    ) -> list[_Placed]:
        return [_Placed(u, v, self._nuclei.pick(rng, kind, heading)) for u, v, heading in rows.tolist()]

    def _drawing(
        self,
        rng: np.random.Generator,
        kind: TissueKind,
        eosin: FloatImage,
        haze: FloatImage,
        placed: list[_Placed],
    ) -> Drawing:
        """Nuclei into their layers, cytoplasm as it is."""
        layers = rng.permutation(np.arange(len(placed)) % len(LAYERS_UM))
        nuclear = tuple(np.zeros((FULL_PX, FULL_PX), np.float32) for _ in LAYERS_UM)
        for item, layer in zip(placed, layers.tolist(), strict=True):
            _press(nuclear[layer], item)
        below, middle, above = nuclear
        return Drawing(
            kind,
            eosin,
            (below, np.asarray(middle + haze, np.float32), above),
            np.array([(item.u, item.v) for item in placed], np.float64),
            layers.astype(np.int64),
            np.array([item.stamp.area_px for item in placed], np.int64),
        )


def _press(plane: FloatImage, item: _Placed) -> None:
    """Draw a nucleus where it is darker than what is there, cut at the border."""
    stamp = item.stamp.density
    h, w = stamp.shape
    left, top = round(item.u) - w // 2, round(item.v) - h // 2
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + w, FULL_PX), min(top + h, FULL_PX)
    target = plane[y0:y1, x0:x1]
    np.maximum(target, stamp[y0 - top : y1 - top, x0 - left : x1 - left], out=target)
