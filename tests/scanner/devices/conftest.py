"""A rig of Micro-Manager's own C++ devices whose profile each test may change."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from scanner.devices.loaders import Ask
from scanner.devices.rig import Rig, open_rig
from scanner.model.profile import Profile

CFG = """
Device,Hub,DemoCamera,DHub
Device,Camera,DemoCamera,DCam
Device,XY,DemoCamera,DXYStage
Device,Z,DemoCamera,DStage
Device,Loader,DemoCamera,DStateDevice
Property,Loader,Number of positions,5
Parent,Camera,Hub
Parent,XY,Hub
Parent,Z,Hub
Parent,Loader,Hub
Property,Core,Initialize,1
Property,Core,Camera,Camera
Property,Camera,OnCameraCCDXSize,128
Property,Camera,OnCameraCCDYSize,96
Property,Camera,PixelType,8bit
Property,XY,Velocity,20
"""

OpenStock = Callable[..., Rig]


@pytest.fixture
def stock_profile(tmp_path: Path) -> Profile:
    """Travel of a slide, objective up is +z, safe at 200 µm."""
    (tmp_path / "stock.cfg").write_text(CFG)
    return Profile.model_validate(
        {
            "name": "stock",
            "devices": {
                "cfg": "stock.cfg",
                "camera": "Camera",
                "xy": "XY",
                "z": "Z",
                "loader": {"kind": "insert", "slots": 4},
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
            "camera": {"width_px": 128, "height_px": 96, "channels": 1, "exposure_ms": 5},
            "objectives": [
                {"name": "o", "magnification": 10, "na": 0.3, "working_distance_um": 100, "um_per_px": 1.0}
            ],
            "objective": "o",
            "slide": {"origins_stage_um": [(0, 0)]},
            "measured": {"z_sign": {"value": 1, "when": "2026-01-01T00:00:00Z", "how": "looked"}},
        }
    )


@pytest.fixture
def open_stock(tmp_path: Path, stock_profile: Profile) -> Iterator[OpenStock]:
    """Opens the rig with parts of its profile replaced; closes it after the test."""
    with ExitStack() as rigs:

        def opened(ask: Ask | None = None, **changes: object) -> Rig:
            return rigs.enter_context(open_rig(stock_profile.model_copy(update=changes), tmp_path, {}, ask))

        yield opened
