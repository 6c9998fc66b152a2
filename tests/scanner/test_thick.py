"""Thick samples on the whole road: every layer kept, or all of them fused, and the same bytes again from kept tiles."""

import json
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaozarrs
import zarr
from numpy.typing import NDArray
from ome_zarr_models.v05.image import Image

from scanner.devices.simulated.field import FieldCamera
from scanner.devices.simulated.rack import SimulatedRack
from scanner.devices.simulated.slide import ProceduralSlide
from scanner.devices.simulated.specimen import CameraGrid
from scanner.devices.simulated.truth import SQUAMOUS
from scanner.model.geometry import Point
from scanner.model.report import Outcome, RunResult, SlideReport
from scanner.model.tile import FocusState, Pixels, Tile
from scanner.offline.verify import verify
from scanner.pipeline.registration import noise_of, register
from scanner.run import replay_run
from scanner.storage.images import open_image
from scanner.storage.ome_zarr import PyramidStore
from tests.scanner.thick import SEED, ThickRun, everything, thick_scan, whole

LAYERS = 5
FUSED_LAYERS = 7
SLIDES = SimulatedRack(SEED)


@pytest.fixture(scope="module")
def stacked(tmp_path_factory: pytest.TempPathFactory) -> tuple[ThickRun, RunResult]:
    """Four fields with every layer kept, searched by the detector."""
    folder = tmp_path_factory.mktemp("stacked")
    result = thick_scan(folder, "z-stack", LAYERS, keep_tiles=True, detector=None)
    return ThickRun.of(folder / "run", folder / "rig" / "simulated.yaml"), result


@pytest.fixture(scope="module")
def fused(tmp_path_factory: pytest.TempPathFactory) -> tuple[ThickRun, RunResult]:
    """Four fields, their layers fused."""
    folder = tmp_path_factory.mktemp("fused")
    result = thick_scan(folder, "edf", FUSED_LAYERS, keep_tiles=True)
    return ThickRun.of(folder / "run", folder / "rig" / "simulated.yaml"), result


def report_of(run: ThickRun) -> SlideReport:
    return SlideReport.model_validate_json(run.paths.report.read_text(encoding="utf-8"))


def validate(path: Path) -> None:
    yaozarrs.validate_zarr_store(path)
    Image.from_zarr(zarr.open_group(path, mode="r"))


def test_a_stacked_slide_is_done_and_verified(stacked: tuple[ThickRun, RunResult]) -> None:
    run, result = stacked
    (slide,) = result.slides
    assert slide.outcome is Outcome.DONE
    assert slide.tiles.captured == slide.tiles.planned == 4
    assert slide.cells > 0
    assert slide.frames_per_tile >= LAYERS
    assert verify(run.root).problems == ()
    assert (report_of(run).focus.strategy, report_of(run).focus.layers) == ("z-stack", LAYERS)
    assert f"z-stack, {LAYERS} layers 1 µm apart" in (run.root / "report.html").read_text(encoding="utf-8")


def test_the_layers_are_the_z_axis_of_a_valid_image(stacked: tuple[ThickRun, RunResult]) -> None:
    run, _ = stacked
    validate(run.paths.image)
    multiscale = json.loads((run.paths.image / "zarr.json").read_text())["attributes"]["ome"]["multiscales"][
        0
    ]
    assert [axis["name"] for axis in multiscale["axes"]] == ["c", "z", "y", "x"]
    scale, translation = multiscale["datasets"][0]["coordinateTransformations"]
    assert (scale["scale"][1], translation["translation"][1]) == (1.0, -2.0)
    array = zarr.open_array(run.paths.image / "0", mode="r")
    assert (array.shape[:2], array.chunks, array.shards) == (
        (3, LAYERS),
        (1, 1, 512, 512),
        (3, 1, 2048, 2048),
    )
    facts = PyramidStore.open(run.paths.image).facts
    assert facts["complete"] is True
    assert facts["focus"] == {"strategy": "z-stack", "layer_offsets_um": [-2.0, -1.0, 0.0, 1.0, 2.0]}


def test_every_tile_has_all_layers_bottom_to_top_around_its_surface(
    stacked: tuple[ThickRun, RunResult],
) -> None:
    for tile in stacked[0].tiles:
        heights = [layer.z_um for layer in tile.layers]
        assert np.diff(heights) == pytest.approx(np.ones(LAYERS - 1), abs=0.3)
        times = [layer.t_trigger_s for layer in tile.layers]
        assert times == sorted(times)


def test_each_layer_shows_what_lies_at_its_height(stacked: tuple[ThickRun, RunResult]) -> None:
    run, _ = stacked
    tile = max(run.tiles, key=lambda tile: float(run.layer(tile, LAYERS // 2)[..., 1].std()))
    taken = [run.layer(tile, n) for n in range(LAYERS)]
    at = _true_place(tile, taken[LAYERS // 2])
    drawn = [_drawn(at, layer.z_um) for layer in tile.layers]
    unlike = np.array([[_unlike(a, b) for b in drawn] for a in taken])
    assert unlike.argmin(axis=1).tolist() == list(range(LAYERS))


def _true_place(tile: Tile, middle: Pixels) -> tuple[float, float]:
    """Slide µm where the stage really was, to a fraction of a pixel: what is drawn there lies on what was taken."""
    x, y = tile.reported_x_um, tile.reported_y_um
    for turn in range(3):
        seen = _drawn((x, y), tile.layers[LAYERS // 2].z_um)
        moved = _coarsely(seen, middle) if turn == 0 else _finely(seen, middle)
        off_x, off_y = CameraGrid().to_slide(*moved)
        x, y = x - off_x, y - off_y
    return x, y


def _coarsely(before: Pixels, now: Pixels) -> tuple[float, float]:
    found = register(before, now, Point(0.0, 0.0), 256, noise_of(before))
    assert found.accepted
    return -found.dx_px, -found.dy_px


def _finely(before: Pixels, now: Pixels) -> tuple[float, float]:
    """Without the vignetting, which stays where it is."""
    a, b = (_fine(each) - cv2.GaussianBlur(_fine(each), (0, 0), 20) for each in (before, now))
    (dx, dy), _ = cv2.phaseCorrelate(a, b, cv2.createHanningWindow((a.shape[1], a.shape[0]), cv2.CV_32F))
    return dx, dy


def _drawn(at_um: tuple[float, float], z_um: float) -> Pixels:
    """What the simulated camera would take of the slide there; other noise than in any frame of the run."""
    specimen, camera = SLIDES.specimen(1, CameraGrid()), FieldCamera(SEED, CameraGrid())
    return camera.expose(specimen, at_um, z_um, 5.0, 90_000 + round(100 * z_um))


def _fine(pixels: NDArray[np.generic]) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(pixels[..., 1].astype(np.float32), (0, 0), 1.5), np.float32)


def _unlike(a: NDArray[np.generic], b: NDArray[np.generic]) -> float:
    inner = np.s_[60:-60, 60:-60]
    return 1 - float(np.corrcoef(_fine(a)[inner].ravel(), _fine(b)[inner].ravel())[0, 1])


def test_all_layers_of_a_tile_lie_at_the_same_place(stacked: tuple[ThickRun, RunResult]) -> None:
    run, _ = stacked
    middle = _fine(np.moveaxis(whole(run.paths.image, LAYERS // 2), 0, -1))
    for n in (1, 3):
        (dx, dy), _ = cv2.phaseCorrelate(middle, _fine(np.moveaxis(whole(run.paths.image, n), 0, -1)))
        assert abs(dx) + abs(dy) < 0.1


def test_the_sharpest_layer_is_the_tiles_own_and_is_said_in_the_table(
    stacked: tuple[ThickRun, RunResult],
) -> None:
    run, _ = stacked
    rows = {row["tile"]: row for row in pq.read_table(run.paths.tiles).to_pylist()}
    for tile in run.tiles:
        assert tile.layer is not None
        assert rows[tile.planned.tile]["z_um"] == tile.layers[tile.layer].z_um
        if tile.focus.state is FocusState.SHARP and tile.focus.best_z_um is not None:
            assert abs(tile.focus.best_z_um - tile.layers[tile.layer].z_um) <= 0.6


def test_other_programs_of_ours_look_at_the_middle_layer(stacked: tuple[ThickRun, RunResult]) -> None:
    path = stacked[0].paths.image
    seen = open_image(path).read(100, 200, 60, 50)
    assert np.array_equal(seen, np.moveaxis(whole(path, LAYERS // 2), 0, -1)[200:250, 100:160])


def test_kept_tiles_are_one_file_a_layer(stacked: tuple[ThickRun, RunResult]) -> None:
    run, _ = stacked
    names = sorted(path.name for path in (run.root / "tiles" / run.name).iterdir())
    assert len(names) == LAYERS * len(run.tiles)
    assert names[1] == "tile000000-plan01-attempt01-layer01.tif"


@pytest.mark.parametrize("which", ["stacked", "fused"])
def test_a_replay_makes_the_same_images_and_findings(
    which: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run, _ = request.getfixturevalue(which)
    replay_run(run.root, tmp_path / "again")
    assert verify(tmp_path / "again").problems == ()
    folder = tmp_path / "again" / "slides" / run.name
    for image in run.paths.images:
        assert all(
            np.array_equal(one, other, equal_nan=True)
            for one, other in zip(everything(image), everything(folder / image.name), strict=True)
        )
    if run.paths.findings.is_file():
        assert pq.read_table(run.paths.findings).equals(pq.read_table(folder / "findings.parquet"))
    assert not list((tmp_path / "again").glob("fused/*/*"))


def test_a_damaged_layer_is_found(stacked: tuple[ThickRun, RunResult]) -> None:
    run, _ = stacked
    path = run.root / "tiles" / run.name / "tile000001-plan01-attempt01-layer03.tif"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    try:
        assert [(p.check, path.name in p.detail) for p in verify(run.root).problems] == [("frames", True)]
    finally:
        path.write_bytes(data)


def test_a_fused_slide_leaves_three_valid_images(fused: tuple[ThickRun, RunResult]) -> None:
    run, result = fused
    assert result.slides[0].outcome is Outcome.DONE
    assert [path.name for path in run.paths.images] == ["height.ome.zarr", "edf.ome.zarr", "image.ome.zarr"]
    for path in run.paths.images:
        validate(path)
        assert PyramidStore.open(path).facts["complete"] is True
    assert verify(run.root).problems == ()
    assert report_of(run).edf == f"slides/{run.name}/edf.ome.zarr"
    image, edf, height = (zarr.open_array(path / "0", mode="r") for path in reversed(run.paths.images))
    assert image.shape == edf.shape
    assert height.shape == (1, image.shape[1] // 8, image.shape[2] // 8)
    assert height.dtype == np.float32


def test_a_fused_plane_shows_more_than_any_single_one(fused: tuple[ThickRun, RunResult]) -> None:
    run, _ = fused
    edf = np.moveaxis(whole(run.paths.edf), 0, -1)
    shown, single = [], []
    for tile in run.tiles:
        if tile.focus.state is not FocusState.NO_SAMPLE:
            shown.append(_energy(_cut(run, edf, tile)))
            frames = (run.upright(tile, n)[100:-100, 100:-100] for n in range(FUSED_LAYERS))
            single.append(max(_energy(frame) for frame in frames))
    assert min(np.divide(shown, single)) > 1
    assert sum(shown) > 1.05 * sum(single)


def _cut(run: ThickRun, edf: NDArray[np.generic], tile: Tile) -> NDArray[np.generic]:
    """The inside of a tile in the mosaic, to half a pixel."""
    x, y = (round(at) + 100 for at in run.places[tile.planned.tile])
    return edf[y : y + 824, x : x + 824]


def _energy(pixels: NDArray[np.generic]) -> float:
    fine = _fine(pixels)
    return float((cv2.Sobel(fine, cv2.CV_32F, 1, 0) ** 2 + cv2.Sobel(fine, cv2.CV_32F, 0, 1) ** 2).mean())


def test_no_seam_shows_in_the_fused_plane(fused: tuple[ThickRun, RunResult]) -> None:
    run, _ = fused
    edf, owners = whole(run.paths.edf)[1].astype(np.float32), run.owners()
    for axis in (0, 1):
        lines = _steps_beside_borders(edf, owners, axis)
        assert lines[0] < 1.2 * np.quantile([line for away, line in lines.items() if abs(away) > 3], 0.9)
    assert max(_steps_of_light(edf, owners)) < 2.5
    assert max(_steps_of_light(edf, owners)) < max(_steps_of_light(whole(run.paths.image)[1], owners))


def _steps_beside_borders(
    plane: NDArray[np.generic], owners: NDArray[np.int32], axis: int
) -> dict[int, float]:
    """Mean square step across the borders of the tiles, and across lines so many px away from them."""
    steps, border = np.abs(np.diff(plane, axis=axis)), np.diff(owners, axis=axis) != 0
    return {away: float((steps[np.roll(border, away, axis)] ** 2).mean()) for away in range(-40, 41)}


def _steps_of_light(plane: NDArray[np.generic], owners: NDArray[np.int32]) -> list[float]:
    """By how much two neighbours differ in brightness, grey levels: the median along their border."""
    smooth = cv2.blur(plane.astype(np.float32), (9, 9))
    found = []
    for axis in (0, 1):
        first, second = (
            np.take(owners, part, axis)
            for part in (range(6, owners.shape[axis]), range(owners.shape[axis] - 6))
        )
        step = np.take(smooth, range(6, smooth.shape[axis]), axis) - np.take(
            smooth, range(smooth.shape[axis] - 6), axis
        )
        for pair in {
            (int(a), int(b)) for a, b in zip(first[first != second], second[first != second], strict=True)
        }:
            between = (first == pair[0]) & (second == pair[1])
            if between.sum() > 2000:
                found.append(abs(float(np.median(step[between]))))
    return found


def test_the_heights_are_those_of_the_cells(fused: tuple[ThickRun, RunResult]) -> None:
    run, _ = fused
    heights = whole(run.paths.height)[0]
    grid = CameraGrid()
    off, specimen = [], SLIDES.specimen(1, grid)
    assert isinstance(specimen, ProceduralSlide)
    # a cell's own middle may lie beside its nucleus
    whole_slide = specimen.nuclei_in((0, 0), (100_000, 200_000))
    for (u, v), height_um, kind in zip(
        whole_slide.places_px, whole_slide.heights_um, whole_slide.classes, strict=True
    ):
        at = run.frame.slide_to_mosaic.apply(Point(*grid.to_slide(float(u), float(v))))
        row, col = int(at.y // 8), int(at.x // 8)
        inside = 4 <= row < heights.shape[0] - 4 and 4 <= col < heights.shape[1] - 4
        if kind in SQUAMOUS and inside:
            off.append(abs(float(heights[row, col]) - height_um))
    assert len(off) >= 20
    assert np.median(off) < 0.4


def test_the_image_beside_the_fused_plane_is_the_sharpest_layer(fused: tuple[ThickRun, RunResult]) -> None:
    run, _ = fused
    image = np.moveaxis(whole(run.paths.image), 0, -1)
    for tile in run.tiles:
        if tile.focus.state is FocusState.SHARP and tile.layer is not None:
            taken = run.layer(tile, tile.layer)[100:-100, 100:-100]
            others = [
                _unlike(_cut(run, image, tile), run.layer(tile, n)[100:-100, 100:-100])
                for n in (0, FUSED_LAYERS - 1)
            ]
            assert _unlike(_cut(run, image, tile), taken) < min(others)


def test_raw_layers_go_once_they_are_fused(tmp_path: Path) -> None:
    result = thick_scan(tmp_path, "edf", 3)
    assert result.slides[0].tiles.captured == 4
    assert verify(tmp_path / "run").problems == ()
    assert not list((tmp_path / "run").rglob("*.tif"))
