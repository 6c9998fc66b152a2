"""Are stacks read in order, with the heights that files and names say, and refused where they are damaged?"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from scanner.errors import BadInput
from scanner.storage.stacks import read_stack

PIXELS = np.random.default_rng(0).integers(0, 255, (8, 48, 64), np.uint8)


def folder(path: Path, names: Sequence[str], ending: str = ".png") -> Path:
    for name, plane in zip(names, PIXELS, strict=False):
        cv2.imwrite(str(path / (name + ending)), plane)
    return path


def ome(path: Path, positions: Sequence[float], unit: str = "µm") -> Path:
    planes = {"PositionZ": list(positions), "PositionZUnit": [unit] * len(positions)}
    file = path / "s.ome.tif"
    tifffile.imwrite(
        file, PIXELS[: len(positions)], photometric="minisblack", metadata={"axes": "ZYX", "Plane": planes}
    )
    return file


@pytest.mark.parametrize(("unit", "um"), [("µm", 1.0), ("mm", 1000.0), ("nm", 0.001)])
def test_ome_tells_the_height_of_every_plane_in_units_of_length(tmp_path: Path, unit: str, um: float) -> None:
    read = read_stack(ome(tmp_path, [10.0, 10.5, 11.0, 12.0], unit))
    assert read.heights_um == pytest.approx([z * um for z in (10.0, 10.5, 11.0, 12.0)])


def test_micro_manager_tells_the_height_of_every_plane(tmp_path: Path) -> None:
    file = tmp_path / "mm.tif"
    with tifffile.TiffWriter(file) as writer:
        for n, plane in enumerate(PIXELS):
            said = f'{{"ZPositionUm": {2.0 + 0.5 * n}}}'.encode()
            writer.write(
                plane, photometric="minisblack", metadata=None, extratags=[(51123, 2, len(said), said, True)]
            )
    assert read_stack(file).heights_um == tuple(2.0 + 0.5 * n for n in range(8))


@pytest.mark.parametrize(
    ("spacing", "unit", "step"), [(0.5, "um", 0.5), (500.0, "nm", 0.5), (0.5, "inch", None)]
)
def test_imagej_tells_the_step(tmp_path: Path, spacing: float, unit: str, step: float | None) -> None:
    tifffile.imwrite(
        tmp_path / "ij.tif", PIXELS, imagej=True, metadata={"axes": "ZYX", "spacing": spacing, "unit": unit}
    )
    read = read_stack(tmp_path / "ij.tif")
    assert (read.z_step_um, read.heights_um) == (step, None)


@pytest.mark.parametrize(
    ("names", "heights"),
    [
        ([f"img_z{0.5 * n - 2:+.2f}um" for n in range(8)], [0.5 * n - 2 for n in range(8)]),
        ([f"z{0.5 * n:.1f}" for n in range(8)], [0.5 * n for n in range(8)]),
        ([f"{n:03d}_{10 - n}um" for n in range(8)], [10.0 - n for n in range(8)]),
        ([f"{n:03d}_{z}um" for n, z in enumerate((0, 1, 3, 2))], [0.0, 1.0, 3.0, 2.0]),
        ([f"{n}_z{z}um" for n, z in enumerate((0, 1, 1, 2))], [0.0, 1.0, 1.0, 2.0]),
    ],
    ids=["sign", "decimal", "descending by counter", "unordered by counter", "repeated"],
)
def test_names_tell_heights_and_a_counter_their_order(
    tmp_path: Path, names: list[str], heights: list[float]
) -> None:
    assert read_stack(folder(tmp_path, names)).heights_um == pytest.approx(heights)


@pytest.mark.parametrize(
    ("numbers", "steps"),
    [
        ((0, 1, 2, 3), (0, 1, 2, 3)),
        ((8, 9, 10, 11), (0, 1, 2, 3)),
        ((0, 10, 20, 30), (0, 1, 2, 3)),
        ((0, 1, 3, 4), (0, 1, 3, 4)),
    ],
    ids=["plain", "across a power of ten", "by tens", "one missing"],
)
def test_numbers_tell_the_order_and_a_missing_one_leaves_a_gap(
    tmp_path: Path, numbers: tuple[int, ...], steps: tuple[float, ...]
) -> None:
    read = read_stack(folder(tmp_path, [f"0.5um_p{n}" for n in numbers]))
    assert (read.steps, read.heights_um, read.z_step_um) == (steps, None, None)
    assert all(np.array_equal(plane, wanted) for plane, wanted in zip(read.planes, PIXELS, strict=False))


def test_a_folder_with_one_tiff_is_that_tiff(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "stack1.tif", PIXELS, photometric="minisblack")
    assert len(read_stack(tmp_path).planes) == 8


def test_a_palette_becomes_colour(tmp_path: Path) -> None:
    ramp = np.stack([np.arange(256, dtype=np.uint16) * 257] * 3)
    tifffile.imwrite(tmp_path / "p.tif", PIXELS, photometric="palette", colormap=ramp)
    planes = read_stack(tmp_path / "p.tif").planes
    assert planes[3].shape == (48, 64, 3)
    assert np.array_equal(planes[3][..., 1], PIXELS[3])


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("how", ["plain", "imagej", "zlib", "pages"])
def test_a_tiff_that_was_cut_off_is_bad_input(tmp_path: Path, how: str, kept: float) -> None:
    file = tmp_path / "cut.tif"
    if how == "imagej":
        tifffile.imwrite(file, PIXELS, imagej=True, metadata={"axes": "ZYX"})
    elif how == "pages":
        with tifffile.TiffWriter(file) as writer:
            for plane in PIXELS:
                writer.write(plane, photometric="minisblack", metadata=None, contiguous=False)
    else:
        compression = "zlib" if how == "zlib" else None
        tifffile.imwrite(file, PIXELS, photometric="minisblack", compression=compression)
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * kept)])
    with pytest.raises(BadInput):
        read_stack(file)


def test_pages_that_are_missing_from_the_end_are_noticed(tmp_path: Path) -> None:
    file = tmp_path / "cut.tif"
    with tifffile.TiffWriter(file) as writer:
        for plane in PIXELS:
            writer.write(plane, photometric="minisblack", metadata=None, contiguous=False)
    with tifffile.TiffFile(file) as written:
        fifth = written.pages[5]
        assert isinstance(fifth, tifffile.TiffPage)
        start = fifth.offset
    file.write_bytes(file.read_bytes()[:start])
    with pytest.raises(BadInput, match="cut off"):
        read_stack(file)


@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_a_picture_that_was_cut_off_is_bad_input(tmp_path: Path, ending: str) -> None:
    file = folder(tmp_path, [f"p{n}" for n in range(8)], ending) / f"p4{ending}"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(BadInput, match=f"p4{ending}"):
        read_stack(tmp_path)


@pytest.mark.parametrize("odd", [PIXELS[3][:32], PIXELS[3].astype(np.uint16)], ids=["shape", "type"])
def test_pages_of_different_kinds_are_bad_input(tmp_path: Path, odd: np.ndarray) -> None:
    with tifffile.TiffWriter(tmp_path / "m.tif") as writer:
        for n, plane in enumerate(PIXELS):
            writer.write(odd if n == 3 else plane, photometric="minisblack", metadata=None, contiguous=False)
    with pytest.raises(BadInput, match="differ"):
        read_stack(tmp_path / "m.tif")
