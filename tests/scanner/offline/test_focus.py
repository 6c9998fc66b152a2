"""Does ``rackscan focus`` say which plane is sharp, and refuse what proves nothing?"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from scanner.errors import BadInput
from scanner.offline.focus import focus
from scanner.offline.stack_pixels import full_range

DATA = Path(__file__).parents[4] / "shared/data"
real_stacks = pytest.mark.skipif(
    not (DATA / "B_isbi2014_zstack").exists(), reason="the real z-stacks are not on this machine"
)


def planes(
    best: int = 3, count: int = 8, dtype: type[np.uint8] | type[np.uint16] = np.uint8
) -> list[NDArray[np.uint8]]:
    """Dark discs on a bright field, blurred by their distance from plane ``best``."""
    rng = np.random.default_rng(0)
    sharp = np.full((160, 240), 220, np.float32)
    for x, y in zip(rng.integers(10, 230, 60), rng.integers(10, 150, 60), strict=True):
        cv2.circle(sharp, (int(x), int(y)), 5, 110, -1)
    scale = np.iinfo(dtype).max // 255
    blurred = [cv2.GaussianBlur(sharp, (0, 0), 0.6 + 1.2 * abs(n - best)) for n in range(count)]
    return [np.asarray((b + rng.normal(0, 1, b.shape)).clip(0, 255) * scale).astype(dtype) for b in blurred]


def test_a_tiff_with_its_own_step_gives_the_height_in_micrometres(tmp_path: Path) -> None:
    file = tmp_path / "stack.tif"
    tifffile.imwrite(
        file, np.stack(planes()), imagej=True, metadata={"spacing": 0.5, "unit": "um", "axes": "ZYX"}
    )
    result = focus(file)
    assert (result.state, result.best_plane) == ("found", 3)
    assert result.z_um == pytest.approx(1.5, abs=0.15)
    assert focus(file, 2.0).z_um == pytest.approx(6.0, abs=0.6)
    assert len(result.blocks) == 16
    assert max(result.curves["smoothed_brenner"]) == 1.0


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_gray_colour_and_alpha_of_both_depths_work(
    tmp_path: Path, channels: int, dtype: type[np.uint8] | type[np.uint16]
) -> None:
    stack = np.stack(planes(dtype=dtype))
    if channels > 1:
        stack = np.repeat(stack[..., None], channels, axis=3)
    photometric = "minisblack" if channels == 1 else "rgb"
    tifffile.imwrite(tmp_path / "s.tif", stack, photometric=photometric)
    assert focus(tmp_path / "s.tif").best_plane == 3
    assert focus(tmp_path / "s.tif").z_um is None


def test_a_folder_is_read_in_the_order_of_its_numbers_and_other_files_are_left_alone(tmp_path: Path) -> None:
    for number, plane in enumerate(planes(best=9, count=12)):
        cv2.imwrite(str(tmp_path / f"p{number}.png"), plane)
    cv2.imwrite(str(tmp_path / "edf.png"), planes()[0])
    (tmp_path / "README.md").write_text("notes")
    assert focus(tmp_path, 1.0).best_plane == 9


@pytest.mark.parametrize(
    ("stack", "reason"),
    [
        (np.stack(planes())[:1], "at least"),
        (np.stack(planes())[:3], "edge"),
        (np.stack([planes()[0]] * 5), "flat"),
        (np.zeros((5, 64, 64), np.uint8), "light"),
        (np.full((5, 64, 64), 255, np.uint8), "light"),
        (np.full((5, 64, 64), np.nan, np.float32), "not numbers"),
        (np.zeros((5, 64, 64), np.float32), "8 or 16 bit"),
        (np.stack(planes())[:2], "at least"),
        (np.zeros((5, 64, 64), np.uint16), "light"),
        (np.full((5, 64, 64), np.inf, np.float32), "not numbers"),
        (np.zeros((5, 64, 64), np.int16), "8 or 16 bit"),
    ],
    ids=[
        *("one plane", "edge", "flat", "black", "saturated", "NaN", "floats"),
        *("two planes", "black 16 bit", "infinite", "signed"),
    ],
)
def test_what_proves_nothing_is_refused_without_a_height(
    tmp_path: Path, stack: NDArray[np.uint8], reason: str
) -> None:
    tifffile.imwrite(tmp_path / "s.tif", stack, photometric="minisblack")
    result = focus(tmp_path / "s.tif", 1.0)
    assert result.state == "refused"
    assert reason in result.reason
    assert (result.best_plane, result.z_um) == (None, None)


def test_an_empty_field_is_no_sample(tmp_path: Path) -> None:
    empty = np.random.default_rng(0).normal(220, 2, (6, 128, 128)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "s.tif", empty, photometric="minisblack")
    assert focus(tmp_path / "s.tif", 1.0).state == "no-sample"


@pytest.mark.parametrize("name", ["absent.tif", "text.tif", "empty"])
def test_what_cannot_be_read_is_bad_input(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.tif").write_text("no image")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput):
        focus(tmp_path / name)


def test_a_step_that_is_not_positive_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="positive"):
        focus(tmp_path, 0.0)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_few_bits_in_sixteen_work_and_full_light_is_still_seen(tmp_path: Path, bits: int) -> None:
    stack = np.stack(planes()).astype(np.uint16) << (bits - 8)
    tifffile.imwrite(tmp_path / "s.tif", stack, photometric="minisblack")
    assert focus(tmp_path / "s.tif").best_plane == 3
    tifffile.imwrite(tmp_path / "f.tif", np.full_like(stack, 2**bits - 1), photometric="minisblack")
    assert "saturated" in focus(tmp_path / "f.tif").reason


def test_pixels_that_fill_their_range_are_left_as_they_are() -> None:
    full = (np.full((8, 8), 2**16 - 1, np.uint16), np.full((8, 8), 7, np.uint8))
    assert [stretched for (stretched,) in (full_range(full[:1]), full_range(full[1:]))] == list(full)
    twelve = np.array([[0, 4095, 2048]], np.uint16)
    assert full_range((twelve,))[0].tolist() == [[0, 65535, 32776]]


def ome(tmp_path: Path, heights: Sequence[float]) -> Path:
    file = tmp_path / "s.ome.tif"
    said = {"PositionZ": list(heights), "PositionZUnit": ["µm"] * len(heights)}
    tifffile.imwrite(
        file, np.stack(planes()), photometric="minisblack", metadata={"axes": "ZYX", "Plane": said}
    )
    return file


@pytest.mark.parametrize("sign", [1, -1])
def test_heights_that_the_file_says_count_from_the_first_plane(tmp_path: Path, sign: int) -> None:
    result = focus(ome(tmp_path, [40 + sign * 0.5 * n for n in range(8)]))
    assert result.z_um == pytest.approx(sign * 1.5, abs=0.1)
    assert result.heights_um == tuple(sign * 0.5 * n for n in range(8))


@pytest.mark.parametrize(
    ("heights", "reason"),
    [
        ((0, 1, 2, 3, 3, 4, 5, 6), "plane 4 does not go on from plane 3"),
        ((0, 1, 2, 5, 4, 3, 6, 7), "unordered"),
    ],
    ids=["repeated", "unordered"],
)
@pytest.mark.parametrize("step", [None, 1.0])
def test_heights_out_of_order_are_refused_whatever_step_is_given(
    tmp_path: Path, heights: tuple[float, ...], reason: str, step: float | None
) -> None:
    result = focus(ome(tmp_path, heights), step)
    assert (result.state, result.z_um, result.best_plane) == ("refused", None, None)
    assert reason in result.reason


def test_planes_further_apart_than_any_drive_moves_are_refused(tmp_path: Path) -> None:
    result = focus(ome(tmp_path, [5000.0 * n for n in range(8)]))
    assert (result.state, result.z_um) == ("refused", None)
    assert "35 mm, beyond the limits" in result.reason


@pytest.mark.parametrize("step", [1e-9, 5000.0])
def test_a_step_that_no_drive_makes_is_bad_input(tmp_path: Path, step: float) -> None:
    with pytest.raises(BadInput, match="no focus drive"):
        focus(tmp_path, step)


def test_how_far_it_is_is_told(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "s.tif", np.stack(planes()), photometric="minisblack")
    told: list[tuple[int, int, str]] = []
    focus(tmp_path / "s.tif", told=lambda *words: told.append(words))
    assert [words for words in told if words[0] == words[1]] == [(8, 8, "focusing"), (8, 8, "measuring")]


@real_stacks
def test_a_real_cytology_stack_is_focused_in_every_block() -> None:
    result = focus(DATA / "B_isbi2014_zstack", 1.0)
    assert result.best_plane in (14, 15)
    assert {block.state for block in result.blocks} == {"found"}


@real_stacks
def test_every_textured_block_of_a_thick_real_stack_is_found_and_none_refused_as_thick() -> None:
    result = focus(DATA / "B_ypm_zstack_426566")
    assert [block.state for block in result.blocks].count("found") >= 14
    assert result.thick_blocks == 0


@real_stacks
def test_a_thick_real_stack_is_not_caught_by_its_first_shoulder() -> None:
    result = focus(DATA / "B_ypm_zstack_426566")
    assert result.best_plane is not None
    assert 31 <= result.best_plane <= 35
