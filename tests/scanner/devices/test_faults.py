"""Each fault of the simulated rig, as the devices report it."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from scanner.devices.rig import Rig, open_rig
from scanner.errors import BadInput, CameraFault, LoaderFault, MoveFailed
from scanner.model.geometry import Point
from scanner.storage.profiles import read_profile

PROFILES = Path(__file__).parents[3] / "hardware_profiles"
PLAN_LINE = "#py Property,Faults,Plan,"
START = Point(45_000.0, 12_500.0)

Faulty = Callable[[str], Rig]


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[Faulty]:
    """Opens the simulated rig with a fault plan."""
    with ExitStack() as rigs:

        def opened(plan: str) -> Rig:
            shutil.copy(PROFILES / "simulated.yaml", tmp_path)
            cfg = (PROFILES / "simulated.cfg").read_text()
            assert PLAN_LINE in cfg
            (tmp_path / "simulated.cfg").write_text(cfg.replace(PLAN_LINE, PLAN_LINE + plan))
            profile = read_profile(tmp_path / "simulated.yaml", need_measured=False)
            near = profile.limits.model_copy(update={"z_safe_um": 20.0})
            rig = rigs.enter_context(open_rig(profile.model_copy(update={"limits": near}), tmp_path, {}))
            assert rig.light is not None
            rig.light.switch(on=True)
            return rig

        yield opened


def steps(rig: Rig, count: int) -> list[bool]:
    """Moves along x; were they retried?"""
    return [rig.stage.start_move(START + Point(100.0 * step, 0.0)).wait().retried for step in range(count)]


def test_a_lost_move_is_made_up_for_and_said(faulty: Faulty) -> None:
    rig = faulty("lost-move@2")
    assert steps(rig, 4) == [False, True, False, False]
    assert rig.stage.position().distance(START + Point(300.0, 0.0)) < 5.0


def test_a_stuck_axis_ends_in_a_failed_move_that_names_the_stage(faulty: Faulty) -> None:
    with pytest.raises(MoveFailed, match="XY: asked twice"):
        steps(faulty("stuck-axis@2"), 3)


@pytest.mark.parametrize(
    ("plan", "reason"),
    [("dropped-frame@2", "dropped"), ("zero-frame@2", "black"), ("repeated-frame@2", "repeat")],
)
def test_a_bad_frame_is_refused_with_its_reason_and_the_next_is_good(
    faulty: Faulty, plan: str, reason: str
) -> None:
    rig = faulty(plan)
    rig.camera.start_exposure().read()
    with pytest.raises(CameraFault, match=reason):
        rig.camera.start_exposure().read()
    assert rig.camera.start_exposure().read().pixels.any()


def test_a_jammed_loader_is_a_fault_and_the_stage_holds_nothing(faulty: Faulty) -> None:
    rig = faulty("loader-jam@slot2")
    with pytest.raises(LoaderFault, match="jammed: did not reach slot 2"):
        rig.loader.load(2)
    assert rig.loader.loaded() is None
    assert rig.loader.occupied(2)
    rig.loader.load(1)
    assert rig.loader.loaded() == 1


def test_an_empty_slot_is_told_apart_from_a_jam(faulty: Faulty) -> None:
    rig = faulty("empty-slot@slot2")
    with pytest.raises(LoaderFault, match="slot 2 is empty"):
        rig.loader.load(2)
    assert rig.loader.loaded() is None
    assert rig.loader.occupied(2) is False


def test_a_dark_lamp_gives_a_dark_frame(faulty: Faulty) -> None:
    rig = faulty("")
    assert rig.light is not None
    bright = rig.camera.start_exposure().read().pixels.mean()
    rig.light.switch(on=False)
    assert rig.camera.start_exposure().read().pixels.mean() < 0.1 * bright


def test_a_fault_plan_nobody_understands_is_bad_input(faulty: Faulty) -> None:
    with pytest.raises(BadInput):
        faulty("gremlins@3")


def test_a_second_program_cannot_open_the_same_microscope(faulty: Faulty) -> None:
    rig = faulty("")
    with pytest.raises(BadInput, match="another program"):
        faulty("")
    assert rig.stage.position() is not None


def test_a_slide_on_the_stage_stays_there_though_its_slot_looks_empty(faulty: Faulty) -> None:
    rig = faulty("")
    rig.loader.load(1)
    rig.mm.set("Faults", "Plan", "empty-slot@slot1")
    assert rig.loader.occupied(1) is False
    rig.loader.load(1)
    assert rig.loader.loaded() == 1
