"""Does a slide go on with the same plan of cells after a kill in its middle?"""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from scanner.errors import DeviceFault
from scanner.offline.verify import verify
from scanner.run import resume_run
from scanner.session import second_look
from scanner.session.second_look import SecondLook
from scanner.storage.ome_zarr import PyramidStore
from tests.scanner.again import CELLS, LAYERS, SEED, AgainRun, again_rig, again_scan

REGION = "43,11,0.9,0.9"
WITHOUT_HASTE = """
import sys
from scanner.session import second_look
second_look.WAIT_S = 120.0
from scanner.cli import main
sys.exit(main())
"""


def between_planes(out: Path) -> bool:
    """At least a field is kept, and the next one in parts."""
    kept = len(list(out.glob("spool/*/tile*-layer*.tif")))
    return kept > LAYERS and kept % LAYERS > 0


def while_they_are_drawn(out: Path) -> bool:
    """All are read, and some of their blocks are on disk."""
    return len(list(out.glob("slides/*/cells.ome.zarr/0/c/0/*/*/*"))) > 1


def killed(folder: Path, when: Callable[[Path], bool]) -> Path:
    out = folder / "run"
    asked = ["--region", REGION, "--slides", "1", "--seed", str(SEED), "--out", str(out)]
    command = ["run", "--profile", str(again_rig(folder)), *asked]
    process = subprocess.Popen([sys.executable, "-c", WITHOUT_HASTE, *command], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < until and not when(out):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return out


@pytest.mark.parametrize("when", [between_planes, while_they_are_drawn])
def test_a_kill_in_the_plan_of_cells_loses_nothing_and_the_same_plan_goes_on(
    tmp_path: Path, when: Callable[[Path], bool]
) -> None:
    out = killed(tmp_path, when)
    assert verify(out).problems == ()
    before = AgainRun.of(out)
    assert before.report is None
    assert len(before.plan.tiles) > 1
    assert (len(before.fields) < len(before.plan.tiles)) == (when is between_planes)
    (slide,) = resume_run(out).slides
    assert slide.tiles.captured == slide.tiles.planned == 4
    assert verify(out).problems == ()
    after = AgainRun.of(out)
    assert (after.plan, after.chosen) == (before.plan, before.chosen)
    assert after.tiles[: len(before.tiles)] == before.tiles
    assert set(before.reads) <= set(after.reads)
    assert len(after.fields) == len(after.plan.tiles) == after.told.fields_captured
    assert [read.cell for read in after.reads] == list(range(CELLS))
    assert PyramidStore.open(after.paths.cells).facts["complete"] is True
    assert not list(out.glob("spool/*/*"))


def test_a_stop_after_the_cells_are_kept_needs_their_frames_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = SecondLook.read

    def then_stop(self: SecondLook, *what: object) -> None:
        read(self, *what)  # type: ignore[arg-type]  # as they came
        raise DeviceFault("Lamp", "went out")

    monkeypatch.setattr(second_look, "WAIT_S", 120.0)
    with monkeypatch.context() as patch:
        patch.setattr(SecondLook, "read", then_stop)
        with pytest.raises(DeviceFault):
            again_scan(tmp_path)
    out = tmp_path / "run"
    before = AgainRun.of(out)
    assert not list(out.glob("spool/*/*"))
    assert verify(out).problems == ()
    (slide,) = resume_run(out).slides
    after = AgainRun.of(out)
    assert (after.tiles, after.reads, after.chosen) == (before.tiles, before.reads, before.chosen)
    assert after.told.fields_captured == len(after.plan.tiles)
    assert slide.tiles.captured == slide.tiles.planned == 4
    assert PyramidStore.open(after.paths.cells).facts["complete"] is True
    assert verify(out).problems == ()
