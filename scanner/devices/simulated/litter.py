"""What else lies on a liquid-based slide: leucocytes, organisms, debris, mucus, bubbles?"""

import math
from collections.abc import Callable

import cv2
import numpy as np

from scanner.devices.simulated.bodies import Body, Palette, ellipse, polar_map, trimmed, wobble
from scanner.devices.simulated.textures import FloatImage, Textures
from scanner.devices.simulated.truth import CellClass

_Planes = tuple[FloatImage, FloatImage]
_Draw = Callable[[np.random.Generator, Textures, float], _Planes]
_DEBRIS_OD = ((0.5, 0.45, 0.25), (0.35, 0.5, 0.75), (0.6, 0.62, 0.6))


def draw_litter(
    rng: np.random.Generator, textures: Textures, palette: Palette, cell_class: CellClass, um_per_px: float
) -> Body:
    """One object that is not an epithelial cell."""
    cytoplasm, nucleus = _DRAW[cell_class](rng, textures, um_per_px)
    cytoplasm_od = palette.cytoplasm(float(rng.beta(1, 8)))
    if cell_class is CellClass.DEBRIS:
        cytoplasm_od = _DEBRIS_OD[int(rng.integers(len(_DEBRIS_OD)))]
    if cell_class is CellClass.BUBBLE:
        cytoplasm_od = (0.5, 0.5, 0.5)
    return trimmed(cell_class, cytoplasm, nucleus, cytoplasm_od, palette.nuclear)


def _blank(size_um: float, um_per_px: float) -> _Planes:
    side = 2 * math.ceil(size_um / 2 / um_per_px) + 1
    return np.zeros((side, side), np.float32), np.zeros((side, side), np.float32)


def _disc(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    um_per_px: float,
    at: tuple[float, float],
    size_um: float,
) -> FloatImage:
    """(h, w) float32: a soft irregular disc, 0 to 1."""
    polar = polar_map(shape, um_per_px, at)
    outline = ellipse(float(rng.uniform(1, 1.4)), float(rng.uniform(0, math.pi))) * wobble(rng, 0.06, 2, 5)
    edge = outline[polar.turn] * np.float32(size_um / 2)
    return np.asarray(np.clip((edge - polar.radius_um) / 0.8 + 0.5, 0, 1), np.float32)


def _one_leucocyte(
    rng: np.random.Generator, textures: Textures, um_per_px: float, planes: _Planes, at: tuple[float, float]
) -> None:
    """Two to four lobes, or one round nucleus of a lymphocyte, in a faint narrow cytoplasm."""
    cytoplasm, nucleus = planes
    size_um = float(rng.uniform(7.0, 11.0))
    window = _window(nucleus.shape, um_per_px, at, size_um + 5)
    if window is None:
        return
    rows, columns, centre = window
    cell, dark = cytoplasm[rows, columns], nucleus[rows, columns]
    grain = 1 + 0.22 * textures.fine(rng, dark.shape) + 0.1 * textures.medium(rng, dark.shape)
    darkness = float(rng.uniform(1.25, 2.0))
    lobes = 1 if rng.random() < 0.25 else int(rng.integers(2, 5))
    for lobe in _lobes(rng, lobes, size_um):
        place = (centre[0] + lobe[0], centre[1] + lobe[1])
        width_um = size_um * (0.72 if lobes == 1 else float(rng.uniform(0.36, 0.52)))
        np.maximum(dark, darkness * _disc(rng, dark.shape, um_per_px, place, width_um) * grain, out=dark)
    rim = _disc(rng, cell.shape, um_per_px, centre, size_um * float(rng.uniform(1.0, 1.25)))
    np.maximum(cell, rim * float(rng.uniform(0.25, 0.9)), out=cell)


def _window(
    shape: tuple[int, ...], um_per_px: float, at: tuple[float, float], size_um: float
) -> tuple[slice, slice, tuple[float, float]] | None:
    """The piece of a picture round a place, and where the place lies in it (µm from the piece's middle)."""
    reach = int(size_um / 2 / um_per_px) + 1
    x = (shape[1] - 1) / 2 + at[0] / um_per_px
    y = (shape[0] - 1) / 2 + at[1] / um_per_px
    left, top = max(0, round(x) - reach), max(0, round(y) - reach)
    right, bottom = min(shape[1], round(x) + reach + 1), min(shape[0], round(y) + reach + 1)
    if right - left < 3 or bottom - top < 3:
        return None
    offset = ((x - (left + right - 1) / 2) * um_per_px, (y - (top + bottom - 1) / 2) * um_per_px)
    return slice(top, bottom), slice(left, right), offset


def _lobes(rng: np.random.Generator, lobes: int, size_um: float) -> list[tuple[float, float]]:
    """Where the lobes of one nucleus lie, µm from the cell's middle."""
    if lobes == 1:
        return [(0.0, 0.0)]
    start, reach = float(rng.uniform(0, 2 * math.pi)), 0.24 * size_um
    angles = [start + 2 * math.pi * (lobe + rng.normal(0, 0.12)) / (lobes + 0.6) for lobe in range(lobes)]
    return [(reach * math.cos(angle), reach * math.sin(angle)) for angle in angles]


def _leucocyte(rng: np.random.Generator, textures: Textures, um_per_px: float) -> _Planes:
    planes = _blank(19, um_per_px)
    _one_leucocyte(rng, textures, um_per_px, planes, (0.0, 0.0))
    return planes


def _leucocyte_clump(rng: np.random.Generator, textures: Textures, um_per_px: float) -> _Planes:
    """Leucocytes caught in strands of slime."""
    size_um = float(rng.uniform(28, 75))
    planes = _blank(1.7 * size_um + 14, um_per_px)
    count = int(rng.integers(4, 10) + (size_um / 11) ** 2 * rng.uniform(0.2, 0.55))
    for _ in range(count):
        angle, reach = rng.uniform(0, 2 * math.pi), size_um / 2 * math.sqrt(rng.uniform(0, 1))
        _one_leucocyte(rng, textures, um_per_px, planes, (reach * math.cos(angle), reach * math.sin(angle)))
    slime = _strands(rng, textures, planes[0].shape, um_per_px, size_um)
    np.maximum(planes[0], slime * float(rng.uniform(0.3, 0.9)), out=planes[0])
    return planes


def _strands(
    rng: np.random.Generator, textures: Textures, shape: tuple[int, ...], um_per_px: float, size_um: float
) -> FloatImage:
    """(h, w) float32: torn veils of slime in a ragged outline."""
    polar = polar_map(shape, um_per_px, (0.0, 0.0))
    outline = (ellipse(float(rng.uniform(1, 2.2)), float(rng.uniform(0, 3.1))) * wobble(rng, 0.16))[
        polar.turn
    ]
    inside = np.clip((outline * size_um / 2 - polar.radius_um) / 5 + 0.3, 0, 1)
    size = (shape[0], shape[1])
    veil = 0.5 + 0.35 * textures.coarse(rng, size) + 0.2 * textures.medium(rng, size)
    return np.asarray(inside * np.clip(veil + 0.5 * textures.creases(rng, size), 0, 2), np.float32)


def _mucus(rng: np.random.Generator, textures: Textures, um_per_px: float) -> _Planes:
    size_um = float(rng.uniform(40, 120))
    cytoplasm, nucleus = _blank(size_um * 1.8, um_per_px)
    cytoplasm += float(rng.uniform(0.5, 1.6)) * _strands(rng, textures, cytoplasm.shape, um_per_px, size_um)
    for _ in range(int(rng.integers(1, 5))):
        _thread(rng, cytoplasm, um_per_px, float(rng.uniform(0.9, 2.2)), size_um * 0.9, 0.8)
    return cytoplasm, nucleus


def _thread(
    rng: np.random.Generator,
    plane: FloatImage,
    um_per_px: float,
    width_um: float,
    length_um: float,
    density: float,
) -> None:
    """One bent fibre, drawn in place."""
    steps = 14
    turns = np.cumsum(rng.normal(0, 0.22, steps)) + rng.uniform(0, 2 * math.pi)
    step = length_um / steps / um_per_px
    path = np.cumsum(np.stack([step * np.cos(turns), step * np.sin(turns)], 1), axis=0)
    reach = max(0.0, min(plane.shape) / 2 - length_um / um_per_px / 2)
    path += np.array(plane.shape[::-1]) / 2 - path.mean(0) + rng.uniform(-reach, reach, 2)
    line = np.zeros(plane.shape, np.uint8)
    points = np.round(path * 8).astype(np.int32)[:, None, :]
    cv2.polylines(line, [points], False, 255, max(1, round(width_um / um_per_px)), cv2.LINE_AA, 3)
    np.maximum(plane, line.astype(np.float32) * np.float32(density / 255), out=plane)


def _candida(rng: np.random.Generator, textures: Textures, um_per_px: float) -> _Planes:
    """Jointed thin filaments with budding yeasts."""
    cytoplasm, nucleus = _blank(75, um_per_px)
    for _ in range(int(rng.integers(1, 5))):
        _thread(rng, nucleus, um_per_px, float(rng.uniform(1.2, 2.2)), float(rng.uniform(20, 60)), 0.5)
    for _ in range(int(rng.integers(0, 9))):
        at = (float(rng.normal(0, 11)), float(rng.normal(0, 11)))
        np.maximum(
            nucleus, 0.6 * _disc(rng, nucleus.shape, um_per_px, at, float(rng.uniform(2.5, 4))), out=nucleus
        )
    return cytoplasm, nucleus * (1 + 0.15 * textures.fine(rng, (nucleus.shape[0], nucleus.shape[1])))


def _trichomonas(rng: np.random.Generator, textures: Textures, um_per_px: float) -> _Planes:
    """A pale pear-shaped organism with a faint eccentric nucleus."""
    cytoplasm, nucleus = _blank(22, um_per_px)
    size = (cytoplasm.shape[0], cytoplasm.shape[1])
    body = _disc(rng, size, um_per_px, (0.0, 0.0), float(rng.uniform(8, 14)))
    cytoplasm += body * (0.8 + 0.2 * textures.medium(rng, size) + 0.1 * textures.fine(rng, size))
    at = (float(rng.uniform(1, 3)), 0.0)
    nucleus += 0.5 * _disc(rng, size, um_per_px, at, float(rng.uniform(2, 3.2)))
    return np.clip(cytoplasm, 0, 2), nucleus


def _flora(rng: np.random.Generator, textures: Textures, um_per_px: float) -> _Planes:
    """A lawn of bacteria: fine blue dust, with or without a cell under it."""
    size_um = float(rng.uniform(20, 60))
    cytoplasm, nucleus = _blank(size_um * 1.2, um_per_px)
    size = (cytoplasm.shape[0], cytoplasm.shape[1])
    polar = polar_map(size, um_per_px, (0.0, 0.0))
    inside = np.clip((wobble(rng, 0.15)[polar.turn] * size_um / 2 - polar.radius_um) / 6 + 0.3, 0, 1)
    dust = np.clip(textures.fine(rng, size) - float(rng.uniform(0.2, 0.9)), 0, 2)
    nucleus += np.asarray(0.45 * inside * dust, np.float32)
    cytoplasm += np.asarray(0.3 * inside, np.float32)
    return cytoplasm, nucleus


def _debris(rng: np.random.Generator, textures: Textures, um_per_px: float) -> _Planes:
    """Specks, flakes and fibres of dirt."""
    size_um = float(rng.uniform(3, 24))
    cytoplasm, nucleus = _blank(size_um * 1.5, um_per_px)
    size = (cytoplasm.shape[0], cytoplasm.shape[1])
    if rng.random() < 0.25:
        _thread(rng, cytoplasm, um_per_px, float(rng.uniform(0.8, 2.5)), size_um * 1.2, 1.2)
    else:
        polar = polar_map(size, um_per_px, (0.0, 0.0))
        outline = ellipse(float(rng.uniform(1, 2)), float(rng.uniform(0, 3.1))) * wobble(rng, 0.22, 2, 12)
        inside = np.clip(outline[polar.turn] * size_um / 2 - polar.radius_um + 0.5, 0, 1)
        density = float(rng.uniform(0.4, 2.2))
        cytoplasm += np.asarray(
            inside * density * np.clip(1 + 0.4 * textures.medium(rng, size), 0.1, 2), np.float32
        )
    return cytoplasm, nucleus


def _bubble(rng: np.random.Generator, textures: Textures, um_per_px: float) -> _Planes:
    """A ring of refraction with a bright inside."""
    size_um = float(rng.uniform(25, 110))
    cytoplasm, nucleus = _blank(size_um * 1.15, um_per_px)
    polar = polar_map(cytoplasm.shape, um_per_px, (0.0, 0.0))
    from_edge = polar.radius_um - wobble(rng, 0.02, 2, 4)[polar.turn] * np.float32(size_um / 2)
    ring = 1.6 * np.exp(-((from_edge / 1.3) ** 2)) + 0.5 * np.exp(-(((from_edge + 3.5) / 1.6) ** 2))
    swell = 0.02 * textures.coarse(rng, (cytoplasm.shape[0], cytoplasm.shape[1]))
    cytoplasm += np.asarray(np.clip(ring + swell * (from_edge < 0), 0, 3), np.float32)
    return cytoplasm, nucleus


_DRAW: dict[CellClass, _Draw] = {
    CellClass.LEUCOCYTE: _leucocyte,
    CellClass.LEUCOCYTE_CLUMP: _leucocyte_clump,
    CellClass.CANDIDA: _candida,
    CellClass.TRICHOMONAS: _trichomonas,
    CellClass.FLORA: _flora,
    CellClass.DEBRIS: _debris,
    CellClass.MUCUS: _mucus,
    CellClass.BUBBLE: _bubble,
}
