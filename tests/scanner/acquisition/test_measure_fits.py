import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.acquisition.measure_fits import (
    Chain,
    fit_camera_to_stage,
    fit_flat_field,
    fit_noise,
    fit_xy_kinematics,
    fit_z_kinematics,
    shrunk,
)
from scanner.model.profile import CameraSpec, FlatField, XYKinematics, ZKinematics
from scanner.model.tile import Pixels
from scanner.pipeline.flat_field import illumination

DISTANCES = np.array([25.0, 50, 100, 200, 500, 1000, 2000, 4500, 9000])
Matrix = tuple[tuple[float, float], tuple[float, float]]


def chains(matrix: Matrix, error_um: float, seed: int = 0) -> list[Chain]:
    """Two lines in x and two in y of a camera with this matrix on a stage with this repeatability."""
    rng, found = np.random.default_rng(seed), []
    for along in ((1.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.0, 1.0)):
        stage = np.arange(20)[:, None] * 300.0 * np.array(along) + rng.uniform(0, 9000, 2)
        true = stage + rng.normal(0, error_um, stage.shape)
        seen = (true - true[0]) @ np.linalg.inv(np.array(matrix)).T
        found.append(Chain(stage, seen))
    return found


@settings(deadline=None)
@given(turn=st.floats(-np.pi, np.pi), scale=st.floats(0.1, 5.0), mirror=st.sampled_from([1.0, -1.0]))
def test_any_turn_flip_and_scale_of_the_camera_is_recovered(turn: float, scale: float, mirror: float) -> None:
    c, s = scale * np.cos(turn), scale * np.sin(turn)
    matrix = ((c, -s * mirror), (s, c * mirror))
    found, _ = fit_camera_to_stage(chains(matrix, error_um=0.0))
    assert np.allclose(found, matrix, atol=1e-9 + 1e-9 * scale)


def test_a_stage_that_repeats_to_2_um_leaves_the_stated_error_and_not_more() -> None:
    matrix = ((0.501, -0.0026), (0.0026, 0.501))
    fits = [fit_camera_to_stage(chains(matrix, 2.0, seed)) for seed in range(40)]
    off = np.array([found for found, _ in fits]) - np.array(matrix)
    stated = np.mean([error for _, error in fits])
    assert np.std(off) < 1.5 * stated
    assert stated < 3e-4


def test_lines_along_one_axis_alone_are_refused() -> None:
    with pytest.raises(ValueError, match="both axes"):
        fit_camera_to_stage(chains(((0.5, 0.0), (0.0, 0.5)), 0.0)[:2])


@settings(max_examples=15, deadline=None)
@given(
    settle=st.floats(1.0, 100.0),
    accel=st.floats(5e4, 2e6),
    speed=st.floats(5e3, 4e4),
    late_ms=st.floats(0, 0.2),
)
def test_xy_times_are_explained_to_half_a_percent(
    settle: float, accel: float, speed: float, late_ms: float
) -> None:
    true = XYKinematics(settle_ms=settle, accel_um_s2=accel, speed_um_s=speed)
    seconds = np.array([true.seconds(d) + late_ms / 1000 for d in DISTANCES])
    found, off_ms = fit_xy_kinematics(DISTANCES, seconds)
    for distance in (461.0, 700.0, 3000.0):
        expected = true.seconds(distance) + late_ms / 1000
        assert found.seconds(distance) == pytest.approx(expected, rel=0.005)
    assert off_ms < 1.0


@settings(deadline=None)
@given(step=st.floats(5.0, 50.0), knee=st.floats(1.0, 20.0), slope=st.floats(0.05, 5.0))
def test_z_times_are_explained(step: float, knee: float, slope: float) -> None:
    true = ZKinematics(step_ms=step, step_um=knee, ms_per_um=slope)
    distances = np.array([0.5, 1, 2, 4, 6, 9, 14, 25, 50, 100])
    found, _ = fit_z_kinematics(distances, np.array([true.seconds(d) for d in distances]))
    for distance in distances:
        assert found.seconds(distance) == pytest.approx(true.seconds(distance), rel=0.02, abs=2e-4)


def test_z_that_takes_no_time_costs_none() -> None:
    found, _ = fit_z_kinematics(np.array([1.0, 2, 5]), np.zeros(3))
    assert found.seconds(100.0) == 0.0


def photons(level: np.ndarray, rng: np.random.Generator, flicker: float) -> Pixels:
    """A camera with 40 electrons a DN and 0.5 DN of read noise."""
    electrons = rng.poisson(level * 40.0 * flicker)
    seen = electrons / 40.0 + rng.normal(0, 0.5, level.shape)
    return np.clip(np.round(seen), 0, 255).astype(np.uint8)


def test_photon_transfer_finds_gain_and_read_noise_through_a_flickering_lamp() -> None:
    rng = np.random.default_rng(3)
    level = np.tile(np.linspace(20, 220, 600), (400, 1))
    pairs = [(photons(level, rng, 1.0), photons(level, rng, 1.02)) for _ in range(3)]
    noise, error = fit_noise(pairs)
    assert noise.electrons_per_dn == pytest.approx(40.0, rel=0.05)
    assert noise.read_dn == pytest.approx(np.hypot(0.5, 12**-0.5), abs=0.25)
    assert error < 2.0


def test_a_field_of_one_brightness_has_no_photon_transfer() -> None:
    flat = np.full((300, 300), 100, np.uint8)
    with pytest.raises(ValueError, match="range of brightness"):
        fit_noise([(flat, flat)])


def test_the_light_is_found_behind_cells_that_lie_somewhere_else_in_each_field() -> None:
    true = FlatField(coefficients=((1.05, 0.01, -0.02, -0.08, 0.005, -0.07, 0.0, 0.01, 0.0),) * 3)
    spec = CameraSpec(width_px=512, height_px=384, exposure_ms=1)
    light = illumination(true, (spec.height_px, spec.width_px))
    rng, fields = np.random.default_rng(5), []
    for _ in range(24):
        frame = light * 200.0
        for y, x in rng.integers(0, (340, 470), (12, 2)):
            frame[y : y + 44, x : x + 42] *= 0.6
        fields.append(shrunk(np.round(frame).astype(np.uint8)))
    found, left = fit_flat_field(fields)
    seen = illumination(found, (spec.height_px, spec.width_px))
    assert np.abs(seen / seen.mean() - light / light.mean()).max() < 0.01
    assert seen.mean() == pytest.approx(1.0, abs=0.005)
    assert left < 0.01
