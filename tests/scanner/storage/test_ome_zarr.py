"""Is the image valid and whole at every moment, also after a kill in the middle of a write?"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaozarrs
import zarr
from ome_zarr_models.v05.image import Image

from scanner.errors import BadInput, DamagedRun, RackscanError
from scanner.model.tile import Pixels
from scanner.storage.ngff import ImageSpec
from scanner.storage.ome_zarr import PyramidStore

ROOT = Path(__file__).parents[3]
SPEC = ImageSpec(
    name="slide",
    width_px=3000,
    height_px=2500,
    dtype="uint8",
    channels=3,
    um_per_px=0.5,
    origin_um=(100, 200),
)


def block(seed: int, spec: ImageSpec = SPEC) -> Pixels:
    shown = np.random.default_rng(seed).integers(0, 256, (spec.channels, 2048, 2048), dtype=np.uint8)
    return shown if spec.dtype == "uint8" else shown.astype(np.uint16)


def validate(path: Path) -> None:
    yaozarrs.validate_zarr_store(str(path))
    Image.from_zarr(zarr.open_group(path, mode="r"))


def test_an_image_is_valid_and_says_incomplete_before_its_first_pixel(tmp_path: Path) -> None:
    store = PyramidStore.create(tmp_path / "a.ome.zarr", SPEC, {"run": "7"})
    validate(store.path)
    assert store.facts["complete"] is False
    assert store.facts["run"] == "7"
    assert (store.read(0, 0, 0, 10, 10) == 255).all()


def test_level_names_axes_chunks_and_places_are_what_other_programs_expect(tmp_path: Path) -> None:
    store = PyramidStore.create(tmp_path / "a.ome.zarr", SPEC)
    ome = json.loads((store.path / "zarr.json").read_text())["attributes"]["ome"]
    multiscale = ome["multiscales"][0]
    assert [a["name"] for a in multiscale["axes"]] == ["c", "y", "x"]
    assert [d["path"] for d in multiscale["datasets"]] == ["0", "1", "2", "3"]
    scale, translation = multiscale["datasets"][1]["coordinateTransformations"]
    assert scale["scale"] == [1, 1.0, 1.0]
    assert translation["translation"] == [0, 200.5, 100.5]
    assert [c["label"] for c in ome["omero"]["channels"]] == ["Red", "Green", "Blue"]
    array = zarr.open_array(store.path / "0", mode="r")
    assert (array.shape, array.chunks, array.shards) == ((3, 2500, 3000), (1, 512, 512), (3, 2048, 2048))
    assert array.fill_value == 255


@pytest.mark.parametrize(("dtype", "channels", "layers"), [("uint16", 1, None), ("uint8", 3, 2)])
def test_gray_deep_and_layered_images_are_valid_and_read_back(
    tmp_path: Path, dtype: str, channels: int, layers: int | None
) -> None:
    asked = {"name": "g", "width_px": 2100, "height_px": 900, "um_per_px": None}
    spec = ImageSpec.model_validate({**asked, "dtype": dtype, "channels": channels, "layers": layers})
    store = PyramidStore.create(tmp_path / "g.ome.zarr", spec)
    z = 0 if layers is None else 1
    shown = block(1, spec)
    store.write(0, 0, 0, shown, z)
    store.complete({})
    validate(store.path)
    assert np.array_equal(
        PyramidStore.open(store.path).read(0, 10, 20, 300, 400, z), shown[:, 10:310, 20:420]
    )


def test_a_map_of_numbers_is_a_valid_image_and_nothing_where_nothing_is_known(tmp_path: Path) -> None:
    size = {"width_px": 400, "height_px": 300, "shard_px": 256}
    spec = ImageSpec.model_validate(
        {**SPEC.model_dump(), **size, "dtype": "float32", "channels": 1, "shown": (-9, 9)}
    )
    store = PyramidStore.create(tmp_path / "h.ome.zarr", spec)
    shown = np.full((1, 256, 256), 2.5, np.float32)
    store.write(0, 0, 1, shown)
    store.complete({})
    validate(store.path)
    again = PyramidStore.open(store.path)
    assert again.spec == spec
    assert list(again.blocks()) == [(0, 0, 1)]
    assert not again.exists(0, 0, 2)
    read = again.read(0, 0, 200, 10, 100)
    assert np.isnan(read[..., :56]).all()
    assert (read[..., 56:] == 2.5).all()
    window = json.loads((store.path / "zarr.json").read_text())["attributes"]["ome"]["omero"]["channels"][0][
        "window"
    ]
    assert (window["start"], window["end"]) == (-9, 9)


def test_an_image_of_one_plane_says_nothing_of_what_it_has_not(tmp_path: Path) -> None:
    store = PyramidStore.create(tmp_path / "a.ome.zarr", SPEC)
    said = json.loads((store.path / "zarr.json").read_text())["attributes"]
    assert set(said["rackscan"]["image"]) == {
        *(
            "name",
            "width_px",
            "height_px",
            "dtype",
            "channels",
            "um_per_px",
            "origin_um",
            "layers",
            "layer_um",
        )
    }
    assert said["ome"]["omero"]["rdefs"] == {"model": "color"}


def test_what_is_written_is_read_back_from_any_place_and_white_beyond(tmp_path: Path) -> None:
    store = PyramidStore.create(tmp_path / "a.ome.zarr", SPEC)
    left, right = block(1), block(2)
    store.write(0, 0, 0, left)
    store.write(0, 0, 1, right)
    across = store.read(0, 100, 2000, 50, 100)
    assert np.array_equal(across[..., :48], left[:, 100:150, 2000:2048])
    assert np.array_equal(across[..., 48:], right[:, 100:150, :52])
    beyond = store.read(0, -5, 2990, 20, 20)
    assert np.array_equal(beyond[:, 5:, :10], right[:, :15, 2990 - 2048 : 3000 - 2048])
    assert (beyond[:, :5] == 255).all()
    assert (beyond[..., 10:] == 255).all()
    whole = store.block(0, 0, 1)
    assert np.array_equal(whole[..., :952], right[..., :952])
    assert (whole[..., 952:] == 255).all()


def test_a_block_is_there_when_it_was_written(tmp_path: Path) -> None:
    store = PyramidStore.create(tmp_path / "a.ome.zarr", SPEC)
    white = np.full((3, 2048, 2048), 255, np.uint8)
    store.write(0, 0, 0, white)
    store.write(1, 0, 0, block(3))
    assert store.has(0, 0, 0)
    assert store.file(1, 0, 0).is_file()
    assert not store.has(0, 0, 1)


def test_complete_is_said_last_with_its_facts(tmp_path: Path) -> None:
    store = PyramidStore.create(tmp_path / "a.ome.zarr", SPEC, {"run": "7"})
    store.write(0, 1, 1, block(4))
    store.complete({"planned": 3})
    facts = PyramidStore.open(store.path).facts
    assert (facts["complete"], facts["planned"], facts["run"]) == (True, 3, "7")
    assert store.has(0, 1, 1)


def test_an_image_is_never_written_over(tmp_path: Path) -> None:
    PyramidStore.create(tmp_path / "a.ome.zarr", SPEC)
    with pytest.raises(BadInput, match="already"):
        PyramidStore.create(tmp_path / "a.ome.zarr", SPEC)


def test_what_is_no_image_of_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DamagedRun):
        PyramidStore.open(tmp_path)
    (tmp_path / "zarr.json").write_text('{"attributes": {}}')
    with pytest.raises(DamagedRun):
        PyramidStore.open(tmp_path)


def test_a_block_that_cannot_be_written_stops_the_run_with_words(tmp_path: Path) -> None:
    store = PyramidStore.create(tmp_path / "a.ome.zarr", SPEC)
    (store.path / "0" / "c").write_text("in the way")
    with pytest.raises(RackscanError, match="0/c/0/0/0: the disk failed"):
        store.write(0, 0, 0, block(5))


WRITER = """
import sys
from pathlib import Path
import numpy as np
from scanner.storage.ngff import ImageSpec
from scanner.storage.ome_zarr import PyramidStore

spec = ImageSpec(name="k", width_px=4096, height_px=20480, dtype="uint8", channels=3, um_per_px=0.5)
store = PyramidStore.create(Path(sys.argv[1]), spec)
for k in range(20):
    store.write(0, k // 2, k % 2, np.full((3, 2048, 2048), k, np.uint8) + np.arange(2048, dtype=np.uint8))
    print(k, flush=True)
"""


@pytest.mark.parametrize("after", [1, 6, 11])
def test_after_a_kill_every_block_is_whole_or_absent_and_the_image_opens(tmp_path: Path, after: int) -> None:
    path = tmp_path / "k.ome.zarr"
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    for _ in range(after):
        child.stdout.readline()
    time.sleep(0.003 * after)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    validate(path)
    store = PyramidStore.open(path)
    store.sweep()
    assert not [f for f in path.rglob("*") if f.name.endswith((".__lock", ".tmp"))]
    for k in range(20):
        if store.has(0, k // 2, k % 2):
            whole = np.full((3, 2048, 2048), k, np.uint8) + np.arange(2048, dtype=np.uint8)
            assert np.array_equal(store.block(0, k // 2, k % 2), whole)
    store.write(0, 9, 1, block(6))
    store.complete({})
    validate(path)


@pytest.mark.parametrize("version", [2, "2", 1.5])
def test_an_image_of_a_newer_rackscan_is_refused_whatever_else_it_holds(
    tmp_path: Path, version: object
) -> None:
    PyramidStore.create(tmp_path / "x", SPEC)
    group = json.loads((tmp_path / "x" / "zarr.json").read_text())
    group["attributes"]["rackscan"] |= {"version": version, "image": "another shape"}
    (tmp_path / "x" / "zarr.json").write_text(json.dumps(group))
    with pytest.raises(BadInput, match=r"x: was written by a newer rackscan"):
        PyramidStore.open(tmp_path / "x")


def test_an_image_from_before_versions_opens(tmp_path: Path) -> None:
    PyramidStore.create(tmp_path / "x", SPEC)
    group = json.loads((tmp_path / "x" / "zarr.json").read_text())
    assert group["attributes"]["rackscan"].pop("version") == 1
    (tmp_path / "x" / "zarr.json").write_text(json.dumps(group))
    assert PyramidStore.open(tmp_path / "x").spec == SPEC
