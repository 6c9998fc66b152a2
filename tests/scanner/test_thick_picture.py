"""Is a real focal stack under the simulated objective kept layer by layer, and fused?"""

from pathlib import Path

import numpy as np
import pytest

from scanner.model.report import Outcome
from scanner.model.tile import FocusState
from scanner.offline.verify import verify
from scanner.storage.ome_zarr import PyramidStore
from tests.scanner.thick import ThickRun, everything, thick_scan

STACK = next(
    (
        found
        for parent in Path(__file__).parents
        if (found := parent / "shared" / "data" / "B_isbi2014_zstack").is_dir()
    ),
    None,
)
LAYERS = 7


@pytest.mark.skipif(STACK is None, reason="the real focal stack is not beside this checkout")
@pytest.mark.parametrize("strategy", ["z-stack", "edf"])
def test_a_real_stack_is_scanned_in_layers(tmp_path: Path, strategy: str) -> None:
    assert STACK is not None
    planes = tmp_path / "planes"
    planes.mkdir()
    for file in STACK.glob("z*.png"):
        (planes / file.name).symlink_to(file)
    options = {"specimens": (planes,), "um_per_px": 0.5, "region_um": None, "slides": None}
    result = thick_scan(tmp_path, strategy, LAYERS, **options)
    assert result.slides[0].outcome is Outcome.DONE
    assert verify(tmp_path / "run").problems == ()
    run = ThickRun.of(tmp_path / "run", tmp_path / "rig" / "simulated.yaml")
    seen = [tile for tile in run.tiles if tile.focus.state is not FocusState.NO_SAMPLE]
    assert seen
    assert all(tile.focus.state is FocusState.SHARP for tile in seen)
    if strategy == "edf":
        heights = PyramidStore.open(run.paths.height)
        w, h = heights.sizes[0]
        assert np.isfinite(heights.read(0, h // 2 - 20, w // 2 - 20, 40, 40)).all()
    assert all(level.std() > 1 for level in everything(run.paths.image))
