"""Are tiles of another system stitched truly, and is what cannot be used named before anything is written?"""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import yaozarrs

from scanner.errors import BadInput
from scanner.offline.stitch import positions_file, stitch
from scanner.storage.ome_zarr import PyramidStore
from tests.scanner.pipeline.conftest import Grid, take_grid

DATA = Path(__file__).parents[4] / "shared/data"
REAL = (("A_lscm_grid_3x4", "ref", 1.0), ("A_lscm_grid_4x4", "ref", 1.5), ("A_mist_phase_5x5", "exact", 1.0))


@pytest.fixture(scope="module")
def taken() -> Grid:
    return take_grid(3, 4, 21)


def lay_out(folder: Path, taken: Grid, suffix: str = ".png") -> Path:
    """The grid as files and a layout in another order."""
    lines = []
    for k, (tile, at) in enumerate(zip(taken.tiles, taken.reported, strict=True)):
        file = folder / f"t{k}{suffix}"
        if suffix == ".png":
            cv2.imwrite(str(file), tile)
        else:
            tifffile.imwrite(file, np.dstack([tile] * 3).astype(np.uint16) * 100, photometric="rgb")
        lines.append(f"{file.name},{at.x:.2f},{at.y:.2f}")
    layout = folder / "layout.csv"
    layout.write_text("file,x_px,y_px\n" + "\n".join(lines[::-1]) + "\n")
    return layout


def positions(out: Path) -> dict[str, dict[str, str]]:
    with positions_file(out).open(newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def seams(found: dict[str, dict[str, str]], taken: Grid) -> list[float]:
    """Errors of the displacements from the first tile, px."""
    at = [np.array([float(found[f"t{k}"][a]) for a in ("x_px", "y_px")]) for k in range(len(taken.tiles))]
    true = [np.array([p.x, p.y]) for p in taken.true]
    return [float(np.hypot(*((a - at[0]) - (t - true[0])))) for a, t in zip(at, true, strict=True)]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_grid_in_any_order_comes_out_in_its_true_places(tmp_path: Path, taken: Grid, suffix: str) -> None:
    out = tmp_path / "x.ome.zarr"
    result = stitch(lay_out(tmp_path, taken, suffix), out)
    assert (result.tiles, result.placed, result.image) == (12, 12, str(out))
    page = (tmp_path / "x.mosaic.html").read_text(encoding="utf-8")
    assert result.page == str(tmp_path / "x.mosaic.html")
    assert "No two tiles lie more than 0.75 px" in page
    assert "Layout, x" in page
    assert f"t5{suffix}" in page
    found = {name.removesuffix(suffix): row for name, row in positions(out).items()}
    assert {row["state"] for row in found.values()} == {"measured"}
    assert all(0.5 < float(row["confidence"]) <= 1 for row in found.values())
    assert max(seams(found, taken)) < 0.25
    yaozarrs.validate_zarr_store(str(out))
    store = PyramidStore.open(out)
    assert store.facts["complete"] is True
    x, y = (round(float(found["t5"][axis])) for axis in ("x_px", "y_px"))
    shown = store.read(0, y + 60, x + 60, 130, 130)[0]
    tile = taken.tiles[5].astype(np.float64) * (100 if suffix == ".tif" else 1)
    assert np.corrcoef(shown.ravel(), tile[60:190, 60:190].ravel())[0, 1] > 0.9


def test_an_absent_tile_is_missing_and_the_rest_is_stitched(tmp_path: Path, taken: Grid) -> None:
    layout = lay_out(tmp_path, taken)
    (tmp_path / "t5.png").unlink()
    result = stitch(layout, tmp_path / "x.ome.zarr")
    assert (result.tiles, result.placed) == (12, 11)
    row = positions(tmp_path / "x.ome.zarr")["t5.png"]
    assert (row["state"], row["x_px"], row["confidence"]) == ("missing", "", "0")


def test_a_blank_tile_is_held_where_the_layout_puts_it(tmp_path: Path, taken: Grid) -> None:
    layout = lay_out(tmp_path, taken)
    blank = np.random.default_rng(1).normal(230, 2, taken.tiles[0].shape).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "t5.png"), blank)
    stitch(layout, tmp_path / "x.ome.zarr")
    found = positions(tmp_path / "x.ome.zarr")
    assert (found["t5.png"]["state"], found["t5.png"]["confidence"]) == ("held", "0.0")
    named = {name.removesuffix(".png"): row for name, row in found.items()}
    assert seams(named, taken)[5] < 15


def test_every_bad_line_of_a_layout_is_named_with_its_number(tmp_path: Path) -> None:
    layout = tmp_path / "l.csv"
    layout.write_text("file,x_px,y_px\na.png,0,0\nb.png,far,0\n,1,2\na.png,5,5\nc.png,nan,1\n")
    with pytest.raises(BadInput) as caught:
        stitch(layout, tmp_path / "x.ome.zarr")
    assert [problem.line for problem in caught.value.problems] == [3, 4, 5, 6]
    assert list(tmp_path.iterdir()) == [layout]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("file,x,y\n", "no column x_px, y_px"),
        ("file,x_px,y_px\n", "no tile"),
        ("file,x_px,y_px\nq.png,0,0\n", "none"),
    ],
)
def test_a_layout_without_use_is_refused(tmp_path: Path, content: str, says: str) -> None:
    layout = tmp_path / "l.csv"
    layout.write_text(content)
    with pytest.raises(BadInput, match=says):
        stitch(layout, tmp_path / "x.ome.zarr")
    with pytest.raises(BadInput, match="cannot be read"):
        stitch(tmp_path / "none.csv", tmp_path / "x.ome.zarr")


@pytest.mark.parametrize("damage", [b"\x89PNG nonsense", b""])
def test_an_unreadable_tile_is_named_and_nothing_is_left_behind(
    tmp_path: Path, taken: Grid, damage: bytes
) -> None:
    layout = lay_out(tmp_path, taken)
    (tmp_path / "t7.png").write_bytes(damage)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(BadInput, match=r"t7\.png"):
        stitch(layout, tmp_path / "x.ome.zarr")
    assert sorted(tmp_path.iterdir()) == before


def test_tiles_of_two_formats_are_refused_by_name(tmp_path: Path, taken: Grid) -> None:
    layout = lay_out(tmp_path, taken)
    cv2.imwrite(str(tmp_path / "t3.png"), taken.tiles[3][:200])
    with pytest.raises(BadInput, match=r"t3\.png"):
        stitch(layout, tmp_path / "x.ome.zarr")


def test_an_image_that_is_there_is_not_touched(tmp_path: Path, taken: Grid) -> None:
    layout = lay_out(tmp_path, taken)
    (tmp_path / "x.ome.zarr").mkdir()
    (tmp_path / "x.ome.zarr" / "mine").write_text("keep")
    with pytest.raises(BadInput, match="there already"):
        stitch(layout, tmp_path / "x.ome.zarr")
    assert (tmp_path / "x.ome.zarr" / "mine").read_text() == "keep"


@pytest.mark.parametrize(("name", "truth", "tolerance_px"), REAL)
def test_real_grids_agree_with_their_references(
    tmp_path: Path, name: str, truth: str, tolerance_px: float
) -> None:
    if not (DATA / name).is_dir():
        pytest.skip(f"{DATA / name} is not on this machine")
    with (DATA / name / "positions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    step = (230, 172) if "nominal_x" not in rows[0] else (921.6, 921.6)
    lines = [f"{DATA / name / r['file']},{int(r['col']) * step[0]},{int(r['row']) * step[1]}" for r in rows]
    layout = tmp_path / "layout.csv"
    layout.write_text("file,x_px,y_px\n" + "\n".join(lines[::-1]))
    stitch(layout, tmp_path / "x.ome.zarr")
    found = positions(tmp_path / "x.ome.zarr")
    at = {}
    for row in rows:
        got = found[str(DATA / name / row["file"])]
        place = np.array([float(got["x_px"]), float(got["y_px"])])
        at[int(row["row"]), int(row["col"])] = place - [float(row[f"{truth}_x"]), float(row[f"{truth}_y"])]
    off = [at[r, c] - at[r + d, c + 1 - d] for r, c in at for d in (0, 1) if (r + d, c + 1 - d) in at]
    assert len(off) == {12: 17, 16: 24, 25: 40}[len(rows)]
    assert np.abs(off).max() < tolerance_px
