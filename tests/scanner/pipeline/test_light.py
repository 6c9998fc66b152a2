"""Is the lamp's flicker gone, glass white and nothing else changed, with the same facts after a stop?"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from scanner.model.events import Kind
from scanner.model.plan import PlannedTile
from scanner.model.tile import FocusState, Judged, Tile, TileFocus
from scanner.pipeline.flat_field import Correction
from scanner.pipeline.frames import RecentFrames
from scanner.pipeline.glass import glass_level, tie
from scanner.pipeline.lattice import Box
from scanner.pipeline.light import Light, LightWork
from scanner.pipeline.registration import PairMeasurement
from scanner.pipeline.sampling import sample
from scanner.storage.ledger import Ledger
from scanner.storage.light_facts import BackgroundFact, Source
from scanner.storage.spool import Spool
from tests.scanner.pipeline.lit_fields import SIDE, WHITE, Field

STEP = 220
EVEN = np.ones((SIDE, SIDE, 3))
NAME = "1-test"


@contextmanager
def opened(
    folder: Path, given: tuple[float, ...] | None = None, white: float | None = 240.0
) -> Iterator[tuple[Light, RecentFrames, Ledger]]:
    """The fold, begun or gone on with in ``folder``."""
    with Ledger.open(folder / "run.sqlite", create=True) as ledger:
        plain = Correction(np.eye(2, dtype=np.int64), None)
        frames = RecentFrames(Spool(folder / "spool", keep=False), NAME, lambda: plain, 500)
        work = LightWork(NAME, 3, ledger, frames, white, True, given)
        yield Light(work), frames, ledger


def judged(number: int, pixels: NDArray[np.uint8] | None) -> Judged:
    planned = PlannedTile(tile=number, row=0, col=number, x_um=0.0, y_um=0.0)
    focus = TileFocus(FocusState.SHARP, 0.0, 0.1)
    tile = Tile(planned, 1, 1, None, "", 0.0, 0.0, focus, 1)
    return Judged(tile, pixels, 1.0, 1.0, (False, False, False, False))


def beside(number: int) -> list[tuple[int, PairMeasurement]]:
    """A tile lies to the right of the one before."""
    return [] if number == 0 else [(number - 1, PairMeasurement(STEP, 0, 0.1, 0.9, 0.9, 0.1, True, ""))]


def row(cover: float, levels: NDArray[np.float64], seed: int = 1) -> list[NDArray[np.uint8]]:
    """Fields in a row; the specimen repeats itself where it ends."""
    field, rng = Field.of(seed, cover), np.random.default_rng(seed)
    field.specimen = np.tile(field.specimen[:SIDE], (1, 1 + len(levels) * STEP // 2200, 1))
    return [field.frame(n * STEP, 0, EVEN, level, rng) for n, level in enumerate(levels)]


def gains(folder: Path, shown: list[NDArray[np.uint8]], **options: object) -> NDArray[np.float64]:
    with opened(folder, **options) as (light, frames, _):  # type: ignore[arg-type]  # keywords of ``opened``
        found = []
        for number, pixels in enumerate(shown):
            light.add(judged(number, pixels), beside(number))
            frames.add(judged(number, pixels))
            if number >= 8:
                found.append(light.place(number - 8))
        found += [light.place(number) for number in range(max(0, len(shown) - 8), len(shown))]
    return np.array(found)


def flicker(count: int, seed: int = 5) -> NDArray[np.float64]:
    return 1 + 0.01 * np.random.default_rng(seed).standard_normal(count)


def test_glass_is_brought_to_the_background_in_every_channel_and_every_exposure(tmp_path: Path) -> None:
    levels = flicker(20)
    found = gains(tmp_path, row(0.3, levels))
    shown = found * WHITE * 0.94 * levels[:, None]
    assert np.abs(shown - 240).max() < 1.0


def test_without_glass_of_its_own_a_tile_follows_its_neighbours(tmp_path: Path) -> None:
    levels = flicker(24)
    shown = row(0.2, levels)
    dense = row(1.0, levels, seed=2)
    mixed = shown[:10] + dense[10:]
    assert all(glass_level(pixels) is None for pixels in dense[10:])
    found = gains(tmp_path, mixed)
    # where the two specimens meet, an overlap shows nothing that both tiles share
    steps = np.diff(np.log(found[18:, 1] * levels[18:]))
    assert np.abs(steps).max() < 0.4 * np.abs(np.diff(np.log(levels[18:]))).max()


def test_a_thousand_tiles_without_glass_do_not_drift_away(tmp_path: Path) -> None:
    """Each tie is a little wrong in the same direction, as an imperfect flat field makes them."""
    levels = flicker(1000)
    texture = row(1.0, np.ones(2), seed=2)[0][:, np.arange(SIDE) % STEP].astype(float)
    slope = np.linspace(1.001, 0.999, SIDE)[None, :, None]
    with opened(tmp_path, given=tuple(WHITE * 0.94)) as (light, frames, _):
        found = []
        for number, level in enumerate(levels):
            pixels = np.rint(texture * level * slope).astype(np.uint8)
            light.add(judged(number, pixels), beside(number))
            frames.add(judged(number, pixels))
            found.append(light.place(number))
            if number:
                frames.release(number - 1)
    off = np.array(found)[:, 1] * levels * WHITE[1] * 0.94 / 240 - 1
    assert np.abs(off).max() < 0.03


def test_a_slide_without_glass_keeps_its_colours_and_says_so(tmp_path: Path) -> None:
    found = gains(tmp_path, row(1.0, np.ones(12)))
    assert np.allclose(found, 1.0, atol=0.01)
    assert np.ptp(found, axis=1).max() == 0
    with Ledger.read(tmp_path / "run.sqlite") as ledger:
        event = ledger.latest(Kind.BACKGROUND, NAME)
    assert event is not None
    fact = BackgroundFact.from_body(event.body)
    assert fact.source is Source.NONE
    assert "no empty glass" in fact.why


def test_the_profiles_background_stands_in_where_a_slide_shows_no_glass(tmp_path: Path) -> None:
    found = gains(tmp_path, row(1.0, np.ones(12)), given=tuple(WHITE * 0.94))
    assert np.allclose(found * WHITE * 0.94, 240, rtol=0.01)


def test_pale_sample_of_another_colour_is_no_glass(tmp_path: Path) -> None:
    pale = [np.full((SIDE, SIDE, 3), (215, 190, 220), np.uint8) for _ in range(12)]
    assert glass_level(pale[0]) is not None
    found = gains(tmp_path, pale, given=tuple(WHITE * 0.94))
    assert np.allclose(found * WHITE * 0.94, 240, rtol=0.01)


def test_a_fold_that_was_stopped_goes_on_to_the_same_gains(tmp_path: Path) -> None:
    shown = row(0.4, flicker(20))
    undisturbed = gains(tmp_path, shown)
    with opened(tmp_path) as (light, _, _):
        again = []
        for number in range(len(shown)):
            light.add(judged(number, None), beside(number))
            if number >= 8:
                again.append(light.place(number - 8))
        again += [light.place(number) for number in range(len(shown) - 8, len(shown))]
    assert np.array_equal(np.array(again), undisturbed)


def test_a_tile_that_was_never_measured_and_lost_its_pixels_is_a_damaged_run(tmp_path: Path) -> None:
    with opened(tmp_path) as (light, _, _), pytest.raises(Exception, match="never measured"):
        light.add(judged(0, None), [])


@pytest.mark.parametrize("offset", [(STEP, 3), (-STEP, -3), (4, STEP)])
def test_a_tie_is_how_much_brighter_a_tile_is(offset: tuple[int, int]) -> None:
    field, rng = Field.of(3, 0.8), np.random.default_rng(3)
    a = field.frame(600, 600, EVEN, 1.0, rng)
    b = field.frame(600 + offset[0], 600 + offset[1], EVEN, 1.02, rng)
    found = tie(a, b, 7, offset, sure=True)
    assert found is not None
    assert found.ratio == pytest.approx(np.log(1.02), abs=0.002)
    assert tie(a, b, 7, (SIDE, 0), sure=True) is None


def test_light_and_place_are_rounded_once() -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    gain = (1.05, 0.97, 1.02)
    size = Box(0, 0, 40, 40)

    def part(rows: slice, cols: slice) -> NDArray[np.uint8]:
        return pixels[rows, cols]

    still = sample(part, 8.0, 9.0, size, gain)
    exact = np.clip(pixels[9:49, 8:48] * np.array(gain), 0, 255)
    assert np.abs(still - exact).max() <= 0.5 + 1e-3
    moved = sample(part, 8.25, 9.5, size, gain).astype(float)
    unlit = sample(part, 8.25, 9.5, size).astype(float)
    inside = (unlit > 0) & (unlit < 255) & (moved > 0) & (moved < 255)
    assert np.abs(moved - unlit * np.array(gain))[inside].max() <= 0.5 + 0.5 * max(gain) + 1e-3
