import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from scanner.model.events import Kind
from scanner.review.layers import OutlineLayer, image_layer
from scanner.storage.ledger import Ledger
from scanner.storage.ngff import SHARD_PX, ImageSpec
from scanner.storage.ome_zarr import PyramidStore
from scanner.storage.reader import RunReader
from scanner.storage.run_folder import RunFolder, slide_id

if TYPE_CHECKING:
    from scanner.review.napari_viewer import RunView

if not (shutil.which("Xvfb") or os.environ.get("DISPLAY")):
    pytest.skip(
        "no screen: install xvfb (apt-get install xvfb libxcb-icccm4 libxcb-keysyms1)",
        allow_module_level=True,
    )
napari = pytest.importorskip("napari", reason="the extra `view` is not installed")
ViewerModel = pytest.importorskip("napari.components").ViewerModel
viewer_module = pytest.importorskip("scanner.review.napari_viewer")


@pytest.fixture(scope="module")
def shown(finished_run: RunFolder, qapp: object) -> Iterator["RunView"]:
    viewer = napari.Viewer(show=False)
    view = viewer_module.RunView(viewer, RunReader.open(finished_run.root))
    view.timer.stop()
    yield view
    view.close()
    viewer.close()


def test_a_run_opens_on_the_slide_under_way_with_four_layers(shown: "RunView") -> None:
    assert shown.rack.currentRow() == 3
    assert [layer.name for layer in shown.viewer.layers] == ["slide", "tiles", "focus points", "findings"]


def test_another_slide_of_the_rack_replaces_the_layers(shown: "RunView") -> None:
    shown.rack.setCurrentRow(0)
    findings = shown.viewer.layers["findings"]
    assert len(findings.data) == 2
    assert list(findings.features["score"]) == [0.93, 0.41]
    assert shown.found.count() == 2


def test_focus_points_show_heights_and_can_be_moved_and_copied(shown: "RunView") -> None:
    shown.rack.setCurrentRow(0)
    layer = shown.viewer.layers["focus points"]
    assert list(layer.features["state"]) == ["found", "found", "no-sample"]
    assert layer.features["z_um"][0] == pytest.approx(101.5)
    layer.data = np.array([[12_000.0, 45_500.0], [12_400.0, 45_100.0]])
    assert shown.copy_focus_points() == "      - [45.500, 12.000]\n      - [45.100, 12.400]"


def test_stepping_goes_down_the_ranking_and_stops_at_its_end(shown: "RunView") -> None:
    shown.rack.setCurrentRow(0)
    shown.step(1)
    assert shown.viewer.scene.camera.center[-2:] == pytest.approx(
        tuple(shown.viewer.layers["findings"].data[0])
    )
    for _ in range(5):
        shown.step(1)
    assert shown.finding == 1


def press(shown: "RunView", key: str) -> None:
    """As the canvas does with a key."""
    viewer = shown.viewer.window._qt_viewer
    assert viewer._key_map_handler.press_key(key)


def test_keys_say_what_a_finding_is_and_each_word_is_saved_and_shown(
    shown: "RunView", finished_run: RunFolder
) -> None:
    shown.rack.setCurrentRow(1)
    shown.rack.setCurrentRow(0)
    name = slide_id(1, finished_run.settings.run)
    press(shown, "1")
    assert shown.panel.told.text() == "Choose a finding first: N."
    shown.viewer.layers.selection.active = shown.viewer.layers["findings"]
    press(shown, "n")
    press(shown, "0")
    press(shown, "n")
    press(shown, "x")
    assert [shown.found.item(row).text().split("→")[-1].strip() for row in (0, 1)] == ["NILM", "no cell"]
    assert len(shown.viewer.layers["findings"].data) == 2
    assert list(shown.viewer.layers["corrections"].features["said"]) == ["NILM", "no cell"]
    press(shown, "u")
    assert "→" not in shown.found.item(1).text()
    press(shown, "c")
    words = [(c.rank, c.name) for a in shown.reader.corrections(name) for c in a.corrections]
    assert words == [(1, "NILM"), (2, ""), (2, ""), (2, "LSIL")]


def test_a_cell_that_was_missed_is_added_under_the_mouse_and_named(
    shown: "RunView", finished_run: RunFolder
) -> None:
    shown.rack.setCurrentRow(0)
    name = slide_id(1, finished_run.settings.run)
    shown.viewer.cursor.position = (8_300.0, 40_400.0)
    press(shown, "a")
    assert shown.panel.told.text() == "A cell that was missed: name its class."
    shown.panel.buttons["4"].click()
    added = shown.reader.corrections(name)[-1].corrections[0]
    assert (added.rank, added.name, added.x_um, added.y_um) == (None, "HSIL", 40_400.0, 8_300.0)
    assert [8_300.0, 40_400.0] in shown.viewer.layers["corrections"].data.tolist()
    shown.viewer.cursor.position = (0.0, 0.0)
    press(shown, "a")
    press(shown, "4")
    assert shown.panel.told.text().startswith("NOT SAVED")
    shown.rack.setCurrentRow(1)
    assert "corrections" not in shown.viewer.layers
    shown.rack.setCurrentRow(0)
    assert "corrections" in shown.viewer.layers


def test_focus_points_keep_the_keys_of_napari(shown: "RunView") -> None:
    shown.rack.setCurrentRow(0)
    layer = shown.viewer.layers["focus points"]
    layer.visible = True
    shown.viewer.layers.selection.active = layer
    said = len(shown.reader.corrections(slide_id(1, shown.reader.folder.settings.run)))
    press(shown, "2")
    assert layer.mode == "add"
    assert len(shown.reader.corrections(slide_id(1, shown.reader.folder.settings.run))) == said


def test_a_slide_without_an_image_shows_nothing_and_breaks_nothing(shown: "RunView") -> None:
    shown.rack.setCurrentRow(2)
    shown.refresh()
    assert len(shown.viewer.layers) == 0


def test_what_is_written_during_the_scan_shows_at_the_next_look(
    shown: "RunView", finished_run: RunFolder
) -> None:
    name = slide_id(4, finished_run.settings.run)
    shown.rack.setCurrentRow(3)
    layer = shown.viewer.layers["slide"]
    store = PyramidStore.open(finished_run.slide(name).image)
    top = len(store.sizes) - 1
    store.write(top, 0, 0, np.full((3, SHARD_PX, SHARD_PX), 60, np.uint8))
    shown._state = ()
    shown.refresh()
    assert (np.asarray(layer.data[top]) == 60).all()


def test_who_watches_the_newest_slide_is_taken_along_to_the_next(
    shown: "RunView", finished_run: RunFolder
) -> None:
    shown.rack.setCurrentRow(3)
    ledger = Ledger.open(finished_run.ledger)
    ledger.append(Kind.SLIDE_LOADED, slide_id(5, finished_run.settings.run), "", {"slot": 5})
    ledger.close()
    shown.refresh()
    assert shown.rack.currentRow() == 4
    assert len(shown.viewer.layers) == 0


def test_an_image_without_a_tile_can_be_shown_and_filled(shown: "RunView") -> None:
    shown.rack.setCurrentRow(0)
    assert shown.shown is not None
    full = shown.shown
    none = OutlineLayer(np.zeros((0, 2, 2)), np.zeros((0, 4)))
    shown.viewer.layers.clear()
    viewer_module.add_layers(shown.viewer, replace(full, tiles=none))
    assert len(shown.viewer.layers["tiles"].data) == 0
    viewer_module.update_layers(shown.viewer, full)
    assert len(shown.viewer.layers["tiles"].data) == len(full.tiles.segments)
    viewer_module.update_layers(shown.viewer, replace(full, tiles=none))


def test_layers_lie_under_a_slider_that_begins_on_the_focus_surface_and_heights_wait_to_be_switched_on(
    shown: "RunView", tmp_path: Path
) -> None:
    assert shown.shown is not None
    size = {"name": "d", "width_px": 900, "height_px": 700, "dtype": "uint8", "channels": 3, "um_per_px": 0.5}
    deep = ImageSpec.model_validate({**size, "layers": 3, "layer_um": 2.0})
    numbers = ImageSpec.model_validate({**size, "dtype": "float32", "channels": 1, "shown": (-9, 9)})
    image, height = (
        image_layer(PyramidStore.create(tmp_path / f"{n}.ome.zarr", spec))
        for n, spec in enumerate((deep, numbers))
    )
    viewer = ViewerModel()
    viewer_module.add_layers(viewer, replace(shown.shown, image=image, edf=None, height=height))
    assert [layer.name for layer in viewer.layers][:3] == ["slide", "height", "tiles"]
    assert viewer.dims.point[0] == 0
    assert viewer.dims.range[0] == (-2, 2, 2)
    assert not viewer.layers["height"].visible


def test_a_findings_planes_lie_over_the_slide_until_they_are_put_away(
    shown: "RunView", tmp_path: Path
) -> None:
    shown.rack.setCurrentRow(1)
    shown.rack.setCurrentRow(0)
    press(shown, "p")
    assert shown.panel.told.text() == "Choose a finding first: N."
    press(shown, "n")
    press(shown, "p")
    assert shown.panel.told.text() == "This finding was not taken again."
    assert shown.shown is not None
    spec = {
        "name": "c",
        "width_px": 3000,
        "height_px": 3000,
        "dtype": "uint8",
        "channels": 3,
        "um_per_px": 0.5,
    }
    deep = ImageSpec.model_validate({**spec, "layers": 5, "layer_um": 1.5, "origin_um": (40_000.0, 8_000.0)})
    cells = image_layer(PyramidStore.create(tmp_path / "cells.ome.zarr", deep))
    findings = shown.shown.findings
    taken = replace(findings, features=dict(findings.features) | {"layer": np.array([3, -1])})
    shown.shown = replace(shown.shown, cells=cells, findings=taken)
    press(shown, "p")
    planes = shown.viewer.layers["planes"]
    assert planes.data.shape[0] == 5
    assert shown.viewer.dims.point[0] == pytest.approx((3 - 2) * 1.5)
    middle = np.array(planes.extent.world).mean(axis=0)[1:]
    assert middle == pytest.approx(findings.places_um[0], abs=1.0)
    press(shown, "p")
    assert "planes" not in shown.viewer.layers
    press(shown, "p")
    press(shown, "n")
    assert "planes" not in shown.viewer.layers
