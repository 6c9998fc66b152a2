"""At which heights is a tile exposed, and what is believed of its focus afterwards?

Every tile with sample is measured by itself; what it says moves the map for the tiles that follow. A tile without an
answer of its own is captured where the map says, and flagged ``unmeasured``.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from autofocus.answers import Look, NoSample, Refused
from autofocus.drift import MOST_UM, Drift
from autofocus.errors import FocusInputError
from autofocus.focus_map import FocusMap, FocusPoint
from autofocus.height import Prior
from autofocus.tile import TileHeight, TilePolicy, first_planes, judge_tile, next_plane
from scanner.acquisition.earlier import Earlier
from scanner.acquisition.floor import FloorClock
from scanner.acquisition.focus_places import given_places
from scanner.acquisition.focus_survey import LEAST_SIGMA_UM, Survey, survey
from scanner.devices.rig import Rig
from scanner.errors import DeviceFault
from scanner.model.events import Kind
from scanner.model.geometry import Affine
from scanner.model.plan import Plan, PlannedTile
from scanner.model.profile import FocusStrategy, Profile
from scanner.model.slide import Slide
from scanner.model.tile import FocusState, Frame, TileFocus
from scanner.storage.facts import tile_from_body
from scanner.storage.ledger import LedgerProtocol

RETAKE_SIGMA_UM = 0.5
RETAKE_STEP_UM = 0.8
SECOND_LOOK_PLANES = 7
SECOND_LOOK_STEP_OF_DEPTH = 1.5
SECOND_LOOK_SIGMA_UM = 2.0
WORTH_AGAIN = 0.2


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
    points = {event.key: event.body for event in ledger.events(Kind.FOCUS_POINT, slide.slide_id)}
    return Survey.of_bodies(list(points.values()), curve.body)


def _surveyed(rig: Rig, ledger: LedgerProtocol, slide: Slide, plan: Plan, slide_to_stage: Affine) -> Survey:
    found = survey(rig, slide_to_stage, plan, given_places(slide.focus_points_um, plan))
    for number, point in enumerate(found.points):
        ledger.append(Kind.FOCUS_POINT, slide.slide_id, str(number), point.model_dump(mode="json"))
    ledger.append(Kind.FOCUS_MAP, slide.slide_id, "1", found.map_body())
    return found


def policy_of(strategy: FocusStrategy) -> TilePolicy:
    """How much a tile may cost: ``every-tile`` looks at its planes before it leaves, whatever the field."""
    if strategy is FocusStrategy.EVERY_TILE:
        return TilePolicy(crowded_share=math.inf, alone_sigmas=math.inf)
    return TilePolicy()


class TileFocusing:
    """A fold over tiles in the order they are captured; satisfies ``acquire.Focusing``.

    ``known`` is None for the strategy ``fixed``: nothing is measured, every tile says so. ``policy`` is the strategy's
    where none is given.
    """

    def __init__(self, profile: Profile, known: Survey | None, policy: TilePolicy | None = None) -> None:
        self._spec, self._drive = profile.focus, profile.devices.z or "focus"
        self._depth_um = profile.active_objective.depth_of_field_um()
        self._um_per_px = profile.active_objective.um_per_px
        self._policy = policy or policy_of(profile.focus.strategy)
        self._template = known.template if known else None
        self._map: FocusMap | None = known.focus_map if known else None
        self._drift = Drift()
        self._since_last = 1
        self._unanswered: set[int] = set()
        self._drift_then_um: dict[int, float] = {}
        self._predicted: tuple[PlannedTile, tuple[float, float]] | None = None

    def planes(self, tile: PlannedTile) -> Sequence[float]:
        """The heights (z µm) to expose at once, ascending.

        A tile that is taken again is exposed around the height its own curve asked for, or over a wider range
        where it gave no answer.
        """
        z_um, sigma_um = self.predict(tile)
        if self._map is None or self._template is None or self._spec.strategy is FocusStrategy.MAP:
            return (z_um,)
        if tile.z_um is None and tile.tile in self._unanswered:
            step_um = SECOND_LOOK_STEP_OF_DEPTH * self._depth_um
            middle = (SECOND_LOOK_PLANES - 1) / 2
            return tuple(z_um + step_um * (n - middle) for n in range(SECOND_LOOK_PLANES))
        return first_planes(self._template, Prior(z_um, sigma_um), self._policy_for(tile))

    def more(self, tile: PlannedTile, looks: Sequence[Look]) -> float | None:
        """Another height to expose after ``looks``, or None: the stage may leave.

        It waits for the last frame to be read out only where that is worth its time.
        """
        if self._template is None or self._spec.strategy is FocusStrategy.MAP or len(looks) < 2:
            return None
        z_um, sigma_um = self.predict(tile)
        try:
            return next_plane(looks, self._template, Prior(z_um, sigma_um), self._policy_for(tile))
        except FocusInputError:
            return None

    def predict(self, tile: PlannedTile) -> tuple[float, float]:
        """Where the tile is believed to be sharp, and how sure (1 sigma), before it is looked at."""
        if self._predicted is None or self._predicted[0] != tile:
            self._predicted = tile, self._predict(tile)
        return self._predicted[1]

    def _predict(self, tile: PlannedTile) -> tuple[float, float]:
        if tile.z_um is not None:
            since_um = self._drift.z_um - self._drift_then_um.get(tile.tile, self._drift.z_um)
            return tile.z_um + since_um, RETAKE_SIGMA_UM
        if self._map is None:
            return self._spec.start_um, math.inf
        z_um, sigma_um = self._map.predict(tile.x_um, tile.y_um)
        doubt_um = SECOND_LOOK_SIGMA_UM if tile.tile in self._unanswered else self._drift.sigma_um
        return z_um + self._drift.z_um, math.hypot(sigma_um, doubt_um)

    def answer(self, tile: PlannedTile, frames: Sequence[Frame]) -> tuple[int, TileFocus]:
        """Which frame to keep and what is known of its focus."""
        looks = [Look.known(frame.z_um, frame.pixels, self._um_per_px) for frame in frames]
        return self.judged(tile, looks)

    def judged(self, tile: PlannedTile, looks: Sequence[Look]) -> tuple[int, TileFocus]:
        """The same of frames that were looked at already.

        Raises:
            DeviceFault: the focus wandered farther from the survey than any focus does.
        """
        index, focus = self._judged(tile, looks)
        self.learn(tile, focus)
        self._stop_where_it_ran_away(tile, focus)
        return index, focus

    def _stop_where_it_ran_away(self, tile: PlannedTile, focus: TileFocus) -> None:
        """Only while tiles still say so: a focus that was mended is followed back."""
        if self._map is None or focus.level_um is None or not self._drift.capped:
            return
        away_um = focus.level_um - self._map.predict(tile.x_um, tile.y_um)[0]
        if abs(away_um) >= MOST_UM:
            raise DeviceFault(
                self._drive,
                f"the sample lies {away_um:+.0f} µm from where the survey found it; this tile was not taken. Look for "
                "a slipping focus drive or a slide that came loose, then resume",
            )

    def learn(self, tile: PlannedTile, focus: TileFocus) -> None:
        """Let a tile's own height move map and drift; one without an answer only lets time pass.

        A tile that is taken again has spoken before.
        """
        self._since_last += 1
        self._predicted = None
        self._drift_then_um[tile.tile] = self._drift.z_um
        if focus.best_z_um is None and focus.state is not FocusState.NO_SAMPLE:
            self._unanswered.add(tile.tile)
        if (
            self._map is None
            or focus.level_um is None
            or focus.level_sigma_um is None
            or tile.z_um is not None
        ):
            return
        z_um, sigma_um = self._map.predict(tile.x_um, tile.y_um)
        spread_um = max(focus.level_sigma_um, LEAST_SIGMA_UM)
        self._drift = self._drift.updated(
            focus.level_um - z_um, math.hypot(sigma_um, spread_um), self._since_last
        )
        self._since_last = 0
        point = FocusPoint(tile.x_um, tile.y_um, focus.level_um - self._drift.z_um, spread_um)
        grown = self._map.with_points([point])
        self._map = grown.refitted() if grown.stale else grown

    def _policy_for(self, tile: PlannedTile) -> TilePolicy:
        """A tile that was soft once is looked at, whatever its field."""
        if tile.z_um is None:
            return self._policy
        return replace(self._policy, step_um=RETAKE_STEP_UM, crowded_share=math.inf, alone_sigmas=math.inf)

    def _judged(self, tile: PlannedTile, looks: Sequence[Look]) -> tuple[int, TileFocus]:
        z_um, sigma_um = self.predict(tile)
        nearest = min(range(len(looks)), key=lambda n: (abs(looks[n].z_um - z_um), n))
        unmeasured = TileFocus(FocusState.UNMEASURED, looks[nearest].z_um, sigma_um)
        if self._template is None or self._map is None:
            return nearest, replace(unmeasured, reason="the rig does not focus")
        try:
            answer = judge_tile(looks, self._template, Prior(z_um, sigma_um), self._policy)
        except FocusInputError as error:
            answer = Refused(str(error), len(looks))
        if isinstance(answer, TileHeight):
            return answer.kept, self._measured(answer, looks[answer.kept].z_um, len(looks))
        if isinstance(answer, NoSample):
            return nearest, replace(unmeasured, state=FocusState.NO_SAMPLE, reason=answer.reason)
        # without an answer a tile with sample counts as unreadable until a second, wider look
        state = FocusState.UNMEASURED if tile.tile in self._unanswered else FocusState.UNREADABLE
        return nearest, replace(unmeasured, state=state, reason=f"no answer: {answer.reason}")

    def _measured(self, answer: TileHeight, z_um: float, planes: int) -> TileFocus:
        found = answer.estimate
        away_um = answer.better_um - z_um
        level_um, level_sigma_um = found.level_um
        state = FocusState.SHARP if answer.sharp else self._soft(abs(away_um))
        again = state is FocusState.UNREADABLE or answer.hope >= answer.chance + WORTH_AGAIN
        # what one plane says of the height is mostly what the map said before
        taught = planes > 1
        return TileFocus(
            state,
            z_um,
            found.sigma_um,
            answer.better_um,
            _words(answer, away_um),
            level_um if taught else None,
            level_sigma_um if taught else None,
            again,
        )

    def _soft(self, away_um: float) -> FocusState:
        return FocusState.USABLE if away_um <= self._spec.usable_um else FocusState.UNREADABLE


def _words(answer: TileHeight, away_um: float) -> str:
    reached = f"{100 * answer.reached:.0f} % of its sharpness"
    if answer.sharp:
        return reached
    if answer.hope < answer.chance + WORTH_AGAIN:
        return f"{reached}; its cells lie at several heights, no plane shows them all"
    return f"{reached}; sharper {abs(away_um):.1f} µm {'above' if away_um > 0 else 'below'}"
