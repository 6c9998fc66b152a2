"""Is an image readable by others in every mode, does it say how it is kept, and does it refuse what it cannot read?"""

import itertools
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaozarrs
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from ome_zarr_models.v05.image import Image

from scanner.errors import BadInput, DamagedRun
from scanner.model.profile import CameraNoise, StorageCodec
from scanner.model.rounding import Rounding, Stored
from scanner.storage.ngff import FORMAT, ImageSpec
from scanner.storage.ome_zarr import PyramidStore
from scanner.storage.shards import ShardEncoder

ROOT = Path(__file__).parents[3]
NOISE = CameraNoise(electrons_per_dn=39.3, read_dn=0.43)
ROUNDING = Rounding.within(NOISE, "a test", np.dtype(np.uint8))


def spec(**changes: Any) -> ImageSpec:
    size = {
        "name": "m",
        "width_px": 2500,
        "height_px": 700,
        "dtype": "uint8",
        "channels": 3,
        "um_per_px": 0.5,
    }
    return ImageSpec.model_validate({**size, **changes})


def noisy(spec: ImageSpec) -> Any:
    side = spec.shard_px
    return np.random.default_rng(5).normal(200, 3, (spec.channels, side, side)).astype(spec.dtype)


def shard(block: Any) -> bytes:
    """The file of a block as large as lies on the canvas."""
    encoder, sizes, end = ShardEncoder(spec()), {}, 0
    for place, rows, cols in encoder.places(*block.shape[1:]):
        sizes[place] = encoder.encode(block[:, rows, cols], end)
        end += sum(sizes[place])
    return bytes(encoder.shard(sizes))


@pytest.mark.parametrize("codec", list(StorageCodec))
@pytest.mark.parametrize(("dtype", "channels"), [("uint8", 3), ("uint16", 1), ("float32", 1)])
def test_zarr_python_reads_every_codec_to_the_last_bit(
    tmp_path: Path, codec: StorageCodec, dtype: str, channels: int
) -> None:
    kept = spec(dtype=dtype, channels=channels, storage=Stored(codec=codec))
    store = PyramidStore.create(tmp_path / "m.ome.zarr", kept)
    shown = noisy(kept)
    store.write(0, 0, 0, shown)
    store.write(0, 0, 1, shown.transpose(0, 2, 1))
    store.complete({})
    yaozarrs.validate_zarr_store(str(store.path))
    group = zarr.open_group(store.path, mode="r")
    Image.from_zarr(group)
    read = np.asarray(group["0"])
    assert np.array_equal(read[..., :2048], shown[:, :700])
    assert np.array_equal(read[..., 2048:], shown.transpose(0, 2, 1)[:, :700, :452])
    assert PyramidStore.open(store.path).spec == kept
    assert np.array_equal(PyramidStore.open(store.path).read(0, 0, 0, 700, 2048), shown[:, :700])


def test_the_widest_read_codec_is_zarrs_own_zstd(tmp_path: Path) -> None:
    store = PyramidStore.create(tmp_path / "m.ome.zarr", spec(storage=Stored(codec=StorageCodec.ZSTD)))
    shard = json.loads((store.path / "0" / "zarr.json").read_text())["codecs"][0]["configuration"]
    assert [codec["name"] for codec in shard["codecs"]] == ["bytes", "zstd"]


def test_a_shard_depends_on_the_pixels_and_not_on_how_they_lie_in_memory() -> None:
    block = noisy(spec())
    by_pixel = np.ascontiguousarray(block.transpose(1, 2, 0)).transpose(2, 0, 1)
    assert shard(by_pixel) == shard(block)


@settings(max_examples=5, deadline=None)
@given(order=st.permutations(list(itertools.product((0, 1024), (0, 512, 1024)))))
def test_a_shard_does_not_depend_on_the_order_in_which_its_parts_came(order: list[tuple[int, int]]) -> None:
    kept = spec(width_px=1324, height_px=1500)
    block = noisy(kept)
    with tempfile.TemporaryDirectory() as folder:
        store = PyramidStore.create(Path(folder) / "m.ome.zarr", kept)
        for y, x in order:
            store.write_part(0, 0, 0, y, x, block[:, y : y + 1024, x : x + 512])
            assert list(store.blocks()) == []
        store.finish(0, 0, 0)
        assert store.file(0, 0, 0).read_bytes() == shard(block[:, :1500, :1324])
        assert [f.name for f in store.file(0, 0, 0).parent.iterdir()] == ["0"]


def test_what_no_part_of_a_block_shows_is_white_and_its_bytes_are_those_of_a_white_block(
    tmp_path: Path,
) -> None:
    kept = spec(height_px=2500)
    block = noisy(kept)
    store = PyramidStore.create(tmp_path / "m.ome.zarr", kept)
    store.write_part(0, 0, 0, 512, 1536, block[:, 512:1024, 1536:])
    store.finish(0, 0, 0)
    white = np.full_like(block, 255)
    white[:, 512:1024, 1536:] = block[:, 512:1024, 1536:]
    assert np.array_equal(store.block(0, 0, 0), white)
    assert store.file(0, 0, 0).read_bytes() == shard(white)


def test_parts_that_a_killed_writer_left_are_no_files_and_are_written_anew(tmp_path: Path) -> None:
    block = noisy(spec())
    killed = PyramidStore.create(tmp_path / "m.ome.zarr", spec())
    before = sorted(killed.path.rglob("*"))
    killed.write_part(0, 0, 0, 0, 0, block[:, :512, :512])
    assert sorted(killed.path.rglob("*")) == before
    again = PyramidStore.open(killed.path)
    again.write_part(0, 0, 0, 0, 0, block)
    again.finish(0, 0, 0)
    assert again.file(0, 0, 0).read_bytes() == shard(block[:, :700])


def test_chunks_beyond_the_canvas_are_not_stored() -> None:
    index = np.frombuffer(shard(noisy(spec())[:, :700, :452])[-4 - 16 * 48 : -4], "<u8").reshape(3, 4, 4, 2)
    there = index[..., 0] != np.iinfo(np.uint64).max
    assert there[:, :2, :1].all()
    assert there.sum() == 3 * 2 * 1


def test_an_image_says_its_mode_its_steps_and_its_noise(tmp_path: Path) -> None:
    store = PyramidStore.create(tmp_path / "m.ome.zarr", spec(storage=Stored(rounding=ROUNDING)))
    said: Any = store.facts["storage"]
    assert (said["mode"], said["codec"]) == ("noise-limited", "lz4")
    assert said["rounding"]["noise"] == {"electrons_per_dn": 39.3, "read_dn": 0.43}
    assert said["rounding"]["steps"][-1] == {"from_dn": 152, "step_dn": 4, "sigma_dn": 2.0131}
    assert PyramidStore.open(store.path).spec.storage.rounding == ROUNDING
    plain = PyramidStore.create(tmp_path / "p.ome.zarr", spec())
    assert plain.facts["storage"] == {"mode": "lossless", "codec": "lz4"}


def _said(path: Path, **changes: Any) -> Path:
    group = json.loads((path / "zarr.json").read_text())
    for name, value in changes.items():
        if value is None:
            del group["attributes"]["rackscan"][name]
        else:
            group["attributes"]["rackscan"][name] = value
    (path / "zarr.json").write_text(json.dumps(group))
    return path


@pytest.mark.parametrize("version", [FORMAT + 1, "2.0"])
def test_an_image_of_a_newer_version_is_refused_by_name(tmp_path: Path, version: object) -> None:
    path = _said(PyramidStore.create(tmp_path / "m.ome.zarr", spec()).path, version=version)
    with pytest.raises(BadInput, match=f"newer rackscan: its format is {version}") as refused:
        PyramidStore.open(path)
    assert str(path) in str(refused.value)


def test_an_image_from_before_there_were_versions_is_read(tmp_path: Path) -> None:
    path = _said(PyramidStore.create(tmp_path / "m.ome.zarr", spec()).path, version=None, storage=None)
    assert PyramidStore.open(path).spec == spec()


def test_an_image_that_says_nonsense_of_its_storage_is_damaged(tmp_path: Path) -> None:
    path = _said(PyramidStore.create(tmp_path / "m.ome.zarr", spec()).path, storage={"codec": "zip"})
    with pytest.raises(DamagedRun):
        PyramidStore.open(path)


FILLS_UP = """
import resource, sys
from pathlib import Path
import numpy as np
from scanner.errors import RackscanError
from scanner.storage.ome_zarr import PyramidStore

store = PyramidStore.open(Path(sys.argv[1]))
block = np.random.default_rng(0).integers(0, 256, (3, 2048, 2048), dtype=np.uint8)
store.write(0, 0, 0, block[:, :512, :512])
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
try:
    store.write(0, 0, 1, block) if sys.argv[2] == "whole" else store.write_part(0, 0, 1, 0, 0, block)
except RackscanError as error:
    print(error)
"""


@pytest.mark.parametrize("how", ["whole", "in parts"])
def test_a_disk_that_fills_up_names_the_file_and_leaves_nothing_half_written(
    tmp_path: Path, how: str
) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    store = PyramidStore.create(tmp_path / "m.ome.zarr", spec())
    refused = subprocess.run(
        [sys.executable, "-c", FILLS_UP, str(store.path), how],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert refused.stderr == ""
    told = refused.stdout
    assert f"{store.file(0, 0, 1)}: the disk failed" in told
    assert "rackscan resume" in told
    again = PyramidStore.open(store.path)
    assert list(again.blocks()) == [(0, 0, 0)]
    assert again.facts["complete"] is False
    assert [f.name for f in store.path.rglob("*") if f.is_file()].count("0") == 1
    again.write(0, 0, 1, noisy(spec()))
    again.complete({})
    assert list(again.blocks()) == [(0, 0, 0), (0, 0, 1)]
