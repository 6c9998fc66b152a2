"""Is a rounded pixel never further from what it was than its noise, and are means where they were?"""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.model.profile import CameraNoise, StorageMode
from scanner.model.rounding import Rounding, Stored

DEFAULT = CameraNoise(electrons_per_dn=39.3, read_dn=0.43)
U8: "np.dtype[Any]" = np.dtype(np.uint8)
U16: "np.dtype[Any]" = np.dtype(np.uint16)


def sigma(noise: CameraNoise, values: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    return np.sqrt(noise.read_dn**2 + values / noise.electrons_per_dn)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.01, 500), st.floats(0, 60), st.sampled_from([U8, U16]))
def test_no_level_is_moved_by_more_than_its_noise(per_dn: float, read: float, dtype: "np.dtype[Any]") -> None:
    noise = CameraNoise(electrons_per_dn=per_dn, read_dn=read)
    table = Rounding.within(noise, "test", dtype).table(dtype).astype(np.int64)
    values = np.arange(len(table))
    assert (np.abs(table - values) <= sigma(noise, values)).all()
    assert (np.diff(table) >= 0).all()
    assert np.array_equal(table[table], table)
    assert table[-1] == values[-1]
    assert (table[:-1] < values[-1]).all()


def test_the_default_camera_is_rounded_to_steps_of_four_where_it_is_bright() -> None:
    rounding = Rounding.within(DEFAULT, "test", U8)
    assert [(step.from_dn, step.step_dn) for step in rounding.steps] == [(0, 1), (34, 2), (152, 4)]
    table = rounding.table(U8)
    assert table[[0, 31, 33, 151, 234, 236, 255]].tolist() == [0, 31, 33, 152, 232, 236, 255]


def test_a_camera_without_noise_is_left_alone() -> None:
    silent = Rounding.within(CameraNoise(electrons_per_dn=1000, read_dn=0.1), "test", U8)
    assert np.array_equal(silent.table(U8), np.arange(256))


def test_the_mean_of_a_noisy_level_stays_where_it_was() -> None:
    table = Rounding.within(DEFAULT, "test", U8).table(U8)
    rng = np.random.default_rng(1)
    moved = []
    for level in np.arange(160.0, 240.0, 0.5):
        seen = np.rint(rng.normal(level, 2.4, 200_000)).astype(np.uint8)
        moved.append(float(table[seen].mean()) - float(seen.mean()))
    assert np.abs(moved).max() < 0.2
    assert abs(np.mean(moved)) < 0.01


@pytest.mark.parametrize(
    ("rounding", "mode"), [(None, "lossless"), (Rounding.within(DEFAULT, "t", U8), "noise-limited")]
)
def test_an_image_says_its_mode_in_the_words_of_the_profile(rounding: Rounding | None, mode: str) -> None:
    assert Stored(rounding=rounding).mode is StorageMode(mode)
