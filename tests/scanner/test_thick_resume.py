"""Is a stack whole or absent after a kill in its middle, and does the slide go on from there?"""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scanner.offline.verify import verify
from scanner.run import resume_run
from scanner.storage.ome_zarr import PyramidStore
from tests.scanner.thick import ThickRun, thick_rig

LAYERS = 5
REGION = "43,11,1.3,1.3"
TILES = 9


def killed(folder: Path, strategy: str, tiles: int) -> Path:
    """A run killed while it keeps the layers of a tile, after ``tiles`` were kept."""
    out = folder / "run"
    asked = ["--region", REGION, "--detector", "none", "--slides", "1", "--seed", "3", "--keep-tiles"]
    command = ["run", "--profile", str(thick_rig(folder, strategy, LAYERS)), *asked, "--out", str(out)]
    process = subprocess.Popen([sys.executable, "-m", "scanner.cli", *command], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < until:
        kept = len(list(out.glob("tiles/*/tile*-layer*.tif")))
        if kept > tiles * LAYERS and kept % LAYERS:
            break
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return out


@pytest.mark.parametrize(("strategy", "tiles"), [("z-stack", 1), ("edf", 4)])
def test_a_kill_between_layers_loses_no_acknowledged_tile_and_the_slide_goes_on(
    tmp_path: Path, strategy: str, tiles: int
) -> None:
    out = killed(tmp_path, strategy, tiles)
    profile = tmp_path / "rig" / "simulated.yaml"
    assert verify(out).problems == ()
    before = ThickRun.of(out, profile)
    assert tiles <= len(before.tiles) < TILES
    (slide,) = resume_run(out).slides
    assert slide.tiles.captured == slide.tiles.planned == TILES
    assert verify(out).problems == ()
    after = ThickRun.of(out, profile)
    assert after.tiles[: len(before.tiles)] == before.tiles
    assert len(after.tiles) == TILES + slide.tiles.retaken
    assert all(len(tile.layers) == LAYERS for tile in after.tiles)
    assert all(PyramidStore.open(path).facts["complete"] for path in after.paths.images)
    assert len(list(out.glob("tiles/*/*"))) == LAYERS * len(after.tiles)
    assert not list(out.glob("fused/*/*"))
