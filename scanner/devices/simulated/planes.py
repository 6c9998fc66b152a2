"""Which focal planes does an image file or a folder of images hold?"""

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from scanner.errors import BadInput
from scanner.storage.images import FLAT, TIFFS, StoredImage, open_image

CLEAR_GLASS_MM = (52.0, 25.0)


def open_planes(path: Path) -> tuple[StoredImage, ...]:
    """The planes of a stack from the lowest stage z to the highest, or the one plane of an image.

    Raises:
        BadInput: where nothing can be read, or planes differ in size.
    """
    if path.is_dir() and not _is_zarr(path):
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in FLAT | TIFFS)
        if not files:
            raise BadInput.one("holds no images", "give a folder with one image a plane", file=str(path))
        return _of_one_size(path, tuple(open_image(file) for file in files))
    first = open_image(path)
    return _pages(path, first) if path.suffix.lower() in TIFFS else (first,)


def check_specimen(path: Path, um_per_px: float | None) -> None:
    """Could this lie under the objective?

    Raises:
        BadInput: where it cannot be read, neither the file nor ``um_per_px`` says its scale, or it is too large.
    """
    planes = open_planes(path)
    scale_um = um_per_px or planes[0].um_per_px
    size_px = (planes[0].width_px, planes[0].height_px)
    for plane in planes:
        plane.close()
    if not scale_um:
        problem, mend = "does not say how large its pixels are", "give the scale with --um-per-px"
        raise BadInput.one(problem, mend, file=str(path), field="--specimen")
    w_mm, h_mm = (side * scale_um / 1000 for side in size_px)
    if w_mm > CLEAR_GLASS_MM[0] or h_mm > CLEAR_GLASS_MM[1]:
        problem = f"is {w_mm:.1f} × {h_mm:.1f} mm large, more than the clear glass of a slide"
        raise BadInput.one(
            problem, "give a smaller image or another scale", file=str(path), field="--specimen"
        )


def small_picture(path: Path, least_px: int) -> NDArray[np.uint8] | NDArray[np.uint16] | None:
    """The smallest level of a pyramid TIFF that is at least ``least_px`` wide, None where the file has one level."""
    if path.suffix.lower() not in TIFFS:
        return None
    with tifffile.TiffFile(path) as file:
        levels = file.series[0].levels
        if len(levels) < 2:
            return None
        wide = [level for level in levels if level.keyframe.imagewidth >= least_px]
        return np.asarray((wide or levels[:1])[-1].asarray())


def _is_zarr(path: Path) -> bool:
    return any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zattrs"))


def _pages(path: Path, first: StoredImage) -> tuple[StoredImage, ...]:
    """The pages of a focal stack; a pyramid or a slide with thumbnails is one plane."""
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        if len(series.levels) > 1 or len(series.pages) < 2:
            return (first,)
        pages = [page.asarray() for page in series.pages if page is not None]
    first.close()
    return tuple(Page(np.asarray(page), first.um_per_px) for page in pages)


def _of_one_size(path: Path, planes: tuple[StoredImage, ...]) -> tuple[StoredImage, ...]:
    if len({(plane.width_px, plane.height_px) for plane in planes}) > 1:
        raise BadInput.one("holds images of different sizes", "keep one stack in a folder", file=str(path))
    return planes


class Page:
    """One page of a focal stack, in memory."""

    def __init__(self, pixels: NDArray[np.uint8] | NDArray[np.uint16], um_per_px: float | None) -> None:
        self._pixels = pixels
        self.height_px, self.width_px = pixels.shape[:2]
        self.um_per_px = um_per_px

    def read(self, x: int, y: int, w: int, h: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """(h, w, 3) RGB or (h, w) pixels of a region that lies inside."""
        return self._pixels[y : y + h, x : x + w]

    def close(self) -> None:
        """Nothing is held open."""
