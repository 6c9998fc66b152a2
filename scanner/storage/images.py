"""How is an existing image read, region by region and with its scale: SVS, TIFF, PNG, JPEG or OME-Zarr?"""

import math
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from xml.etree import ElementTree

import cv2
import numpy as np
import tifffile
from tifffile import EXTRASAMPLE, PHOTOMETRIC, PLANARCONFIG

from scanner.errors import BadInput
from scanner.model.tile import Pixels
from scanner.storage.ome_zarr import PyramidStore
from scanner.storage.on_white import on_white

TIFFS = frozenset({".svs", ".tif", ".tiff"})
FLAT = frozenset({".png", ".jpg", ".jpeg"})
KNOWN = "give an SVS, TIFF, PNG, JPEG or OME-Zarr image"
AS_RGB = "save it as gray or RGB, with the channels of a pixel side by side"
SHOWN_AS_THEY_ARE = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR)
ALPHA = (EXTRASAMPLE.ASSOCALPHA, EXTRASAMPLE.UNASSALPHA)
UM_PER_UNIT = {2: 25_400.0, 3: 10_000.0}
PLAUSIBLE_UM = (0.02, 20.0)
CUT_SHORT = "is cut short: part of its pixels is missing"
PNG_BEGINS, PNG_TRANSPARENT, PNG_PIXELS = b"\x89PNG", b"tRNS", b"IDAT"
PNG_KIND, PNG_WITH_ALPHA = 25, (b"\4", b"\6")
JPEG_BEGINS, JPEG_PIXELS, JPEG_ENDS = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
"""A decoder fills what is missing of a JPEG with gray and says nothing."""


class StoredImage(Protocol):
    """An image at rest."""

    @property
    def width_px(self) -> int:
        """Columns."""
        ...

    @property
    def height_px(self) -> int:
        """Rows."""
        ...

    @property
    def um_per_px(self) -> float | None:
        """Its scale, None where the file does not say."""
        ...

    def read(self, x: int, y: int, w: int, h: int) -> Pixels:
        """(h, w, 3) RGB or (h, w) pixels of a region that lies inside."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


def open_image(path: Path) -> StoredImage:
    """Any image that we can read.

    Raises:
        BadInput: it is not there, or nothing we know.
    """
    if not path.exists():
        raise BadInput.one("there is no such image", "check the path", file=str(path))
    if path.is_dir():
        return ZarrImage(path)
    if path.suffix.lower() in TIFFS:
        return TiffImage(path)
    if path.suffix.lower() in FLAT:
        return FlatImage(path)
    raise BadInput.one(
        f"{path.suffix or 'a file without ending'} is not an image format we read", KNOWN, str(path)
    )


def stated_scale(path: Path) -> float | None:
    """The µm per px that an image file states, None where it states none or cannot be read; no pixel is decoded."""
    if path.suffix.lower() not in TIFFS:
        return None
    try:
        with tifffile.TiffFile(path) as file:
            return _tiff_scale(file, _largest_page(file, path))
    except (tifffile.TiffFileError, OSError, BadInput):
        return None


class FlatImage:
    """A PNG or JPEG, in memory; it says nothing about its scale."""

    def __init__(self, path: Path) -> None:
        try:
            stored = path.read_bytes()
        except OSError as error:
            raise BadInput.one(f"cannot be read: {error.strerror}", KNOWN, file=str(path)) from error
        if stored.startswith(JPEG_BEGINS) and stored.rfind(JPEG_ENDS) < stored.rfind(JPEG_PIXELS):
            raise BadInput.one(CUT_SHORT, "copy it again from where it came", file=str(path))
        pixels = _decoded(stored) if stored else None
        if pixels is None:
            raise BadInput.one("is not a readable image", KNOWN, file=str(path))
        self._pixels = _pixels(pixels[:, :, ::-1])
        self.height_px, self.width_px = self._pixels.shape[:2]
        self.um_per_px: float | None = None

    def read(self, x: int, y: int, w: int, h: int) -> Pixels:
        """See :class:`StoredImage`."""
        return _pixels(np.ascontiguousarray(self._pixels[y : y + h, x : x + w]))

    def close(self) -> None:
        """Nothing is open."""


def _decoded(stored: bytes) -> Pixels | None:
    """(h, w, 3) uint8 BGR, None where it is no image; transparent parts show white, not what lies hidden there."""
    data = np.frombuffer(stored, np.uint8)
    if _may_be_transparent(stored):
        pixels: Any = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
        if pixels is not None and pixels.ndim == 3 and pixels.shape[2] == 4:
            return on_white(pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8))
    colour: Any = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return None if colour is None else _pixels(colour)


def _may_be_transparent(stored: bytes) -> bool:
    """A PNG with a channel for it, or with a transparent colour."""
    head = stored[: max(0, stored.find(PNG_PIXELS))] if stored.startswith(PNG_BEGINS) else b""
    return head[PNG_KIND : PNG_KIND + 1] in PNG_WITH_ALPHA or PNG_TRANSPARENT in head


class ZarrImage:
    """An OME-Zarr 0.5 image that rackscan wrote; of layers, the middle one."""

    def __init__(self, path: Path) -> None:
        self._store = PyramidStore.open(path)
        spec = self._store.spec
        self.width_px, self.height_px = spec.width_px, spec.height_px
        self.um_per_px: float | None = spec.um_per_px

    @property
    def complete(self) -> bool:
        """Was everything written that its scan had planned?"""
        return self._store.facts.get("complete") is True

    def read(self, x: int, y: int, w: int, h: int) -> Pixels:
        """See :class:`StoredImage`."""
        block = self._store.read(0, y, x, h, w, self._store.spec.middle)
        return _pixels(np.ascontiguousarray(np.moveaxis(block, 0, -1)))

    def close(self) -> None:
        """Nothing is open."""


class TiffImage:
    """The largest image of a TIFF; tiles are decoded as they are asked for, so that a whole slide fits any memory."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = tifffile.TiffFile(path)
        except (tifffile.TiffFileError, OSError) as error:
            raise BadInput.one(f"is not a readable TIFF: {error}", KNOWN, file=str(path)) from error
        with ExitStack() as unless_good:
            unless_good.callback(self._file.close)
            page = _largest_page(self._file, path)
            self._page, self._show = page, _shown_by(page, path)
            self.width_px, self.height_px = page.imagewidth, page.imagelength
            self.um_per_px = _tiff_scale(self._file, page)
            self._whole: Pixels | None = None if page.is_tiled else _pixels(page.asarray())
            unless_good.pop_all()

    def read(self, x: int, y: int, w: int, h: int) -> Pixels:
        """See :class:`StoredImage`."""
        if self._whole is not None:
            return self._show(_pixels(np.ascontiguousarray(self._whole[y : y + h, x : x + w])))
        page = self._page
        channels = () if page.samplesperpixel == 1 else (page.samplesperpixel,)
        region = _pixels(np.full((h, w, *channels), np.iinfo(_dtype(page)).max, dtype=_dtype(page)))
        across = math.ceil(self.width_px / page.tilewidth)
        for row in range(y // page.tilelength, (y + h - 1) // page.tilelength + 1):
            for col in range(x // page.tilewidth, (x + w - 1) // page.tilewidth + 1):
                tile = self._tile(row * across + col)
                if tile is not None:
                    _paste(region, tile, col * page.tilewidth - x, row * page.tilelength - y)
        return self._show(region)

    def close(self) -> None:
        """See :class:`StoredImage`."""
        self._file.close()

    def _tile(self, index: int) -> Pixels | None:
        offset, count = self._page.dataoffsets[index], self._page.databytecounts[index]
        if not count:
            return None
        handle, decode, tables = self._file.filehandle, self._page.decode, self._page.jpegtables
        handle.seek(offset)  # only now: the attributes above are read from the file when first asked for
        decoded: Any = decode(handle.read(count), index, jpegtables=tables)[0]
        return (
            None
            if decoded is None
            else np.asarray(decoded[0] if decoded.shape[-1] > 1 else decoded[0, :, :, 0])
        )


def _largest_page(file: tifffile.TiffFile, path: Path) -> tifffile.TiffPage:
    try:
        page = file.series[0].levels[0].pages[0]
    except (tifffile.TiffFileError, IndexError, OSError) as error:
        raise BadInput.one(f"is not a readable TIFF: {error}", KNOWN, file=str(path)) from error
    if not isinstance(page, tifffile.TiffPage) or page.dtype not in (np.uint8, np.uint16):
        raise BadInput.one("holds something else than 8 or 16 bit pixels", KNOWN, file=str(path))
    if any(offset + count > file.filehandle.size for offset, count in _pieces(page)):
        raise BadInput.one(CUT_SHORT, "copy it again from where it came", file=str(path))
    return page


def _shown_by(page: tifffile.TiffPage, path: Path) -> Callable[[Pixels], Pixels]:
    """What turns the samples of a page into gray or RGB.

    Raises:
        BadInput: they are neither, or one channel more than the file explains.
    """
    kind, extra = page.photometric, tuple(page.extrasamples)
    colours = page.samplesperpixel - len(extra)
    if kind not in SHOWN_AS_THEY_ARE or colours not in (1, 3):
        problem = (
            f"holds {page.samplesperpixel} channels as {getattr(kind, 'name', kind)}, which we do not read"
        )
        raise BadInput.one(problem, AS_RGB, file=str(path))
    if page.planarconfig == PLANARCONFIG.SEPARATE and colours > 1:
        raise BadInput.one("holds each channel in a plane of its own", AS_RGB, file=str(path))
    if not extra:
        return _pixels
    if len(extra) > 1 or extra[0] not in ALPHA:
        problem = "holds another channel than gray or RGB, and does not say what it is"
        raise BadInput.one(problem, AS_RGB, file=str(path))
    return partial(on_white, premultiplied=extra[0] == EXTRASAMPLE.ASSOCALPHA)


def _pieces(page: tifffile.TiffPage) -> Iterator[tuple[int, int]]:
    """(offset, bytes) of every tile or strip."""
    return zip(page.dataoffsets, page.databytecounts, strict=False)


def _pixels(array: Any) -> Pixels:
    pixels: Pixels = array
    return pixels


def _dtype(page: tifffile.TiffPage) -> Any:
    return page.dtype


def _paste(region: Pixels, tile: Pixels, left: int, top: int) -> None:
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + tile.shape[1], region.shape[1]), min(top + tile.shape[0], region.shape[0])
    if x0 < x1 and y0 < y1:
        region[y0:y1, x0:x1] = tile[y0 - top : y1 - top, x0 - left : x1 - left]


def _tiff_scale(file: tifffile.TiffFile, page: tifffile.TiffPage) -> float | None:
    """From Aperio's MPP, OME's PhysicalSizeX, or the resolution tags, in this order; implausible ones do not count."""
    for found in (_aperio_scale(page), _ome_scale(file), _resolution_scale(page)):
        if found is not None and PLAUSIBLE_UM[0] <= found <= PLAUSIBLE_UM[1]:
            return found
    return None


def _aperio_scale(page: tifffile.TiffPage) -> float | None:
    said = re.search(r"\|\s*MPP\s*=\s*([0-9.]+)", page.description or "")
    return float(said.group(1)) if said else None


def _ome_scale(file: tifffile.TiffFile) -> float | None:
    if not file.is_ome or not file.ome_metadata:
        return None
    pixels = ElementTree.fromstring(file.ome_metadata).find(".//{*}Pixels")
    if pixels is None or pixels.get("PhysicalSizeXUnit", "µm") not in ("µm", "um"):
        return None
    size = pixels.get("PhysicalSizeX")
    return float(size) if size else None


def _resolution_scale(page: tifffile.TiffPage) -> float | None:
    resolution, unit = page.tags.get("XResolution"), page.tags.get("ResolutionUnit")
    if resolution is None or unit is None or int(unit.value) not in UM_PER_UNIT:
        return None
    per_unit, parts = resolution.value
    return UM_PER_UNIT[int(unit.value)] * parts / per_unit if per_unit else None
