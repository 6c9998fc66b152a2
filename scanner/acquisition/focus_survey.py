"""At which heights does the sample lie? Some places are focused before the first tile; they teach the slide's curve."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autofocus.answers import Answer, Found, NoSample, Search, Sweep
from autofocus.focus_map import FocusMap, FocusPoint
from autofocus.point_choice import POINT_SIGMA_UM, most_telling, short_way
from autofocus.relief import Relief
from autofocus.search import first_point, guided, template_of
from autofocus.template import Fade, FocusTemplate
from scanner.acquisition.acquire import FAILURES_IN_A_ROW
from scanner.acquisition.focus_search import search_focus
from scanner.devices.rig import Rig
from scanner.errors import CameraFault, FocusRefused
from scanner.model.events import Body
from scanner.model.geometry import Affine, Point
from scanner.model.plan import Plan, PlannedTile
from scanner.model.profile import FocusStrategy, Profile
from scanner.model.report import FocusPointFact
from scanner.storage.facts import Fact

log = logging.getLogger("scanner.focus")

FIRST_TRIES = 20
MOST_SWEEPS = 2
TEACHING_BLOCKS = 40
FITTED_AT = (6, 12, 24, 48)
LEAST_POINTS = 5
MOST_POINTS = 80
MOST_POINTS_BEFORE_TILES = 16
LEAST_SIGMA_UM = 0.05


Curve = tuple[float, float, float, float]


class FocusMapFact(Fact):
    """Kind ``focus-map``: the slide's focus curves, as ``autofocus.template.FocusTemplate``; a curve is a ``Fade``."""

    sharp: Curve
    bands: tuple[Curve, Curve, Curve]
    spectrum: tuple[float, float, float]
    spectrum_scatter: float
    scatter: float
    spread_um: float

    @classmethod
    def of(cls, template: FocusTemplate) -> "FocusMapFact":
        """What a survey learned."""
        fine, middle, coarse = (_curve(fade) for fade in template.bands)
        return cls(
            sharp=_curve(template.sharp),
            bands=(fine, middle, coarse),
            spectrum=template.spectrum,
            spectrum_scatter=template.spectrum_scatter,
            scatter=template.scatter,
            spread_um=template.spread_um,
        )

    def template(self) -> FocusTemplate:
        """For the tiles."""
        fine, middle, coarse = (Fade(*curve) for curve in self.bands)
        scatters = (self.spectrum_scatter, self.scatter, self.spread_um)
        return FocusTemplate(Fade(*self.sharp), (fine, middle, coarse), self.spectrum, *scatters)


def _curve(fade: Fade) -> Curve:
    return fade.below_um, fade.above_um, fade.power, fade.shape


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found out before the first tile; ``points`` in the order they were visited."""

    points: tuple[FocusPointFact, ...]
    template: FocusTemplate

    @property
    def focus_map(self) -> FocusMap | None:
        """The surface through the points; None where no point has a height."""
        found = [
            FocusPoint(p.x_um, p.y_um, p.z_um, max(p.sigma_um, LEAST_SIGMA_UM))
            for p in self.points
            if p.z_um is not None and p.sigma_um is not None
        ]
        return FocusMap.of(found) if found else None

    def map_body(self) -> Body:
        """For the ledger."""
        return FocusMapFact.of(self.template).body()

    @classmethod
    def of_bodies(cls, points: Sequence[Body], curve: Body) -> "Survey":
        """From what an earlier session wrote.

        Raises:
            DamagedRun: a body is no fact of a survey.
        """
        fact = FocusMapFact.from_body(curve)
        read = tuple(SurveyPointFact.from_body(body).point() for body in points)
        return cls(read, fact.template())


class SurveyPointFact(Fact, FocusPointFact):
    """Kind ``focus-point``: the same keys as in the report."""

    def point(self) -> FocusPointFact:
        """For the report."""
        return FocusPointFact(**self.model_dump())


def survey(
    rig: Rig, slide_to_stage: Affine, plan: Plan, places: Sequence[PlannedTile] | None = None
) -> Survey:
    """Focus the first place without a prior, then the others from what is known so far.

    Args:
        rig: at rest, light on; its z is moved within ``focus.range_um`` of ``focus.start_um`` and what was found.
        slide_to_stage: with the slide's seating.
        plan: its fields hold sample, as far as the overview can tell.
        places: where to look, in this order; None for chosen fields of the plan.

    Raises:
        FocusRefused: sample was seen, and no place of several could be focused.
        CameraFault: no frame came at several places in a row; that is no fault of the slide.
        DeviceFault, Stopped: from stage and drive.
    """
    under_way = SurveyUnderWay(rig.profile)
    unseen = 0
    spacing = rig.profile.focus.point_spacing_fields
    for tile in places or survey_places(plan.tiles, spacing, under_way.most):
        if under_way.hopeless:
            break
        move = rig.stage.start_move(slide_to_stage.apply(Point(tile.x_um, tile.y_um)))
        search = under_way.search(tile)
        move.wait()
        answer = _answer(rig, tile, search)
        under_way.note(tile, answer)
        unseen = unseen + 1 if isinstance(answer, str) else 0
        if unseen == FAILURES_IN_A_ROW:
            raise CameraFault(rig.profile.devices.camera, f"{unseen} focus points in a row failed: {answer}")
    _refuse_where_sample_never_came_sharp(under_way.points)
    return under_way.survey()


class SurveyUnderWay:
    """What is known so far; the map is fitted anew only now and then, it costs as much as a move."""

    def __init__(self, profile: Profile) -> None:
        self._spec, self._depth_um = profile.focus, profile.active_objective.depth_of_field_um()
        # where every tile is measured, the map needs only to know where to begin
        self.most = MOST_POINTS if self._spec.strategy is FocusStrategy.MAP else MOST_POINTS_BEFORE_TILES
        self._map: FocusMap | None = None
        self._sweeps: list[Sweep] = []
        self.points: list[FocusPointFact] = []
        self.template = FocusTemplate.from_optics(self._depth_um)

    @property
    def hopeless(self) -> bool:
        """Were many places looked at, and none held sample?"""
        return self._map is None and len(self.points) >= FIRST_TRIES

    def survey(self) -> Survey:
        """What is known now."""
        return Survey(tuple(self.points), self.template)

    def search(self, tile: PlannedTile) -> Search:
        """How to focus the next place."""
        if self._map is None:
            return first_point(self._spec.start_um, self._spec.range_um, self._depth_um)
        z_um, sigma_um = self._map.predict(tile.x_um, tile.y_um)
        if not any(s.teachers >= TEACHING_BLOCKS for s in self._sweeps) and len(self._sweeps) < MOST_SWEEPS:
            return first_point(z_um, self._spec.range_um, self._depth_um)
        return guided(self.template, z_um, sigma_um, self._depth_um)

    def note(self, tile: PlannedTile, answer: Answer | str) -> None:
        """What was found there; a text is the camera's complaint."""
        self.points.append(_fact(tile, answer))
        if not isinstance(answer, Found):
            return
        level_um, sigma_um = answer.estimate.level_um
        point = FocusPoint(tile.x_um, tile.y_um, level_um, max(sigma_um, LEAST_SIGMA_UM))
        if answer.sweep is not None:
            self._sweeps.append(answer.sweep)
            self.template = template_of(self._sweeps, FocusTemplate.from_optics(self._depth_um))
        self._map = self._map.with_points([point]) if self._map else FocusMap.of([point])
        if len(self._map.points) in FITTED_AT:
            self._map = self._map.refitted()


def survey_places(
    tiles: Sequence[PlannedTile], spacing_fields: float, most: int = MOST_POINTS
) -> list[PlannedTile]:
    """Fields to focus on, about one in ``spacing_fields``², five at least and at most ``most``.

    The first is in the middle, where sample is likely; the others are those that tell most of all fields, in the order
    of a short way.
    """
    count = min(max(math.ceil(len(tiles) / spacing_fields**2), LEAST_POINTS), most, len(tiles))
    if count < 2:
        return list(tiles[:count])
    places = np.array([(tile.x_um, tile.y_um) for tile in tiles])
    first = int(np.argmin(np.hypot(*(places - places.mean(axis=0)).T)))
    inner = _inner(tiles)
    inner[first] = 0.0
    known = np.array([[*places[first], POINT_SIGMA_UM]])
    chosen = np.append(first, most_telling(places, inner, count - 1, Relief(), known))
    return [tiles[int(n)] for n in chosen[short_way(places[chosen], places[first])]]


def _inner(tiles: Sequence[PlannedTile]) -> NDArray[np.float64]:
    """(n,) how many of a field's neighbours are planned, as a share: at the rim of a sample there is little of it."""
    planned = {(tile.row, tile.col) for tile in tiles}
    around = [(row, col) for row in (-1, 0, 1) for col in (-1, 0, 1)]
    return np.array([sum((t.row + r, t.col + c) in planned for r, c in around) / len(around) for t in tiles])


def _answer(rig: Rig, tile: PlannedTile, search: Search) -> Answer | str:
    """The search's answer, or the camera's complaint."""
    try:
        return search_focus(rig, search)
    except CameraFault as fault:
        log.warning("retry: the focus point at tile %d is left out: %s", tile.tile, fault)
        return str(fault)


def _fact(tile: PlannedTile, answer: Answer | str) -> FocusPointFact:
    if isinstance(answer, Found):
        # the map is of the layer of objects; where single fields are sharpest scatters around that
        z_um, sigma_um = answer.estimate.level_um
        sigma_um = max(sigma_um, LEAST_SIGMA_UM)
        return FocusPointFact(
            x_um=tile.x_um, y_um=tile.y_um, z_um=z_um, sigma_um=sigma_um, state="found", reason=answer.note
        )
    state = "no-sample" if isinstance(answer, NoSample) else "refused"
    reason = answer if isinstance(answer, str) else answer.reason
    return FocusPointFact(
        x_um=tile.x_um, y_um=tile.y_um, z_um=None, sigma_um=None, state=state, reason=reason
    )


def _refuse_where_sample_never_came_sharp(points: Sequence[FocusPointFact]) -> None:
    refused = [p for p in points if p.state == "refused"]
    if refused and not any(p.z_um is not None for p in points):
        raise FocusRefused(
            f"no height could be trusted at {len(refused)} of {len(points)} places with sample "
            f"({refused[0].reason}); no tile was taken. Check light and objective, and focus.start_um and "
            "focus.range_um of the profile"
        )
