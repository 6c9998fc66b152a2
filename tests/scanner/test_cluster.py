"""Are findings the same in this process, in one of its own and on a cluster, also when a worker dies over a tile?"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

from detection.package import DetectorPackage, default_package
from scanner.cluster import Cluster, connect, encrypted, everywhere
from scanner.devices.simulated.scene import Look, render_scene
from scanner.devices.simulated.truth import CellClass
from scanner.errors import BadInput, DamagedRun, StepFailed
from scanner.model.events import Kind
from scanner.model.plan import PlannedTile
from scanner.model.tile import FocusState, Frame, Judged, Pixels, Tile, TileFocus
from scanner.offline.detect import detect
from scanner.offline.look_back.look_back import Asked, look_back
from scanner.pipeline.cell_branch import CellWork, Found, look_for_cells
from scanner.pipeline.flat_field import Correction
from scanner.pipeline.search_keys import SearchConfig, SearchKeys
from scanner.pipeline.searching import CellSearch, FrameJob, Job, Means, PixelJob, RemoteSearch, as_rgb8
from scanner.session.workers import searchers
from scanner.storage.ledger import Ledger
from scanner.storage.light_facts import FlatFieldFact, Source
from scanner.storage.profiles import read_profile
from scanner.storage.spool import Spool
from scanner.stream import Halted, Road
from tests.scanner.clusters import cluster

PROFILES = Path(__file__).parents[2] / "hardware_profiles"
PROFILE = read_profile(PROFILES / "simulated.yaml")
LIGHT = FlatFieldFact(source=Source.PROFILE)
PACKAGE = DetectorPackage.load(default_package())
SLIDE, SIDE, TILES, UM = "1-r", 1024, 6, 0.5
CELLS = {CellClass.HSIL: 6, CellClass.INTERMEDIATE: 12, CellClass.LEUCOCYTE: 5}


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("distributed", reason="distributed is not installed: the extra `cluster` brings it")
    with cluster(folder=tmp_path_factory.mktemp("cluster")) as address:
        yield address


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw frames of cells in a spool."""
    folder = tmp_path_factory.mktemp("frames")
    spool = Spool(folder, keep=True)
    for number in range(TILES):
        raw = render_scene((SIDE, SIDE), 10 + number, Look(clumping=0.0), counts=CELLS).rgb
        spool.put(SLIDE, number, 1, 1, raw, {})
    return folder


def tiles(frames: Path) -> Iterator[Judged]:
    from scanner.storage.hashes import content_hash

    correction = Correction.decided(PROFILE, LIGHT)
    for number in range(TILES):
        raw: Pixels = Spool(frames, keep=True).get(SLIDE, number, 1, 1)
        planned = PlannedTile(tile=number, row=0, col=number, x_um=0.0, y_um=0.0)
        focus = TileFocus(FocusState.SHARP, 0.0, 0.1)
        shot = Frame(raw, 0.0, 0.0, 0.0, 0.0, 0.0)
        tile = Tile(planned, 1, 1, shot, content_hash(raw), 0.0, 0.0, focus, 1)
        yield Judged(tile, correction(raw), 1.0, 1.0, (False,) * 4)


def shown(judged: Judged, name: str) -> Job:
    assert judged.pixels is not None
    return PixelJob(name, as_rgb8(judged.pixels), UM)


def referred(frames: Path, judged: Judged, name: str) -> Job:
    path = Spool(frames, keep=True).path(SLIDE, judged.tile.planned.tile, 1, 1)
    profile, light = PROFILE.model_dump_json(), LIGHT.model_dump_json()
    return FrameJob(name, path, judged.tile.content, profile, light, UM, judged.nbytes)


def found_by(cells: CellSearch, items: Iterator[Judged], frames: Path, ledger: Path) -> Found:
    with Ledger.open(ledger, create=True):
        pass
    config = SearchConfig(um_per_px=UM, provider=cells.provider, libraries="", correction=ledger.name)
    keys = SearchKeys(PACKAGE.hash, lambda: config)
    job = partial(referred, frames) if cells.by_reference else shown
    with Road() as road:
        return look_for_cells(items, CellWork(SLIDE, job, cells, keys, ledger), road)


def plain(found: Found) -> dict[str, Any]:
    return {name: cells.to_json() for name, cells in found.items()}


@pytest.fixture(scope="module")
def expected(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What this process finds."""
    ledger = tmp_path_factory.mktemp("here") / "here.sqlite"
    here = searchers(PACKAGE, "in-process", frames)
    found = plain(found_by(here, tiles(frames), frames, ledger))
    assert len(found) == TILES
    assert sum(len(cells["scores"]) for cells in found.values()) > TILES
    return found


def test_a_process_of_its_own_finds_the_same(frames: Path, expected: dict[str, Any], tmp_path: Path) -> None:
    own = searchers(PACKAGE, "local", frames)
    assert plain(found_by(own, tiles(frames), frames, tmp_path / "own.sqlite")) == expected


def test_a_cluster_whose_worker_is_killed_over_a_tile_finds_the_same_once(
    machines: str, frames: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    cells = searchers(PACKAGE, machines, frames)
    killed: list[int] = []

    def items() -> Iterator[Judged]:
        for number, judged in enumerate(tiles(frames)):
            yield judged
            if number == TILES - 2:
                killed.append(kill_one_at_work(machines))

    found = found_by(cells, items(), frames, tmp_path / "killed.sqlite")
    assert len(killed) == 1
    assert plain(found) == expected
    with Ledger.read(tmp_path / "killed.sqlite") as ledger:
        names = [event.key for event in ledger.events(Kind.DETECTED, SLIDE)]
    assert len(names) == len(set(names)) == TILES


def kill_one_at_work(address: str) -> int:
    """Kill a worker that holds a tile; its process."""
    client: Any = connect(address)
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            pids = everywhere(client, os.getpid)
            busy = [worker for worker, jobs in client.processing().items() if jobs]
            if busy:
                os.kill(pids[busy[0]], signal.SIGKILL)
                return pids[busy[0]]
            time.sleep(0.005)
    finally:
        client.close()
    raise AssertionError("no worker was at work")


def test_what_goes_into_the_queue_are_references(frames: Path) -> None:
    import pickle

    judged = next(tiles(frames))
    assert len(pickle.dumps(referred(frames, judged, "n"))) < 40_000 < judged.nbytes / 100


def test_a_worker_refuses_a_frame_that_is_not_the_captured_one(machines: str, frames: Path) -> None:
    cells = searchers(PACKAGE, machines, frames)
    judged = next(tiles(frames))
    job = referred(frames, replace(judged, tile=replace(judged.tile, content="0" * 64)), "other content")
    with Road() as road, pytest.raises(DamagedRun, match="not the one that was captured"):
        list(road.parallel([(0, job)], cells.workers, 1, "detector"))


def dies(_: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def name_of(job: int) -> str:
    return f"deadly-{job}"


def test_a_job_that_kills_every_worker_is_given_up(machines: str) -> None:
    workers: Cluster[int, int] = Cluster(connect(machines), dies, name_of)
    with Road() as road, pytest.raises(StepFailed, match="KilledWorker"):
        list(road.parallel([(0, 1)], workers, 1, "deadly"))


def waits(_: int) -> int:
    time.sleep(20)
    return 0


def test_a_road_that_closes_waits_for_no_cluster(machines: str) -> None:
    workers: Cluster[int, int] = Cluster(connect(machines), waits, lambda job: f"slow-{job}")
    halt = threading.Event()
    handed = workers.begin(1, halt)
    halt.set()
    with pytest.raises(Halted):
        handed.result()
    workers.kill()


def test_an_image_is_read_by_the_workers_themselves(machines: str, tmp_path: Path) -> None:
    file = tmp_path / "scene.png"
    scene = render_scene((700, 1900), 4, Look(clumping=0.0), counts=CELLS).rgb
    cv2.imwrite(str(file), np.ascontiguousarray(scene[:, :, ::-1]))
    for workers in ("in-process", "local", machines):
        folder = tmp_path / re.sub(r"\W", "-", workers)
        detect(file, folder, um_per_px=UM, workers=workers)
    one, *others = (
        (folder / "findings.parquet").read_bytes() for folder in tmp_path.iterdir() if folder.is_dir()
    )
    assert len(others) == 2
    assert all(other == one for other in others)


def test_an_archive_is_read_by_the_workers_and_a_damaged_image_ends_nothing(
    machines: str, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    for number, name in enumerate(("a", "c")):
        scene = render_scene((500, 1400), 4 + number, Look(clumping=0.0), counts=CELLS).rgb
        cv2.imwrite(str(archive / f"{name}.png"), np.ascontiguousarray(scene[:, :, ::-1]))
    whole = tmp_path / "whole.tif"
    tifffile.imwrite(whole, scene, tile=(256, 256), photometric="rgb", compression="zlib")
    (archive / "b.tif").write_bytes(_damaged(whole))
    told: dict[str, list[dict[str, Any]]] = {}
    for workers in ("in-process", "local", machines):
        out = tmp_path / re.sub(r"\W", "-", workers)
        summary = look_back(Asked(archive, out, UM, workers=workers), lambda *_: None)
        assert (summary.complete, summary.images) == (True, 3)
        cases = [json.loads(file.read_text()) for file in sorted(out.glob("cases/*/found.json"))]
        assert [case["image"] for case in cases] == ["a.png", "b.tif", "c.png"]
        assert [bool(case["unreadable"]) for case in cases] == [False, True, False]
        assert "b.tif" not in cases[1]["unreadable"]
        assert cases[1]["content"]
        told[workers] = [case | {"provider": "", "unreadable": bool(case["unreadable"])} for case in cases]
        found = [file.read_bytes() for file in sorted(out.glob("cases/*/findings.parquet"))]
        assert len(found) == 2
        told[workers] += [{"findings": data} for data in found]
    assert told["local"] == told["in-process"]
    assert told[machines] == told["in-process"]


def _damaged(file: Path) -> bytes:
    """A TIFF that opens, and whose last tiles no decoder can read."""
    with tifffile.TiffFile(file) as opened:
        page = opened.pages.first
        spans = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    data = bytearray(file.read_bytes())
    for start, length in spans[len(spans) // 2 :]:
        data[start : start + length] = b"\xff" * length
    return bytes(data)


def test_an_archive_is_left_alone_where_there_are_no_such_workers(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    cv2.imwrite(str(archive / "a.png"), np.full((64, 64, 3), 230, np.uint8))
    with pytest.raises(BadInput, match="neither encrypted nor authenticated"):
        look_back(Asked(archive, tmp_path / "out", UM, workers="tcp://192.0.2.7:8786"), lambda *_: None)
    assert not (tmp_path / "out").exists()


def test_workers_that_do_not_see_the_folder_are_refused(
    machines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that this process alone sees cannot be made in a test: the workers are asked for another one."""
    monkeypatch.setattr("scanner.session.workers.stamp_of", lambda path: (1, 1))
    with pytest.raises(BadInput, match="do not see"):
        searchers(PACKAGE, machines, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_workers_without_the_detector_are_refused(machines: str, tmp_path: Path) -> None:
    other = replace(PACKAGE, hash="0" * 64)
    with pytest.raises(BadInput, match="would find something else"):
        searchers(other, machines, tmp_path)


def test_a_worker_that_came_later_and_would_find_something_else_says_so() -> None:
    means = Means(PACKAGE.hash, "another runtime", "numpy 0", "0")
    with pytest.raises(StepFailed, match="another runtime"):
        RemoteSearch(PACKAGE.path, means)(PixelJob("", np.zeros((64, 64, 3), np.uint8), UM))


@pytest.mark.parametrize(
    "address", ["tcp://10.1.2.3:8786", "tcp://scheduler.example:8786", "tcp://0.0.0.0:8786"]
)
def test_a_plain_address_elsewhere_is_refused(address: str) -> None:
    with pytest.raises(BadInput, match="neither encrypted nor authenticated"):
        encrypted(address)


@pytest.mark.parametrize(
    "address", ["http://host:1", "tls://host", "tls://:1", "tls://host:port", "ucx://h:1"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(BadInput, match="no address"):
        encrypted(address)


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:1", "tcp://localhost:1", "tcp://[::1]:1", "tls://host:1"]
)
def test_loopback_and_tls_pass(address: str) -> None:
    assert encrypted(address) == address.startswith("tls")


def test_no_such_way_to_work_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no way to work"):
        searchers(PACKAGE, "threads", tmp_path)


def test_without_distributed_an_address_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(BadInput, match=r"rackscan\[cluster\]"):
        connect("tcp://127.0.0.1:1")


def test_a_scheduler_that_is_not_there_is_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="distributed is not installed: the extra `cluster` brings it")
    monkeypatch.setattr("scanner.cluster.CONNECT_S", 1.0)
    with pytest.raises(BadInput, match="no scheduler answers"):
        connect("tcp://127.0.0.1:9")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An authority of this test's own, and one certificate that it signed."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: it makes the test's certificates")
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    new = ("-newkey", "rsa:2048", "-nodes", "-subj")
    openssl("req", "-x509", *new, "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2")
    openssl("req", *new, "/CN=rackscan", "-keyout", "own.key", "-out", "own.csr")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2")
    openssl("x509", "-req", "-in", "own.csr", *signed, "-out", "own.pem")
    roles = {f"tls_{role}_cert": str(folder / "own.pem") for role in ("client", "scheduler", "worker")}
    keys = {f"tls_{role}_key": str(folder / "own.key") for role in ("client", "scheduler", "worker")}
    return {"tls_ca_file": str(folder / "ca.pem"), **roles, **keys}


def test_over_tls_the_certificates_of_dasks_configuration_are_shown(
    certificates: dict[str, str], tmp_path: Path
) -> None:
    dask: Any = pytest.importorskip("dask", reason="dask is not installed: the extra `cluster` brings it")
    pytest.importorskip("distributed", reason="distributed is not installed: the extra `cluster` brings it")
    own = {"cert": certificates["tls_client_cert"], "key": certificates["tls_client_key"]}
    known = {"distributed.comm.tls.ca-file": certificates["tls_ca_file"], "distributed.comm.tls.client": own}
    with cluster(security=certificates, folder=tmp_path) as address:
        assert address.startswith("tls://")
        with pytest.raises(BadInput, match="certificates"):
            connect(address)
        with dask.config.set(known):
            client = connect(address)
            assert len(everywhere(client, os.getpid)) == 2
            client.close()
