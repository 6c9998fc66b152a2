import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scanner.devices.rig import Rig, open_rig
from scanner.errors import BadInput, DeviceFault, Stopped
from scanner.model.geometry import Point
from scanner.model.profile import Devices, LightSpec, Profile


def test_every_device_the_configuration_lacks_is_named_at_once(
    open_stock: Callable[..., Rig], stock_profile: Profile
) -> None:
    devices = stock_profile.devices.model_copy(update={"camera": "Kamera", "z": "Focus"})
    with pytest.raises(BadInput) as refused:
        open_stock(devices=devices)
    assert [problem.field for problem in refused.value.problems] == ["devices.camera", "devices.z"]


def test_a_value_the_rig_cannot_take_is_refused_before_anything_is_loaded(
    stock_profile: Profile, tmp_path: Path
) -> None:
    (tmp_path / "stock.cfg").unlink()
    with pytest.raises(BadInput, match="specimen: the rig stock takes no such value"):
        open_rig(stock_profile, tmp_path, {"specimen": "a.svs"})


def test_a_run_value_reaches_its_device_property(stock_profile: Profile, tmp_path: Path) -> None:
    profile = stock_profile.model_copy(update={"run_properties": {"seed": "Camera.Gain"}})
    with open_rig(profile, tmp_path, {"seed": "3"}) as rig:
        assert rig.snapshot()["Camera"]["Gain"] == "3"


@pytest.mark.parametrize("target", ["Camera.Nothing", "Nobody.Gain"])
def test_a_run_property_that_does_not_exist_is_refused(
    stock_profile: Profile, tmp_path: Path, target: str
) -> None:
    profile = stock_profile.model_copy(update={"run_properties": {"seed": target}})
    with pytest.raises(BadInput, match=f"no device property {target}"):
        open_rig(profile, tmp_path, {"seed": "3"})


def test_a_run_value_the_device_refuses_is_bad_input(stock_profile: Profile, tmp_path: Path) -> None:
    profile = stock_profile.model_copy(update={"run_properties": {"seed": "Camera.PixelType"}})
    with pytest.raises(BadInput, match="setting PixelType to purple"):
        open_rig(profile, tmp_path, {"seed": "purple"})


def test_a_missing_configuration_is_bad_input(stock_profile: Profile, tmp_path: Path) -> None:
    (tmp_path / "stock.cfg").unlink()
    with pytest.raises(BadInput, match=r"stock\.cfg: no such Micro-Manager configuration"):
        open_rig(stock_profile, tmp_path, {})


def test_a_configuration_micro_manager_refuses_is_bad_input(stock_profile: Profile, tmp_path: Path) -> None:
    (tmp_path / "stock.cfg").write_text("Device,XY,NoSuchAdapter,NoSuchStage\n")
    with pytest.raises(BadInput, match="NoSuchAdapter"):
        open_rig(stock_profile, tmp_path, {})


def with_faulty_lamp(profile: Profile) -> Devices:
    """A lamp that goes on and cannot go off."""
    light = LightSpec(device="Loader", property="Label", on="State-1", off="dark")
    return profile.devices.model_copy(update={"light": light})


def test_a_lamp_that_does_not_go_off_is_a_fault_and_the_devices_are_unloaded_all_the_same(
    stock_profile: Profile, tmp_path: Path
) -> None:
    profile = stock_profile.model_copy(update={"devices": with_faulty_lamp(stock_profile)})
    rig = open_rig(profile, tmp_path, {})
    assert rig.light is not None
    rig.light.switch(on=True)
    with pytest.raises(DeviceFault, match="Loader"):
        rig.light.switch(on=False)
    with pytest.raises(DeviceFault, match="Loader"):
        rig.close()
    assert not rig.mm.is_open


def test_a_lamp_that_does_not_go_off_never_hides_the_error_that_ended_the_run(
    stock_profile: Profile, tmp_path: Path
) -> None:
    profile = stock_profile.model_copy(update={"devices": with_faulty_lamp(stock_profile)})
    with pytest.raises(ZeroDivisionError) as ended, open_rig(profile, tmp_path, {}):
        raise ZeroDivisionError
    assert "Loader" in ended.value.__notes__[0]


def test_stopping_halts_the_stage_even_where_the_lamp_refuses(stock_profile: Profile, tmp_path: Path) -> None:
    profile = stock_profile.model_copy(update={"devices": with_faulty_lamp(stock_profile)})
    rig = open_rig(profile, tmp_path, {})
    target = Point(30_000.0, 0.0)
    move = rig.stage.start_move(target)
    with pytest.raises(DeviceFault, match="Loader"):
        rig.stop()
    with pytest.raises(Stopped):
        move.wait()
    assert rig.stage.position().distance(target) > 1_000.0
    with pytest.raises(DeviceFault):
        rig.close()


def test_a_turret_with_another_objective_in_place_is_refused_and_not_turned(
    open_stock: Callable[..., Rig], stock_profile: Profile
) -> None:
    objective = stock_profile.objectives[0].model_copy(update={"state": 3})
    devices = stock_profile.devices.model_copy(update={"objective": "Loader"})
    with pytest.raises(BadInput, match="the turret stands at 0, objective o is at 3"):
        open_stock(devices=devices, objectives=(objective,))
    there = objective.model_copy(update={"state": 0})
    assert open_stock(devices=devices, objectives=(there,)).snapshot()["Loader"]["State"] == "0"


def test_closing_a_rig_twice_is_no_fault(open_stock: Callable[..., Rig]) -> None:
    rig = open_stock()
    rig.close()
    rig.close()
    assert not rig.mm.is_open


def test_a_process_that_forgets_to_close_its_rig_ends_cleanly(stock_profile: Profile, tmp_path: Path) -> None:
    (tmp_path / "profile.json").write_text(stock_profile.model_dump_json())
    code = (
        "from pathlib import Path; from scanner.devices.rig import open_rig; "
        "from scanner.model.profile import Profile; "
        "folder = Path('.'); "
        "rig = open_rig(Profile.model_validate_json((folder / 'profile.json').read_text()), folder, {}); "
        "rig.camera.start_exposure().read()"
    )
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")
