"""What does one field of liquid-based cytology look like, and what lies where in it? No microscope needed.

    render_scene(shape_px, seed, look=Look(), mix=NORMAL_MIX, counts=None) -> Scene(rgb, boxes_px, classes, truth)
    render_scene((512, 512), seed=2, look=Look.random(rng), counts={CellClass.HSIL: 3, CellClass.INTERMEDIATE: 10})

The same arguments give the same scene.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.devices.simulated.bodies import Body, Palette, draw_cell
from scanner.devices.simulated.litter import draw_litter
from scanner.devices.simulated.optics import PSF_UM, defocus_sigma_px, expose
from scanner.devices.simulated.recipes import RECIPES
from scanner.devices.simulated.textures import FloatImage, Textures
from scanner.devices.simulated.truth import CellClass, TruthObject

NORMAL_MIX: dict[CellClass, float] = {
    CellClass.SUPERFICIAL: 14,
    CellClass.INTERMEDIATE: 42,
    CellClass.PARABASAL: 4,
    CellClass.METAPLASTIC: 4,
    CellClass.ENDOCERVICAL: 2,
    CellClass.REACTIVE: 4,
    CellClass.BARE_NUCLEUS: 4,
    CellClass.LEUCOCYTE: 70,
    CellClass.LEUCOCYTE_CLUMP: 7,
    CellClass.CANDIDA: 1,
    CellClass.TRICHOMONAS: 1.5,
    CellClass.FLORA: 3,
    CellClass.DEBRIS: 25,
    CellClass.MUCUS: 3,
    CellClass.BUBBLE: 0.3,
}
"""Objects on one square millimetre of a normal slide, without clumping."""
ABNORMAL_MIX: dict[CellClass, float] = {
    CellClass.ASC_US: 6,
    CellClass.LSIL: 6,
    CellClass.ASC_H: 6,
    CellClass.HSIL: 6,
    CellClass.SCC: 3,
    CellClass.AGC: 3,
}
"""Far more than any slide has, for training: objects on one square millimetre beside the normal ones."""


@dataclass(frozen=True, slots=True)
class Look:
    """Everything that varies between laboratories, scanners and slides.

    ``palette``, ``strength`` and ``nuclear_strength`` are the stains (1 is as usual), ``white`` the RGB level of
    empty glass (1 is full well), ``defocus_um`` the defocus of the mean cell, ``height_sigma_um`` how much cells
    differ in height, ``extra_blur_px`` a blur of the whole picture. ``crowding`` multiplies the number of objects;
    ``clumping`` 0 spreads them evenly, 1 leaves most of the field empty.
    """

    um_per_px: float = 0.5
    palette: Palette = field(default_factory=Palette)
    strength: float = 1.0
    nuclear_strength: float = 1.0
    white: tuple[float, float, float] = (0.925, 0.925, 0.945)
    vignetting: float = 0.0
    defocus_um: float = 0.0
    height_sigma_um: float = 1.5
    extra_blur_px: float = 0.0
    crowding: float = 1.0
    clumping: float = 0.5
    full_well_e: float = 10_000.0

    @classmethod
    def random(cls, rng: np.random.Generator, um_per_px: float = 0.5) -> "Look":
        """A look of some other laboratory and scanner, widely varied; the scale only by ± 12 %."""
        level = float(rng.uniform(0.74, 0.97))
        white = tuple(float(v) for v in np.clip(level * rng.normal(1, 0.025, 3), 0.6, 0.985))
        return cls(
            um_per_px=um_per_px * float(rng.uniform(0.88, 1.12)),
            palette=_random_palette(rng),
            strength=float(rng.uniform(0.6, 1.5)),
            nuclear_strength=float(rng.uniform(0.75, 1.35)),
            white=(white[0], white[1], white[2]),
            vignetting=float(rng.uniform(0, 0.15)),
            defocus_um=float(rng.normal(0, 1.0)),
            height_sigma_um=float(rng.uniform(0.6, 2.0)),
            extra_blur_px=float(max(0.0, rng.normal(0.1, 0.5))),
            crowding=float(rng.uniform(0.6, 2.5)),
            clumping=float(rng.uniform(0.2, 0.8)),
            full_well_e=float(np.exp(rng.uniform(np.log(4_000), np.log(40_000)))),
        )


@dataclass(frozen=True, slots=True)
class Scene:
    """One field and what is in it.

    ``rgb``: (h, w, 3) uint8; ``boxes_px``: (n, 4) float64 x, y, w, h in its pixels, clipped to it; ``classes`` and
    ``truth``: n long, in the order of the boxes.
    """

    rgb: NDArray[np.uint8]
    boxes_px: NDArray[np.float64]
    classes: tuple[CellClass, ...]
    truth: tuple[TruthObject, ...]


def render_scene(
    shape_px: tuple[int, int],
    seed: int,
    look: Look | None = None,
    mix: Mapping[CellClass, float] | None = None,
    counts: Mapping[CellClass, int] | None = None,
) -> Scene:
    """Draw one field.

    Args:
        shape_px: (h, w) of the picture.
        seed: fixes everything that the arguments leave open.
        look: stain, light, scale and blur; the shipped rig's by default.
        mix: expected objects of each class on a square millimetre; NORMAL_MIX by default.
        counts: instead of ``mix``, exactly how many objects of each class have their middle in the field.

    Returns:
        The scene; boxes that lie less than a quarter inside the picture are left out.
    """
    look = look or Look()
    rng = np.random.default_rng((seed, 23))
    textures = Textures(seed, look.um_per_px)
    if counts is None:
        area_mm2 = shape_px[0] * shape_px[1] * (look.um_per_px / 1000) ** 2 * look.crowding
        counts = {kind: int(rng.poisson(n * area_mm2)) for kind, n in (mix or NORMAL_MIX).items()}
    od = np.zeros((*shape_px, 3), np.float32)
    density = _clumps(rng, shape_px, look)
    truth: list[TruthObject] = []
    for kind in (kind for kind, count in counts.items() for _ in range(count)):
        body = draw_object(rng, textures, look.palette, kind, look.um_per_px)
        x, y = _place(rng, density, shape_px)
        height = float(rng.normal(0, look.height_sigma_um))
        _absorb(od, blurred(body, height - look.defocus_um, look), (x, y))
        truth.append(_truth(body, x, y, height, look.um_per_px))
    return _photograph(rng, od, truth, look)


def draw_object(
    rng: np.random.Generator, textures: Textures, palette: Palette, kind: CellClass, um_per_px: float
) -> Body:
    """Any object of the list, epithelial or not."""
    draw = draw_cell if kind in RECIPES else draw_litter
    return draw(rng, textures, palette, kind, um_per_px)


def blurred(body: Body, defocus_um: float, look: Look) -> FloatImage:
    """(h, w, 3) float32 optical density of a body out of focus; nucleus and cytoplasm lie a little apart in height."""
    nucleus_sigma = defocus_sigma_px(defocus_um, look.um_per_px)
    cytoplasm_sigma = defocus_sigma_px(abs(defocus_um) + 0.5, look.um_per_px)
    pad = int(3 * cytoplasm_sigma) + 2
    planes = [
        _padded_blur(body.cytoplasm, pad, cytoplasm_sigma),
        _padded_blur(body.nucleus, pad, nucleus_sigma),
    ]
    stains = np.array([body.cytoplasm_od, body.nucleus_od], np.float32).T * np.float32(look.strength)
    stains[:, 1] *= look.nuclear_strength
    return np.asarray(cv2.transform(cv2.merge(planes), stains), np.float32)


def _padded_blur(plane: FloatImage, pad: int, sigma_px: float) -> FloatImage:
    wide = cv2.copyMakeBorder(plane, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=0)
    return np.asarray(cv2.GaussianBlur(wide, (0, 0), sigma_px) if sigma_px > 0.15 else wide, np.float32)


def _absorb(od: FloatImage, picture: FloatImage, centre: tuple[int, int]) -> None:
    """Add a body's optical density, cut at the border of the field."""
    h, w = picture.shape[:2]
    left, top = centre[0] - w // 2, centre[1] - h // 2
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + w, od.shape[1]), min(top + h, od.shape[0])
    if x0 < x1 and y0 < y1:
        od[y0:y1, x0:x1] += picture[y0 - top : y1 - top, x0 - left : x1 - left]


def _truth(body: Body, x: int, y: int, height_um: float, um_per_px: float) -> TruthObject:
    h, w = body.nucleus.shape
    bx, by, bw, bh = body.box_px
    centre_x = (x - w // 2 + bx + bw / 2) * um_per_px
    centre_y = (y - h // 2 + by + bh / 2) * um_per_px
    return TruthObject(body.cell_class, centre_x, centre_y, bw * um_per_px, bh * um_per_px, height_um)


def _photograph(rng: np.random.Generator, od: FloatImage, truth: list[TruthObject], look: Look) -> Scene:
    """Light, lens and camera."""
    sigma = math.hypot(PSF_UM / look.um_per_px, look.extra_blur_px)
    od = np.asarray(cv2.GaussianBlur(od, (0, 0), sigma), np.float32)
    od -= np.log(np.asarray(look.white, np.float32))
    od -= np.log(vignette(od.shape[:2], look.vignetting))[..., None]
    noise = rng.standard_normal(od.shape, dtype=np.float32)
    kept = [(t, box) for t in truth if (box := _clipped(t, od.shape, look.um_per_px)) is not None]
    boxes = np.array([box for _, box in kept], np.float64).reshape(-1, 4)
    rgb = expose(od, noise, look.full_well_e)
    return Scene(rgb, boxes, tuple(t.cell_class for t, _ in kept), tuple(t for t, _ in kept))


def vignette(shape: tuple[int, ...], depth: float) -> FloatImage:
    """(h, w) float32: 1 in the middle and 1 - ``depth`` in the corners."""
    y, x = np.linspace(-1, 1, shape[0])[:, None], np.linspace(-1, 1, shape[1])[None]
    return np.asarray(1 - depth * (x * x + y * y) / 2, np.float32)


def _clipped(
    t: TruthObject, shape: tuple[int, ...], um_per_px: float
) -> tuple[float, float, float, float] | None:
    x, y = (t.x_um - t.w_um / 2) / um_per_px, (t.y_um - t.h_um / 2) / um_per_px
    w, h = t.w_um / um_per_px, t.h_um / um_per_px
    x0, y0, x1, y1 = max(x, 0.0), max(y, 0.0), min(x + w, float(shape[1])), min(y + h, float(shape[0]))
    if x1 <= x0 or y1 <= y0 or (x1 - x0) * (y1 - y0) < 0.25 * w * h:
        return None
    return x0, y0, x1 - x0, y1 - y0


def _clumps(rng: np.random.Generator, shape_px: tuple[int, int], look: Look) -> NDArray[np.float64]:
    """Cumulated chance of every 16 px block to get the next object."""
    size = (shape_px[0] // 16 + 1, shape_px[1] // 16 + 1)
    noise = cv2.GaussianBlur(rng.standard_normal(size), (0, 0), max(1.0, 60 / look.um_per_px / 16))
    rank = np.argsort(np.argsort(noise.ravel())) / noise.size
    weight = np.clip(rank - look.clumping, 0, None) + 1e-3 + (1 - look.clumping) * 0.3
    return np.asarray(np.cumsum(weight / weight.sum()), np.float64)


def _place(
    rng: np.random.Generator, cumulated: NDArray[np.float64], shape_px: tuple[int, int]
) -> tuple[int, int]:
    """Where the next object goes, px."""
    block = int(np.searchsorted(cumulated, rng.random()))
    row, column = divmod(min(block, cumulated.size - 1), shape_px[1] // 16 + 1)
    return column * 16 + int(rng.integers(16)), row * 16 + int(rng.integers(16))


def _random_palette(rng: np.random.Generator) -> Palette:
    """Stains of another laboratory: from blue to blue-green, from pink to orange, from blue to gray nuclei."""
    base = Palette()
    blue, pink, nuclear = (
        _moved(rng, stain, towards)
        for stain, towards in (
            (base.blue, (0.56, 0.17, 0.16)),
            (base.pink, (0.06, 0.36, 0.48)),
            (base.nuclear, (0.74, 0.66, 0.44)),
        )
    )
    return Palette(blue, pink, nuclear)


def _moved(
    rng: np.random.Generator, od: tuple[float, float, float], towards: tuple[float, float, float]
) -> tuple[float, float, float]:
    """A stain somewhere between two, and a little beside."""
    share = float(rng.beta(0.8, 0.8))
    mixed = (1 - share) * np.array(od) + share * np.array(towards)
    r, g, b = (float(v) for v in np.clip(mixed * rng.lognormal(0, 0.15, 3), 0.01, 2))
    return r, g, b
