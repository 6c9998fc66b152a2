"""How do a slide's pixels and maps become small pictures for a page?"""

import base64
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.model.geometry import Rect
from scanner.model.tile import Pixels
from scanner.review.rows import FindingRows, TileRows

Read = Callable[[int, int, int, int], Pixels]
Colour = tuple[int, int, int]

STATE_COLOURS: dict[str, Colour] = {
    "sharp": (42, 157, 143),
    "usable": (233, 180, 76),
    "unreadable": (214, 73, 51),
    "unmeasured": (142, 109, 191),
    "no-sample": (176, 196, 204),
    "failed": (40, 40, 44),
    "skipped": (226, 230, 232),
}
CROP_LEAST_PX = 96
CROP_SHOWN_PX = 112


@dataclass(frozen=True, slots=True)
class Crop:
    """One finding's neighbourhood: index into the findings, side in mosaic px, and the picture as a data URI."""

    index: int
    side_px: int
    uri: str


@dataclass(frozen=True, slots=True)
class TileMap:
    """One coloured pixel a field as a data URI, stretched over ``extent_um`` (slide µm)."""

    uri: str
    extent_um: Rect


def eight_bit(pixels: Pixels) -> NDArray[np.uint8]:
    """Pixels (h, w, 3) or (h, w) of 8 or 16 bit as 8 bit; 16 bit keeps its upper half."""
    return (pixels if pixels.dtype == np.uint8 else pixels >> 8).astype(np.uint8, copy=False)


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Pixels (h, w, 3) RGB or (h, w) as a PNG file."""
    return bytes(cv2.imencode(".png", _bgr(pixels))[1])


def jpeg(pixels: NDArray[np.uint8], quality: int = 85) -> bytes:
    """Pixels (h, w, 3) RGB or (h, w) as a JPEG file."""
    return bytes(cv2.imencode(".jpg", _bgr(pixels), [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def data_uri(file: bytes) -> str:
    """A PNG or JPEG file as a URI that a page can hold."""
    kind = "png" if file.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file).decode('ascii')}"


def _bgr(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., ::-1])


def shrunk(pixels: NDArray[np.uint8], longest_px: int) -> NDArray[np.uint8]:
    """The same picture, its longest side at most ``longest_px``."""
    factor = longest_px / max(pixels.shape[:2])
    if factor >= 1:
        return pixels
    size = (max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def crops(findings: FindingRows, read: Read, width_px: int, height_px: int, most: int) -> Iterator[Crop]:
    """The best findings with their surroundings, at most ``most``.

    Args:
        findings: best first.
        read: (y, x, h, w) in mosaic px → pixels (h, w, 3) or (h, w).
        width_px: of the mosaic.
        height_px: of the mosaic.
        most: how many.
    """
    for i in range(min(most, len(findings))):
        side = min(
            max(CROP_LEAST_PX, round(1.6 * max(findings.w_px[i], findings.h_px[i]))), width_px, height_px
        )
        x = _start(findings.x_px[i] + findings.w_px[i] / 2, side, width_px)
        y = _start(findings.y_px[i] + findings.h_px[i] / 2, side, height_px)
        pixels = eight_bit(read(y, x, side, side))
        shown = cv2.resize(pixels, (2 * CROP_SHOWN_PX,) * 2, interpolation=cv2.INTER_CUBIC)
        yield Crop(i, side, data_uri(jpeg(shown.astype(np.uint8, copy=False))))


def _start(centre: float, side: int, size: int) -> int:
    return int(np.clip(round(centre - side / 2), 0, size - side))


def state_map(tiles: TileRows) -> TileMap:
    """The state of every field in the colours of ``STATE_COLOURS``; what is no field is transparent."""
    colours = np.array([STATE_COLOURS.get(str(s), STATE_COLOURS["failed"]) for s in tiles.state], np.uint8)
    return _tile_map(tiles, np.ones(len(tiles.tile), np.bool_), colours)


def height_map(tiles: TileRows) -> tuple[TileMap, float, float] | None:
    """The height every field was captured at, low dark and high bright, and both ends in µm; None without a field.

    The ends are the 2nd and 98th percentile: one tile that went astray must not flatten the others.
    """
    known = tiles.captured & np.isfinite(tiles.z_um)
    if not known.any():
        return None
    low, high = (float(z) for z in np.percentile(tiles.z_um[known], (2, 98)))
    level = np.clip((tiles.z_um[known] - low) / max(high - low, 1e-9), 0, 1) * 255
    table = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_VIRIDIS)[:, 0, ::-1]
    colours = np.zeros((len(tiles.tile), 3), np.uint8)
    colours[known] = table[np.rint(level).astype(int)]
    return _tile_map(tiles, known, colours), low, high


def _tile_map(tiles: TileRows, shown: NDArray[np.bool_], colours: NDArray[np.uint8]) -> TileMap:
    top, left = int(tiles.row.min()), int(tiles.col.min())
    picture = np.zeros((int(tiles.row.max()) - top + 1, int(tiles.col.max()) - left + 1, 4), np.uint8)
    rows, cols = tiles.row[shown] - top, tiles.col[shown] - left
    picture[rows, cols, :3] = colours[shown][:, ::-1]
    picture[rows, cols, 3] = 255
    step_x, step_y = tiles.step_um()
    corner_x = float(tiles.x_um.min()) - step_x / 2
    corner_y = float(tiles.y_um.min()) - step_y / 2
    extent = Rect(corner_x, corner_y, step_x * picture.shape[1], step_y * picture.shape[0])
    return TileMap(data_uri(bytes(cv2.imencode(".png", picture)[1])), extent)


def scan_path(tiles: TileRows, plan: int) -> str:
    """The way of the stage through one plan as SVG points in whole slide µm, in the order of the exposures."""
    mine = np.flatnonzero(tiles.captured & (tiles.plan == plan))
    mine = mine[np.argsort(tiles.trigger_s[mine], kind="stable")]
    return " ".join(f"{tiles.x_um[i]:.0f},{tiles.y_um[i]:.0f}" for i in _corners(tiles, mine))


def _corners(tiles: TileRows, order: NDArray[np.int64]) -> Iterator[int]:
    """Only where the way turns: a row of fifty fields is a line of two points."""
    if len(order) < 3:
        yield from map(int, order)
        return
    yield int(order[0])
    for a, b, c in zip(order, order[1:], order[2:], strict=False):
        if (tiles.row[a], tiles.row[b]) != (tiles.row[b], tiles.row[c]):
            yield int(b)
    yield int(order[-1])


def scale_bar_um(width_um: float) -> float:
    """A round length of about a quarter of ``width_um``: 1, 2 or 5 times a power of ten."""
    wanted = width_um / 3
    lengths = (m * 10.0**e for e, m in itertools.product(range(-1, 6), (1, 2, 5)))
    return max((length for length in lengths if length <= wanted), default=0.1)
