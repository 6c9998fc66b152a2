"""Is a slide found again after a stop: untouched, moved, swapped for another, or with nothing on it to know it by?"""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from scanner.acquisition.earlier import Earlier
from scanner.acquisition.locate import locate
from scanner.acquisition.reseat import Seat, most_alike, reseat
from scanner.devices.rig import Rig, open_rig
from scanner.errors import DeviceFault
from scanner.model.events import Kind
from scanner.model.geometry import Affine, Point
from scanner.model.slide import Preparation
from scanner.model.tile import FocusState
from scanner.storage.profiles import read_profile
from scanner.storage.reader import RunReader
from scanner.storage.spool import Spool
from tests.scanner.kills import killed_run

NINE_TILES = ("--region", "43,11,1.3,1.3", "--detector", "none", "--keep-tiles")
STAGE_UM = 5.0


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a rig and of a run that was killed when it had just taken its last tile."""
    folder = tmp_path_factory.mktemp("killed")
    killed_run(folder, ("after", Kind.TILE, "8.1"), *NINE_TILES)
    return folder


@dataclass(frozen=True)
class Stopped:
    """A rig that a kill left with a slide on its stage, and what the run knew of the slide."""

    rig: Rig
    earlier: Earlier
    spool: Spool

    @property
    def before(self) -> Affine:
        assert self.earlier.stage_to_slide is not None
        return self.earlier.stage_to_slide

    def found(self, edges: Affine | None, tiles: Iterable[str] | None = None) -> Seat | None:
        """Where the slide is found by some of its tiles, by all of them where none are named."""
        known = self.earlier.tiles
        return reseat(
            self.rig, replace(self.earlier, tiles={k: known[k] for k in tiles or known}), self.spool, edges
        )


@contextmanager
def gone_on_with(killed: Path, folder: Path, slot: int) -> Iterator[Stopped]:
    """A copy of the rig, with the slide of ``slot`` on its stage."""
    shutil.copytree(killed / "rig", folder / "rig")
    path = folder / "rig" / "simulated.yaml"
    with RunReader.open(killed / "run") as reader:
        (name,) = reader.slides()
        earlier = Earlier.of(reader.ledger, name)
    with open_rig(read_profile(path), path.parent, {"seed": "3"}) as rig:
        rig.loader.load(slot)
        assert rig.light is not None
        rig.light.switch(True)
        yield Stopped(rig, earlier, Spool(killed / "run" / "tiles", keep=True))


@pytest.fixture(scope="module")
def untouched(killed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stopped]:
    """Nobody was near the glass."""
    with gone_on_with(killed, tmp_path_factory.mktemp("untouched"), slot=1) as stopped:
        yield stopped


def by_edges(rig: Rig) -> Affine:
    """Stage µm → slide µm as the edges of the glass tell it."""
    assert rig.overview is not None
    assert rig.profile.devices.overview is not None
    located = locate(rig.overview.picture(), rig.profile.devices.overview, Preparation.THINPREP)
    return rig.profile.stage_to_slide(1).shifted(Point(-located.seating_um.x, -located.seating_um.y))


def apart_um(a: Affine, b: Affine) -> float:
    return float(np.hypot(*np.subtract(a.offset, b.offset)))


def blank(earlier: Earlier) -> Earlier:
    """The same slide, had none of its tiles shown sample."""
    state = FocusState.NO_SAMPLE.value
    tiles = {key: {**body, "focus": {**body["focus"], "state": state}} for key, body in earlier.tiles.items()}  # type: ignore[dict-item]  # the body of a tile
    return replace(earlier, tiles=tiles)


def test_untouched_glass_is_recognised_whichever_tiles_were_taken(untouched: Stopped) -> None:
    keys = list(untouched.earlier.tiles)
    assert len(keys) == 9
    for few in [keys[first : first + n] for n in (1, 2, 3) for first in range(0, 10 - n, 4 - n)]:
        seat = untouched.found(None, few)
        assert seat is not None, few
        assert seat.recognised
        assert apart_um(seat.to_slide, untouched.before) < 3 * STAGE_UM


def test_glass_that_was_taken_off_and_put_back_is_found_where_it_lies(killed: Path, tmp_path: Path) -> None:
    with gone_on_with(killed, tmp_path, slot=1) as stopped:
        stopped.rig.loader.unload()
        stopped.rig.loader.load(1)
        edges = by_edges(stopped.rig)
        assert apart_um(edges, stopped.before) > 4 * STAGE_UM
        for seat in (stopped.found(None), stopped.found(edges)):
            assert seat is not None
            assert seat.recognised
            assert apart_um(edges, seat.to_slide) < 2 * STAGE_UM


def test_another_slide_is_not_taken_for_it(killed: Path, tmp_path: Path) -> None:
    with gone_on_with(killed, tmp_path, slot=2) as stopped:
        assert stopped.found(by_edges(stopped.rig)) is None
        assert stopped.found(None) is None


def test_where_nothing_can_be_recognised_the_edges_of_the_glass_decide(
    untouched: Stopped, tmp_path: Path
) -> None:
    bare = replace(untouched, spool=Spool(tmp_path / "nothing kept", keep=True))
    assert bare.found(by_edges(bare.rig)) == Seat(bare.before, recognised=False)
    assert bare.found(None) is None
    no_sample_yet = replace(bare, earlier=blank(bare.earlier))
    assert no_sample_yet.found(None) == Seat(bare.before, recognised=False)


def test_a_frame_that_does_not_come_is_asked_for_once_more(killed: Path, tmp_path: Path) -> None:
    with gone_on_with(killed, tmp_path, slot=1) as stopped:
        stopped.rig.mm.set("Faults", "Plan", "dropped-frame@1")
        assert stopped.found(None) is not None
        stopped.rig.mm.set("Faults", "Plan", ";".join(f"dropped-frame@{n}" for n in range(1, 30)))
        with pytest.raises(DeviceFault, match="dropped"):
            stopped.found(None)


def test_the_largest_group_that_agrees_is_believed() -> None:
    shifts = [Point(0, 0), Point(6, 0), Point(-6, 0), Point(90, -30)]
    assert most_alike(shifts, 10) == shifts[:3]
    assert most_alike([], 10) == []
