"""A simulated slide with a tile that stays soft: what shows its overlaps, and does a replay show the same?"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from autofocus.answers import Look
from scanner.acquisition.focus import TileFocusing
from scanner.model.geometry import Rect
from scanner.model.plan import PlannedTile
from scanner.model.report import RunResult
from scanner.model.tile import FocusState
from scanner.offline.verify import verify
from scanner.pipeline.canvas import tile_px
from scanner.pipeline.flat_field import Correction
from scanner.run import RunRequest, replay_run, run_rack
from scanner.storage.ome_zarr import PyramidStore
from scanner.storage.profiles import read_profile
from scanner.storage.run_folder import RunFolder
from scanner.storage.spool import Spool

PROFILES = Path(__file__).parents[2] / "hardware_profiles"
REGION = Rect(43_000.0, 11_000.0, 1_300.0, 1_300.0)
SOFT, AWAY_UM = (1, 1), 5.0
Plane = NDArray[np.float32]


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    """Nine tiles; the drive misses in the middle by 5 µm, and nothing is taken again."""
    folder = tmp_path_factory.mktemp("soft")
    shutil.copytree(PROFILES, folder / "rig", ignore=shutil.ignore_patterns("*.state.json*"))
    profile = folder / "rig" / "simulated.yaml"
    text = profile.read_text(encoding="utf-8")
    assert "acquisition:" not in text
    profile.write_text("acquisition: {retakes: 0}\n" + text, encoding="utf-8")
    planes, more = TileFocusing.planes, TileFocusing.more

    def missed(focusing: TileFocusing, tile: PlannedTile) -> Sequence[float]:
        off = AWAY_UM if (tile.row, tile.col) == SOFT else 0.0
        return tuple(z_um + off for z_um in planes(focusing, tile))

    def none_more(focusing: TileFocusing, tile: PlannedTile, looks: Sequence[Look]) -> float | None:
        return None if (tile.row, tile.col) == SOFT else more(focusing, tile, looks)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TileFocusing, "planes", missed)
        patch.setattr(TileFocusing, "more", none_more)
        request = RunRequest(
            profile=profile, out=folder / "run", slides=1, region_um=REGION, seed=3, keep_tiles=True
        )
        return folder / "run", run_rack(request)


def grain(pixels: NDArray[np.generic]) -> Plane:
    """What is finest in an image: the noise of just this exposure, and the edges of cells."""
    green = np.asarray(pixels, np.float32)
    return np.asarray(green - cv2.GaussianBlur(green, (0, 0), 1.0), np.float32)


def alike(one: Plane, other: Plane) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def test_the_soft_tile_shows_its_middle_and_its_neighbours_show_the_overlaps(
    scanned: tuple[Path, RunResult],
) -> None:
    run, result = scanned
    (file,) = (run / "slides").glob("*/tiles.parquet")
    tiles = {(one["row"], one["col"]): one for one in pq.read_table(file).to_pylist()}
    blur = {cell: FocusState(one["focus_state"]).blur for cell, one in tiles.items()}
    assert blur[SOFT] > max(blur[near] for near in ((0, 1), (1, 0)))
    profile = read_profile(PROFILES / "simulated.yaml")
    correction, (h, w) = Correction.of(profile), tile_px(profile)
    store = PyramidStore.open(run / str(result.slides[0].image))
    spool = Spool(RunFolder.open(run).frames, keep=True)

    def shown(tile: tuple[int, int], x0: int, y0: int, x1: int, y1: int) -> float:
        """How much the image in a box resembles what a tile itself shows there."""
        one = tiles[tile]
        kept = correction(spool.get(result.slides[0].slide_id, one["tile"], 1, one["attempt"]))[..., 1]
        moved = np.array([[1, 0, x0 - one["x_px"]], [0, 1, y0 - one["y_px"]]])
        part = cv2.warpAffine(kept, moved, (x1 - x0, y1 - y0), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
        image = store.read(0, y0, x0, y1 - y0, x1 - x0)[1]
        return alike(grain(part), grain(image))

    x, y = round(tiles[SOFT]["x_px"]), round(tiles[SOFT]["y_px"])
    left, top = round(tiles[1, 0]["x_px"]) + w, round(tiles[0, 1]["y_px"]) + h
    for neighbour, box in (
        ((1, 0), (left - 40, y + 150, left - 8, y + h - 150)),
        ((0, 1), (x + 150, top - 40, x + w - 150, top - 8)),
    ):
        assert shown(neighbour, *box) > 0.9
        assert shown(SOFT, *box) < 0.7
    assert shown(SOFT, x + 150, y + 150, x + w - 150, y + h - 150) > 0.9


def test_a_replay_shows_and_finds_the_same(scanned: tuple[Path, RunResult], tmp_path: Path) -> None:
    run, result = scanned
    again = replay_run(run, tmp_path / "again")

    def whole(root: Path, of: RunResult) -> NDArray[np.generic]:
        store = PyramidStore.open(root / str(of.slides[0].image))
        w, h = store.sizes[0]
        return store.read(0, 0, 0, h, w)

    assert np.array_equal(whole(run, result), whole(tmp_path / "again", again))
    live, later = (
        pq.read_table(next((root / "slides").glob("*/findings.parquet"))).to_pylist()
        for root in (run, tmp_path / "again")
    )
    assert live
    assert [one | {"slide_id": ""} for one in live] == [one | {"slide_id": ""} for one in later]
    assert verify(run).problems == ()
    assert verify(tmp_path / "again").problems == ()
