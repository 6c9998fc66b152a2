"""A simulated rig that measures itself, with few frames: how exact the fits are is shown in test_measure_fits."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from scanner.acquisition import measure, measure_steps
from scanner.errors import BadInput
from scanner.model.geometry import Rect
from scanner.storage.profiles import read_profile

PROFILES = Path(__file__).parents[3] / "hardware_profiles"
REGION = Rect(44_000.0, 11_500.0, 2_000.0, 2_000.0)


@pytest.fixture
def few_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_steps, "LINE_FRAMES", 6)
    monkeypatch.setattr(measure_steps, "REPEATS", 1)
    monkeypatch.setattr(measure_steps, "XY_SHARES", (0.005, 0.02, 0.05, 0.1, 0.3, 0.6))
    monkeypatch.setattr(measure_steps, "Z_DISTANCES_UM", (1.0, 4.0, 20.0, 60.0))


def unmeasured(folder: Path) -> Path:
    """The simulated profile as its owner wrote it before any measurement."""
    shutil.copy(PROFILES / "simulated.cfg", folder)
    owners_part = (PROFILES / "simulated.yaml").read_text().split("# written by")[0]
    (folder / "simulated.yaml").write_text(owners_part)
    return folder / "simulated.yaml"


@pytest.mark.usefixtures("few_frames")
def test_an_unmeasured_rig_measures_itself_and_its_profile_can_run(tmp_path: Path) -> None:
    file = unmeasured(tmp_path)
    with pytest.raises(BadInput, match="measure"):
        read_profile(file)
    said: list[str] = []
    measure.measure_profile(file, REGION, said.append)
    profile = read_profile(file)
    found = profile.measured
    assert found.camera_to_stage is not None
    nominal = profile.active_objective.um_per_px * np.eye(2)
    assert np.allclose(np.array(found.camera_to_stage.value), nominal, atol=0.02)
    assert found.z_sign is not None
    assert found.z_sign.value == 1
    assert found.readout_ms is not None
    assert found.readout_ms.value > 20.0
    assert found.flat_field is not None
    assert len(found.flat_field.value.coefficients) == profile.camera.channels
    for name in type(found).model_fields:
        value = getattr(found, name)
        assert value is not None, name
        assert value.how
    assert len(said) >= 4


def test_a_region_with_nothing_in_it_is_bad_input_and_the_profile_stays_as_it_was(tmp_path: Path) -> None:
    file = unmeasured(tmp_path)
    before = file.read_text()
    with pytest.raises(BadInput):
        measure.measure_profile(file, Rect(70_000.0, 1_000.0, 1_000.0, 1_000.0))
    assert file.read_text() == before
