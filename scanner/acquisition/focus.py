"""At which heights is a tile exposed, and what is believed of its focus afterwards?

Every tile with sample is measured by itself; what it says moves the map for the tiles that follow. A tile without an
answer of its own is captured where the map says, and flagged ``unmeasured``.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from autofocus.drift import Drift
from autofocus.focus_map import FocusMap, FocusPoint
from autofocus.height import Prior
from autofocus.search import Found, Look, block_sigma_um, judge
from autofocus.sharpness import measure
from scanner.acquisition.earlier import Earlier
from scanner.acquisition.floor import FloorClock
from scanner.acquisition.focus_survey import LEAST_SIGMA_UM, Survey, survey
from scanner.devices.rig import Rig
from scanner.model.events import Kind
from scanner.model.geometry import Affine
from scanner.model.plan import Plan, PlannedTile
from scanner.model.profile import FocusStrategy, Profile
from scanner.model.slide import Slide
from scanner.model.tile import FocusState, Frame, TileFocus
from scanner.storage.facts import tile_from_body
from scanner.storage.ledger import LedgerProtocol

PLANE_STEP_OF_DEPTH = 0.9
COVERED_SIGMAS = 1.5
LEAST_PLANES = 2
MOST_PLANES = 4
RETAKE_PLANES = 3
RETAKE_SIGMA_UM = 0.5
SECOND_LOOK_PLANES = 7
SECOND_LOOK_STEP_OF_DEPTH = 1.5
SECOND_LOOK_SIGMA_UM = 2.0


def begin_focus(
    rig: Rig,
    clock: FloorClock,
    ledger: LedgerProtocol,
    slide: Slide,
    plan: Plan,
    slide_to_stage: Affine,
    earlier: Earlier,
) -> "TileFocusing":
    """Survey a new slide, or take up what an earlier session of this run knew of it.

    Raises:
        FocusRefused: sample was seen, and no height could be trusted.
        DeviceFault, Stopped: from stage and drive.
    """
    if rig.z is None or rig.profile.focus.strategy is FocusStrategy.FIXED:
        return TileFocusing(rig.profile, None)
    known = _known_survey(ledger, slide) or _surveyed(rig, ledger, slide, plan, slide_to_stage)
    clock.settle()
    focusing = TileFocusing(rig.profile, known)
    for body in earlier.tiles.values():
        tile = tile_from_body(body)
        focusing.learn(tile.planned, tile.focus)
    return focusing


def _known_survey(ledger: LedgerProtocol, slide: Slide) -> Survey | None:
    curve = ledger.latest(Kind.FOCUS_MAP, slide.slide_id)
    if curve is None:
        return None
    points = [event.body for event in ledger.events(Kind.FOCUS_POINT, slide.slide_id)]
    return Survey.of_bodies(points, curve.body)


def _surveyed(rig: Rig, ledger: LedgerProtocol, slide: Slide, plan: Plan, slide_to_stage: Affine) -> Survey:
    found = survey(rig, slide_to_stage, plan)
    for number, point in enumerate(found.points):
        ledger.append(Kind.FOCUS_POINT, slide.slide_id, str(number), point.model_dump(mode="json"))
    ledger.append(Kind.FOCUS_MAP, slide.slide_id, "1", found.map_body())
    return found


class TileFocusing:
    """A fold over tiles in the order they are captured; satisfies ``acquire.Focusing``.

    ``known`` is None for the strategy ``fixed``: nothing is measured, every tile says so.
    """

    def __init__(self, profile: Profile, known: Survey | None) -> None:
        self._spec = profile.focus
        self._depth_um = profile.active_objective.depth_of_field_um()
        self._template = known.template if known else None
        self._map: FocusMap | None = known.focus_map if known else None
        self._drift = Drift()
        self._since_last = 1
        self._unanswered: set[int] = set()
        self._drift_then_um: dict[int, float] = {}

    def planes(self, tile: PlannedTile) -> Sequence[float]:
        """The heights (z µm) to expose, ascending.

        A tile that is taken again is exposed around the height its own curve asked for, or over a wider range
        where it gave no answer.
        """
        z_um, sigma_um = self.predict(tile)
        if self._map is None or self._spec.strategy is not FocusStrategy.EVERY_TILE:
            return (z_um,)
        step_um = PLANE_STEP_OF_DEPTH * self._depth_um
        count = min(max(math.ceil(2 * COVERED_SIGMAS * sigma_um / step_um), LEAST_PLANES), MOST_PLANES)
        if tile.z_um is not None:
            count = RETAKE_PLANES
        elif tile.tile in self._unanswered:
            count, step_um = SECOND_LOOK_PLANES, SECOND_LOOK_STEP_OF_DEPTH * self._depth_um
        return tuple(z_um + step_um * (n - (count - 1) / 2) for n in range(count))

    def predict(self, tile: PlannedTile) -> tuple[float, float]:
        """Where the tile is believed to be sharp, and how sure (1 sigma), before it is looked at."""
        if tile.z_um is not None:
            since_um = self._drift.z_um - self._drift_then_um.get(tile.tile, self._drift.z_um)
            return tile.z_um + since_um, RETAKE_SIGMA_UM
        if self._map is None:
            return self._spec.start_um, math.inf
        z_um, sigma_um = self._map.predict(tile.x_um, tile.y_um)
        doubt_um = SECOND_LOOK_SIGMA_UM if tile.tile in self._unanswered else self._drift.sigma_um
        return z_um + self._drift.z_um, math.hypot(sigma_um, doubt_um)

    def answer(self, tile: PlannedTile, frames: Sequence[Frame]) -> tuple[int, TileFocus]:
        """Which frame to keep (the nearest to the tile's own height) and what is known of its focus."""
        index, focus = self._judged(tile, frames)
        self.learn(tile, focus)
        return index, focus

    def learn(self, tile: PlannedTile, focus: TileFocus) -> None:
        """Let a tile's own height move map and drift; one without an answer only lets time pass.

        A tile that is taken again has spoken before.
        """
        self._since_last += 1
        self._drift_then_um[tile.tile] = self._drift.z_um
        if focus.best_z_um is None and focus.state is not FocusState.NO_SAMPLE:
            self._unanswered.add(tile.tile)
        if self._map is None or focus.best_z_um is None or tile.z_um is not None:
            return
        if focus.state is FocusState.UNREADABLE:
            return
        z_um, sigma_um = self._map.predict(tile.x_um, tile.y_um)
        residual_um = focus.best_z_um - z_um
        self._drift = self._drift.updated(residual_um, math.hypot(sigma_um, focus.sigma_um), self._since_last)
        self._since_last = 0
        level_um = focus.best_z_um - self._drift.z_um
        point = FocusPoint(tile.x_um, tile.y_um, level_um, max(focus.sigma_um, LEAST_SIGMA_UM))
        self._map = self._map.with_points([point])

    def _judged(self, tile: PlannedTile, frames: Sequence[Frame]) -> tuple[int, TileFocus]:
        z_um, sigma_um = self.predict(tile)
        nearest = _nearest(frames, z_um)
        unmeasured = TileFocus(FocusState.UNMEASURED, frames[nearest].z_um, sigma_um)
        if self._template is None:
            return nearest, replace(unmeasured, reason="the rig does not focus")
        looks = [Look.known(frame.z_um, measure(frame.pixels)) for frame in frames]
        if not any(look.sharpness.has_sample for look in looks):
            state, reason = FocusState.NO_SAMPLE, "nothing absorbs light here"
            return nearest, replace(unmeasured, state=state, reason=reason)
        if len(frames) < LEAST_PLANES or self._map is None:
            return nearest, replace(unmeasured, reason="one plane says nothing of its focus")
        answer = judge(looks, self._template, Prior(z_um, block_sigma_um(sigma_um, self._template)))
        if isinstance(answer, Found):
            return self._measured(frames, answer)
        # without an answer a tile with sample counts as unreadable until a second, wider look
        state = FocusState.UNMEASURED if tile.tile in self._unanswered else FocusState.UNREADABLE
        return nearest, replace(unmeasured, state=state, reason=f"no answer: {answer.reason}")

    def _measured(self, frames: Sequence[Frame], answer: Found) -> tuple[int, TileFocus]:
        index = _nearest(frames, answer.z_um)
        away_um = answer.z_um - frames[index].z_um
        focus = TileFocus(
            self._state(abs(away_um)), frames[index].z_um, answer.sigma_um, answer.z_um, _words(away_um)
        )
        return index, focus

    def _state(self, away_um: float) -> FocusState:
        if away_um <= self._depth_um / 2:
            return FocusState.SHARP
        return FocusState.USABLE if away_um <= self._spec.usable_um else FocusState.UNREADABLE


def _nearest(frames: Sequence[Frame], z_um: float) -> int:
    return min(range(len(frames)), key=lambda n: (abs(frames[n].z_um - z_um), n))


def _words(away_um: float) -> str:
    return f"sharpest {abs(away_um):.2f} µm {'above' if away_um > 0 else 'below'}"
