"""What does an overview camera show of a slide? Drawn here with known truth."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
import zxingcpp
from numpy.typing import NDArray

from scanner.model.geometry import Point, Rect
from scanner.model.tile import Pixels

Image = NDArray[np.float32]
AT_REST = Point(0.0, 0.0)
THINPREP = Rect(35_000.0, 2_500.0, 20_000.0, 20_000.0)
UM_PER_PX = 20.0
GLASS = (238.0, 240.0, 243.0)
SURROUND = (60.0, 60.0, 64.0)


@dataclass(frozen=True)
class Drawn:
    """A slide to draw: ``deposit`` (slide µm) holds ``cells`` cells, each ``od`` dense in the middle."""

    seating_um: Point = AT_REST
    deposit: Rect | None = THINPREP
    cells: int = 20_000
    od: float = 0.25
    hue: tuple[float, float, float] = (0.6, 1.0, 0.35)
    noise_dn: float = 2.0
    label_text: str | None = "CY26-000123"
    dust: int = 0
    pen: Rect | None = None
    cover_slip: Rect | None = None
    margin_um: float = 0.0
    extra: tuple[tuple[float, float, float], ...] = ()  # x_um, y_um, radius_um of more stain
    grey: tuple[tuple[float, float, float], ...] = ()  # the same without a hue


@pytest.fixture(scope="session")
def overview() -> Callable[..., Pixels]:
    return lambda **slide: draw(Drawn(**slide))


def draw(slide: Drawn, seed: int = 0) -> Pixels:
    """(h, w, 3) uint8 at 20 µm/px, the glass and ``margin_um`` around it."""
    rng = np.random.default_rng(seed)
    margin = round(slide.margin_um / UM_PER_PX)
    h, w = 1250 + 2 * margin, 3750 + 2 * margin
    density = np.zeros((h, w, 3), np.float32)
    shift = np.array([slide.seating_um.x, slide.seating_um.y]) / UM_PER_PX + margin
    _cells(density, slide, shift, rng)
    for places, colour in ((slide.extra, (0.2, 0.35, 0.1)), (slide.grey, (0.3, 0.3, 0.3))):
        for x, y, radius in places:
            cv2.circle(density, _at((x, y), shift), round(radius / UM_PER_PX), colour, -1)
    _artefacts(density, slide, shift, rng)
    image = np.array(GLASS, np.float32) * np.exp(-density)
    _label(image, slide, shift)
    image = _seated(image, shift)
    yy, xx = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j].astype(np.float32)
    image *= (1 - 0.06 * (xx**2 + yy**2))[..., None]
    image += slide.noise_dn * rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _at(point_um: tuple[float, float], shift: NDArray[np.float64]) -> tuple[int, int]:
    x, y = np.array(point_um) / UM_PER_PX + shift
    return round(float(x)), round(float(y))


def _cells(density: Image, slide: Drawn, shift: NDArray[np.float64], rng: np.random.Generator) -> None:
    if slide.deposit is None:
        return
    r, a = np.sqrt(rng.random(slide.cells)), rng.random(slide.cells) * 2 * np.pi
    c, half = slide.deposit.centre, slide.deposit.w / 2
    spots = np.zeros(density.shape[:2], np.float32)
    x = np.rint((c.x + half * r * np.cos(a)) / UM_PER_PX + shift[0]).astype(int)
    y = np.rint((c.y + half * r * np.sin(a)) / UM_PER_PX + shift[1]).astype(int)
    np.add.at(spots, (y, x), 1.0)
    body = cv2.GaussianBlur(spots, (0, 0), 0.9) * 2 * np.pi * 0.81
    density += (slide.od * body)[..., None] * np.array(slide.hue, np.float32)


def _artefacts(density: Image, slide: Drawn, shift: NDArray[np.float64], rng: np.random.Generator) -> None:
    for x, y in zip(rng.uniform(24e3, 74e3, slide.dust), rng.uniform(1e3, 24e3, slide.dust), strict=True):
        cv2.circle(density, _at((x, y), shift), int(rng.integers(1, 5)), (0.5, 0.5, 0.5), -1)
    if slide.pen is not None:
        p = slide.pen
        cv2.rectangle(density, _at((p.x, p.y), shift), _at((p.right, p.bottom), shift), (2.0, 1.8, 0.3), -1)
    if slide.cover_slip is not None:
        p = slide.cover_slip
        cv2.rectangle(density, _at((p.x, p.y), shift), _at((p.right, p.bottom), shift), (0.2, 0.2, 0.2), 2)


def _label(image: Image, slide: Drawn, shift: NDArray[np.float64]) -> None:
    x, y = _at((22_000.0, 25_000.0), shift)
    x0, y0 = _at((0.0, 0.0), shift)
    image[max(0, y0) : y, max(0, x0) : x] = (225, 225, 228)
    if slide.label_text is not None:
        code = zxingcpp.create_barcode(slide.label_text, zxingcpp.BarcodeFormat.DataMatrix)
        drawn = np.array(code.to_image(scale=8), np.float32)
        ch, cw = drawn.shape[:2]
        image[y0 + 200 : y0 + 200 + ch, x0 + 200 : x0 + 200 + cw] = drawn.reshape(ch, cw, 1)


def _seated(image: Image, shift: NDArray[np.float64]) -> Image:
    """The surround replaces what is no glass, to a fraction of a pixel."""
    h, w = image.shape[:2]
    x, y = np.arange(w) + 1.0, np.arange(h) + 1.0
    cover_x = np.clip(x - shift[0], 0, 1) * np.clip(shift[0] + 3750 - x + 1, 0, 1)
    cover_y = np.clip(y - shift[1], 0, 1) * np.clip(shift[1] + 1250 - y + 1, 0, 1)
    cover = (cover_y[:, None] * cover_x[None])[..., None].astype(np.float32)
    seated: Image = image * cover + np.array(SURROUND, np.float32) * (1 - cover)
    return seated
