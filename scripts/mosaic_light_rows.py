"""How even is the light of a mosaic, how straight are its frames, and what does that cost? Rows for the mosaic bench.

Simulated fields of a liquid-based slide (sparse) and of a tissue section (dense) under the default rig's camera: 15 %
vignetting, 1 % flicker. The true light, bend and shift of colours are known.
"""

import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
from numpy.typing import NDArray

from scanner.acquisition.measure_lens import colours_apart, fit_chromatic, fit_distortion, same_in_both
from scanner.devices.simulated.field import SIDE_PX, VIGNETTING
from scanner.model.geometry import Point
from scanner.model.optics import ChannelShift, Chromatic, Distortion
from scanner.model.plan import PlannedTile
from scanner.model.profile import FlatField, Measured, Profile
from scanner.model.tile import FocusState, Judged, Pixels, Tile, TileFocus
from scanner.pipeline.flat_estimate import coarse, estimate
from scanner.pipeline.flat_field import Correction, illumination
from scanner.pipeline.frames import RecentFrames
from scanner.pipeline.lattice import Box
from scanner.pipeline.lens import seen_at
from scanner.pipeline.light import Light, LightWork
from scanner.pipeline.registration import PairMeasurement
from scanner.pipeline.sampling import sample
from scanner.storage.ledger import Ledger
from scanner.storage.ngff import BLOSC_LEVEL
from scanner.storage.profiles import read_profile
from scanner.storage.spool import Spool
from scripts.focus_field import SimulatedField
from scripts.rows import Row, at_most, row, tell

PROFILE = Path(__file__).parents[1] / "hardware_profiles" / "simulated.yaml"
SEED, ROWS, COLS, STEP_UM = 5, 4, 7, 461.0
STARTS = {"sparse": ("cytology", (41_500.0, 4_000.0)), "dense": ("histology", (43_000.0, 11_000.0))}
TISSUE_EDGE = ("histology", (41_500.0, 3_200.0))
TILT = 0.05
GLASS_NOISE_DN = 2.3
BENT = Distortion(k1=0.006)
SPLIT = Chromatic(
    red=ChannelShift(x_px=0.4, y_px=-0.2, magnification=0.0006),
    blue=ChannelShift(x_px=-0.1, y_px=0.3, magnification=-0.0008),
)
SHAPE = (SIDE_PX, SIDE_PX)
SEEN_TWICE_UM = 307.0
Cell = tuple[int, int]


class Grid:
    """Raw fields of one specimen in rows, and their true places on the camera's grid, px."""

    def __init__(self, kind: str, start: tuple[float, float], rows: int = ROWS, cols: int = COLS) -> None:
        field = SimulatedField(SEED, kind)
        self.cells: list[Cell] = list(itertools.product(range(rows), range(cols)))
        places = [(start[0] + c * STEP_UM, start[1] + r * STEP_UM) for r, c in self.cells]
        self.raw = [field.frame(place, field.base_um(place) + 1.0) for place in places]
        self.at = [Point(*field.grid.from_slide(*place)) for place in places]

    def neighbours(self, number: int) -> list[int]:
        """The tiles above and to the left."""
        row, col = self.cells[number]
        return [n for n, cell in enumerate(self.cells[:number]) if cell in ((row, col - 1), (row - 1, col))]

    def offset(self, first: int, second: int) -> Point:
        """Top-left of the second minus that of the first."""
        return self.at[second] - self.at[first]


def true_light(tilt: float) -> NDArray[np.float64]:
    """(1024, 1024, 3) relative light of the simulated camera with mean 1, its lamp tilted."""
    at = np.linspace(-1, 1, SIDE_PX)
    planes = [
        1 - VIGNETTING * np.clip(((at[:, None] - 0.04) ** 2 + (at[None] + shift) ** 2) / 2, 0, 1.1)
        for shift in (0.03, 0.0, -0.02)
    ]
    light = np.stack(planes, axis=-1) * tilted(tilt)
    return np.asarray(light / light.mean(axis=(0, 1)))


def tilted(tilt: float) -> NDArray[np.float64]:
    """(1024, 1024, 1), at most 1."""
    at = np.linspace(-1, 1, SIDE_PX)
    plane = 1 + tilt * at[None] - 0.6 * tilt * at[:, None]
    return np.asarray((plane / plane.max())[..., None])


def shading(field: FlatField, tilt: float) -> float:
    """What a flat field leaves of the true light, 95th percentile, %."""
    left = illumination(field, SHAPE) / true_light(tilt)
    return 100 * float(np.quantile(np.abs(left / left.mean(axis=(0, 1)) - 1), 0.95))


def shading_rows(grids: dict[str, Grid], profile: Profile) -> list[Row]:
    """The profile's field against those the fields tell."""
    assert profile.measured.flat_field is not None
    known = profile.measured.flat_field.value
    none = FlatField(coefficients=((1.0,) + (0.0,) * 8,) * 3)
    found = [
        row("shading left without a flat field, 95th percentile, %", shading(none, 0.0)),
        row("shading left by the profile's field, 95th percentile, %", shading(known, 0.0)),
    ]
    for (name, grid), tilt in itertools.product(grids.items(), (0.0, TILT)):
        raw = [np.rint(one * tilted(tilt)).astype(np.uint8) for one in grid.raw]
        told = estimate([coarse(one) for one in raw])
        words = f"shading left by the scan's own field, {name}{', tilted lamp' if tilt else ''}, 95th percentile, %"
        bar = 2.0 if name == "dense" else 0.5
        if told.field is None:
            found.append(row(f"{words} (refused: {told.reason})", None, bar, met=False))
        else:
            found.append(at_most(words, shading(told.field, tilt), bar))
    return found


def flicker_rows(name: str, grid: Grid, profile: Profile) -> list[Row]:
    """Steps of light across the seams of a grid, as the lamp makes them and as they are drawn."""
    correction = Correction.of(profile)
    flat = [correction(one) for one in grid.raw]
    gains, spent = evened(grid, flat, correction)
    same = [tuple(np.median(np.array(gains), axis=0).tolist())] * len(flat)
    before, after = (steps(grid, flat, one) for one in (same, gains))
    level = [
        float(np.quantile(cv2.resize(p, (128, 128), interpolation=cv2.INTER_AREA)[..., 1], 0.98))
        for p in flat
    ]
    white = float(np.median([one * gain[1] for one, gain in zip(level, gains, strict=True)]))
    return [
        row(
            f"step of light across a seam before, {name}, 95th percentile, DN",
            float(np.quantile(before, 0.95)),
        ),
        at_most(
            f"step of light across a seam after, {name}, 95th percentile, DN",
            float(np.quantile(after, 0.95)),
            1.0,
        ),
        row(f"brightest glass of a tile, {name}, green, DN", white),
        at_most(f"evening out, {name}: CPU ms a tile, median", float(np.median(spent)), 3.0),
    ]


def evened(
    grid: Grid, flat: list[Pixels], correction: Correction
) -> tuple[list[tuple[float, ...]], list[float]]:
    """What each tile is multiplied with, and the CPU ms that finding it took."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Ledger.open(Path(folder) / "l.sqlite", create=True) as ledger,
    ):
        frames = RecentFrames(Spool(Path(folder) / "spool", keep=False), "s", lambda: correction, 1000)
        light = Light(LightWork("s", 3, ledger, frames, 244.0, True))
        spent = []
        for number, pixels in enumerate(flat):
            pairs = [(n, measured(grid.offset(n, number))) for n in grid.neighbours(number)]
            began = time.thread_time()
            light.add(_judged(number, pixels), pairs)
            spent.append(1000 * (time.thread_time() - began))
            frames.add(_judged(number, pixels))
        return [light.place(number) for number in range(len(flat))], spent


def measured(offset: Point) -> PairMeasurement:
    """A pair as registration would tell it."""
    return PairMeasurement(offset.x, offset.y, 0.1, 0.9, 0.9, 0.1, accepted=True, reason="")


def _judged(number: int, pixels: Pixels) -> Judged:
    planned = PlannedTile(tile=number, row=0, col=number, x_um=0.0, y_um=0.0)
    tile = Tile(planned, 1, 1, None, "", 0.0, 0.0, TileFocus(FocusState.SHARP, 0.0, 0.1), 1)
    return Judged(tile, pixels, 1.0, 1.0, (False,) * 4)


def steps(grid: Grid, flat: list[Pixels], gains: list[tuple[float, ...]]) -> NDArray[np.float64]:
    """Of every pair of neighbours, by how much one is drawn brighter in the overlap: its median, green, DN."""
    found = []
    for number in range(len(flat)):
        for other in grid.neighbours(number):
            offset = grid.offset(other, number)
            dx, dy = round(offset.x), round(offset.y)
            a = flat[other][max(0, dy) : SIDE_PX + min(0, dy), max(0, dx) : SIDE_PX + min(0, dx), 1]
            b = flat[number][max(0, -dy) : SIDE_PX + min(0, -dy), max(0, -dx) : SIDE_PX + min(0, -dx), 1]
            size = (a.shape[1] // 8, a.shape[0] // 8)
            one, two = (cv2.resize(p.astype(np.float32), size, interpolation=cv2.INTER_AREA) for p in (a, b))
            found.append(abs(float(np.median(two * gains[number][1] - one * gains[other][1]))))
    return np.array(found)


def through_a_lens(frame: Pixels, bent: Distortion, split: Chromatic) -> Pixels:
    """What the camera would have seen through a worse lens."""
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX].astype(np.float64)
    middle = (SIDE_PX - 1) / 2
    raw = np.stack([x - middle, y - middle], axis=-1)
    planes = []
    for channel, shift in enumerate((split.red, ChannelShift(), split.blue)):
        ideal = raw.copy()
        for _ in range(6):
            ideal -= seen_at(ideal, bent, shift, SHAPE) - raw
        across, down = (np.asarray(ideal[..., n] + middle, np.float32) for n in (0, 1))
        plane = np.asarray(cv2.extractChannel(frame, channel), np.uint8)
        planes.append(cv2.remap(plane, across, down, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT_101))
    return np.asarray(cv2.merge(planes), np.uint8)


def lens_rows() -> list[Row]:
    """How far from the truth what a few frames tell of the lens is, at the worst corner."""
    found = []
    for name, kind in (("cytology", "cytology"), ("tissue", "histology")):
        field, pairs, colours = SimulatedField(SEED, kind), [], []
        for n, move in enumerate(((SEEN_TWICE_UM, 0.0), (0.0, SEEN_TWICE_UM), (SEEN_TWICE_UM, 0.0))):
            start = (43_000.0 + 700 * n, 11_000.0)
            places = [start, (start[0] + move[0], start[1] + move[1])]
            shown = [through_a_lens(field.frame(p, field.base_um(p) + 1.0), BENT, SPLIT) for p in places]
            first, second = (Point(*field.grid.from_slide(*p)) for p in places)
            pairs.append(same_in_both(shown[0], shown[1], second - first, 80.0))
            colours.append(colours_apart(shown[0]))
        bent, _ = fit_distortion([pair for pair in pairs if pair is not None], SHAPE)
        split, _ = fit_chromatic(colours, SHAPE)
        off, bend = (apart(ChannelShift(), ChannelShift(), one) for one in (bent, Distortion(k1=0.0)))
        colour = max(apart(split.red, SPLIT.red), apart(split.blue, SPLIT.blue))
        found += [
            at_most(
                f"bend not undone at the corner, {name}, px (of {bend:.1f})",
                off,
                0.1,
            ),
            at_most(f"colours not brought together at the corner, {name}, px", colour, 0.1),
        ]
    return found


def apart(found: ChannelShift, true: ChannelShift, bent: Distortion | None = None) -> float:
    """Between what was found and the truth, at the worst corner, px."""
    corners = np.array([(x * SIDE_PX / 2, y * SIDE_PX / 2) for x in (-1, 1) for y in (-1, 1)])
    straight = Distortion(k1=0.0)
    one = seen_at(corners, straight if bent is None else bent, found, SHAPE)
    other = seen_at(corners, straight if bent is None else BENT, true, SHAPE)
    return float(np.hypot(*(one - other).T).max())


def cost_rows(raw: Pixels, profile: Profile) -> list[Row]:
    """The least CPU time of several, of one frame of the default rig."""

    def known(value: Any) -> Measured[Any]:
        assert profile.measured.flat_field is not None
        return Measured(value=value, when=profile.measured.flat_field.when, how="the bench")

    def lens(**values: Any) -> Profile:
        measured = profile.measured.model_copy(update={key: known(value) for key, value in values.items()})
        return profile.model_copy(update={"measured": measured})

    plain, bent = Correction.of(profile), Correction.of(lens(distortion=BENT))
    both = Correction.of(lens(distortion=BENT, chromatic=SPLIT))
    flat, size = plain(raw), Box(0, 0, SIDE_PX - 4, SIDE_PX - 4)
    drawn, lit = cpu_ms(
        lambda: sample(lambda r, c: flat[r, c], 1.3, 1.6, size),
        lambda: sample(lambda r, c: flat[r, c], 1.3, 1.6, size, (1.05, 1.04, 1.03)),
    )
    corrected, unbent, joined = cpu_ms(lambda: plain(raw), lambda: bent(raw), lambda: both(raw))
    return [
        row("correct: CPU ms a tile, flat field", corrected),
        row("correct: CPU ms a tile, flat field and bend", unbent),
        row("correct: CPU ms a tile, flat field, bend and colours", joined),
        row("draw: CPU ms a tile between pixels", drawn),
        at_most("draw: CPU ms a tile more for its light", max(0.0, lit - drawn), 3.0),
    ]


def cpu_ms(*calls: Callable[[], object]) -> list[float]:
    """The least of 25 turns each, taken in turn."""
    least = [np.inf] * len(calls)
    for _ in range(25):
        for n, call in enumerate(calls):
            began = time.thread_time()
            call()
            least[n] = min(least[n], 1000 * (time.thread_time() - began))
    return least


def rows() -> list[Row]:
    """Everything that is measured."""
    profile = read_profile(PROFILE)
    grids = {name: Grid(*start) for name, start in STARTS.items()}
    flicker = [entry for name, grid in grids.items() for entry in flicker_rows(name, grid, profile)]
    told = {"sparse": grids["sparse"], "tissue's edge": Grid(*TISSUE_EDGE), "dense": grids["dense"]}
    cost = cost_rows(grids["sparse"].raw[0], profile)
    return [*shading_rows(told, profile), *flicker, *lens_rows(), *cost, *size_rows()]


def size_rows() -> list[Row]:
    """What the noise of empty glass costs on disk at the level it is brought to, and at a rounder one."""
    noise = np.random.default_rng(SEED).normal(0, GLASS_NOISE_DN, (512, 512))
    found = []
    for level, step in itertools.product((240, 244), (1, 4)):
        glass = (np.clip(np.rint((level + noise) / step) * step, 0, 255)).astype(np.uint8)
        packed = imagecodecs.blosc_encode(
            glass, level=BLOSC_LEVEL, compressor="lz4", shuffle="bitshuffle", typesize=1
        )
        found.append(
            row(f"glass at {level}, steps of {step}: times smaller by lz4", glass.nbytes / len(packed))
        )
    return found


if __name__ == "__main__":
    cv2.setNumThreads(1)
    tell(rows())
