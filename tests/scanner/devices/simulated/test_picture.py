"""Does a real image come back from under the simulated objective as it was?"""

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from scanner.devices.simulated.picture import PictureSlide
from scanner.devices.simulated.planes import check_specimen, open_planes
from scanner.devices.simulated.specimen import DEPOSIT_CENTRE_UM, CameraGrid
from scanner.errors import BadInput

GRID = CameraGrid()
SVS = Path(__file__).parents[5] / "shared" / "data" / "A_cmu_svs" / "CMU-1-Small-Region.svs"


def _texture(seed: int, shape: tuple[int, int] = (900, 1200)) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).standard_normal((*shape, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4)
    return np.asarray(np.clip(215 + smooth * 250, 60, 240), np.uint8)


@pytest.fixture
def png(tmp_path: Path) -> Path:
    path = tmp_path / "cells.png"
    cv2.imwrite(str(path), _texture(1)[..., ::-1])
    return path


def _seen(slide: PictureSlide, z_um: float = 0.0, side: int = 400) -> NDArray[np.float32]:
    u, v = (round(value) for value in GRID.from_slide(*DEPOSIT_CENTRE_UM))
    od = np.zeros((3, side, side), np.float32)
    slide.absorb(od, (u - side // 2, v - side // 2), z_um)
    return np.exp(-od)


def _expected(image: NDArray[np.uint8], um_per_px: float, side: int = 400) -> NDArray[np.float32]:
    """The image on the camera's grid, straight from the geometry."""
    u0, v0 = (round(value) for value in GRID.from_slide(*DEPOSIT_CENTRE_UM))
    h, w = image.shape[:2]
    v, u = np.mgrid[v0 - side // 2 : v0 + side // 2, u0 - side // 2 : u0 + side // 2].astype(np.float64)
    x, y = GRID.to_slide(u, v)
    column = ((x - DEPOSIT_CENTRE_UM[0]) / um_per_px + w / 2 - 0.5).astype(np.float32)
    row = ((y - DEPOSIT_CENTRE_UM[1]) / um_per_px + h / 2 - 0.5).astype(np.float32)
    white = np.quantile(image.reshape(-1, 3), 0.98, axis=0)
    seen = cv2.remap(image.astype(np.float32), column, row, cv2.INTER_CUBIC) / white
    return np.clip(seen, 0, 1).astype(np.float32).transpose(2, 0, 1)


@pytest.mark.parametrize("um_per_px", [0.5, 0.32])
def test_an_image_lies_in_the_middle_of_the_deposit_at_its_scale(png: Path, um_per_px: float) -> None:
    slide = PictureSlide(png, um_per_px, 1.0, GRID)
    z = slide.surface.height(*DEPOSIT_CENTRE_UM)
    difference = _seen(slide, z) - _expected(_texture(1), um_per_px)
    assert np.sqrt((difference**2).mean()) < 0.01


def test_an_image_is_blurred_out_of_focus(png: Path) -> None:
    slide = PictureSlide(png, 0.5, 1.0, GRID)
    assert _seen(slide, 8.0).std() < 0.8 * _seen(slide, 0.0).std()


def test_round_an_image_there_is_clear_glass(png: Path) -> None:
    slide = PictureSlide(png, 0.5, 1.0, GRID)
    od = np.zeros((3, 100, 100), np.float32)
    slide.absorb(od, tuple(round(value) for value in GRID.from_slide(46_000, 12_500)), 0.0)  # type: ignore[arg-type]
    assert od.max() < 0.01


def test_an_image_without_a_scale_is_refused_until_one_is_given(png: Path) -> None:
    with pytest.raises(BadInput, match="scale"):
        check_specimen(png, None)
    check_specimen(png, 0.5)
    with pytest.raises(BadInput, match="clear glass"):
        check_specimen(png, 90.0)


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    fake = tmp_path / "cells.svs"
    fake.write_text("hello")
    for path in (fake, tmp_path / "none.tif", tmp_path / "notes.txt"):
        with pytest.raises(BadInput):
            check_specimen(path, 0.5)


@pytest.mark.parametrize("as_folder", [True, False])
def test_each_height_shows_its_plane_of_a_stack(tmp_path: Path, as_folder: bool) -> None:
    planes = [_texture(n, (300, 300)) for n in range(5)]
    path = tmp_path / "stack.tif"
    if as_folder:
        path = tmp_path / "stack"
        path.mkdir()
        for n, plane in enumerate(planes):
            cv2.imwrite(str(path / f"z{n:02d}.png"), plane[..., ::-1])
    else:
        tifffile.imwrite(path, np.stack(planes), photometric="rgb")
    slide = PictureSlide(path, 0.5, 2.0, GRID)
    for n, plane in enumerate(planes):
        seen = _seen(slide, slide.surface.height(*DEPOSIT_CENTRE_UM) + (n - 2) * 2.0, 200)
        wanted = [np.corrcoef(seen[1].ravel(), _expected(p, 0.5, 200)[1].ravel())[0, 1] for p in planes]
        assert int(np.argmax(wanted)) == n, plane.shape


def test_a_gray_image_of_twelve_bits_keeps_its_brightness(tmp_path: Path) -> None:
    picture = _texture(3)[..., 1].astype(np.uint16) << 4
    tifffile.imwrite(tmp_path / "gray.tif", picture)
    slide = PictureSlide(tmp_path / "gray.tif", 0.5, 1.0, GRID)
    seen = _seen(slide)
    slide.close()
    colour = np.repeat((picture >> 4).astype(np.uint8)[..., None], 3, axis=2)
    assert np.abs(seen - _expected(colour, 0.5)).mean() < 0.01


def test_a_pyramid_is_read_at_its_largest_and_seen_whole_in_the_overview(tmp_path: Path) -> None:
    path, large = tmp_path / "pyramid.tif", _texture(4, (1600, 2400))
    small = cv2.resize(large, (1200, 800), interpolation=cv2.INTER_AREA)
    with tifffile.TiffWriter(path) as writer:
        writer.write(large, subifds=1, tile=(256, 256), photometric="rgb")
        writer.write(small, subfiletype=1, tile=(256, 256), photometric="rgb")
    slide = PictureSlide(path, 0.5, 1.0, GRID)
    z = slide.surface.height(*DEPOSIT_CENTRE_UM)
    assert np.corrcoef(_seen(slide, z)[1].ravel(), _expected(large, 0.5)[1].ravel())[0, 1] > 0.99
    columns = np.nonzero(slide.overview_od()[..., 1] > 0.01)[1]
    slide.close()
    assert np.ptp(columns) * 20 == pytest.approx(2400 * 0.5, abs=60)


def test_planes_of_different_size_are_no_stack(tmp_path: Path) -> None:
    for n in (40, 50):
        cv2.imwrite(str(tmp_path / f"{n}.png"), np.zeros((n, n, 3), np.uint8))
    with pytest.raises(BadInput, match="different sizes"):
        open_planes(tmp_path)


@pytest.mark.skipif(not SVS.exists(), reason="the real slide is not beside this checkout")
def test_a_real_slide_brings_its_own_scale() -> None:
    slide = PictureSlide(SVS, None, 1.0, GRID)
    seen = _seen(slide, slide.surface.height(*DEPOSIT_CENTRE_UM))
    with tifffile.TiffFile(SVS) as file:
        image = np.asarray(file.pages[0].asarray(), np.uint8)
    assert np.corrcoef(seen[1].ravel(), _expected(image, 0.499)[1].ravel())[0, 1] > 0.98
    od = slide.overview_od()
    slide.close()
    rows, columns = np.nonzero(od[..., 1] > 0.1)
    assert columns.mean() * 20 == pytest.approx(45_000, abs=300)
    assert rows.mean() * 20 == pytest.approx(12_500, abs=300)
