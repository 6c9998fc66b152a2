from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from scanner.errors import BadInput
from scanner.storage.images import open_image
from scanner.storage.on_white import on_white

COLOUR = np.array([200, 100, 40], np.uint8)


def picture(alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(h, w, 4) uint8 of one colour."""
    return np.dstack([np.broadcast_to(COLOUR, (*alpha.shape, 3)), alpha])


def test_an_opaque_picture_keeps_every_value() -> None:
    pixels = np.random.default_rng(0).integers(0, 2**16, (7, 5, 4), dtype=np.uint16)
    pixels[..., 3] = 2**16 - 1
    assert np.array_equal(on_white(pixels), pixels[..., :3])


@pytest.mark.parametrize(
    ("alpha", "shown"), [(0, [255, 255, 255]), (255, [200, 100, 40]), (102, [233, 193, 169])]
)
def test_what_shines_through_is_white(alpha: int, shown: list[int]) -> None:
    pixels = picture(np.full((2, 3), alpha, np.uint8))
    assert np.array_equal(on_white(pixels)[0, 0], shown)
    weighted = np.rint(pixels[..., :3] * (alpha / 255)).astype(np.uint8)
    premultiplied = np.dstack([weighted, pixels[..., 3]])
    assert np.array_equal(on_white(premultiplied, premultiplied=True)[0, 0], shown)


def test_a_gray_picture_stays_gray() -> None:
    pixels = np.dstack([np.full((4, 4), 50, np.uint8), np.array([[0, 255]] * 4, np.uint8).repeat(2, axis=1)])
    assert on_white(pixels).tolist() == [[255, 255, 50, 50]] * 4


@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_a_transparent_tiff_lies_on_white(tile: tuple[int, int] | None, tmp_path: Path) -> None:
    alpha = np.full((40, 50), 255, np.uint8)
    alpha[:, 30:] = 0
    file = tmp_path / "picture.tif"
    tifffile.imwrite(file, picture(alpha), photometric="rgb", extrasamples=["unassalpha"], tile=tile)
    with closing(open_image(file)) as image:
        shown = image.read(20, 10, 25, 20)
    assert shown.shape == (20, 25, 3)
    assert np.array_equal(shown, on_white(picture(alpha))[10:30, 20:45])


def test_a_transparent_png_lies_on_white(tmp_path: Path) -> None:
    alpha = np.array([[0, 255, 102]], np.uint8)
    eight = picture(alpha)[..., [2, 1, 0, 3]]
    for stored in (eight, 257 * eight.astype(np.uint16)):
        cv2.imwrite(str(tmp_path / "picture.png"), stored)
        with closing(open_image(tmp_path / "picture.png")) as image:
            shown = image.read(0, 0, 3, 1)
        assert np.abs(shown.astype(int) - on_white(picture(alpha))).max() <= 1


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"photometric": "separated"}, "4 channels as SEPARATED"),
        ({"photometric": "rgb", "extrasamples": ["unspecified"]}, "does not say what it is"),
        ({"photometric": "rgb", "planarconfig": "separate"}, "in a plane of its own"),
    ],
)
def test_channels_that_nobody_explains_are_refused(how: dict[str, object], said: str, tmp_path: Path) -> None:
    pixels = picture(np.full((20, 30), 255, np.uint8))
    planes = np.moveaxis(pixels, 2, 0) if "planarconfig" in how else pixels
    tifffile.imwrite(tmp_path / "picture.tif", planes, **how)  # type: ignore[arg-type]  # keywords of the writer
    with pytest.raises(BadInput, match=said):
        open_image(tmp_path / "picture.tif")
