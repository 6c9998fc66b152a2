"""Does the rig remember after a kill, and let in one program at a time?"""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scanner.devices.simulated.state import RigState, StateFile
from scanner.errors import BadInput, DeviceFault

if TYPE_CHECKING:
    from tests.scanner.devices.simulated.conftest import Bench, OpenBench

# Another program with the microscope, until it is killed.
OTHER = """
import sys, time
from pymmcore_plus.experimental.unicore import UniMMCore
core = UniMMCore()
core.loadSystemConfiguration(sys.argv[1])
core.setState("Loader", 2)
core.setXYPosition("XY", 43_210.0, 11_111.0)
core.setPosition("Z", 7.5)
while any(core.deviceBusy(device) for device in ("Loader", "XY", "Z")):
    time.sleep(0.01)
core.snapImage()
print("ready", flush=True)
time.sleep(600)
"""


def test_the_mechanics_outlive_a_kill_and_keep_others_out(cfg: Path, open_bench: "OpenBench") -> None:
    other = subprocess.Popen([sys.executable, "-c", OTHER, str(cfg)], stdout=subprocess.PIPE, text=True)
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        with pytest.raises(RuntimeError, match="another program has this microscope"), open_bench():
            pass
        other.kill()
    with open_bench() as bench:
        before = bench.state()
        assert bench.core.getState("Loader") == 2
        assert bench.core.getXYPosition("XY") == pytest.approx((43_210, 11_111), abs=1)
        assert bench.core.getPosition("Z") == 7.5
        bench.frame()
        after = bench.state()
    assert (before.exposures, after.exposures) == (1, 2)
    assert after.seating_um == before.seating_um


def test_a_damaged_state_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "rig.state.json"
    path.write_text('{"exposures": "many"}')
    with pytest.raises(BadInput, match=r"rig\.state\.json"):
        StateFile(path).read()


def test_the_microscope_is_free_again_after_it_was_given_back(tmp_path: Path) -> None:
    first = StateFile(tmp_path / "rig.state.json")
    with pytest.raises(DeviceFault, match="another program"):
        StateFile(tmp_path / "rig.state.json")
    first.write(RigState(exposures=5))
    first.close()
    second = StateFile(tmp_path / "rig.state.json")
    assert second.read().exposures == 5
    second.close()


def test_each_loading_seats_the_slide_a_little_elsewhere(bench: "Bench") -> None:
    seats = []
    for slot in (1, 0, 1):
        bench.load(slot)
        seats.append(bench.state().seating_um)
    assert seats[0] != seats[2]
    assert all(abs(value) <= 50 for seat in seats for value in seat)
