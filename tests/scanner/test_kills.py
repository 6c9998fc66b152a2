"""Does a kill at any moment leave a slide that the next session finishes, and nothing else?"""

from pathlib import Path

import pytest

from scanner.errors import BadInput
from scanner.model.events import Kind
from scanner.model.report import Outcome
from scanner.offline.verify import verify
from scanner.run import resume_run
from scanner.storage.reader import RunReader
from tests.scanner.kills import change, killed_run

FOUR_TILES = ("--region", "43,11,0.9,0.9", "--detector", "none")


@pytest.mark.parametrize(
    "moment",
    [
        ("before", Kind.RUN_STARTED, ""),
        ("before", Kind.FOCUS_MAP, "1"),
        ("after", Kind.TILE, "0.1"),
        ("after", Kind.TILE_FINISHED, "3.1"),
        ("before", Kind.SLIDE_UNLOADED, ""),
        ("before", Kind.RUN_FINISHED, ""),
    ],
    ids="-".join,
)
def test_a_kill_costs_no_slide_and_no_tile(moment: tuple[str, Kind, str], tmp_path: Path) -> None:
    run = killed_run(tmp_path, moment, *FOUR_TILES)
    with RunReader.open(run) as reader:
        before = [event.body for event in reader.ledger.events(Kind.TILE)]
    (slide,) = resume_run(run).slides
    assert slide.outcome is Outcome.DONE
    assert slide.tiles.captured == slide.tiles.planned == 4
    assert verify(run).problems == ()
    with RunReader.open(run) as reader:
        assert [event.body for event in reader.ledger.events(Kind.TILE)][: len(before)] == before
        points = [(point.x_um, point.y_um) for point in reader.focus_points(slide.slide_id)]
        assert reader.ledger.latest(Kind.SLIDE_UNLOADED, slide.slide_id) is not None
    assert len(points) == len(set(points)) == 4


def test_other_glass_under_the_same_label_is_not_gone_on_with(tmp_path: Path) -> None:
    run = killed_run(tmp_path, ("after", Kind.TILE, "2.1"), *FOUR_TILES)
    change(tmp_path / "rig" / "simulated.yaml", "World,Preparations", "histology")
    (slide,) = resume_run(run).slides
    assert slide.outcome is Outcome.RERUN
    assert (slide.tiles.planned, slide.tiles.captured) == (4, 3)
    assert verify(run).problems == ()


def test_a_label_that_cannot_be_read_again_makes_no_stranger_of_known_glass(tmp_path: Path) -> None:
    run = killed_run(tmp_path, ("after", Kind.TILE, "2.1"), *FOUR_TILES)
    change(tmp_path / "rig" / "simulated.yaml", "Faults,Plan", "unreadable-label@slot1")
    (slide,) = resume_run(run).slides
    assert slide.outcome is Outcome.DONE
    assert slide.tiles.captured == 4


def test_a_run_killed_before_it_knew_whose_slides_these_are_is_begun_again(tmp_path: Path) -> None:
    rack = tmp_path / "rack.yaml"
    rack.write_text("slots: [{slot: 1, slide: C26-1}]\n")
    run = killed_run(tmp_path, ("before", Kind.RUN_STARTED, ""), "--rack", str(rack), *FOUR_TILES)
    with pytest.raises(BadInput, match="rackscan run again"):
        resume_run(run)
