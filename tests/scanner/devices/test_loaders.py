from collections.abc import Callable

import pytest

from scanner.devices.rig import Rig
from scanner.errors import BadInput, LoaderFault
from scanner.model.profile import Devices, LoaderKind, LoaderSpec, Profile


def with_loader(profile: Profile, kind: LoaderKind, device: str | None = None, slots: int = 4) -> Devices:
    loader = LoaderSpec(kind=kind, device=device, slots=slots)
    return profile.devices.model_copy(update={"loader": loader})


def test_the_operator_is_asked_for_each_slide_and_may_decline(
    open_stock: Callable[..., Rig], stock_profile: Profile
) -> None:
    asked: list[str] = []

    def ask(sentence: str) -> bool:
        asked.append(sentence)
        return "slide 3" not in sentence

    rig = open_stock(ask, devices=with_loader(stock_profile, LoaderKind.MANUAL))
    rig.loader.load(2)
    assert rig.loader.loaded() == 2
    with pytest.raises(LoaderFault, match="slide 3 was not loaded"):
        rig.loader.load(3)
    assert rig.loader.loaded() is None
    assert [sentence.split(",")[0] for sentence in asked] == [
        "Put slide 2 on the stage",
        "Take slide 2 off the stage",
        "Put slide 3 on the stage",
    ]


def test_a_manual_loader_without_anyone_to_ask_is_refused(
    open_stock: Callable[..., Rig], stock_profile: Profile
) -> None:
    with pytest.raises(BadInput, match="someone to ask"):
        open_stock(devices=with_loader(stock_profile, LoaderKind.MANUAL))


def test_a_motor_without_a_device_is_refused(open_stock: Callable[..., Rig], stock_profile: Profile) -> None:
    with pytest.raises(BadInput, match="needs its device"):
        open_stock(devices=with_loader(stock_profile, LoaderKind.MOTOR))


def test_a_motor_that_refuses_a_position_is_a_loader_fault_and_the_stage_stays_empty(
    open_stock: Callable[..., Rig], stock_profile: Profile
) -> None:
    rig = open_stock(devices=with_loader(stock_profile, LoaderKind.MOTOR, "Loader", slots=9))
    with pytest.raises(LoaderFault, match="did not reach slot 8"):
        rig.loader.load(8)
    assert rig.loader.loaded() is None


def test_an_insert_only_remembers_which_slide_was_chosen(open_stock: Callable[..., Rig]) -> None:
    rig = open_stock()
    before = rig.stage.position()
    rig.loader.load(4)
    assert rig.loader.loaded() == 4
    assert rig.stage.position() == before
    assert rig.loader.occupied(4) is None
