"""Is what a lens does to a frame undone, measured from frames, and cut as the whole is?"""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from scanner.acquisition.measure_lens import colours_apart, fit_chromatic, fit_distortion, same_in_both
from scanner.model.geometry import Point
from scanner.model.optics import ChannelShift, Chromatic, Distortion
from scanner.model.profile import Measured, Profile
from scanner.pipeline.flat_field import Correction
from scanner.pipeline.lens import apart_px, corner_px, seen_at
from scanner.pipeline.registration import noise_of, register
from scanner.storage.profiles import read_profile

PROFILES = Path(__file__).parents[3] / "hardware_profiles"
SIDE = 768
SHAPE = (SIDE, SIDE)
PLAIN = Distortion(k1=0.0)
BENT = Distortion(k1=0.006, k2=0.001, centre=(0.05, -0.03))
SPLIT = Chromatic(
    red=ChannelShift(x_px=0.5, y_px=-0.3, magnification=0.0008),
    blue=ChannelShift(x_px=-0.2, y_px=0.4, magnification=-0.001),
)


@cache
def specimen(side: int = 2 * SIDE, seed: int = 1) -> NDArray[np.float32]:
    """(side, side) float32 of cells and grain."""
    rng = np.random.default_rng(seed)
    picture = cv2.GaussianBlur(rng.normal(0, 1, (side, side)).astype(np.float32), (0, 0), 1.6)
    picture = 200 + 14 * picture / picture.std()
    for x, y, r in zip(*rng.integers(0, side, (2, 260)), rng.integers(5, 16, 260), strict=True):
        cv2.circle(picture, (int(x), int(y)), int(r), float(rng.uniform(60, 150)), -1, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.9), np.float32)


def seen(
    truth: NDArray[np.float32], at: tuple[int, int], bent: Distortion, split: Chromatic, seed: int = 0
) -> NDArray[np.uint8]:
    """The raw frame of the field whose first pixel is ``at`` (x, y), each pixel where the lens puts it."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    middle = (SIDE - 1) / 2
    raw = np.stack([x - middle, y - middle], axis=-1)
    planes = []
    for shift in (split.red, ChannelShift(), split.blue):
        ideal = raw.copy()
        for _ in range(4):
            ideal -= seen_at(ideal, bent, shift, SHAPE) - raw
        across, down = (np.asarray(ideal[..., n] + middle + at[n], np.float32) for n in (0, 1))
        planes.append(cv2.remap(truth, across, down, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT_101))
    noise = np.random.default_rng(seed).normal(0, 1.5, (SIDE, SIDE, 3))
    return np.clip(np.rint(np.stack(planes, axis=-1) + noise), 0, 255).astype(np.uint8)


def measured(value: Any) -> Measured[Any]:
    return Measured(value=value, when=datetime.now(UTC), how="a test")


def profile(bent: Distortion | None, split: Chromatic | None, **more: Any) -> Profile:
    whole = read_profile(PROFILES / "simulated.yaml")
    camera = whole.camera.model_copy(update={"width_px": SIDE, "height_px": SIDE})
    known = {
        "flat_field": None,
        "distortion": measured(bent) if bent else None,
        "chromatic": measured(split) if split else None,
    }
    values = whole.measured.model_copy(update=known | more)
    return whole.model_copy(update={"camera": camera, "measured": values})


def corners() -> NDArray[np.float64]:
    return np.array([(x * SIDE / 2, y * SIDE / 2) for x in (-1, 1) for y in (-1, 1)])


@cache
def frames(bent: Distortion, split: Chromatic) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8], Point]]:
    truth, moves = specimen(3 * SIDE), [(460, 3), (-2, 460), (455, 8), (5, 450)]
    starts = [(300, 300), (900, 500), (400, 1000), (1000, 900)]
    return [
        (
            seen(truth, start, bent, split, 2 * n),
            seen(truth, (start[0] + move[0], start[1] + move[1]), bent, split, 2 * n + 1),
            Point(*map(float, move)),
        )
        for n, (start, move) in enumerate(zip(starts, moves, strict=True))
    ]


@pytest.mark.parametrize("k1", [0.0, 0.006, -0.01])
def test_the_bend_is_measured_within_a_tenth_of_a_pixel_at_the_corner(k1: float) -> None:
    true = Distortion(k1=k1)
    pairs = [same_in_both(a, b, move, 40.0) for a, b, move in frames(true, Chromatic())]
    found, sigma_px = fit_distortion([pair for pair in pairs if pair is not None], SHAPE)
    off = [seen_at(corners(), one, ChannelShift(), SHAPE) for one in (found, true)]
    assert np.hypot(*(off[0] - off[1]).T).max() < 0.1
    assert sigma_px < 0.1


def test_the_split_of_colours_is_measured_within_a_tenth_of_a_pixel_at_the_corner() -> None:
    bent = Distortion(k1=0.006)
    found, sigma_px = fit_chromatic([colours_apart(a) for a, _, _ in frames(bent, SPLIT)], SHAPE)
    for one, true in ((found.red, SPLIT.red), (found.blue, SPLIT.blue)):
        off = seen_at(corners(), PLAIN, one, SHAPE) - seen_at(corners(), PLAIN, true, SHAPE)
        assert np.hypot(*off.T).max() < 0.1
    assert sigma_px < 0.1


def test_a_corrected_frame_shows_what_a_perfect_lens_would() -> None:
    truth = specimen()
    frame = seen(truth, (200, 200), BENT, SPLIT)
    perfect = seen(truth, (200, 200), PLAIN, Chromatic())
    corrected = Correction.of(profile(BENT, SPLIT))(frame)
    inside = (slice(20, -20), slice(20, -20))
    for channel in range(3):
        before, after = (
            float(np.abs(one[inside][..., channel].astype(float) - perfect[inside][..., channel]).mean())
            for one in (frame, corrected)
        )
        assert after < 0.5 * before
        assert after < 3.0


def test_two_corrected_frames_are_moved_against_each_other_and_nothing_else() -> None:
    """The seam between two frames is even along its whole length: both its ends are shifted alike."""
    ends = []
    for correction in (Correction.of(profile(None, None)), Correction.of(profile(BENT, SPLIT))):
        a, b = (correction(one) for one in frames(BENT, SPLIT)[0][:2])
        parts = [
            register(a[rows], b[rows], Point(460.0, 3.0), 20.0, noise_of(a))
            for rows in (slice(0, 200), slice(-200, None))
        ]
        ends.append(float(np.hypot(parts[0].dx_px - parts[1].dx_px, parts[0].dy_px - parts[1].dy_px)))
    assert ends[1] < 0.15 < 2 * ends[0]
    assert ends[1] < ends[0] / 3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("split", [None, SPLIT])
@pytest.mark.parametrize("turned", [False, True])
def test_a_cut_is_a_part_of_the_whole(
    dtype: type[np.uint8] | type[np.uint16], split: Chromatic | None, turned: bool
) -> None:
    flat = read_profile(PROFILES / "simulated.yaml").measured.flat_field
    more: dict[str, Any] = {"flat_field": flat}
    if turned:
        more["camera_to_stage"] = measured(((0.0, -0.5), (0.5, 0.0)))
    correction = Correction.of(profile(BENT, split, **more))
    eight = seen(specimen(), (200, 200), BENT, SPLIT)
    frame = eight if dtype is np.uint8 else eight.astype(np.uint16) * 257
    whole = correction(frame)
    for rows, cols in (
        (slice(0, 70), slice(3, 500)),
        (slice(301, 302), slice(0, 33)),
        (slice(700, 768), slice(9, 10)),
    ):
        assert np.array_equal(whole[rows, cols], correction.cut(frame, rows, cols))


def test_the_bend_turns_with_the_camera() -> None:
    frame = seen(specimen(), (200, 200), BENT, Chromatic())
    plain = Correction.of(profile(BENT, None))(frame)
    turn = measured(((0.0, -0.5), (0.5, 0.0)))
    turned = Correction.of(profile(BENT, None, camera_to_stage=turn))(frame)
    only_turned = Correction.of(profile(None, None, camera_to_stage=turn))(plain)
    # the look-up counts in 1/32 px, from the other side
    assert np.abs(turned.astype(float) - only_turned).mean() < 0.3


def test_a_lens_that_does_nothing_to_be_seen_costs_nothing() -> None:
    straight = Distortion(k1=0.0001)
    alike = Chromatic(red=ChannelShift(x_px=0.03, magnification=0.00005))
    assert corner_px(straight, SHAPE) < 0.1
    assert apart_px(alike, SHAPE) < 0.1
    correction = Correction.of(profile(straight, alike))
    frame = seen(specimen(), (200, 200), PLAIN, Chromatic())
    assert correction.lens is None
    assert correction(frame) is frame
