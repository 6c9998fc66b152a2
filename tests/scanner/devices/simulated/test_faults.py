"""Does the fault plan say what it means, and does the rig show it?"""

from typing import TYPE_CHECKING

import numpy as np
import pytest
import zxingcpp

from scanner.devices.simulated.faults import Fault, FaultPlan
from scanner.errors import BadInput

if TYPE_CHECKING:
    from tests.scanner.devices.simulated.conftest import OpenBench


def test_a_plan_names_moves_frames_and_slots() -> None:
    plan = FaultPlan.parse("lost-move@40; zero-frame@55;loader-jam@slot2;")
    assert plan.hits(Fault.LOST_MOVE, 40)
    assert not plan.hits(Fault.LOST_MOVE, 41)
    assert plan.hits(Fault.LOADER_JAM, 2)
    assert FaultPlan.parse("") == FaultPlan()


def test_a_stuck_axis_stays_stuck() -> None:
    plan = FaultPlan.parse("stuck-axis@3")
    assert [plan.since(Fault.STUCK_AXIS, n) for n in (2, 3, 9)] == [False, True, True]


@pytest.mark.parametrize(
    "text", ["explosion@3", "lost-move", "lost-move@slot3", "loader-jam@3", "zero-frame@-1"]
)
def test_an_unknown_entry_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="fault plan"):
        FaultPlan.parse(text)


def test_a_lost_move_is_acknowledged_and_reported_where_the_stage_stayed(open_bench: "OpenBench") -> None:
    with open_bench("lost-move@2") as bench:
        bench.go(41_000, 12_000)
        bench.go(41_461, 12_000)
        assert bench.core.getXYPosition("XY")[0] == pytest.approx(41_000, abs=1)
        bench.go(41_461, 12_000)
        assert bench.core.getXYPosition("XY")[0] == pytest.approx(41_461, abs=1)


def test_a_stuck_axis_leaves_x_where_it_is_and_moves_y(open_bench: "OpenBench") -> None:
    with open_bench("stuck-axis@2") as bench:
        bench.go(41_000, 12_000)
        bench.go(41_200, 12_300)
        bench.go(41_400, 12_600)
        assert bench.core.getXYPosition("XY") == pytest.approx((41_000, 12_600), abs=1)


def test_frames_are_black_dropped_or_repeated_when_planned(open_bench: "OpenBench") -> None:
    with open_bench("zero-frame@2;dropped-frame@3;repeated-frame@5") as bench:
        frames = [bench.try_frame() for _ in range(6)]
    assert [picture is None for picture in frames] == [False, False, True, False, False, False]
    _, black, fourth, again, sixth = (picture for picture in frames if picture is not None)
    assert not black.any()
    assert np.array_equal(fourth, again)
    assert not np.array_equal(again, sixth)


def test_a_jammed_loader_ends_without_the_slide(open_bench: "OpenBench") -> None:
    with open_bench("loader-jam@slot2") as bench:
        bench.load(2)
        assert bench.core.getState("Loader") == 0
        bench.load(0)
        assert bench.core.getState("Loader") == 0


def test_an_empty_slot_is_not_among_the_occupied_ones(open_bench: "OpenBench") -> None:
    with open_bench("empty-slot@slot4") as bench:
        assert bench.core.getProperty("Loader", "OccupiedSlots") == "1,2,3"


def test_an_unreadable_label_carries_no_code(open_bench: "OpenBench") -> None:
    with open_bench("unreadable-label@slot1") as bench:
        bench.load(1)
        assert not zxingcpp.read_barcodes(np.ascontiguousarray(bench.overview()[:, :1150]))
