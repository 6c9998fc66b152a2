import pytest

from scanner.devices.rig import Rig
from scanner.errors import LoaderFault


def test_a_slide_that_was_loaded_is_on_the_stage_until_it_is_unloaded(rig: Rig) -> None:
    rig.loader.load(1)
    assert rig.loader.loaded() == 1
    rig.loader.unload()
    assert rig.loader.loaded() is None


def test_loading_another_slot_puts_the_first_slide_back(rig: Rig) -> None:
    rig.loader.load(1)
    rig.loader.load(2)
    assert rig.loader.loaded() == 2


def test_unloading_nothing_is_no_fault(rig: Rig) -> None:
    rig.loader.unload()
    rig.loader.unload()
    assert rig.loader.loaded() is None


@pytest.mark.parametrize("slot", [0, 1000])
def test_a_slot_the_loader_does_not_have_is_refused(rig: Rig, slot: int) -> None:
    with pytest.raises(LoaderFault, match=f"no slot {slot}"):
        rig.loader.load(slot)
    with pytest.raises(LoaderFault, match=f"no slot {slot}"):
        rig.loader.occupied(slot)


def test_the_lamp_answers_with_the_state_it_was_given(rig: Rig) -> None:
    light, spec = rig.light, rig.profile.devices.light
    assert light is not None
    assert spec is not None
    for on, value in ((False, spec.off), (True, spec.on)):
        light.switch(on=on)
        told = rig.snapshot()[spec.device][spec.property]
        assert {"True": 1.0, "False": 0.0}.get(told) == float(value) or float(told) == float(value)


def test_the_snapshot_names_every_device_of_the_profile(rig: Rig) -> None:
    devices = rig.profile.devices
    assert {devices.camera, devices.xy, devices.z} <= rig.snapshot().keys()


def test_a_slot_is_not_said_to_be_empty_after_its_slide_was_loaded(rig: Rig) -> None:
    rig.loader.load(1)
    rig.loader.unload()
    assert rig.loader.occupied(1) is not False
