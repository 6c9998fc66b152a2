"""Does the spool give back exactly the pixels it was given, and nothing that was never whole?"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scanner.errors import DamagedRun
from scanner.model.events import Kind
from scanner.model.tile import Pixels
from scanner.storage.facts import tile_key
from scanner.storage.hashes import content_hash
from scanner.storage.ledger import Ledger
from scanner.storage.spool import Spool, frame_name

shapes = st.tuples(st.integers(1, 9), st.integers(1, 9)) | st.tuples(
    st.integers(1, 9), st.integers(1, 9), st.just(3)
)
frames = st.sampled_from([np.uint8, np.uint16]).flatmap(lambda dtype: hnp.arrays(dtype, shapes))


def picture(seed: int, shape: tuple[int, ...] = (40, 50, 3)) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", keep=False)


@given(pixels=frames)
def test_gray_and_rgb_of_8_and_16_bits_come_back_bit_for_bit(pixels: Pixels) -> None:
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder), keep=False)
        content = spool.put("1-a", 3, 1, 1, pixels, {})
        back = spool.get("1-a", 3, 1, 1, content)
        assert back.dtype == pixels.dtype
        assert np.array_equal(back, pixels)


def test_any_tiff_reader_finds_pixels_and_what_is_known_of_them(spool: Spool) -> None:
    spool.put("1-a", 3, 2, 1, picture(1), {"reported_x_um": 0.1, "z_um": -1.5})
    with tifffile.TiffFile(spool.path("1-a", 3, 2, 1)) as file:
        assert file.pages.first.photometric == tifffile.PHOTOMETRIC.RGB
        assert file.pages.first.compression == tifffile.COMPRESSION.NONE
        known = json.loads(file.pages.first.description)
    assert known == {
        "slide_id": "1-a",
        "tile": 3,
        "plan": 2,
        "attempt": 1,
        "reported_x_um": 0.1,
        "z_um": -1.5,
    }


def test_a_view_into_a_larger_picture_is_kept_as_it_looks(spool: Spool) -> None:
    view = picture(1)[::2, 4:30][:, ::-1]
    content = spool.put("1-a", 0, 1, 1, view, {})
    assert np.array_equal(spool.get("1-a", 0, 1, 1, content), view)


def test_a_frame_is_never_rewritten(spool: Spool) -> None:
    spool.put("1-a", 0, 1, 1, picture(1), {})
    with pytest.raises(DamagedRun, match="never rewritten"):
        spool.put("1-a", 0, 1, 1, picture(2), {})
    assert np.array_equal(spool.get("1-a", 0, 1, 1), picture(1))


def test_content_differs_with_a_single_bit_with_shape_and_with_depth() -> None:
    base = np.zeros((4, 6), np.uint8)
    other = base.copy()
    other[3, 5] = 1
    variants: list[Pixels] = [base, other, base.reshape(6, 4), np.zeros((4, 3), np.uint16)]
    assert len({content_hash(v) for v in variants}) == len(variants)


def test_a_frame_that_is_gone_or_altered_is_said_to_be_so(spool: Spool) -> None:
    content = spool.put("1-a", 0, 1, 1, picture(1), {})
    path = spool.path("1-a", 0, 1, 1)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(DamagedRun, match="not the one that was captured"):
        spool.get("1-a", 0, 1, 1, content)
    path.write_bytes(b"II*\0")
    with pytest.raises(DamagedRun, match="cannot be read"):
        spool.get("1-a", 0, 1, 1)
    path.unlink()
    with pytest.raises(DamagedRun, match="gone"):
        spool.get("1-a", 0, 1, 1)


@pytest.mark.parametrize("keep", [True, False])
def test_a_frame_that_no_step_needs_goes_unless_frames_are_kept(tmp_path: Path, keep: bool) -> None:
    spool = Spool(tmp_path, keep)
    spool.put("1-a", 0, 1, 1, picture(1), {})
    spool.drop("1-a", 0, 1, 1)
    spool.drop("1-a", 0, 1, 1)
    assert spool.has("1-a", 0, 1, 1) is keep


def test_a_sweep_removes_what_the_ledger_never_acknowledged_and_nothing_else(spool: Spool) -> None:
    for tile in range(4):
        spool.put("1-a", tile, 1, 1, picture(tile), {})
    half = spool.path("1-a", 9, 1, 1).with_name(".tile000009.tif.00ff.rackscan.tmp")
    half.write_bytes(b"II*\0")
    removed = spool.sweep(lambda name: name[1] in (0, 2))
    assert {path.name for path in removed} == {half.name, *(spool.path("1-a", n, 1, 1).name for n in (1, 3))}
    assert [spool.has("1-a", tile, 1, 1) for tile in range(4)] == [True, False, True, False]


def test_a_sweep_of_a_spool_that_never_was_finds_nothing(spool: Spool) -> None:
    assert spool.sweep(lambda _: False) == []


@given(tile=st.integers(0, 2_000_000), plan=st.integers(1, 120), attempt=st.integers(1, 120))
def test_the_name_of_a_file_says_which_frame_it_holds(tile: int, plan: int, attempt: int) -> None:
    path = Spool(Path("spool"), keep=True).path("12-20261123-a1b2", tile, plan, attempt)
    assert frame_name(path) == ("12-20261123-a1b2", tile, plan, attempt)


def test_the_layers_of_a_stack_are_files_of_their_own_and_one_frame_to_a_sweep(spool: Spool) -> None:
    contents = [spool.put("1-a", 4, 1, 1, picture(n), {}, layer=n) for n in range(3)]
    names = [spool.path("1-a", 4, 1, 1, n).name for n in range(3)]
    assert names[2] == "tile000004-plan01-attempt01-layer02.tif"
    assert np.array_equal(spool.get("1-a", 4, 1, 1, contents[1], layer=1), picture(1))
    assert not spool.has("1-a", 4, 1, 1)
    assert spool.sweep(lambda name: name == ("1-a", 4, 1, 1)) == []
    assert {path.name for path in spool.sweep(lambda _: False)} == set(names)


def test_a_foreign_file_in_the_spool_is_not_removed(spool: Spool) -> None:
    spool.put("1-a", 0, 1, 1, picture(1), {})
    foreign = spool.path("1-a", 0, 1, 1).with_name("my-notes.txt")
    foreign.write_text("keep")
    with pytest.raises(DamagedRun, match="my-notes"):
        spool.sweep(lambda _: True)
    assert foreign.read_text() == "keep"


CAPTURE = """
import sys
from pathlib import Path
import numpy as np
from scanner.model.events import Kind
from scanner.storage.facts import tile_key
from scanner.storage.ledger import Ledger
from scanner.storage.spool import Spool
root = Path(sys.argv[1])
ledger = Ledger.open(root / "run.sqlite", create=True)
spool = Spool(root / "spool", keep=False)
done = {event.key for event in ledger.events(Kind.TILE)}
spool.sweep(lambda name: tile_key(name[1], name[2]) in done)
for tile in range(100_000):
    if tile_key(tile, 1) in done:
        continue
    pixels = np.random.default_rng(tile).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    content = spool.put("1-a", tile, 1, 1, pixels, {})
    ledger.append(Kind.TILE, "1-a", tile_key(tile, 1), {"content": content, "tile": tile})
    print(tile, flush=True)
"""


def test_a_tile_acknowledged_before_a_kill_is_whole_after_it_and_never_taken_again(tmp_path: Path) -> None:
    taken: list[int] = []
    for kill in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", CAPTURE, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=os.environ
        )
        assert process.stdout is not None
        for line in process.stdout:
            taken.append(int(line))
            if len(taken) >= 25 * (kill + 1):
                break
        process.send_signal(signal.SIGKILL)
        taken += map(int, process.stdout.read().split())
        process.stdout.close()
        process.wait()
    spool = Spool(tmp_path / "spool", keep=False)
    with Ledger.read(tmp_path / "run.sqlite") as ledger:
        facts = {event.key: event.body for event in ledger.events(Kind.TILE)}
    assert len(taken) == len(set(taken))
    assert {tile_key(tile, 1) for tile in taken} <= set(facts)
    for tile in taken:
        spool.get("1-a", tile, 1, 1, str(facts[tile_key(tile, 1)]["content"]))
