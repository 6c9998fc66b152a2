"""How well are the tiles of whole simulated slides focused, by the code that focuses them on a rig?

A slide is surveyed and its tiles are taken in rows, with the drive's repeatability, the drift of the glass and the
camera's noise; soft tiles are taken once more at the end. Only the stage's XY is left out.
"""

import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path

import cv2

from autofocus.answers import Look, run
from autofocus.tile import TilePolicy
from scanner.acquisition.focus import TileFocusing
from scanner.acquisition.focus_survey import Survey, SurveyUnderWay, survey_places
from scanner.devices.simulated.world import DRIFT_UM_PER_EXPOSURE
from scanner.model.plan import PlannedTile
from scanner.model.profile import FocusStrategy, Profile
from scanner.model.tile import FocusState, TileFocus
from scanner.storage.profiles import read_profile
from scripts.focus_field import SHARP_SHARE, SimulatedField, lattice

PROFILE = Path(__file__).resolve().parents[1] / "hardware_profiles" / "simulated.yaml"
STEP_UM = 461.0
RADIUS_UM = 9_700.0
PARALLEL = 2


@dataclass(slots=True)
class TileRecord:
    """One tile: what is true, what was said of it, what it cost."""

    nuclei: int
    reached: float
    state: FocusState
    planes: int
    waited: bool
    retaken: bool = False
    first_reached: float = 1.0
    first_state: FocusState = FocusState.SHARP

    @property
    def soft(self) -> bool:
        """In truth, with sample."""
        return self.nuclei > 0 and self.reached < SHARP_SHARE

    @property
    def flagged(self) -> bool:
        """Said not to be sharp."""
        return self.state is not FocusState.SHARP


@dataclass(slots=True)
class SlideRecord:
    """All tiles of a slide and the exposures of its survey; ``cpu_s`` what judging them cost."""

    tiles: list[TileRecord] = field(default_factory=list)
    survey_frames: int = 0
    survey_points: int = 0
    cpu_s: float = 0.0


def slide_records(
    kind: str, tiles: int, strategy: FocusStrategy, first_seed: int, policy: TilePolicy | None = None
) -> Iterator[SlideRecord]:
    """As many slides as ``tiles`` tiles take, on both cores."""
    per_slide = len(lattice(STEP_UM, RADIUS_UM, tiles))
    jobs = [
        (kind, first_seed + n, min(per_slide, tiles - n * per_slide), strategy, policy)
        for n in range(math.ceil(tiles / per_slide))
    ]
    with ProcessPoolExecutor(min(PARALLEL, len(jobs)), get_context("spawn")) as pool:
        yield from pool.map(_slide, jobs)


def _slide(job: tuple[str, int, int, FocusStrategy, TilePolicy | None]) -> SlideRecord:
    cv2.setNumThreads(1)
    kind, seed, most, strategy, policy = job
    profile = read_profile(PROFILE)
    spec = profile.focus.model_copy(update={"strategy": strategy})
    return Scan(profile.model_copy(update={"focus": spec}), SimulatedField(seed, kind), policy).run(most)


class Scan:
    """One slide, surveyed and taken."""

    def __init__(self, profile: Profile, field_: SimulatedField, policy: TilePolicy | None) -> None:
        self._profile, self._field, self._policy = profile, field_, policy
        self._record = SlideRecord()
        self._places: dict[int, tuple[float, float]] = {}

    def run(self, most: int) -> SlideRecord:
        """The first ``most`` tiles of the slide's lattice."""
        tiles = []
        for number, (row, col, (x_um, y_um)) in enumerate(lattice(STEP_UM, RADIUS_UM, most)):
            tiles.append(PlannedTile(tile=number, row=row, col=col, x_um=x_um, y_um=y_um))
        focusing = TileFocusing(self._profile, self._surveyed(tiles), self._policy)
        soft = []
        for tile in tiles:
            record, focus = self._taken(focusing, tile)
            self._record.tiles.append(record)
            if focus.retake:
                soft.append((tile, record, focus))
        for tile, record, focus in soft:
            self._again(focusing, tile.model_copy(update={"z_um": focus.best_z_um}), record)
        return self._record

    def _surveyed(self, tiles: Sequence[PlannedTile]) -> Survey:
        under_way = SurveyUnderWay(self._profile)
        spec = self._profile.focus
        for tile in survey_places(tiles, spec.point_spacing_fields, under_way.most):
            heights: list[float] = []
            look = self._field.look((tile.x_um, tile.y_um), self._drift_um, heights)
            under_way.note(tile, run(under_way.search(tile), look))
            self._record.survey_frames += len(heights)
            self._record.survey_points += 1
        return under_way.survey()

    @property
    def _drift_um(self) -> float:
        return self._field.exposures * DRIFT_UM_PER_EXPOSURE

    def _taken(self, focusing: TileFocusing, tile: PlannedTile) -> tuple[TileRecord, TileFocus]:
        place = (tile.x_um, tile.y_um)
        true_um: list[float] = []
        looks: list[Look] = []
        waited = False
        todo = list(focusing.planes(tile))
        while todo:
            looks.append(self._field.look(place, self._drift_um, true_um)(todo.pop(0)))
            if not todo:
                begun = time.process_time()
                more = focusing.more(tile, looks)
                self._record.cpu_s += time.process_time() - begun
                waited = waited or "view" in looks[-1].__dict__
                todo = [] if more is None else [more]
        begun = time.process_time()
        kept, focus = focusing.judged(tile, looks)
        self._record.cpu_s += time.process_time() - begun
        truth = self._field.truth(place)
        reached = truth.at(true_um[kept])
        record = TileRecord(truth.nuclei, reached, focus.state, len(looks), waited)
        return replace(record, first_reached=reached, first_state=focus.state), focus

    def _again(self, focusing: TileFocusing, tile: PlannedTile, record: TileRecord) -> None:
        second, _ = self._taken(focusing, tile)
        record.retaken = True
        record.reached, record.state = second.reached, second.state
        record.planes += second.planes
