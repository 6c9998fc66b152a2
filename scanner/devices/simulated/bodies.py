"""What does one epithelial cell look like, as density of cytoplasm and of nucleus?

Densities are numbers that the stain turns into optical density: 1 is a usual cytoplasm or a usual nucleus.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.devices.simulated.recipes import RECIPES, Recipe
from scanner.devices.simulated.textures import FloatImage, Textures
from scanner.devices.simulated.truth import CellClass

_TURN = 512
_ANGLES = np.linspace(0, 2 * math.pi, _TURN, endpoint=False)
_EDGE_UM = 0.9


@dataclass(frozen=True, slots=True)
class Body:
    """One drawn object, centred in its arrays.

    ``cytoplasm`` and ``nucleus``: (h, w) float32 densities at the same scale; ``cytoplasm_od`` and ``nucleus_od``:
    RGB optical density of density 1; ``box_px``: x, y, w, h of what a person would mark, in the arrays' pixels.
    """

    cell_class: CellClass
    cytoplasm: FloatImage
    nucleus: FloatImage
    cytoplasm_od: tuple[float, float, float]
    nucleus_od: tuple[float, float, float]
    box_px: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Palette:
    """RGB optical density of the stains on one slide."""

    blue: tuple[float, float, float] = (0.52, 0.27, 0.075)
    pink: tuple[float, float, float] = (0.09, 0.50, 0.27)
    nuclear: tuple[float, float, float] = (0.86, 0.76, 0.31)

    def cytoplasm(self, pink_share: float) -> tuple[float, float, float]:
        """Between blue (0) and pink (1)."""
        r, g, b = ((1 - pink_share) * x + pink_share * y for x, y in zip(self.blue, self.pink, strict=True))
        return r, g, b


@dataclass(frozen=True, slots=True)
class _Polar:
    """Distance (µm) and direction (index 0..511) of every pixel from a centre."""

    radius_um: FloatImage
    turn: NDArray[np.int64]


def draw_cell(
    rng: np.random.Generator, textures: Textures, palette: Palette, cell_class: CellClass, um_per_px: float
) -> Body:
    """One epithelial cell, or one group where the class comes in groups."""
    recipe = RECIPES[cell_class]
    members = int(rng.integers(recipe.group[0], recipe.group[1] + 1))
    spread_um = recipe.cell_um[0] * (0.62 * math.sqrt(members) if members > 1 else 0.0)
    half_um = spread_um + _reach(recipe)
    side = 2 * math.ceil(half_um / um_per_px) + 1
    cytoplasm = np.zeros((side, side), np.float32)
    nucleus = np.zeros((side, side), np.float32)
    heading = float(rng.uniform(0, 2 * math.pi))
    for place in _places(rng, members, recipe.cell_um[0] * 0.55):
        _draw_member(rng, textures, recipe, um_per_px, (cytoplasm, nucleus), place, heading)
    return _body(cell_class, cytoplasm, nucleus, palette, _pink_share(rng, recipe))


def _reach(recipe: Recipe) -> float:
    """Half the side of the picture that one member needs, µm."""
    mean, sd = recipe.cell_um
    largest = max(mean + 2.5 * sd, 1.6 * recipe.nucleus_um[0])
    return largest * 0.5 * math.sqrt(recipe.elongation) * (1.7 if recipe.tail else 1.25) + 3


def _pink_share(rng: np.random.Generator, recipe: Recipe) -> float:
    """Most cells are clearly pink or clearly blue, a few are between."""
    if rng.random() < recipe.pink:
        return float(rng.uniform(0.72, 1.0))
    return float(rng.beta(1.2, 6.0))


def _places(rng: np.random.Generator, members: int, step_um: float) -> list[tuple[float, float]]:
    """Centres of the members of a crowded group, µm from the middle."""
    places = [(0.0, 0.0)]
    while len(places) < members:
        x, y = places[int(rng.integers(len(places)))]
        angle = float(rng.uniform(0, 2 * math.pi))
        step = step_um * float(rng.uniform(0.9, 1.5))
        places.append((x + step * math.cos(angle), y + step * math.sin(angle)))
    mx, my = np.mean(places, axis=0)
    limit = step_um * 1.1 * math.sqrt(members)
    return [_within(x - mx, y - my, limit) for x, y in places]


def _within(x: float, y: float, limit: float) -> tuple[float, float]:
    """Pull a place back into a circle."""
    shrink = min(1.0, limit / max(math.hypot(x, y), 1e-6))
    return x * shrink, y * shrink


def _draw_member(
    rng: np.random.Generator,
    textures: Textures,
    recipe: Recipe,
    um_per_px: float,
    planes: tuple[FloatImage, FloatImage],
    place_um: tuple[float, float],
    heading: float,
) -> None:
    """Add one cell of a group to both density maps."""
    cytoplasm, nucleus = planes
    cell_um = max(0.5, rng.normal(*recipe.cell_um))
    nucleus_um = min(max(3.5, rng.normal(*recipe.nucleus_um)), 0.86 * cell_um if recipe.cytoplasm else 99.0)
    heading += float(rng.normal(0, 0.35))
    polar = polar_map(cytoplasm.shape, um_per_px, place_um)
    centre = _nucleus_centre(rng, recipe, cell_um, place_um, heading)
    if recipe.cytoplasm:
        outline = _cell_outline(rng, recipe, cell_um, heading)
        body = _draw_cytoplasm(rng, textures, polar, outline, small=cell_um < 32)
        body *= recipe.cytoplasm * float(rng.uniform(0.7, 1.3))
        if rng.random() < recipe.halo:
            _clear_halo(rng, body, polar_map(cytoplasm.shape, um_per_px, centre), nucleus_um)
        np.maximum(cytoplasm + 0.35 * body, body + 0.35 * cytoplasm, out=cytoplasm)
    for spot in _nuclei(rng, recipe, centre, nucleus_um):
        drawn = _draw_nucleus(rng, textures, recipe, polar_map(nucleus.shape, um_per_px, spot), nucleus_um)
        np.maximum(nucleus + 0.5 * drawn, drawn + 0.5 * nucleus, out=nucleus)


def polar_map(shape: tuple[int, ...], um_per_px: float, centre_um: tuple[float, float]) -> _Polar:
    """Polar coordinates around ``centre_um``, measured from the middle of the picture."""
    h, w = shape[:2]
    x = ((np.arange(w, dtype=np.float32) - (w - 1) / 2) * um_per_px - centre_um[0])[None, :]
    y = ((np.arange(h, dtype=np.float32) - (h - 1) / 2) * um_per_px - centre_um[1])[:, None]
    radius, angle = cv2.cartToPolar(np.broadcast_to(x, (h, w)).copy(), np.broadcast_to(y, (h, w)).copy())
    turn = (angle * (_TURN / (2 * math.pi))).astype(np.int64) % _TURN
    return _Polar(np.asarray(radius, np.float32), turn)


def wobble(rng: np.random.Generator, amount: float, lowest: int = 2, highest: int = 9) -> FloatImage:
    """(512,) float32: 1 plus harmonics that fall off with their order; the outline of anything soft."""
    orders = np.arange(highest - lowest + 1)
    sizes = amount * rng.normal(size=orders.size) / (orders + 1)
    spectrum = np.zeros(_TURN // 2 + 1, complex)
    spectrum[lowest : highest + 1] = (
        sizes * np.exp(1j * rng.uniform(0, 2 * math.pi, orders.size)) * (_TURN / 2)
    )
    return np.clip(1 + np.fft.irfft(spectrum, _TURN), 0.4, 1.7).astype(np.float32)


def ellipse(elongation: float, heading: float) -> FloatImage:
    """(512,) float32: radius of an ellipse of unit area factor along every direction."""
    angle = _ANGLES - heading
    a, b = math.sqrt(elongation), 1 / math.sqrt(elongation)
    return np.asarray(a * b / np.hypot(b * np.cos(angle), a * np.sin(angle)), np.float32)


def _polygon(rng: np.random.Generator, sides: int, sharpness: float) -> FloatImage:
    """(512,) float32: a rounded polygon with ``sides`` sides at uneven distances."""
    normals = (np.arange(sides) + rng.normal(0, 0.17, sides)) * 2 * math.pi / sides
    depths = rng.uniform(0.84, 1.12, sides)
    total = np.clip(np.cos(_ANGLES - normals[:, None]) / depths[:, None], 0, None) ** sharpness
    return np.asarray(total.sum(0) ** (-1 / sharpness), np.float32)


def _cell_outline(rng: np.random.Generator, recipe: Recipe, cell_um: float, heading: float) -> FloatImage:
    """(512,) float32: the radius of the cell in µm along every direction."""
    outline = ellipse(recipe.elongation * float(rng.uniform(0.85, 1.25)), heading) * wobble(rng, 0.05)
    if rng.random() < recipe.angular:
        outline = outline * _polygon(rng, int(rng.integers(5, 9)), float(rng.uniform(4, 10)))
    if rng.random() < recipe.tail:
        outline = outline * (1 + 0.9 * np.exp(4.5 * (np.cos(_ANGLES - heading) - 1)))
    ragged = wobble(rng, 0.012, 9, 26)
    return np.asarray(outline * ragged * cell_um / 2, np.float32)


def _draw_cytoplasm(
    rng: np.random.Generator, textures: Textures, polar: _Polar, outline: FloatImage, small: bool
) -> FloatImage:
    """(h, w) float32 density: thin at the rim, thicker round the nucleus, wrinkled, sometimes folded."""
    shape = (polar.turn.shape[0], polar.turn.shape[1])
    edge = outline[polar.turn]
    inside = np.clip((edge - polar.radius_um) / _EDGE_UM + 0.5, 0, 1)
    rho = np.minimum(polar.radius_um / np.maximum(edge, 0.5), 1.2)
    middle, rim = float(rng.uniform(0.15, 0.75)), float(rng.uniform(0.05, 0.3))
    thickness = 0.75 + middle * np.exp(-((rho / 0.6) ** 2)) + rim * np.exp(-(((rho - 0.96) / 0.04) ** 2))
    thickness *= 1 + _lean(rng, polar) * rho
    thickness *= 1 + (0.12 if small else 0.24) * textures.coarse(rng, shape)
    thickness += 0.06 * textures.medium(rng, shape) + 0.045 * textures.fine(rng, shape)
    if not small:
        thickness += float(rng.uniform(0.1, 0.6)) * textures.creases(rng, shape)
        thickness += _granules(rng, textures, shape)
        for _ in range(int(rng.choice(3, p=(0.45, 0.4, 0.15)))):
            thickness += _fold(rng, polar, edge)
    return np.asarray(inside * np.clip(thickness, 0.12, 3), np.float32)


def _lean(rng: np.random.Generator, polar: _Polar) -> FloatImage:
    """One side of a cell is thicker than the other: relative change at the rim, along every direction."""
    around = float(rng.uniform(0.0, 0.4)) * np.cos(_ANGLES - rng.uniform(0, 2 * math.pi))
    return np.asarray(around, np.float32)[polar.turn]


def _granules(rng: np.random.Generator, textures: Textures, shape: tuple[int, int]) -> FloatImage:
    """Fine dark grains in some of the cells."""
    amount = max(0.0, float(rng.normal(-0.1, 0.35)))
    return np.asarray(amount * np.clip(textures.fine(rng, shape) - 1.6, 0, 1.2), np.float32)


def _fold(rng: np.random.Generator, polar: _Polar, edge: FloatImage) -> FloatImage:
    """A rim of the cell turned over: a band of double thickness along one side, bent and fading out to one end."""
    heading = float(rng.uniform(0, 2 * math.pi))
    along, across = np.cos(_ANGLES - heading), np.sin(_ANGLES - heading)
    bend = float(rng.normal(0, 0.01))
    side = polar.radius_um * across.astype(np.float32)[polar.turn]
    depth = polar.radius_um * along.astype(np.float32)[polar.turn] + bend * side * side
    start = float(rng.uniform(0.5, 0.85)) * float(edge.mean())
    band = np.clip((depth - start) / 1.2, 0, 1) * np.clip((start + rng.uniform(2, 9) - depth) / 3, 0, 1)
    fade = 1 / (1 + np.exp(-side * float(rng.normal(0, 0.25))))
    return np.asarray(float(rng.uniform(0.3, 1.1)) * band * fade, np.float32)


def _clear_halo(rng: np.random.Generator, body: FloatImage, polar: _Polar, nucleus_um: float) -> None:
    """The clear zone round the nucleus of a koilocyte, with a dense border."""
    outline = wobble(rng, 0.1) * nucleus_um * float(rng.uniform(0.8, 1.15))
    rho = polar.radius_um / outline[polar.turn]
    body *= 1 - 0.72 * np.clip((1 - rho) * 5, 0, 1)
    body *= 1 + 0.5 * np.exp(-(((rho - 1.12) / 0.09) ** 2))


def _nucleus_centre(
    rng: np.random.Generator, recipe: Recipe, cell_um: float, place: tuple[float, float], heading: float
) -> tuple[float, float]:
    """Where the nucleus lies; in columnar cells at one end."""
    off = recipe.eccentric * cell_um / 2
    along = off * float(rng.uniform(0.4, 1.0)) if recipe.eccentric > 0.4 else float(rng.normal(0, off * 0.7))
    across = float(rng.normal(0, 0.05 * cell_um))
    cos, sin = math.cos(heading), math.sin(heading)
    return place[0] + along * cos - across * sin, place[1] + along * sin + across * cos


def _nuclei(
    rng: np.random.Generator, recipe: Recipe, centre: tuple[float, float], nucleus_um: float
) -> list[tuple[float, float]]:
    """One nucleus, or two side by side."""
    if rng.random() >= recipe.binucleate:
        return [centre]
    angle, gap = float(rng.uniform(0, math.pi)), nucleus_um * float(rng.uniform(0.42, 0.6))
    dx, dy = gap * math.cos(angle), gap * math.sin(angle)
    return [(centre[0] - dx, centre[1] - dy), (centre[0] + dx, centre[1] + dy)]


def _draw_nucleus(
    rng: np.random.Generator, textures: Textures, recipe: Recipe, polar: _Polar, nucleus_um: float
) -> FloatImage:
    """(h, w) float32 density: a soft disc with grains of chromatin and a faint membrane."""
    shape = (polar.turn.shape[0], polar.turn.shape[1])
    outline = ellipse(float(rng.uniform(1.02, 1.35)), float(rng.uniform(0, math.pi)))
    outline *= wobble(rng, recipe.irregular) * np.float32(nucleus_um / 2)
    edge = outline[polar.turn]
    inside = np.clip((edge - polar.radius_um) / 0.8 + 0.5, 0, 1)
    rho = polar.radius_um / np.maximum(edge, 0.5)
    chromatin = 0.7 * textures.fine(rng, shape) + 0.7 * textures.medium(rng, shape)
    texture = 1 + recipe.chromatin * chromatin + 0.18 * np.exp(-(((rho - 0.93) / 0.09) ** 2)) - 0.06
    darkness = max(0.35, float(rng.normal(*recipe.darkness)))
    return np.asarray(darkness * inside * np.clip(texture, 0.3, 2.2), np.float32)


def _body(
    cell_class: CellClass, cytoplasm: FloatImage, nucleus: FloatImage, palette: Palette, pink_share: float
) -> Body:
    """Crop to what was drawn, keeping the centre, and find the box."""
    return trimmed(cell_class, cytoplasm, nucleus, palette.cytoplasm(pink_share), palette.nuclear)


def trimmed(
    cell_class: CellClass,
    cytoplasm: FloatImage,
    nucleus: FloatImage,
    cytoplasm_od: tuple[float, float, float],
    nucleus_od: tuple[float, float, float],
) -> Body:
    """A body cropped evenly round its centre to what was drawn."""
    drawn = (np.maximum(cytoplasm, nucleus) > 0.1).astype(np.uint8)
    x, y, w, h = (int(v) for v in cv2.boundingRect(drawn))
    side_y, side_x = drawn.shape
    cut_y = max(0, min(y, side_y - y - h) - 2)
    cut_x = max(0, min(x, side_x - x - w) - 2)
    keep = (slice(cut_y, side_y - cut_y), slice(cut_x, side_x - cut_x))
    box = (x - cut_x, y - cut_y, w, h)
    return Body(
        cell_class,
        np.ascontiguousarray(cytoplasm[keep]),
        np.ascontiguousarray(nucleus[keep]),
        cytoplasm_od,
        nucleus_od,
        box,
    )
