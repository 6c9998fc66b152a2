"""Does ``stitch`` believe the tiles where a layout is wrong, and refuse what cannot be right, by name?"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from scanner import cli
from scanner.errors import BadInput, RackscanError
from scanner.offline.stitch import stitch
from scanner.storage.ome_zarr import PyramidStore
from tests.scanner.offline.test_stitch import positions, seams
from tests.scanner.pipeline.conftest import SIDE, Grid, cells_on_glass, take_grid
from tests.scanner.storage.test_atomic import small_files_only

STEP = SIDE * 0.8
Place = Callable[[int, int], tuple[float, float]]
ROWS, COLS = 3, 4


@pytest.fixture(scope="module")
def taken() -> Grid:
    return take_grid(ROWS, COLS, 21)


def lay_out(
    folder: Path, taken: Grid, place: Place, save: Callable[[Path, NDArray[Any]], object] | None = None
) -> Path:
    """The grid's files, each where ``place(row, col)`` says."""
    lines = ["file,x_px,y_px"]
    for k, (tile, cell) in enumerate(zip(taken.tiles, taken.cells, strict=True)):
        file = folder / f"t{k}.png"
        (save or (lambda f, t: cv2.imwrite(str(f), t)))(file, tile)
        x, y = place(*cell)
        lines.append(f"{file.name},{x},{y}")
    layout = folder / "layout.csv"
    layout.write_text("\n".join(lines) + "\n")
    return layout


def spaced(step: float) -> Place:
    return lambda row, col: (col * step, row * step)


def named(out: Path) -> dict[str, dict[str, str]]:
    return {name.removesuffix(".png"): row for name, row in positions(out).items()}


@pytest.mark.parametrize("step", [SIDE, SIDE * 0.95, STEP + 25, STEP - 60], ids=str)
def test_an_overlap_that_is_stated_wrongly_or_not_at_all_is_found(
    tmp_path: Path, taken: Grid, step: float
) -> None:
    out = tmp_path / "x.ome.zarr"
    result = stitch(lay_out(tmp_path, taken, spaced(step)), out)
    assert result.held == 0
    assert [note for note in result.notes if "steps were wrong" in note]
    assert max(seams(named(out), taken)) < 0.25


def test_a_layout_that_is_right_is_left_as_it_is(tmp_path: Path, taken: Grid) -> None:
    assert stitch(lay_out(tmp_path, taken, spaced(STEP)), tmp_path / "x.ome.zarr").notes == ()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_any_depth_colour_and_format_without_a_stated_overlap(
    tmp_path: Path, taken: Grid, channels: int, deep: bool, suffix: str
) -> None:
    def save(file: Path, tile: NDArray[Any]) -> None:
        pixels = tile.astype(np.uint16) * 200 if deep else tile
        pixels = np.dstack([pixels] * 3) if channels == 3 else pixels
        if suffix == ".tif":
            tifffile.imwrite(file, pixels, photometric="rgb" if channels == 3 else "minisblack")
        else:
            cv2.imwrite(str(file), pixels)

    layout = lay_out(tmp_path, taken, spaced(SIDE), lambda f, t: save(f.with_suffix(suffix), t))
    layout.write_text(layout.read_text().replace(".png", suffix))
    stitch(layout, tmp_path / "x.ome.zarr")
    found = {name.removesuffix(suffix): row for name, row in positions(tmp_path / "x.ome.zarr").items()}
    assert max(seams(found, taken)) < 0.3
    spec = PyramidStore.open(tmp_path / "x.ome.zarr").spec
    assert (spec.channels, spec.dtype) == (channels, "uint16" if deep else "uint8")


ORDERS: dict[str, tuple[Place, str]] = {
    "rows for columns": (lambda row, col: (row, col), "swapped"),
    "serpentine as raster": (lambda row, col: (col if row % 2 == 0 else COLS - 1 - col, row), "serpentine"),
    "from right to left": (lambda row, col: (COLS - 1 - col, row), "other way"),
    "upside down": (lambda row, col: (col, ROWS - 1 - row), "other way"),
    "three columns for four": (lambda row, col: ((row * 4 + col) % 3, (row * 4 + col) // 3), "columns"),
    "any order": (lambda row, col: ((row * 4 + col) * 5 % 12 % 4, (row * 4 + col) * 5 % 12 // 4), "order"),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("step", [STEP, SIDE], ids=["overlap stated", "no overlap stated"])
def test_a_grid_in_the_wrong_order_is_refused_with_examples(
    tmp_path: Path, taken: Grid, order: str, step: float
) -> None:
    place, says = ORDERS[order]
    if order == "rows for columns":
        layout = lay_out(tmp_path, taken, lambda row, col: (row * step, col * step))
    else:
        layout = lay_out(tmp_path, taken, lambda r, c: (place(r, c)[0] * step, place(r, c)[1] * step))
    with pytest.raises(BadInput, match=says) as caught:
        stitch(layout, tmp_path / "x.ome.zarr")
    assert all(problem.file == str(layout) and ".png" in problem.problem for problem in caught.value.problems)
    assert not (tmp_path / "x.ome.zarr").exists()


@pytest.mark.parametrize("blank", [False, True])
def test_tiles_that_share_nothing_are_held_and_it_is_said(tmp_path: Path, blank: bool) -> None:
    sheet = cells_on_glass(2 * SIDE, 3 * SIDE, 5).astype(np.uint8)
    noise = np.random.default_rng(1).normal(230, 2, sheet.shape).astype(np.uint8)
    shown = noise if blank else sheet
    cells = [(row, col) for row in range(2) for col in range(3)]
    tiles = tuple(shown[r * SIDE : (r + 1) * SIDE, c * SIDE : (c + 1) * SIDE] for r, c in cells)
    grid = Grid(tiles, tuple(cells), (), ())
    result = stitch(lay_out(tmp_path, grid, spaced(SIDE)), tmp_path / "x.ome.zarr")
    assert result.held == result.placed == 6
    assert "no two tiles show anything that matches" in result.notes[0]
    store = PyramidStore.open(tmp_path / "x.ome.zarr")
    assert np.array_equal(store.read(0, 0, 0, 2 * SIDE, 3 * SIDE)[0], shown)


def test_every_fault_of_the_tiles_is_named_at_once(tmp_path: Path, taken: Grid) -> None:
    layout = lay_out(tmp_path, taken, spaced(STEP))
    (tmp_path / "t1.png").write_bytes((tmp_path / "t1.png").read_bytes()[:9000])
    cv2.imwrite(str(tmp_path / "t0.png"), taken.tiles[0][:200])
    cv2.imwrite(str(tmp_path / "t6.png"), taken.tiles[6].astype(np.uint16))
    cv2.imwrite(str(tmp_path / "t9.png"), taken.tiles[8])
    (tmp_path / "t11.png").write_text("a text")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(BadInput) as caught:
        stitch(layout, tmp_path / "x.ome.zarr")
    said = {Path(problem.file).name: problem.problem for problem in caught.value.problems}
    assert set(said) == {"t0.png", "t1.png", "t6.png", "t9.png", "t11.png"}
    assert "most tiles (256, 256) of uint8" in said["t0.png"]
    assert "pixel for pixel what t8.png" in said["t9.png"]
    assert sorted(tmp_path.iterdir()) == before


def test_two_tiles_at_one_place_and_a_file_listed_by_two_names(tmp_path: Path, taken: Grid) -> None:
    layout = lay_out(tmp_path, taken, lambda row, col: (col * STEP, min(row, 1) * STEP))
    with pytest.raises(BadInput, match="claim the same place"):
        stitch(layout, tmp_path / "x.ome.zarr")
    layout.write_text(layout.read_text() + "./t3.png,5000,5000\n")
    with pytest.raises(BadInput, match=r"lists \./t3\.png a second time, before as t3\.png"):
        stitch(layout, tmp_path / "x.ome.zarr")


def test_a_jpeg_in_a_tiff_that_was_cut_short_is_no_tile(tmp_path: Path, taken: Grid) -> None:
    layout = lay_out(
        tmp_path,
        taken,
        spaced(STEP),
        lambda f, t: tifffile.imwrite(f.with_suffix(".tif"), t, compression="jpeg"),
    )
    layout.write_text(layout.read_text().replace(".png", ".tif"))
    whole = (tmp_path / "t4.tif").read_bytes()
    (tmp_path / "t4.tif").write_bytes(whole[:-20])
    with pytest.raises(BadInput, match=r"t4\.tif: cannot be read: the file ends before its pixels"):
        stitch(layout, tmp_path / "x.ome.zarr")


def test_a_missing_tile_is_told(tmp_path: Path, taken: Grid) -> None:
    layout = lay_out(tmp_path, taken, spaced(STEP))
    (tmp_path / "t5.png").unlink()
    result = stitch(layout, tmp_path / "x.ome.zarr")
    assert result.notes == ("missing, a hole in the image: t5.png",)
    assert PyramidStore.open(tmp_path / "x.ome.zarr").facts["missing"] == 1


def test_a_disk_that_fills_up_leaves_nothing_and_is_told_with_the_image(tmp_path: Path, taken: Grid) -> None:
    layout = lay_out(tmp_path, taken, spaced(STEP))
    before = sorted(tmp_path.iterdir())
    with small_files_only(), pytest.raises(RackscanError, match=r"x\.ome\.zarr .*nothing was left behind"):
        stitch(layout, tmp_path / "x.ome.zarr")
    assert sorted(tmp_path.iterdir()) == before


def test_what_a_kill_leaves_does_not_call_itself_complete(tmp_path: Path, taken: Grid) -> None:
    layout = lay_out(tmp_path, taken, spaced(STEP))
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "import scanner.offline.stitch as s\n"
        "s.write_atomic = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"  # the moment before it is complete
        "s.stitch(Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    out = tmp_path / "x.ome.zarr"
    subprocess.run([sys.executable, "-c", code, str(layout), str(out)], check=False)
    assert PyramidStore.open(out).facts["complete"] is False


def test_the_notes_go_to_stderr(
    tmp_path: Path, taken: Grid, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = lay_out(tmp_path, taken, spaced(SIDE))
    words = ["rackscan", "stitch", str(layout), "--out", str(tmp_path / "x.ome.zarr")]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    assert not ended.value.code
    assert said.out.startswith("12 of 12 tiles placed")
    assert "the layout's steps were wrong" in said.err
