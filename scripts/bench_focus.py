"""How well does focus find the sample's height? Rows for ``scripts/bench focus [--json]``.

Truth is the noise-free gradient energy of a simulated field over height, which no metric here measures; real stacks
are judged by metrics the plane was not chosen with.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from autofocus.edf import extended_focus
from autofocus.metrics import ALL_METRICS, BinnedBrenner, SmoothedBrenner, VarianceOfLaplacian
from autofocus.search import Answer, Found, Look, first_point, guided, run, template_of
from autofocus.sharpness import measure
from autofocus.stack import focus_stack
from autofocus.template import FocusTemplate
from scanner.acquisition.focus import TileFocusing
from scanner.acquisition.focus_survey import Survey
from scanner.devices.simulated.field import SIDE_PX, FieldCamera
from scanner.devices.simulated.optics import PSF_UM, psf_kernel
from scanner.devices.simulated.rack import SimulatedRack
from scanner.devices.simulated.slide import ProceduralSlide
from scanner.devices.simulated.specimen import BareGlass, CameraGrid
from scanner.model.plan import PlannedTile
from scanner.model.report import FocusPointFact
from scanner.model.tile import FocusState, Frame
from scanner.storage.profiles import read_profile
from scanner.storage.stacks import read_stack

ROOT = Path(__file__).resolve().parents[1]
PROFILE = ROOT / "hardware_profiles" / "simulated.yaml"
REAL = ROOT.parent / "shared" / "data"
STACKS = ("B_isbi2014_zstack", "B_ypm_zstack_426566")
SEED = 700_003
DEPTH_UM = 0.98
FIELDS = 24
FIRST_POINTS = 8
ROWS, COLUMNS = 6, 8
STEP_UM = 462.0
CENTRE_UM = (45_000.0, 12_500.0)
SHARP_SHARE = 0.9
Row = dict[str, Any]
Place = tuple[float, float]


def row(name: str, value: float | str | None, bar: float | None, met: bool | None) -> Row:
    """One line of the bench."""
    shown = round(value, 4) if isinstance(value, float) else value
    return {"name": name, "value": shown, "bar": bar, "met": met}


def at_most(name: str, value: float, bar: float) -> Row:
    """A row whose value must not exceed its bar."""
    return row(name, value, bar, value <= bar)


def at_least(name: str, value: float, bar: float) -> Row:
    """A row whose value must reach its bar."""
    return row(name, value, bar, value >= bar)


def rare(name: str, hits: int, of: int, bar: float) -> Row:
    """A share that must stay under its bar; none among too few proves nothing (the rule of three), and is not met."""
    proven = hits > 0 or of * bar >= 3
    return row(f"{name}, of {of}", hits / of, bar, hits / of <= bar if proven else None)


def cpu_ms(work: Callable[[], object], times: int) -> float:
    """CPU milliseconds of one call, the first left out."""
    work()
    start = time.process_time()
    for _ in range(times):
        work()
    return 1000 * (time.process_time() - start) / times


@dataclass(frozen=True, slots=True)
class TrueCurve:
    """A field's own sharpness over height, relative to its peak."""

    z_um: NDArray[np.float64]
    relative: NDArray[np.float64]

    @property
    def peak_um(self) -> float:
        """Where it is sharpest."""
        return float(self.z_um[int(np.argmax(self.relative))])

    def at(self, z_um: float) -> float:
        """Sharpness at a height."""
        return float(np.interp(z_um, self.z_um, self.relative))


class Bench:
    """A simulated slide and camera without stage: any place, any height."""

    def __init__(self) -> None:
        self.grid = CameraGrid()
        slide = SimulatedRack(SEED, 1).specimen(1, self.grid)
        if not isinstance(slide, ProceduralSlide):
            raise TypeError("the bench needs a procedural slide")
        self.slide, self.camera, self.exposures = slide, FieldCamera(SEED, self.grid), 0

    def base_um(self, place: Place) -> float:
        """Height of the glass."""
        return self.slide.surface.height(*place)

    def frame(self, place: Place, z_um: float) -> NDArray[np.uint8]:
        """(1024, 1024, 3) uint8 with noise and flicker."""
        self.exposures += 1
        return self.camera.expose(self.slide, place, z_um, 5.0, self.exposures)

    def look(self, place: Place) -> Callable[[float], Look]:
        """What a search is sent at a place."""
        return lambda z_um: Look.known(z_um, measure(self.frame(place, z_um)))

    def truth(self, place: Place, reach_um: float = 5.0) -> TrueCurve:
        """Noise-free gradient energy of green over height."""
        kernel = psf_kernel(0, PSF_UM / self.grid.um_per_px)
        heights = self.base_um(place) + np.arange(-reach_um, reach_um + 0.01, 0.75)
        logs = CubicSpline(heights, [np.log(self._energy(place, float(z), kernel)) for z in heights])
        fine = np.arange(heights[0], heights[-1], 0.02)
        energy = np.exp(logs(fine))
        return TrueCurve(fine, energy / energy.max())

    def _energy(self, place: Place, z_um: float, kernel: NDArray[np.float32]) -> float:
        u, v = self.grid.from_slide(*place)
        corner = (round(u - SIDE_PX / 2), round(v - SIDE_PX / 2))
        density = np.zeros((3, SIDE_PX, SIDE_PX), np.float32)
        self.slide.absorb(density, corner, z_um)
        light = np.exp(-cv2.sepFilter2D(density[1], -1, kernel, kernel))
        across, down = light[:, 2:] - light[:, :-2], light[2:] - light[:-2]
        return float((across**2).sum() + (down**2).sum()) + 1e-9

    def random_places(self, count: int) -> list[Place]:
        """Places in the deposit."""
        rng = np.random.default_rng(SEED)
        radius, angle = 9000 * np.sqrt(rng.random(count)), 2 * np.pi * rng.random(count)
        x, y = CENTRE_UM[0] + radius * np.cos(angle), CENTRE_UM[1] + radius * np.sin(angle)
        return list(zip(x.tolist(), y.tolist(), strict=True))


def errors_of(bench: Bench, answers: Sequence[tuple[Place, Answer]]) -> list[float]:
    """How far the found heights lie from the fields' own peaks, µm; peaks beyond the truth's range left out."""
    found = [(place, answer.z_um) for place, answer in answers if isinstance(answer, Found)]
    pairs = [(bench.truth(place), z_um) for place, z_um in found]
    inside = [(t, z) for t, z in pairs if t.z_um[0] + 0.5 < t.peak_um < t.z_um[-1] - 0.5]
    return [abs(z_um - truth.peak_um) for truth, z_um in inside]


def point_rows(bench: Bench) -> tuple[list[Row], FocusTemplate]:
    """Searches without and with a prior."""
    rng = np.random.default_rng(SEED)
    places = bench.random_places(FIELDS)
    blind = [
        (p, run(first_point(bench.base_um(p) + rng.uniform(-8, 8), 15.0, DEPTH_UM), bench.look(p)))
        for p in places[:FIRST_POINTS]
    ]
    curves = [answer.curve for _, answer in blind if isinstance(answer, Found)]
    template = template_of(curves, FocusTemplate.from_optics(DEPTH_UM))
    led = [
        (p, run(guided(template, bench.base_um(p) + rng.normal(0, 0.8), 0.8), bench.look(p))) for p in places
    ]
    first, then = errors_of(bench, blind), errors_of(bench, led)
    rows = [
        at_most("first point, ± 15 µm unknown: p95 error, µm", float(np.quantile(first, 0.95)), 0.25),
        at_most("first point: most frames", max(float(a.frames) for _, a in blind), 20.0),
        at_most("guided point: p95 error, µm", float(np.quantile(then, 0.95)), 0.20),
        row("guided point: median error, µm", float(np.median(then)), None, None),
        at_most("guided point: mean frames", float(np.mean([a.frames for _, a in led])), 4.0),
        row("guided points refused or empty, of 24", float(len(led) - len(then)), None, None),
    ]
    return rows, template


def tile_rows(bench: Bench, template: FocusTemplate) -> list[Row]:
    """A block of neighbouring tiles, each measured by itself, soft ones once more."""
    focusing = TileFocusing(read_profile(PROFILE), Survey(_surveyed(bench, template), template))
    shots, sharp, claimed, mapped, retaken, tiles = 0, 0, [], [], 0, _tiles()
    for tile in tiles:
        place = (tile.x_um, tile.y_um)
        z_map_um, _ = focusing.predict(tile)
        frames = [_frame(bench, place, z) for z in focusing.planes(tile)]
        index, focus = focusing.answer(tile, frames)
        shots += len(frames)
        if focus.state.soft:
            again = tile.model_copy(update={"z_um": focus.best_z_um})
            frames = [_frame(bench, place, z) for z in focusing.planes(again)]
            index, focus = focusing.answer(again, frames)
            shots, retaken = shots + len(frames), retaken + 1
        if focus.state is FocusState.NO_SAMPLE:
            continue
        truth = bench.truth(place)
        reached = truth.at(frames[index].z_um) >= SHARP_SHARE
        mapped.append(truth.at(z_map_um) >= SHARP_SHARE)
        sharp += reached
        if focus.state is FocusState.SHARP:
            claimed.append(reached)
    with_sample = len(mapped)
    return [
        rare("tiles with sample below 90 % of their own peak", with_sample - sharp, with_sample, 0.01),
        row("the same from the map alone", 1 - float(np.mean(mapped)), None, None),
        rare("tiles called sharp that are not", claimed.count(False), len(claimed), 0.0005),
        at_most("frames a tile, retakes included", shots / len(tiles), 4.0),
        rare("tiles taken again", retaken, len(tiles), 0.005),
    ]


def _tiles() -> list[PlannedTile]:
    tiles = []
    for r in range(ROWS):
        for c in range(COLUMNS):
            x = CENTRE_UM[0] + (c - COLUMNS / 2) * STEP_UM
            y = CENTRE_UM[1] + (r - ROWS / 2) * STEP_UM
            tiles.append(PlannedTile(tile=r * COLUMNS + c, row=r, col=c, x_um=x, y_um=y))
    return tiles


def _surveyed(bench: Bench, template: FocusTemplate) -> tuple[FocusPointFact, ...]:
    points = []
    for tile in _tiles()[::7]:
        place = (tile.x_um, tile.y_um)
        answer = run(guided(template, bench.base_um(place) + 0.5, 0.8), bench.look(place))
        if isinstance(answer, Found):
            fact = FocusPointFact(
                x_um=place[0], y_um=place[1], z_um=answer.z_um, sigma_um=answer.sigma_um, state="found"
            )
            points.append(fact)
    return tuple(points)


def _frame(bench: Bench, place: Place, z_um: float) -> Frame:
    return Frame(bench.frame(place, z_um), 0.0, 0.0, z_um, 0.0, 0.0)


def sample_rows(bench: Bench) -> list[Row]:
    """Empty glass taken for sample, and fields with an object taken for empty."""
    glass = [bench.camera.expose(BareGlass(), CENTRE_UM, 0.0, 5.0, n) for n in range(40)]
    objects = np.array([(t.x_um, t.y_um) for t in bench.slide.truth()])
    held = [p for p in bench.random_places(120) if (np.abs(objects - p) < 240).all(axis=1).any()]
    missed = [p for p in held if not measure(bench.frame(p, bench.base_um(p))).has_sample]
    return [
        rare("empty fields taken for sample", sum(measure(f).has_sample for f in glass), len(glass), 0.001),
        rare("fields with an object taken for empty", len(missed), len(held), 0.001),
    ]


def speed_rows() -> list[Row]:
    """CPU time of the metrics and of fusing."""
    rng = np.random.default_rng(SEED)
    frame = rng.integers(150, 250, (2048, 2048, 3)).astype(np.uint8)
    planes = [np.roll(frame, n, axis=0) for n in range(15)]
    fused_s = cpu_ms(lambda: extended_focus(planes, np.arange(15.0)), 1) / 1000
    return [
        at_most("streaming metric on 2048², CPU ms", cpu_ms(lambda: BinnedBrenner()(frame), 10), 1.0),
        at_most("robust metric on 2048², CPU ms", cpu_ms(lambda: SmoothedBrenner()(frame), 10), 12.0),
        row(
            "a frame's whole answer on 1024², CPU ms",
            cpu_ms(lambda: measure(frame[:1024, :1024]), 10),
            None,
            None,
        ),
        at_most("extended focus, 15 planes of 2048², CPU s", fused_s, 1.0),
        row("robust metric on 2048², CUDA ms", None, 1.0, None),
    ]


def real_rows() -> list[Row]:
    """Blocks of real stacks whose chosen plane the other metrics also like."""
    judges = [m for m in ALL_METRICS if m.name not in {"smoothed_brenner", "normalised_variance"}]
    rows = []
    for name in STACKS:
        label = f"real stack {name}: blocks where other metrics reach ≥ 95 % of their peak"
        if not (REAL / name).is_dir():
            rows.append(row(label, None, 0.97, None))
            continue
        planes = read_stack(REAL / name).planes
        ours = _agreed(planes, SmoothedBrenner(), [m.blocks for m in judges])
        usual = _agreed(
            planes, VarianceOfLaplacian(), [m.blocks for m in judges if m.name != "variance_of_laplacian"]
        )
        rows += [
            at_least(label, ours, 0.97),
            row(f"the same with variance of Laplacian, {name}", usual, None, None),
        ]
    return rows


def _agreed(planes: Sequence[NDArray[Any]], metric: Any, judges: Sequence[Any]) -> float:
    found = [
        b for b in focus_stack(planes, np.arange(len(planes)), metric).blocks if b.best_plane is not None
    ]
    good = 0
    for block in found:
        part = np.s_[block.y_px : block.y_px + block.h_px, block.x_px : block.x_px + block.w_px]
        parts = [np.ascontiguousarray(plane[part]) for plane in planes]
        shares = []
        for judge in judges:
            curve = np.array([np.asarray(judge(p)).mean() for p in parts])
            shares.append(float(curve[block.best_plane] / curve.max()))
        good += float(np.median(shares)) >= 0.95
    return good / len(found) if found else 0.0


def main() -> None:
    """Print the rows, as a table or as JSON."""
    cv2.setNumThreads(1)
    bench = Bench()
    points, template = point_rows(bench)
    rows = [*points, *tile_rows(bench, template), *sample_rows(bench), *speed_rows(), *real_rows()]
    if "--json" in sys.argv:
        print(json.dumps({"rows": rows}))
        return
    for line in rows:
        mark = {True: "met", False: "short", None: ""}[line["met"]]
        print(
            f"{line['name']}: {line['value']}"
            + (f" (bar {line['bar']}) {mark}" if line["bar"] is not None else "")
        )


if __name__ == "__main__":
    main()
