"""Do other people's programs read our OME-TIFF: every level, the right size, the right colours?"""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import ome_types
import openslide
import pytest
import tifffile
import tiffslide
from numpy.typing import NDArray

from scanner.errors import DamagedRun, RackscanError
from scanner.export.ome_tiff import Encoding, Packing, write_ome_tiff
from scanner.export.ome_xml import Said
from scanner.storage.atomic import is_temporary
from scanner.storage.ome_zarr import PyramidStore
from tests.scanner.export.conftest import Store
from tests.scanner.storage.test_atomic import small_files_only

JPEG, WHOLE = Encoding(Packing.JPEG), Encoding(Packing.DEFLATE)
SAID = Said("1-run", "rackscan 0", datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC), "", {"complete": "true"})
KINDS = [("uint8", 3), ("uint8", 1), ("uint16", 3), ("uint16", 1), ("float32", 1)]


def pixels(store: PyramidStore, level: int, z: int = 0) -> NDArray[Any]:
    """(h, w) or (h, w, 3) of a whole level."""
    w, h = store.sizes[level]
    shown = np.moveaxis(store.read(level, 0, 0, h, w, z), 0, -1)
    return shown if store.spec.channels > 1 else shown[..., 0]


def ring(pixels: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(pixels)[..., :3].astype(int)


@pytest.mark.parametrize(("dtype", "channels"), KINDS)
def test_a_lossless_file_holds_every_level_pixel_for_pixel(
    tmp_path: Path, store: Store, dtype: str, channels: int
) -> None:
    image = store(tmp_path / "x.ome.zarr", dtype, channels)
    write_ome_tiff(image, tmp_path / "x.ome.tif", WHOLE, SAID)
    with tifffile.TiffFile(tmp_path / "x.ome.tif") as tiff:
        assert tiff.is_ome
        assert tiff.is_bigtiff
        assert [len(tiff.series), len(tiff.series[0].levels)] == [1, len(image.sizes)]
        for level, found in enumerate(tiff.series[0].levels):
            assert np.array_equal(found.asarray(), pixels(image, level))


@pytest.mark.parametrize(("dtype", "channels"), KINDS[:4])
@pytest.mark.parametrize("layers", [1, 3])
def test_layers_are_one_series_in_their_order(
    tmp_path: Path, store: Store, dtype: str, channels: int, layers: int
) -> None:
    image = store(tmp_path / "x.ome.zarr", dtype, channels, layers)
    write_ome_tiff(image, tmp_path / "x.ome.tif", WHOLE, SAID)
    with tifffile.TiffFile(tmp_path / "x.ome.tif") as tiff:
        assert len(tiff.series) == 1
        for level, found in enumerate(tiff.series[0].levels):
            shown = found.asarray()
            shown = shown if layers > 1 else shown[None]
            for z in range(layers):
                assert np.array_equal(shown[z], pixels(image, level, z))
        said = ome_types.from_xml(tiff.ome_metadata or "").images[0].pixels
        assert (said.size_z, said.physical_size_z) == (layers, 1.5)


def test_openslide_that_knows_no_layers_sees_the_lowest_with_its_levels(tmp_path: Path, store: Store) -> None:
    image = store(tmp_path / "x.ome.zarr", layers=3)
    write_ome_tiff(image, tmp_path / "x.ome.tif", WHOLE, SAID)
    with openslide.OpenSlide(tmp_path / "x.ome.tif") as slide:
        assert slide.level_dimensions == tuple(image.sizes)
        shown = ring(np.asarray(slide.read_region((0, 0), 1, image.sizes[1])))
    assert np.array_equal(shown, pixels(image, 1, z=0))


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize(("encoding", "error"), [(JPEG, 4.0), (WHOLE, 0.0)])
def test_openslide_and_tiffslide_see_all_levels_the_scale_and_the_colours(
    tmp_path: Path, store: Store, channels: int, encoding: Encoding, error: float
) -> None:
    image = store(tmp_path / "x.ome.zarr", channels=channels, um_per_px=0.4321)
    write_ome_tiff(image, tmp_path / "x.ome.tif", encoding, SAID)
    with (
        openslide.OpenSlide(tmp_path / "x.ome.tif") as one,
        tiffslide.TiffSlide(tmp_path / "x.ome.tif") as other,
    ):
        for slide, mpp in ((one, "openslide.mpp-x"), (other, "tiffslide.mpp-x")):
            assert slide.level_dimensions == tuple(image.sizes)
            assert slide.level_downsamples == pytest.approx([1, 2, 4], rel=0.01)
            assert float(slide.properties[mpp]) == pytest.approx(0.4321, rel=1e-5)
        for level, size in enumerate(image.sizes):
            true = pixels(image, level).astype(int)
            true = true if true.ndim == 3 else np.repeat(true[..., None], 3, axis=-1)
            off = np.abs(ring(np.asarray(one.read_region((0, 0), level, size))) - true)
            assert off.mean(axis=(0, 1)).max() <= error
            if channels == 3:
                off = np.abs(ring(np.asarray(other.read_region((0, 0), level, size))) - true)
                assert off.mean(axis=(0, 1)).max() <= error


def test_a_level_is_in_the_file_once_and_found_on_both_ways(tmp_path: Path, store: Store) -> None:
    image = store(tmp_path / "x.ome.zarr", layers=3)
    write_ome_tiff(image, tmp_path / "x.ome.tif", JPEG, SAID)
    with tifffile.TiffFile(tmp_path / "x.ome.tif") as tiff:
        chained = [page.offset for page in tiff.pages[3:]]
        first = tiff.pages[0]
        assert isinstance(first, tifffile.TiffPage)
        assert chained == list(first.subifds or ())
        assert [page.aspage().is_reduced for page in tiff.pages] == [False] * 3 + [True] * 2


@pytest.mark.parametrize("um", [0.5, None])
def test_the_xml_is_valid_and_says_only_what_is_known(tmp_path: Path, store: Store, um: float | None) -> None:
    image = store(tmp_path / "x.ome.zarr", um_per_px=um)
    write_ome_tiff(image, tmp_path / "x.ome.tif", JPEG, SAID)
    with tifffile.TiffFile(tmp_path / "x.ome.tif") as tiff:
        text = tiff.ome_metadata or ""
    assert "&#" not in text  # Bio-Formats reads no character references
    said = ome_types.from_xml(text, validate=True)
    told = said.images[0]
    assert (told.name, told.description) == ("1-run", None)
    assert told.acquisition_date == datetime(2026, 5, 4, 3, 2, 1)  # OME keeps no time zone
    assert (told.pixels.physical_size_x, told.pixels.physical_size_y) == (um, um)
    assert [c.samples_per_pixel for c in told.pixels.channels] == [3]


def test_colour_is_stored_as_bio_formats_reads_it(tmp_path: Path, store: Store) -> None:
    image = store(tmp_path / "x.ome.zarr")
    write_ome_tiff(image, tmp_path / "x.ome.tif", JPEG, SAID)
    with tifffile.TiffFile(tmp_path / "x.ome.tif") as tiff:
        for page in tiff.pages:
            kept = page.aspage()
            assert kept.photometric == tifffile.PHOTOMETRIC.YCBCR
            assert kept.subsampling == (2, 1)  # with (1, 1) Bio-Formats 7.3 turns YCbCr into RGB twice


def test_beyond_the_edge_a_tile_goes_on_as_it_was(tmp_path: Path, store: Store) -> None:
    image = store(tmp_path / "x.ome.zarr")
    write_ome_tiff(image, tmp_path / "x.ome.tif", WHOLE, SAID)
    with tifffile.TiffFile(tmp_path / "x.ome.tif") as tiff:
        page = tiff.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        *_, (tile, _, _) = page.segments()
    assert tile is not None
    below = image.spec.height_px % 512
    assert np.array_equal(tile[0, below - 1], tile[0, -1])


def test_how_far_it_is_is_told_to_the_end(tmp_path: Path, store: Store) -> None:
    told: list[tuple[int, int]] = []
    image = store(tmp_path / "x.ome.zarr")
    write_ome_tiff(image, tmp_path / "x.ome.tif", JPEG, SAID, lambda *at: told.append(at))
    assert [done for done, _ in told] == list(range(1, told[-1][1] + 1))
    assert told[-1][1] == 9 + 4 + 1


def test_a_damaged_block_leaves_nothing_behind(tmp_path: Path, store: Store) -> None:
    image = store(tmp_path / "x.ome.zarr")
    block = image.file(1, 0, 0)
    block.write_bytes(block.read_bytes()[: block.stat().st_size // 2])
    (tmp_path / "out").mkdir()
    with pytest.raises(DamagedRun, match="level 1"):
        write_ome_tiff(PyramidStore.open(image.path), tmp_path / "out" / "x.ome.tif", JPEG, SAID)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_disk_that_fills_up_is_told_with_the_file_and_leaves_nothing(tmp_path: Path, store: Store) -> None:
    image = store(tmp_path / "x.ome.zarr")
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / "x.ome.tif"
    with small_files_only(), pytest.raises(RackscanError, match=r"x\.ome\.tif.*nothing was left behind"):
        write_ome_tiff(image, out, JPEG, SAID)
    assert list(out.parent.iterdir()) == []


def test_a_killed_export_leaves_no_file_of_that_name(tmp_path: Path, store: Store) -> None:
    image = store(tmp_path / "x.ome.zarr")
    (tmp_path / "out").mkdir()
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from scanner.export.ome_tiff import *; from scanner.export.ome_xml import Said\n"
        "store = PyramidStore.open(Path(sys.argv[1]))\n"
        "die = lambda done, total: done == 11 and os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_ome_tiff(store, Path(sys.argv[2]), Encoding(Packing.JPEG), Said('x', 'y'), die)\n"
    )
    words = [sys.executable, "-c", code, str(image.path), str(tmp_path / "out" / "x.ome.tif")]
    killed = subprocess.run(words, env=os.environ, check=False)
    assert killed.returncode == -signal.SIGKILL
    left = list((tmp_path / "out").iterdir())
    assert len(left) == 1
    assert is_temporary(left[0])
