"""Are backlash, thread error, turn and scale of a stage found as they are, and is nothing claimed that a scan hides?"""

import math

import numpy as np
import pytest

from scanner.model.geometry import Point
from scanner.pipeline.joints import Joint
from scanner.pipeline.stage_errors import stage_errors
from tests.scanner.pipeline.mosaics import UM_PER_PX, stage_joints

PER_PX = np.eye(2) * UM_PER_PX
BACKLASH_UM, THREAD_UM = 3.0, 2.0


def faulty(said: Point, direction: Point) -> Point:
    """A spindle of 3.7 mm a turn, ± 2 µm; 3 µm of slack after a move to the left; turned by 1 mrad, 0.1 % too long."""
    wave = THREAD_UM * math.sin(2 * math.pi * said.x / 3700)
    slack = BACKLASH_UM if direction.x < 0 else 0.0
    return Point(1.001 * said.x + wave + slack - 0.001 * said.y, said.y + 0.001 * said.x)


def test_an_exact_scan_gives_backlash_thread_scale_and_turn_back() -> None:
    errors = stage_errors(stage_joints(8, 24, faulty), PER_PX)
    assert errors is not None
    x, y = errors.x, errors.y
    assert x.backlash is not None
    assert x.thread is not None
    assert y.thread is not None
    assert x.backlash.value == pytest.approx(BACKLASH_UM, abs=0.02)
    assert x.thread.value == pytest.approx(2 * THREAD_UM, rel=0.1)
    assert np.ptp(x.curve) == pytest.approx(2 * THREAD_UM, rel=0.15)
    assert x.scale.value == pytest.approx(0.001, abs=2e-4)
    assert x.turn.value == pytest.approx(-0.001, abs=1e-5)
    assert y.turn.value == pytest.approx(0.001, abs=1e-5)
    assert y.thread.value < 0.02


@pytest.mark.parametrize("seed", range(4))
def test_with_a_stage_that_arrives_2_um_off_the_answers_are_within_three_of_their_sigmas(seed: int) -> None:
    errors = stage_errors(stage_joints(16, 16, faulty, seed, position_um=2.0), PER_PX)
    assert errors is not None
    assert errors.x.backlash is not None
    assert errors.x.thread is not None
    assert abs(errors.x.backlash.value - BACKLASH_UM) < 3 * errors.x.backlash.sigma < 1.5
    assert abs(errors.x.thread.value - 2 * THREAD_UM) < 3 * errors.x.thread.sigma + 0.4
    assert errors.y.thread is not None
    assert errors.y.thread.value < 2.0


def test_a_good_stage_is_not_said_to_have_a_thread_or_backlash() -> None:
    errors = stage_errors(stage_joints(12, 12, lambda said, _: said, 1, position_um=1.0), PER_PX)
    assert errors is not None
    assert errors.x.backlash is not None
    assert abs(errors.x.backlash.value) < 3 * errors.x.backlash.sigma
    assert errors.x.thread is not None
    assert errors.x.thread.value < 1.2


def test_an_axis_that_was_always_reached_from_one_side_tells_no_backlash() -> None:
    errors = stage_errors(stage_joints(6, 6, faulty), PER_PX)
    assert errors is not None
    assert errors.y.backlash is None


def test_one_pair_in_twelve_measured_wrongly_changes_little() -> None:
    joints = list(stage_joints(12, 12, faulty, 2, position_um=0.5))
    for k in range(0, len(joints), 12):
        wrong = joints[k].measured
        assert wrong is not None
        joints[k] = Joint(joints[k].first, joints[k].second, wrong + Point(40.0, -30.0))
    errors = stage_errors(joints, PER_PX)
    assert errors is not None
    assert errors.x.backlash is not None
    assert errors.x.backlash.value == pytest.approx(BACKLASH_UM, abs=0.6)


def test_few_pairs_and_few_columns_say_nothing() -> None:
    assert stage_errors(stage_joints(2, 2, faulty), PER_PX) is None
    errors = stage_errors(stage_joints(4, 4, faulty), PER_PX)
    assert errors is not None
    assert errors.x.thread is None
