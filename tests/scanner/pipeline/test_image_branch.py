"""The image of a slide from judged tiles: whole, resumed and with tiles taken again."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from scanner.acquisition.locate import field_um
from scanner.model.geometry import Rect
from scanner.model.plan import Plan, PlannedTile, PlanReason, grid_over, scan_plan
from scanner.model.profile import Profile
from scanner.model.tile import FocusState, Frame, Judged, Tile, TileFocus
from scanner.pipeline.canvas import MosaicFrame, mosaic_frame
from scanner.pipeline.flat_field import Correction
from scanner.pipeline.frames import RecentFrames
from scanner.pipeline.image_branch import ImageBranch, ImageWork, Places, finish_tile
from scanner.pipeline.replan import PlanSettled, Replanner, retake_plan
from scanner.session.reading import open_image
from scanner.storage.ledger import Ledger
from scanner.storage.profiles import read_profile
from scanner.storage.spool import Spool

PROFILES = Path(__file__).parents[3] / "hardware_profiles"
NAME = "1-test"
NOTHING = (False, False, False, False)


@dataclass
class Slide:
    """A textured specimen under a small camera, three rows by four columns of fields."""

    profile: Profile
    plan: Plan
    frame: MosaicFrame
    specimen: NDArray[np.uint8]
    spool: Spool

    def judged(
        self,
        planned: PlannedTile,
        plan: int = 1,
        state: FocusState = FocusState.SHARP,
        grey: int = 0,
        blur_px: float = 0.0,
    ) -> Judged:
        """A capture of a field, in the spool like any other; ``grey`` marks a take."""
        at = self.frame.corner(planned.x_um, planned.y_um)
        h, w = self.frame.lattice.tile_px
        x, y = round(at.x), round(at.y)
        pixels = self.specimen[y : y + h, x : x + w].copy()
        if blur_px:
            pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), blur_px), np.uint8)
        pixels[h // 2 - 8 : h // 2 + 8, w // 2 - 8 : w // 2 + 8] = grey
        where = self.frame.slide_to_mosaic.inverse().apply_many([(x + w / 2, y + h / 2)])[0]
        content = self.spool.put(NAME, planned.tile, plan, 1, pixels, {})
        focus = TileFocus(state, 0.0, 0.1, 1.5)
        shot = Frame(pixels, 0.0, 0.0, 0.0, 0.0, 0.0)
        tile = Tile(planned, plan, 1, shot, content, float(where[0]), float(where[1]), focus, 2)
        return Judged(tile, pixels, 1.0, 1.0, NOTHING)

    def branch(self, folder: Path, ledger: Ledger) -> ImageBranch:
        """The branch, begun or gone on with in ``folder``."""
        plain = Correction(np.eye(2, dtype=np.int64), None)
        frames = RecentFrames(self.spool, NAME, lambda: plain, 6)
        store = open_image(folder / "image.ome.zarr", self.frame, NAME)
        work = ImageWork(NAME, self.frame, store, frames, ledger, self.spool, False, 1, lambda _: True)
        branch = ImageBranch(work)
        branch.begin(self.plan)
        return branch


@pytest.fixture
def slide(tmp_path: Path) -> Slide:
    whole = read_profile(PROFILES / "simulated.yaml")
    camera = whole.camera.model_copy(update={"width_px": 256, "height_px": 256})
    bare = whole.measured.model_copy(update={"flat_field": None})
    profile = whole.model_copy(update={"camera": camera, "measured": bare})
    grid, rows, cols = grid_over(Rect(40_000, 10_000, 440, 330), field_um(profile), 0.1)
    plan = scan_plan(NAME, grid, [(r, c) for r in range(rows) for c in range(cols)], [], growable=False)
    frame = mosaic_frame(profile, plan)
    size = (frame.canvas.height_px + 300, frame.canvas.width_px + 300, 3)
    noise = np.random.default_rng(3).integers(0, 255, size, dtype=np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2).astype(np.float32)
    specimen = np.clip(125 + 3 * (smooth - smooth.mean()), 20, 230).astype(np.uint8)
    return Slide(profile, plan, frame, specimen, Spool(tmp_path / "spool", keep=False))


def image(folder: Path, slide: Slide) -> NDArray[np.uint8]:
    canvas = slide.frame.canvas
    store = open_image(folder / "image.ome.zarr", slide.frame, NAME)
    return np.asarray(store.read(0, 0, 0, canvas.height_px, canvas.width_px), np.uint8)


def drawn(slide: Slide, folder: Path) -> Places:
    folder.mkdir()
    with Ledger.open(folder / "run.sqlite", create=True) as ledger:
        branch = slide.branch(folder, ledger)
        for planned in slide.plan.tiles:
            branch.add(slide.judged(planned))
        branch.plan_settled(PlanSettled(slide.plan, None))
        return branch.finish()


def test_the_image_is_the_specimen(slide: Slide, tmp_path: Path) -> None:
    places = drawn(slide, tmp_path / "run")
    seen = np.moveaxis(image(tmp_path / "run", slide), 0, -1)
    covered = seen[20:-20, 20:-20]
    there = slide.specimen[20 : 20 + covered.shape[0], 20 : 20 + covered.shape[1]]
    assert np.median(np.abs(covered.astype(int) - there)) <= 1
    assert places.pairs_measured >= 12
    assert len(places.placed) == len(slide.plan.tiles)


def test_a_branch_killed_in_the_middle_goes_on_to_the_same_image(slide: Slide, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    folder.mkdir()
    with Ledger.open(folder / "run.sqlite", create=True) as ledger:
        branch = slide.branch(folder, ledger)
        taken = [slide.judged(planned) for planned in slide.plan.tiles]
        for judged in taken[:7]:
            branch.add(judged)
        again = slide.branch(folder, ledger)
        for judged in taken:
            again.add(judged)
        again.plan_settled(PlanSettled(slide.plan, None))
        resumed = again.finish()
    for judged in taken:
        slide.spool.drop(NAME, judged.tile.planned.tile, 1, 1)
    undisturbed = drawn(slide, tmp_path / "whole")
    assert resumed.placed == undisturbed.placed
    assert np.array_equal(image(folder, slide), image(tmp_path / "whole", slide))


def test_the_last_take_of_a_soft_tile_is_the_one_shown(slide: Slide, tmp_path: Path) -> None:
    folder = tmp_path / "retaken"
    folder.mkdir()
    with Ledger.open(folder / "run.sqlite", create=True) as ledger:
        branch = slide.branch(folder, ledger)
        replanner = Replanner(slide.profile, slide.profile.stage_to_slide(1).inverse(), growable=False)
        for planned in slide.plan.tiles:
            soft = planned.tile == 5
            judged = slide.judged(planned, state=FocusState.USABLE if soft else FocusState.SHARP)
            replanner.add(judged)
            branch.add(judged)
        second = replanner.next_plan([slide.plan])
        assert second is not None
        branch.plan_settled(PlanSettled(slide.plan, second))
        branch.add(slide.judged(second.tiles[0], plan=2, grey=255))
        branch.plan_settled(PlanSettled(second, None))
        places = branch.finish()
        for take in places.takes:
            finish_tile(ledger, slide.spool, NAME, take)
    at = places.placed[5]
    middle = image(folder, slide)[:, round(at.y_px) + 128, round(at.x_px) + 128]
    assert middle.tolist() == [255, 255, 255]
    assert not list((tmp_path / "spool").rglob("*.tif"))


def soft_twice(slide: Slide) -> list[Judged]:
    """All captures of a slide whose tile 5 is blurred, and once more in its retake, which comes last."""
    soft = slide.plan.tiles[5]
    sharp = [slide.judged(planned) for planned in slide.plan.tiles if planned != soft]
    first, again = (slide.judged(soft, plan, FocusState.USABLE, blur_px=4.0) for plan in (1, 2))
    return [*sharp[:5], first, *sharp[5:], again]


def scanned(slide: Slide, folder: Path, takes: list[Judged], killed_after: tuple[int, ...] = ()) -> Places:
    """Sessions that are killed after some captures, and one that gets all of them."""
    folder.mkdir()
    retake = takes[-1].tile.planned
    second = slide.plan.model_copy(update={"number": 2, "reason": PlanReason.RETAKE, "tiles": (retake,)})
    with Ledger.open(folder / "run.sqlite", create=True) as ledger:
        for count in killed_after:
            branch = slide.branch(folder, ledger)
            for judged in takes[:count]:
                branch.add(judged)
        branch = slide.branch(folder, ledger)
        for judged in takes[:-1]:
            branch.add(judged)
        branch.plan_settled(PlanSettled(slide.plan, second))
        branch.add(takes[-1])
        branch.plan_settled(PlanSettled(second, None))
        return branch.finish()


def test_the_overlap_of_a_tile_that_stays_soft_is_shown_by_its_neighbours(
    slide: Slide, tmp_path: Path
) -> None:
    places = scanned(slide, tmp_path / "run", soft_twice(slide))
    seen = np.moveaxis(image(tmp_path / "run", slide), 0, -1).astype(int)
    away = np.abs(seen - slide.specimen[: seen.shape[0], : seen.shape[1]]).mean(axis=2)
    at, (h, w) = places.placed[5], slide.frame.lattice.tile_px
    x, y = round(at.x_px), round(at.y_px)
    inner = away[y + 40 : y + h - 40, x + 40 : x + w - 40]
    rim = away[y + 14 : y + 22, x + 40 : x + w - 40], away[y + 40 : y + h - 40, x + 14 : x + 22]
    assert np.median(inner) > 8
    assert all(np.median(strip) <= 1 for strip in rim)
    middles = np.array([[x + w / 2, y + h / 2], [x + w / 2, y + 18.0]])
    above = next(p.tile for p in places.placed.values() if (p.row, p.col) == (at.row - 1, at.col))
    assert places.shown_at(middles).tolist() == [5, above]


def test_soft_tiles_and_faded_borders_come_out_the_same_after_a_kill(slide: Slide, tmp_path: Path) -> None:
    takes = soft_twice(slide)
    undisturbed = scanned(slide, tmp_path / "whole", takes)
    resumed = scanned(slide, tmp_path / "killed", takes, killed_after=(7, 10))
    assert resumed.placed == undisturbed.placed
    assert np.array_equal(image(tmp_path / "killed", slide), image(tmp_path / "whole", slide))


def test_soft_tiles_are_planned_in_the_order_of_the_scan(slide: Slide) -> None:
    replanner = Replanner(slide.profile, slide.profile.stage_to_slide(1).inverse(), growable=False)
    for planned in reversed(slide.plan.tiles):
        replanner.add(slide.judged(planned, state=FocusState.USABLE))
    second = replanner.next_plan([slide.plan])
    assert second is not None
    assert [tile.tile for tile in second.tiles] == [tile.tile for tile in slide.plan.tiles]
    assert retake_plan([slide.plan], [], 1) is None
