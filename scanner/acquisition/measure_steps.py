"""What does a rig do when it is made to: how long do its moves take, and where does the image go?

Each step drives the rig and returns raw observations; ``measure_fits`` turns them into values.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from autofocus.metrics import SmoothedBrenner
from autofocus.stain import focus_channel_of
from scanner.acquisition.measure_fits import Chain, Floats, fit_camera_to_stage, shrunk
from scanner.acquisition.measure_lens import Blocks, colours_apart, same_in_both
from scanner.devices.protocols import ZStage
from scanner.devices.rig import Rig
from scanner.errors import BadInput
from scanner.model.geometry import Affine, Point, Rect, Space
from scanner.model.tile import Pixels
from scanner.pipeline.registration import noise_of, register

FIRST_STEP_SHARE = 0.1
LINE_STEP_SHARE = 0.6
LINE_FRAMES = 20
COLOURS_EVERY = 5
LINE_SEARCH_PX = 80.0
SAME_PLACE_SEARCH_PX = 60.0
LEAST_LINKS = 8
COARSE_STEP_UM, FINE_STEP_UM = 3.0, 0.75
REPEATS = 5
XY_SHARES = (0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.45, 0.9)
Z_DISTANCES_UM = (0.5, 1.0, 2.0, 4.0, 6.0, 9.0, 14.0, 25.0, 50.0, 100.0)


@dataclass(frozen=True, slots=True)
class Bench:
    """A rig over a place with texture: ``spot`` stage µm, ``z_um`` in focus there (None where z must not move)."""

    rig: Rig
    spot: Point
    z_um: float | None

    @property
    def field_um(self) -> float:
        """The nominal short side of a field."""
        camera = self.rig.profile.camera
        return min(camera.width_px, camera.height_px) * self.rig.profile.active_objective.um_per_px

    def seen_from(self, at: Point) -> tuple[Point, Pixels]:
        """Go there and look: the reported place and the frame."""
        place = self.rig.stage.start_move(at).wait().position
        return place, look(self.rig)


@dataclass(frozen=True, slots=True)
class Line:
    """One line there and back: ``chain`` of each way, and per place what the way back saw against the way there.

    ``back`` is (n, 4): reported back minus there (stage µm), top-left of back minus there (px). ``fields`` are
    (128, 128, c) means of frames, DN; ``twice`` blocks that two frames of the way there show, ``colours`` of single.
    """

    chains: tuple[Chain, ...]
    back: Floats
    fields: tuple[np.ndarray[tuple[int, ...], np.dtype[np.float32]], ...]
    twice: tuple[Blocks, ...] = ()
    colours: tuple[tuple[Blocks, Blocks], ...] = ()


def look(rig: Rig) -> Pixels:
    """One frame."""
    exposure = rig.camera.start_exposure()
    exposure.exposed()
    return exposure.read().pixels


def find_bench(rig: Rig, region: Rect) -> Bench:
    """The sharpest of nine places of ``region`` (slide µm), in focus.

    Raises:
        BadInput: none of them shows anything.
    """
    to_stage = rig.profile.stage_to_slide(1).inverse()
    shares = [(0.5, 0.5), *((u, v) for u in (0.1, 0.5, 0.9) for v in (0.1, 0.5, 0.9) if (u, v) != (0.5, 0.5))]
    places = [to_stage.apply(Point(region.x + u * region.w, region.y + v * region.h)) for u, v in shares]
    found = [
        (_best_height(rig, place, rig.profile.focus.start_um, COARSE_STEP_UM), place) for place in places
    ]
    (sharpness, z_um), spot = max(found, key=lambda one: one[0][0])
    if sharpness <= 0:
        raise BadInput.one(
            "no texture in the region", "put a slide with cells in slot 1, or name another region"
        )
    if z_um is not None:
        z_um = _best_height(rig, spot, z_um, FINE_STEP_UM)[1]
        height_drive(rig).start_move(z_um or 0.0).wait()
    return Bench(rig, spot, z_um)


def height_drive(rig: Rig) -> ZStage:
    """The focus drive of a rig that has one."""
    if rig.z is None:
        raise BadInput.one("the profile names no focus drive", "name one", field="devices.z")
    return rig.z


def may_focus(rig: Rig) -> bool:
    """Is there a focus drive whose direction is known?"""
    return rig.z is not None and rig.profile.measured.z_sign is not None


def _best_height(rig: Rig, place: Point, about_um: float, step_um: float) -> tuple[float, float | None]:
    """(sharpness, z µm) where a field is sharpest within five steps; z None where z must not move."""
    rig.stage.start_move(place).wait()
    metric = SmoothedBrenner(channel=focus_channel_of(rig.profile.focus.stain))
    if not may_focus(rig):
        return metric(look(rig)), None
    best = (-1.0, about_um)
    for step in range(-5, 6):
        z_um = about_um + step * step_um
        height_drive(rig).start_move(z_um).wait()
        best = max(best, (metric(look(rig)), z_um))
    return best


def coarse_matrix(bench: Bench) -> Affine:
    """Camera px → stage µm to some 10 %, from one small move along each axis.

    Raises:
        BadInput: the image did not follow.
    """
    step = FIRST_STEP_SHARE * bench.field_um
    start, first = bench.seen_from(bench.spot)
    stage, seen = [(0.0, 0.0)], [(0.0, 0.0)]
    for move in (Point(step, 0.0), Point(0.0, step)):
        place, frame = bench.seen_from(bench.spot + move)
        pair = register(first, frame, Point(0.0, 0.0), 2 * step / _um_per_px(bench.rig), noise_of(first))
        if not pair.accepted:
            raise BadInput.one(
                f"the image did not follow a move of {step:.0f} µm: {pair.reason}", "check the focus"
            )
        stage.append((place.x - start.x, place.y - start.y))
        seen.append((pair.dx_px, pair.dy_px))
    solution = np.linalg.solve(np.array(seen[1:]), np.array(stage[1:]))
    return Affine.from_array(Space.CAMERA, Space.STAGE, solution.T)


def _um_per_px(rig: Rig) -> float:
    return rig.profile.active_objective.um_per_px


def lines(bench: Bench, matrix: Affine) -> Iterator[Line]:
    """Two lines along x and two along y, each there and back."""
    aside = 1.5 * bench.field_um
    for along in (Point(1.0, 0.0), Point(0.0, 1.0)):
        across = Point(along.y * aside, along.x * aside)
        for start in (bench.spot, bench.spot + across):
            yield _line(bench, matrix, _places(bench, start, along))


def _places(bench: Bench, middle: Point, along: Point) -> list[Point]:
    """The places of a line about ``middle``; within the limits it is moved, not cut."""
    step = LINE_STEP_SHARE * bench.field_um
    half = step * (LINE_FRAMES - 1) / 2
    limits = bench.rig.profile.limits
    reach_x, reach_y = (half + step) * along.x, (half + step) * along.y
    x = min(max(middle.x, limits.x_um[0] + reach_x), limits.x_um[1] - reach_x)
    y = min(max(middle.y, limits.y_um[0] + reach_y), limits.y_um[1] - reach_y)
    offsets = [step * number - half for number in range(LINE_FRAMES)]
    return [Point(x + along.x * offset, y + along.y * offset) for offset in offsets]


def _line(bench: Bench, matrix: Affine, places: Sequence[Point]) -> Line:
    step = places[1] - places[0]
    bench.rig.stage.start_move(places[0] - step).wait()
    there = [bench.seen_from(place) for place in places]
    bench.rig.stage.start_move(places[-1] + step).wait()
    back = [bench.seen_from(place) for place in reversed(places)][::-1]
    chains = (*_linked(there, matrix), *_linked(back, matrix))
    coloured = there[::COLOURS_EVERY] if there[0][1].ndim == 3 else []
    return Line(
        chains,
        _against(there, back),
        tuple(shrunk(frame) for _, frame in there),
        tuple(_seen_twice(there, matrix)),
        tuple(colours_apart(frame) for _, frame in coloured),
    )


def _seen_twice(seen: Sequence[tuple[Point, Pixels]], matrix: Affine) -> Iterator[Blocks]:
    to_camera = matrix.inverse()
    for (before, first), (place, frame) in itertools.pairwise(seen):
        found = same_in_both(first, frame, to_camera.apply_vector(place - before), LINE_SEARCH_PX)
        if found is not None:
            yield found


def _linked(seen: Sequence[tuple[Point, Pixels]], matrix: Affine) -> Iterator[Chain]:
    """Frames registered one to the next; a chain ends where two frames do not fit."""
    to_camera = matrix.inverse()
    stage, offsets = [seen[0][0]], [Point(0.0, 0.0)]
    for (before, first), (place, frame) in itertools.pairwise(seen):
        expected = to_camera.apply_vector(place - before)
        pair = register(first, frame, expected, LINE_SEARCH_PX, noise_of(first))
        if not pair.accepted:
            yield from _long_enough(stage, offsets)
            stage, offsets = [place], [Point(0.0, 0.0)]
            continue
        stage.append(place)
        offsets.append(offsets[-1] + Point(pair.dx_px, pair.dy_px))
    yield from _long_enough(stage, offsets)


def _long_enough(stage: Sequence[Point], offsets: Sequence[Point]) -> Iterator[Chain]:
    if len(stage) > 2:
        yield Chain(np.array([(p.x, p.y) for p in stage]), np.array([(p.x, p.y) for p in offsets]))


def _against(there: Sequence[tuple[Point, Pixels]], back: Sequence[tuple[Point, Pixels]]) -> Floats:
    rows = []
    for (place, first), (again, frame) in zip(there, back, strict=True):
        pair = register(first, frame, Point(0.0, 0.0), SAME_PLACE_SEARCH_PX, noise_of(first))
        if pair.accepted:
            rows.append((again.x - place.x, again.y - place.y, pair.dx_px, pair.dy_px))
    return np.array(rows, float).reshape(-1, 4)


def fine_matrix(found: Sequence[Line]) -> tuple[Affine, float]:
    """Camera px → stage µm from all lines, and the standard error of its entries in µm/px.

    Raises:
        BadInput: too few frames of the lines could be registered.
    """
    chains = [chain for line in found for chain in line.chains]
    if sum(len(chain.stage_um) - 1 for chain in chains) < LEAST_LINKS:
        raise BadInput.one("too few frames overlap with texture", "choose a region with more cells")
    try:
        matrix, error = fit_camera_to_stage(chains)
    except ValueError as unfit:
        raise BadInput.one(str(unfit), "choose a region with more cells") from unfit
    return Affine(Space.CAMERA, Space.STAGE, matrix), error


def slack_um(line: Line, matrix: Affine) -> Floats:
    """How much further along each axis the image says the stage was on the way back: (n, 2) µm."""
    seen: Floats = line.back[:, 2:] @ matrix.array.T - line.back[:, :2]
    return seen


def timed_xy(bench: Bench) -> tuple[Floats, Floats]:
    """Distances (µm) and the least of several times (s) of moves along x, some of them along y.

    Load on the computer only ever makes a move look longer, so the least time is the stage's own.
    """
    longest = bench.rig.profile.limits.retract_beyond_um
    moves = [Point(share * longest, 0.0) for share in XY_SHARES] + [
        Point(0.0, share * longest) for share in XY_SHARES[3:6]
    ]
    times = [(abs(move.x) + abs(move.y), _least_xy_s(bench, _inward(bench, move))) for move in moves]
    distances, seconds = (np.array(column) for column in zip(*times, strict=True))
    return distances, seconds


def _inward(bench: Bench, move: Point) -> Point:
    """The same move to the side that has room."""
    limits, end = bench.rig.profile.limits, bench.spot + move
    inside = end.x <= limits.x_um[1] and end.y <= limits.y_um[1]
    return move if inside else Point(-move.x, -move.y)


def _least_xy_s(bench: Bench, move: Point) -> float:
    stage = bench.rig.stage
    stage.start_move(bench.spot).wait()
    ends = [bench.spot + move, bench.spot] * REPEATS
    return min(stage.start_move(end).wait().seconds for end in ends)


def timed_z(bench: Bench, z_um: float, sign: int) -> tuple[Floats, Floats]:
    """Distances (µm) and the least of several times (s) of z moves away from the slide and back."""
    room = sign * (bench.rig.profile.limits.z_um[1 if sign > 0 else 0] - z_um)
    distances = [d for d in Z_DISTANCES_UM if d <= room]
    drive = height_drive(bench.rig)
    seconds = []
    for distance in distances:
        ends = [z_um + sign * distance, z_um] * REPEATS
        seconds.append(min(drive.start_move(end).wait().seconds for end in ends))
    return np.array(distances), np.array(seconds)


def readouts_ms(bench: Bench, count: int = 15) -> Floats:
    """From the end of the exposure to the frame, for some exposures."""
    exposure_ms = bench.rig.profile.camera.exposure_ms
    pictures = [bench.rig.camera.start_exposure().read() for _ in range(count)]
    return np.array([1000 * (p.read_s - p.triggered_s) - exposure_ms for p in pictures])


def shift_when_leaving_px(bench: Bench, count: int = 4) -> float:
    """How far the image of a frame moves when the stage leaves at the end of its exposure; inf where it is lost.

    A camera whose trigger is slower than it says, or that exposes on after its time, shows it here.
    """
    stage, camera = bench.rig.stage, bench.rig.camera
    worst = 0.0
    for _ in range(count):
        _, still = bench.seen_from(bench.spot)
        exposure = camera.start_exposure()
        exposure.exposed()
        leaving = stage.start_move(bench.spot + Point(bench.field_um, 0.0))
        frame = exposure.read().pixels
        leaving.wait()
        pair = register(still, frame, Point(0.0, 0.0), SAME_PLACE_SEARCH_PX, noise_of(still))
        worst = max(
            worst, Point(pair.dx_px, pair.dy_px).distance(Point(0.0, 0.0)) if pair.accepted else np.inf
        )
    return worst


def still_pairs(bench: Bench, count: int = 6) -> list[tuple[Pixels, Pixels]]:
    """Pairs of frames without any movement in between."""
    bench.rig.stage.start_move(bench.spot).wait()
    return [(look(bench.rig), look(bench.rig)) for _ in range(count)]
