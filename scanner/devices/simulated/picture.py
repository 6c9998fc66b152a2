"""How does a real image, or a focal stack of them, lie on the glass and look through the simulated camera?"""

import math
from collections import OrderedDict
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.devices.simulated.optics import defocus_sigma_px
from scanner.devices.simulated.planes import check_specimen, open_planes, small_picture
from scanner.devices.simulated.specimen import (
    DEPOSIT_CENTRE_UM,
    OVERVIEW_SHAPE,
    OVERVIEW_UM_PER_PX,
    CameraGrid,
    Surface,
)
from scanner.devices.simulated.textures import FloatImage
from scanner.devices.simulated.truth import TruthObject
from scanner.storage.images import StoredImage

_BLOCK_PX = 512
_BLOCKS_KEPT = 240
_THUMBNAIL_PX = 1500
_WIDEST_BLUR_PX = 25.0
_OD = (-np.log((np.arange(256) + 0.5) / 255.5)).clip(0).astype(np.float32)


class PictureSlide:
    """An image centred where the cells of a liquid-based slide lie, on a tilted plane, with clear glass around it.

    Its own white becomes clear glass. The planes of a stack lie ``z_step_um`` apart, the middle one at the plane's
    height; beyond the ends the picture of the last plane is blurred.

    Args:
        path: anything ``scanner.storage.images`` opens, a TIFF of several pages, or a folder of images of one size.
        um_per_px: the image's scale; None takes it from the file.
        z_step_um: distance between the planes of a stack.
        grid: the camera that will look at it.

    Raises:
        BadInput: where the image cannot be read, has no scale, or is larger than the clear glass.
    """

    def __init__(self, path: Path, um_per_px: float | None, z_step_um: float, grid: CameraGrid) -> None:
        check_specimen(path, um_per_px)
        self._planes = open_planes(path)
        self._grid = grid
        self._z_step_um = z_step_um
        self._um_per_px = um_per_px or self._planes[0].um_per_px or math.nan
        self._size = (self._planes[0].width_px, self._planes[0].height_px)
        w_um, h_um = (side * self._um_per_px for side in self._size)
        self._corner_um = (DEPOSIT_CENTRE_UM[0] - w_um / 2, DEPOSIT_CENTRE_UM[1] - h_um / 2)
        self.surface = Surface(0.0, bow_um=0.0)
        self._bits = _depth(self._planes[len(self._planes) // 2])
        self._thumbnail = self._shrunk(path)
        self._white = _white(self._thumbnail)
        self._blocks: OrderedDict[tuple[int, int, int], NDArray[np.uint8]] = OrderedDict()
        self._prepare()

    def _prepare(self) -> None:
        """Resample what fits into memory before the scan, so that a frame costs no more than its readout."""
        left, top = self._corner_um
        right, bottom = 2 * DEPOSIT_CENTRE_UM[0] - left, 2 * DEPOSIT_CENTRE_UM[1] - top
        places = np.array([self._grid.from_slide(x, y) for x in (left, right) for y in (top, bottom)])
        low, high = (
            np.floor(places.min(0) / _BLOCK_PX).astype(int),
            np.floor(places.max(0) / _BLOCK_PX).astype(int),
        )
        keys = [
            (plane, column, row)
            for plane in range(len(self._planes))
            for row in range(int(low[1]) - 1, int(high[1]) + 2)
            for column in range(int(low[0]) - 1, int(high[0]) + 2)
        ]
        for key in keys if len(keys) <= _BLOCKS_KEPT else ():
            self._block(*key)

    def absorb(self, od: FloatImage, corner: tuple[int, int], z_um: float) -> None:
        """Add the field's optical density; see ``Specimen``."""
        h, w = od.shape[1:]
        x, y = self._grid.to_slide(corner[0] + w / 2, corner[1] + h / 2)
        plane, defocus_um = self._plane_at(z_um - self.surface.height(x, y))
        sigma = min(defocus_sigma_px(defocus_um, self._grid.um_per_px), _WIDEST_BLUR_PX)
        margin = math.ceil(2.5 * sigma)
        window = self._window(
            plane, (corner[0] - margin, corner[1] - margin), (h + 2 * margin, w + 2 * margin)
        )
        for channel, values in enumerate(cv2.split(window)):
            seen = cv2.LUT(values, _OD)
            if sigma > 0.15:
                seen = cv2.GaussianBlur(seen, (0, 0), sigma)
            od[channel] += seen[margin : margin + h, margin : margin + w]

    def overview_od(self) -> FloatImage:
        """(1250, 3750, 3) float32: the image at 20 µm a pixel."""
        h, w = self._thumbnail.shape[:2]
        od = cv2.LUT(self._normalised(self._thumbnail), _OD)
        scale = np.array([self._size[0] / w, self._size[1] / h]) * self._um_per_px / OVERVIEW_UM_PER_PX
        offset = np.array(self._corner_um) / OVERVIEW_UM_PER_PX + scale / 2 - 0.5
        move = np.array([[scale[0], 0, offset[0]], [0, scale[1], offset[1]]])
        od = cv2.GaussianBlur(od, (0, 0), 0.5 / float(scale.max())) if scale.max() < 1 else od
        return np.asarray(cv2.warpAffine(od, move, OVERVIEW_SHAPE[::-1]), np.float32)

    def truth(self) -> tuple[TruthObject, ...]:
        """A picture does not say what is in it."""
        return ()

    def close(self) -> None:
        """Close the image's files."""
        for plane in self._planes:
            plane.close()

    def _plane_at(self, above_um: float) -> tuple[int, float]:
        """The plane seen at a height over the surface, and how far beyond the stack that is."""
        last = len(self._planes) - 1
        step = above_um / self._z_step_um
        plane = min(max(round(step + last / 2), 0), last)
        if last == 0:
            return 0, above_um
        return plane, max(0.0, abs(step) - last / 2 - 0.5) * self._z_step_um

    def _window(self, plane: int, corner: tuple[int, int], shape: tuple[int, int]) -> NDArray[np.uint8]:
        """(h, w, 3) uint8: transmission on the camera's grid, put together from blocks."""
        window = np.full((*shape, 3), 255, np.uint8)
        u, v = corner
        for row in range(v // _BLOCK_PX, (v + shape[0] - 1) // _BLOCK_PX + 1):
            for column in range(u // _BLOCK_PX, (u + shape[1] - 1) // _BLOCK_PX + 1):
                left, top = column * _BLOCK_PX - u, row * _BLOCK_PX - v
                x0, y0 = max(left, 0), max(top, 0)
                x1, y1 = min(left + _BLOCK_PX, shape[1]), min(top + _BLOCK_PX, shape[0])
                block = self._block(plane, column, row)
                window[y0:y1, x0:x1] = block[y0 - top : y1 - top, x0 - left : x1 - left]
        return window

    def _block(self, plane: int, column: int, row: int) -> NDArray[np.uint8]:
        """(512, 512, 3) uint8 of the camera's grid, resampled once and kept while there is room."""
        key = (plane, column, row)
        if key not in self._blocks:
            self._blocks[key] = self._resampled(plane, column * _BLOCK_PX, row * _BLOCK_PX)
            if len(self._blocks) > _BLOCKS_KEPT:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(key)
        return self._blocks[key]

    def _resampled(self, plane: int, u: int, v: int) -> NDArray[np.uint8]:
        """One block, cubic; white where the image ends."""
        to_image = np.array([self._to_image(u + du, v + dv) for du, dv in ((0, 0), (1, 0), (0, 1))])
        move = np.column_stack([to_image[1] - to_image[0], to_image[2] - to_image[0], to_image[0]])
        ends = np.array([[0, 0], [_BLOCK_PX, 0], [0, _BLOCK_PX], [_BLOCK_PX, _BLOCK_PX]])
        corners = ends @ move[:, :2].T + move[:, 2]
        low = np.maximum(np.floor(corners.min(0)).astype(int) - 4, 0)
        high = np.minimum(np.ceil(corners.max(0)).astype(int) + 5, self._size)
        if (high <= low).any():
            return np.full((_BLOCK_PX, _BLOCK_PX, 3), 255, np.uint8)
        x, y, w, h = (int(value) for value in (*low, *(high - low)))
        source = rgb8(self._planes[plane].read(x, y, w, h), self._bits)
        move[:, 2] -= low
        shrink = float(np.hypot(move[0, 0], move[1, 0]))
        if shrink > 1.2:
            source = np.asarray(cv2.GaussianBlur(source, (0, 0), 0.45 * shrink), np.uint8)
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        size, white = (_BLOCK_PX, _BLOCK_PX), (255, 255, 255)
        block = cv2.warpAffine(
            self._normalised(source),
            move,
            size,
            flags=flags,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=white,
        )
        return np.asarray(block, np.uint8)

    def _to_image(self, u: float, v: float) -> tuple[float, float]:
        """Column and row of the image at a place of the grid."""
        x, y = self._grid.to_slide(u, v)
        left, top = self._corner_um
        return (x - left) / self._um_per_px - 0.5, (y - top) / self._um_per_px - 0.5

    def _normalised(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Transmission: 255 where the image is as bright as its own white."""
        levels = np.arange(256)[:, None] * (255.0 / self._white)
        table = np.clip(levels + 0.5, 0, 255).astype(np.uint8)[None]
        return np.asarray(cv2.LUT(pixels, table), np.uint8)

    def _shrunk(self, path: Path) -> NDArray[np.uint8]:
        """(h, w, 3) uint8: the middle plane, small, read in strips so that any size fits."""
        ready = None if path.is_dir() else small_picture(path, _THUMBNAIL_PX // 2)
        if ready is not None:
            return rgb8(ready, self._bits)
        w, h = self._size
        factor = min(1.0, _THUMBNAIL_PX / max(w, h))
        strip = 512 if factor < 1 else h
        image = self._planes[len(self._planes) // 2]
        rows = []
        for top in range(0, h, strip):
            part = rgb8(image.read(0, top, w, min(strip, h - top)), self._bits)
            size = (max(1, round(w * factor)), max(1, round(part.shape[0] * factor)))
            rows.append(cv2.resize(part, size, interpolation=cv2.INTER_AREA))
        return np.asarray(np.concatenate(rows), np.uint8)


def rgb8(pixels: NDArray[np.uint8] | NDArray[np.uint16], bits: int) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 of gray or RGB pixels of which ``bits`` bits are used."""
    eight = (pixels >> max(0, bits - 8)).astype(np.uint8)
    if eight.ndim == 2:
        eight = eight[..., None]
    return np.ascontiguousarray(np.repeat(eight, 3, axis=2) if eight.shape[2] == 1 else eight[..., :3])


def _depth(image: StoredImage) -> int:
    """How many bits the middle of an image uses: cameras of 10 to 14 bits write 16."""
    w, h = min(image.width_px, 2048), min(image.height_px, 2048)
    middle = image.read((image.width_px - w) // 2, (image.height_px - h) // 2, w, h)
    return 8 if middle.dtype == np.uint8 else max(8, int(middle.max()).bit_length())


def _white(thumbnail: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(3,) level of the image's empty parts; of dark images the full range."""
    brightest = np.quantile(thumbnail.reshape(-1, 3), 0.98, axis=0)
    return np.where(brightest >= 170, brightest, 255.0)
