from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from scanner.errors import BadInput
from scanner.storage.images import open_image, stated_scale
from scanner.storage.ngff import ImageSpec
from scanner.storage.ome_zarr import PyramidStore

RGB = np.random.default_rng(0).integers(0, 255, (300, 200, 3), dtype=np.uint8)
SVS = Path(__file__).parents[4] / "shared" / "data" / "A_cmu_svs" / "CMU-1-Small-Region.svs"


def _scale(file: Path) -> float | None:
    with closing(open_image(file)) as image:
        return image.um_per_px


@pytest.mark.parametrize("tile", [None, (64, 64)])
@pytest.mark.parametrize("pixels", [RGB, RGB[:, :, 0], RGB.astype(np.uint16) * 200])
def test_a_region_of_a_tiff_is_the_same_as_a_region_of_the_whole(
    tmp_path: Path, tile: tuple[int, int] | None, pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, tile=tile, photometric="rgb" if pixels.ndim == 3 else "minisblack"
    )
    with closing(open_image(tmp_path / "a.tif")) as image:
        assert (image.width_px, image.height_px) == (200, 300)
        assert np.array_equal(image.read(30, 50, 150, 220), pixels[50:270, 30:180])


def test_the_scale_is_read_from_resolution_tags_and_from_ome(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RGB, resolution=(20_000, 20_000), resolutionunit="CENTIMETER")
    assert _scale(tmp_path / "a.tif") == pytest.approx(0.5)
    metadata = {"axes": "YXS", "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm"}
    tifffile.imwrite(tmp_path / "b.ome.tif", RGB, metadata=metadata)
    assert _scale(tmp_path / "b.ome.tif") == 0.25


def test_a_file_states_its_scale_without_being_opened_as_an_image(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RGB, resolution=(20_000, 20_000), resolutionunit="CENTIMETER")
    tifffile.imwrite(tmp_path / "b.tif", RGB)
    tifffile.imwrite(tmp_path / "c.svs", RGB, description="Aperio Image|AppMag = 40|MPP = 0.2520")
    (tmp_path / "d.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:9])
    (tmp_path / "e.png").write_text("no image")
    stated = [
        stated_scale(tmp_path / name) for name in ("a.tif", "b.tif", "c.svs", "d.tif", "e.png", "none.tif")
    ]
    assert stated == [pytest.approx(0.5), None, 0.252, None, None, None]


def test_a_scale_that_no_microscope_has_counts_as_unknown(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RGB, resolution=(72, 72), resolutionunit="INCH")
    assert _scale(tmp_path / "a.tif") is None


def test_png_is_read_as_rgb_without_a_scale(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), RGB[:, :, ::-1])
    image = open_image(tmp_path / "a.png")
    assert np.array_equal(image.read(0, 0, 200, 300), RGB)
    assert image.um_per_px is None


@pytest.mark.parametrize("name", ["text.svs", "text.png", "text.txt", "none.tif"])
def test_what_is_no_image_is_refused(tmp_path: Path, name: str) -> None:
    if not name.startswith("none"):
        (tmp_path / name).write_text("hello")
    with pytest.raises(BadInput):
        open_image(tmp_path / name)


@pytest.mark.skipif(not SVS.exists(), reason="the shared real slide is not here")
def test_a_real_aperio_slide_is_read_with_its_scale() -> None:
    whole = tifffile.imread(SVS)
    with closing(open_image(SVS)) as image:
        assert image.um_per_px == 0.499
        assert np.array_equal(image.read(500, 700, 900, 800), whole[700:1500, 500:1400])


def test_an_ome_zarr_that_a_scan_wrote_is_read_with_its_scale(tmp_path: Path) -> None:
    spec = ImageSpec(name="a", width_px=200, height_px=300, dtype="uint8", channels=3, um_per_px=0.5)
    store = PyramidStore.create(tmp_path / "a.ome.zarr", spec)
    block = np.full((3, 2048, 2048), 255, np.uint8)
    block[:, :300, :200] = np.moveaxis(RGB, -1, 0)
    store.write(0, 0, 0, block)
    with closing(open_image(tmp_path / "a.ome.zarr")) as image:
        assert (image.width_px, image.height_px, image.um_per_px) == (200, 300, 0.5)
        assert np.array_equal(image.read(30, 50, 150, 220), RGB[50:270, 30:180])


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "tiled.tif", "strips.tif"])
@pytest.mark.parametrize("kept", [0.6, 0.999])
def test_an_image_that_is_cut_short_is_refused_and_not_filled_up(
    tmp_path: Path, name: str, kept: float
) -> None:
    file = tmp_path / name
    if name.endswith(".tif"):
        tile = (64, 64) if name.startswith("tiled") else None
        tifffile.imwrite(file, RGB, tile=tile, photometric="rgb", compression="jpeg")
    else:
        cv2.imwrite(str(file), RGB)
    with closing(open_image(file)) as image:
        assert (image.width_px, image.height_px) == (200, 300)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(BadInput, match=r"cut short|not a readable"):
        open_image(file)
