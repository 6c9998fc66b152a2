"""What do the parts of a tissue section look like: nuclei, fibres, glands, cells lying side by side?

Densities are numbers that the stain turns into optical density: 1 is a usual nucleus, or eosin as dense as muscle.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.devices.simulated.bodies import ellipse, polar_map, wobble
from scanner.devices.simulated.textures import FloatImage, Textures

HEADINGS = 24
_DRAWN_PER_HEADING = 3
_NUCLEAR_DENSITY = 0.25
_FIBRE_SIDE_PX = 1024


class NucleusKind(StrEnum):
    """The nuclei of a section by shape."""

    ROUND = "round"
    COLUMNAR = "columnar"
    SPINDLE = "spindle"
    LYMPHOCYTE = "lymphocyte"


@dataclass(frozen=True, slots=True)
class _Shape:
    """Ranges for one kind: (mean, standard deviation) of lengths in µm and of the density; grain of the chromatin."""

    length_um: tuple[float, float]
    width_um: tuple[float, float]
    darkness: tuple[float, float]
    chromatin: float
    nucleoli: float = 0.0


_SHAPES = {
    NucleusKind.ROUND: _Shape((7.6, 0.9), (6.4, 0.7), (0.72, 0.15), 0.26, 0.8),
    NucleusKind.COLUMNAR: _Shape((9.4, 1.0), (5.2, 0.5), (0.95, 0.15), 0.22, 0.3),
    NucleusKind.SPINDLE: _Shape((11.5, 2.2), (3.2, 0.5), (1.05, 0.2), 0.15),
    NucleusKind.LYMPHOCYTE: _Shape((5.6, 0.5), (5.2, 0.4), (1.3, 0.15), 0.20),
}


@dataclass(frozen=True, slots=True)
class Stamp:
    """One drawn nucleus: (h, w) float32 density with its middle in the middle, and the pixels it covers."""

    density: FloatImage
    area_px: int


class NucleusStore:
    """Nuclei of every kind, drawn a few times in each of 24 headings."""

    def __init__(self, rng: np.random.Generator, textures: Textures, um_per_px: float) -> None:
        self._stamps = {
            (kind, heading): [
                _nucleus(rng, textures, um_per_px, shape, math.pi * heading / HEADINGS)
                for _ in range(_DRAWN_PER_HEADING)
            ]
            for kind, shape in _SHAPES.items()
            for heading in range(HEADINGS)
        }

    def pick(self, rng: np.random.Generator, kind: NucleusKind, heading_rad: float) -> Stamp:
        """A nucleus of a kind whose long side points about that way."""
        heading = round(heading_rad / math.pi * HEADINGS) % HEADINGS
        return self._stamps[kind, heading][int(rng.integers(_DRAWN_PER_HEADING))]


def _nucleus(
    rng: np.random.Generator, textures: Textures, um_per_px: float, shape: _Shape, heading_rad: float
) -> Stamp:
    """A soft disc with clumps of chromatin, a membrane, and a nucleolus in some."""
    length, width = (max(2.4, float(rng.normal(*size))) for size in (shape.length_um, shape.width_um))
    side = 2 * math.ceil((0.6 * max(length, width) + 1) / um_per_px) + 1
    polar = polar_map((side, side), um_per_px, (0.0, 0.0))
    edge = (ellipse(length / width, heading_rad) * wobble(rng, 0.045) * math.sqrt(length * width) / 2)[
        polar.turn
    ]
    inside = np.clip((edge - polar.radius_um) / 0.55 + 0.5, 0, 1)
    rho = polar.radius_um / np.maximum(edge, 0.5)
    grain = 0.8 * textures.fine(rng, (side, side)) + 0.7 * textures.medium(rng, (side, side))
    texture = 0.93 + shape.chromatin * grain + 0.35 * np.exp(-(((rho - 0.9) / 0.12) ** 2))
    if rng.random() < shape.nucleoli:
        place = rng.normal(0, 0.13 * width, 2)
        spot = polar_map((side, side), um_per_px, (float(place[0]), float(place[1]))).radius_um
        texture = texture + 0.9 * np.exp(-((spot / 0.75) ** 2))
    darkness = max(0.4, float(rng.normal(*shape.darkness)))
    density = np.asarray(darkness * inside * np.clip(texture, 0.3, 2.4), np.float32)
    return Stamp(density, int(cv2.countNonZero((density > _NUCLEAR_DENSITY).astype(np.uint8))))


class Fibres:
    """Wavy bundles of fibres at any heading, from two long-grained noises bent anew for every piece."""

    def __init__(self, rng: np.random.Generator, um_per_px: float) -> None:
        self._um_per_px = um_per_px
        self._thick = grain(rng, _FIBRE_SIDE_PX, (40.0 / um_per_px, 2.0 / um_per_px))
        self._thin = grain(rng, _FIBRE_SIDE_PX, (14.0 / um_per_px, 0.55 / um_per_px))

    def piece(
        self, rng: np.random.Generator, side_px: int, heading_rad: float, wave: float
    ) -> tuple[FloatImage, FloatImage]:
        """Thick and thin fibres, (side, side) float32 of unit variance.

        Args:
            rng: decides which piece and how it is bent.
            side_px: size of the piece.
            heading_rad: which way the fibres run.
            wave: how far they leave their heading, 0 for straight ones.
        """
        at = np.arange(side_px, dtype=np.float32)
        cos, sin = math.cos(heading_rad), math.sin(heading_rad)
        along, across = cos * at[None] + sin * at[:, None], cos * at[:, None] - sin * at[None]
        across = across + wave * 13.0 * smooth_noise(rng, side_px, 24.0 / self._um_per_px)
        along = along + wave * 10.0 * smooth_noise(rng, side_px, 24.0 / self._um_per_px)
        return self._cut(self._thick, rng, along, across), self._cut(self._thin, rng, along, across)

    def _cut(
        self, texture: FloatImage, rng: np.random.Generator, along: FloatImage, across: FloatImage
    ) -> FloatImage:
        dx, dy = (float(value) for value in rng.uniform(0, _FIBRE_SIDE_PX, 2))
        moved = cv2.remap(
            texture,
            np.asarray(along + dx, np.float32),
            np.asarray(across + dy, np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_WRAP,
        )
        return np.asarray(moved, np.float32)


def grain(
    rng: np.random.Generator, side_px: int, sigma_px: tuple[float, float], heading_rad: float = 0.0
) -> FloatImage:
    """(side, side) float32 noise of unit variance that joins itself at its borders.

    Args:
        rng: decides the noise.
        side_px: its size.
        sigma_px: how far it is smoothed along its heading and across.
        heading_rad: 0 along x.
    """
    x, y = np.fft.rfftfreq(side_px)[None], np.fft.fftfreq(side_px)[:, None]
    cos, sin = math.cos(heading_rad), math.sin(heading_rad)
    along, across = sigma_px[0] * (cos * x + sin * y), sigma_px[1] * (cos * y - sin * x)
    spectrum = np.fft.rfft2(rng.standard_normal((side_px, side_px), dtype=np.float32))
    spectrum *= np.exp(-2 * math.pi**2 * (along**2 + across**2))
    noise = np.fft.irfft2(spectrum, (side_px, side_px))
    return np.asarray((noise - noise.mean()) / noise.std(), np.float32)


def smooth_noise(rng: np.random.Generator, side_px: int, sigma_px: float) -> FloatImage:
    """(side, side) float32 of unit variance, drawn coarse and enlarged."""
    step = max(1, int(sigma_px / 3))
    coarse = rng.standard_normal((side_px // step + 8, side_px // step + 8), dtype=np.float32)
    coarse = np.asarray(cv2.GaussianBlur(coarse, (0, 0), sigma_px / step), np.float32)
    wide = cv2.resize(coarse / coarse.std(), None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
    return np.asarray(wide[:side_px, :side_px], np.float32)


@dataclass(frozen=True, slots=True)
class Gland:
    """A ring of columnar cells round a lumen.

    ``inside``: (side, side) float32, 1 where the gland lies; ``eosin`` and ``haze``: densities of cytoplasm there;
    ``nuclei``: (n, 3) place u, v px and heading rad of its nuclei.
    """

    inside: FloatImage
    eosin: FloatImage
    haze: FloatImage
    nuclei: NDArray[np.float64]


def gland(
    rng: np.random.Generator,
    textures: Textures,
    um_per_px: float,
    side_px: int,
    middle_px: tuple[float, float],
    radius_um: float,
) -> Gland:
    """A gland cut across: basal nuclei in one to two rows, pale mucin towards an open lumen."""
    shape = (side_px, side_px)
    centre = ((middle_px[0] - (side_px - 1) / 2) * um_per_px, (middle_px[1] - (side_px - 1) / 2) * um_per_px)
    polar = polar_map(shape, um_per_px, centre)
    outline = ellipse(float(rng.uniform(1.0, 1.5)), float(rng.uniform(0, math.pi))) * wobble(rng, 0.13)
    outline = np.asarray(outline * radius_um, np.float32)
    tall = min(float(rng.uniform(17, 26)), 0.72 * radius_um)
    ragged = wobble(rng, 0.05, 8, 40)[polar.turn]
    depth = outline[polar.turn] - polar.radius_um
    inside = np.clip(depth / 1.0 + 0.5, 0, 1)
    wall = np.clip((tall * ragged - depth) / 1.2 + 0.5, 0, 1) * inside
    grain = textures.medium(rng, shape) * 0.10 + textures.coarse(rng, shape) * 0.12
    mucin = np.exp(-(((depth - 0.68 * tall) / (0.3 * tall)) ** 2)) * float(rng.uniform(0.15, 0.6))
    eosin = wall * np.clip(0.62 + grain - mucin, 0.08, 2) + 0.35 * np.exp(-((depth / 1.1) ** 2))
    secretion = 0.25 * np.clip(textures.coarse(rng, shape) - 1.2, 0, 1) * np.clip((depth - tall) / 6, 0, 1)
    return Gland(
        np.asarray(inside, np.float32),
        np.asarray(eosin + secretion, np.float32),
        np.asarray(wall * 0.13, np.float32),
        _gland_nuclei(rng, outline, tall, middle_px, um_per_px),
    )


def _gland_nuclei(
    rng: np.random.Generator,
    outline: FloatImage,
    tall: float,
    middle_px: tuple[float, float],
    um_per_px: float,
) -> NDArray[np.float64]:
    """Places along the base, every 4.6 µm or so, their long side along the cell."""
    count = max(6, int(2 * math.pi * float(outline.mean()) / 4.6))
    angle = (np.arange(count) + rng.normal(0, 0.22, count)) * 2 * math.pi / count
    radius = outline[(angle / (2 * math.pi) * outline.size).astype(int) % outline.size]
    radius = radius - rng.uniform(5.0, max(6.0, 0.52 * tall), count)
    u = middle_px[0] + radius * np.cos(angle) / um_per_px
    v = middle_px[1] + radius * np.sin(angle) / um_per_px
    return np.stack([u, v, (angle + rng.normal(0, 0.2, count)) % math.pi], 1)


def cell_borders(places_px: NDArray[np.float64], side_px: int) -> FloatImage:
    """(side, side) float32: 1 on the borders between cells round the given places, 0 inside them."""
    seeds = np.full((side_px, side_px), 255, np.uint8)
    u, v = np.clip(places_px.round().astype(int), 0, side_px - 1).T
    seeds[v, u] = 0
    _, label = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    label = label.astype(np.float32)
    edge = (
        cv2.dilate(label, np.ones((2, 2), np.uint8)) != cv2.erode(label, np.ones((2, 2), np.uint8))
    ).astype(np.float32)
    return np.asarray(np.clip(cv2.GaussianBlur(edge, (0, 0), 0.9) * 1.8, 0, 1), np.float32)
