"""Is a seam scored near 1 where it cannot be seen, and clearly higher where a tile is shifted or brighter?"""

from dataclasses import replace

import numpy as np
import pytest

from scanner.model.geometry import Point
from scanner.model.tile import FocusState
from scanner.pipeline.joints import Station
from scanner.pipeline.lattice import Box
from scanner.pipeline.mosaic import Canvas, Mosaic
from scanner.pipeline.seam_score import SeamScore, seam_line, seam_score, seamlessness
from tests.scanner.pipeline.mosaics import Stitched, stitched

SHIFTED = (1, 1)
CENTRE = 4


def scores(made: Stitched) -> list[SeamScore]:
    found = [seam_score(joint, made.lattice, made.look) for joint in made.joints]
    assert all(score is not None for score in found)
    return [score for score in found if score is not None]


def test_a_good_mosaic_is_seamless() -> None:
    whole = seamlessness(scores(stitched(seed=2)))
    assert (whole.seams, whole.scored) == (12, 12)
    assert whole.score is not None
    assert whole.misfit is not None
    assert 0.9 < whole.score < 1.15
    assert 0.9 < whole.misfit < 1.15
    assert whole.step < 0.003


@pytest.mark.parametrize("away", [Point(2.0, 0.0), Point(0.0, 2.0), Point(1.4, -1.4)])
def test_a_tile_that_lies_2_px_off_makes_the_score_rise_at_its_seams_alone(away: Point) -> None:
    good, bad = scores(stitched(seed=2)), stitched(seed=2, moved=(SHIFTED, away))
    torn = scores(bad)
    mine = bad.of(CENTRE)
    of_tile = seamlessness(torn[k] for k in mine)
    others = seamlessness(torn[k] for k in range(12) if k not in mine)
    before, after = seamlessness(good).misfit, seamlessness(torn).misfit
    assert before is not None
    assert after is not None
    assert of_tile.misfit is not None
    assert others.misfit is not None
    assert after > before + 0.15
    assert of_tile.misfit > 1.45
    assert others.misfit < 1.15
    assert of_tile.worst is not None
    assert of_tile.worst > 1.4


def test_tiles_of_3_percent_more_light_show_in_the_score_and_in_the_steps_and_not_as_misfit() -> None:
    whole = seamlessness(scores(stitched(seed=2, gain=0.03)))
    assert whole.score is not None
    assert whole.misfit is not None
    assert whole.score > 1.4
    assert whole.misfit < 1.15
    assert whole.step == pytest.approx(0.03, abs=0.003)
    assert whole.worst_step < 0.035


def test_the_sign_of_a_step_says_which_tile_is_brighter() -> None:
    made = stitched(seed=2, gain=0.03)
    for joint, score in zip(made.joints, scores(made), strict=True):
        assert (score.step > 0) == ((joint.second.row + joint.second.col) % 2 == 1)


def test_empty_glass_has_no_score() -> None:
    whole = seamlessness(scores(stitched(sheet=np.full((2000, 2000), 230, np.float32))))
    assert (whole.scored, whole.score, whole.misfit) == (0, None, None)
    assert whole.step < 0.003


@pytest.mark.parametrize("soft", [(0, 0), (1, 1)])
def test_the_seam_of_a_soft_tile_runs_where_its_sharper_neighbour_ends(soft: tuple[int, int]) -> None:
    made = stitched(rows=2, cols=2)
    mosaic = Mosaic(Canvas(1100, 1100, 1, np.dtype(np.uint8)), made.lattice)
    for cell, placed in made.placed.items():
        mosaic.place(placed, focus=FocusState.USABLE if cell == soft else FocusState.SHARP)
    mosaic.settle()

    def as_known(station: Station) -> Station:
        return replace(station, blur=int((station.row, station.col) == soft))

    seams = 0
    for known in made.joints:
        joint = replace(known, first=as_known(known.first), second=as_known(known.second))
        line, planned = seam_line(joint, made.lattice), seam_line(known, made.lattice)
        moved = joint.first.blur != joint.second.blur
        assert np.array_equal(line, planned) is not moved
        seams += moved
        across = [1, 0] if joint.side_by_side else [0, 1]
        inner = line[60:-60].astype(float)
        assert set(mosaic.shown_at(inner).tolist()) == {int(joint.second.name)}
        assert set(mosaic.shown_at(inner - across).tolist()) == {int(joint.first.name)}
    assert seams == 2


def test_the_seam_runs_where_ownership_changes() -> None:
    made = stitched(rows=2, cols=2)
    for joint in made.joints:
        line = seam_line(joint, made.lattice)
        assert len(line) > 300
        across = (1, 0) if joint.side_by_side else (0, 1)
        for x, y in line[::37].tolist():
            for station, (px, py) in ((joint.second, (x, y)), (joint.first, (x - across[0], y - across[1]))):
                assert made.lattice.owned((station.row, station.col), Box(px, py, px + 1, py + 1))


def test_the_worst_place_of_a_seam_lies_on_it() -> None:
    made = stitched(seed=2, moved=(SHIFTED, Point(2.0, 0.0)))
    for score in scores(made):
        assert list(score.at) in seam_line(score.joint, made.lattice).tolist()
