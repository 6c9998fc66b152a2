"""Every rig that the suites run on: Micro-Manager's own C++ devices, and ours."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from scanner.devices.rig import Rig, open_rig
from scanner.model.profile import Profile
from scanner.storage.profiles import read_profile

PROFILES = Path(__file__).parents[2] / "hardware_profiles"

STOCK_CFG = """
Device,Hub,DemoCamera,DHub
Device,Camera,DemoCamera,DCam
Device,XY,DemoCamera,DXYStage
Device,Z,DemoCamera,DStage
Device,Lamp,DemoCamera,DShutter
Device,Loader,DemoCamera,DStateDevice
Property,Loader,Number of positions,5
Parent,Camera,Hub
Parent,XY,Hub
Parent,Z,Hub
Parent,Lamp,Hub
Parent,Loader,Hub
Property,Core,Initialize,1
Property,Core,Camera,Camera
Property,Camera,OnCameraCCDXSize,256
Property,Camera,OnCameraCCDYSize,192
Property,Camera,PixelType,32bitRGB
Property,XY,Velocity,20
"""

STOCK = {
    "name": "stock",
    "devices": {
        "cfg": "stock.cfg",
        "camera": "Camera",
        "xy": "XY",
        "z": "Z",
        "light": {"device": "Lamp"},
        "loader": {"kind": "motor", "device": "Loader", "slots": 4},
    },
    "limits": {
        "x_um": (0, 75_000),
        "y_um": (0, 25_000),
        "z_um": (-250, 250),
        "travel_x_um": (-100_000, 100_000),
        "travel_y_um": (-100_000, 100_000),
        "travel_z_um": (-300, 300),
        "z_safe_um": 200,
    },
    "camera": {"width_px": 256, "height_px": 192, "channels": 3, "bits": 8, "exposure_ms": 5},
    "objectives": [
        {"name": "o", "magnification": 10, "na": 0.3, "working_distance_um": 10_000, "um_per_px": 1.0}
    ],
    "objective": "o",
    "slide": {"origins_stage_um": [(0, 0)]},
    "measured": {"z_sign": {"value": 1, "when": "2026-01-01T00:00:00Z", "how": "looked"}},
}


def stock(folder: Path, **changes: object) -> Profile:
    """The stock profile with its configuration beside it."""
    (folder / "stock.cfg").write_text(STOCK_CFG)
    return Profile.model_validate({**STOCK, **changes})


def simulated(folder: Path) -> Profile:
    """The shipped simulated rig in a folder of its own: its physical state lives beside its configuration."""
    for name in ("simulated.yaml", "simulated.cfg"):
        shutil.copy(PROFILES / name, folder)
    profile = read_profile(folder / "simulated.yaml", need_measured=False)
    near = profile.limits.model_copy(update={"z_safe_um": 60.0})
    return profile.model_copy(update={"limits": near})


@pytest.fixture(params=[stock, simulated], ids=["stock", "simulated"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """One rig after the other, lit and loaded."""
    with open_rig(request.param(tmp_path), tmp_path, {}) as opened:
        if opened.light is not None:
            opened.light.switch(on=True)
        yield opened
