from pathlib import Path

import numpy as np
import pytest

from scanner.model.events import Kind
from scanner.review.growing import GrowingStore
from scanner.review.layers import LevelArray, SlideLayers, image_layer, slide_layers, slide_name, slide_state
from scanner.storage.ledger import Ledger
from scanner.storage.ngff import SHARD_PX, ImageSpec
from scanner.storage.ome_zarr import PyramidStore
from scanner.storage.reader import RunReader
from scanner.storage.run_folder import RunFolder, slide_id


def layers_of(run: RunFolder, slot: int) -> SlideLayers | None:
    with RunReader.open(run.root) as reader:
        return slide_layers(reader, slide_id(slot, run.settings.run))


@pytest.fixture(scope="module")
def first(finished_run: RunFolder) -> SlideLayers:
    layers = layers_of(finished_run, 1)
    assert layers is not None
    return layers


def test_the_levels_are_read_only_where_they_are_looked_at(first: SlideLayers) -> None:
    level = first.image.levels[0]
    assert level.shape == (3000, 3000, 3)
    assert level[10:30, 2990:3010].shape == (20, 10, 3)
    assert level[5, 7].shape == (3,)
    assert level[-1, :4, 0].shape == (4,)
    assert level[0:100:10, 0:50:25].shape == (10, 2, 3)


def test_a_slice_is_what_the_whole_array_would_give(first: SlideLayers) -> None:
    level = first.image.levels[-1]
    whole = np.asarray(level)
    for index in (np.s_[3:40, 5:9], np.s_[::3, ::-1], np.s_[-2, 4:8, 1], np.s_[7], np.s_[:, :, 2]):
        assert np.array_equal(level[index], whole[index])


def test_the_image_lies_in_the_slide_frame_where_the_findings_lie(first: SlideLayers) -> None:
    y, x = first.findings.places_um[0]
    row = (y - first.image.origin_um[0]) / first.image.scale_um[0]
    col = (x - first.image.origin_um[1]) / first.image.scale_um[1]
    assert (row, col) == pytest.approx((699.5, 499.5))


def test_every_captured_tile_has_an_outline_of_a_field_around_its_centre(first: SlideLayers) -> None:
    tiles = first.tiles
    assert len(tiles.segments) == 4 * 15
    boxes = tiles.segments.reshape(-1, 4, 2, 2)
    assert np.allclose(boxes[:, :, 1].sum(axis=1), 0)
    assert np.allclose(np.abs(boxes[:, 0, 1, 1]), 512)
    assert tiles.colours.shape == (60, 4)


def test_focus_points_lie_where_they_were_taken_with_their_heights_and_states(first: SlideLayers) -> None:
    assert first.focus.places_um.tolist() == [[8_600, 40_600], [8_700, 40_900.4], [9_000, 41_200]]
    assert first.focus.features["z_um"][:2].tolist() == [101.5, 101.75]
    assert np.isnan(first.focus.features["z_um"][2])
    assert first.focus.labels == ("101.50", "101.75", "no-sample")
    assert len({tuple(colour) for colour in first.focus.colours.tolist()}) == 2


def test_findings_are_one_layer_with_their_features_best_first(first: SlideLayers) -> None:
    assert list(first.findings.features["rank"]) == [1, 2]
    assert list(first.findings.features["class"]) == ["HSIL", "LSIL"]


def test_a_slide_without_an_image_has_nothing_to_show(finished_run: RunFolder) -> None:
    assert layers_of(finished_run, 3) is None


def test_the_rack_names_slides_by_accession_and_verdict_and_the_one_under_way(
    finished_run: RunFolder,
) -> None:
    with RunReader.open(finished_run.root) as reader:
        names = [slide_name(reader, each) for each in reader.slides()]
    assert names[0] == "1 · CY26-000123 · Urgent"
    assert names[2:4] == ["3 · Empty", "4 · being scanned"]


def test_a_new_block_changes_the_state_and_shows_in_the_same_array(finished_run: RunFolder) -> None:
    name = slide_id(4, finished_run.settings.run)
    store = PyramidStore.open(finished_run.slide(name).image)
    level = LevelArray(PyramidStore.open(store.path), 0)
    with RunReader.open(finished_run.root) as reader:
        before, pixels = slide_state(reader, name), level[100:104, 100:104]
        store.write(0, 0, 0, np.full((3, SHARD_PX, SHARD_PX), 7, np.uint8))
        ledger = Ledger.open(finished_run.ledger)
        ledger.append(Kind.BLOCK, name, "0.0.0", {})
        ledger.close()
        assert slide_state(reader, name) != before
    assert not np.array_equal(level[100:104, 100:104], pixels)
    assert (level[100:104, 100:104] == 7).all()


@pytest.fixture
def deep(tmp_path: Path) -> PyramidStore:
    """An image of three layers with a gray of its own each."""
    spec = ImageSpec(
        name="d",
        width_px=900,
        height_px=700,
        dtype="uint8",
        channels=3,
        um_per_px=0.5,
        layers=3,
        layer_um=2.0,
    )
    store = PyramidStore.create(tmp_path / "d.ome.zarr", spec)
    for z in range(3):
        store.write(0, 0, 0, np.full((3, SHARD_PX, SHARD_PX), 50 * z, np.uint8), z)
    return store


def test_layers_come_first_and_are_read_one_by_one(deep: PyramidStore) -> None:
    level = LevelArray(deep, 0)
    assert (level.shape, level.ndim) == ((3, 700, 900, 3), 4)
    assert level[1, 10:20, 30:34].shape == (10, 4, 3)
    assert level[:, 5, 7, 0].tolist() == [0, 50, 100]
    assert level[-1, 0, 0].tolist() == [100, 100, 100]
    assert np.asarray(level).shape == level.shape


def test_layers_lie_around_the_focus_surface_and_a_picture_for_a_page_is_the_middle_one(
    deep: PyramidStore,
) -> None:
    image = image_layer(deep)
    assert (image.scale_um, image.origin_um) == ((2.0, 0.5, 0.5), (-2.0, 0.25, 0.25))
    assert (deep.picture(0, 0, 0, 5, 5) == 50).all()


def test_a_layer_of_a_scan_under_way_shows_what_is_there_of_it(deep: PyramidStore) -> None:
    growing = GrowingStore.open(deep.path)
    assert (growing.read(1, 0, 0, 350, 450, 2) == 100).all()
