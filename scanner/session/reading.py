"""How is one slide read while it is being captured? Judge every tile, then image and cells side by side.

The road of a slide: correct → judge → { place → mosaic → pyramid } and { detect }; what both found is closed into
outcome and verdict. Live, resumed and replayed slides come down the same road.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil

from autofocus.stain import focus_channel_of
from scanner.acquisition.rack import SlideBegun
from scanner.errors import DamagedRun
from scanner.model.events import Kind
from scanner.model.plan import Plan
from scanner.model.profile import FocusStrategy, Profile
from scanner.model.tile import EndOfPlan, Judged, Tile
from scanner.pipeline.blood import SEEN_AT_UM, blood_share
from scanner.pipeline.canvas import MosaicFrame, mosaic_frame
from scanner.pipeline.cell_branch import CellWork, Found, look_for_cells, searched
from scanner.pipeline.closing import Reading
from scanner.pipeline.frames import RecentFrames
from scanner.pipeline.fusing import FuseWork, with_fused
from scanner.pipeline.image_branch import ImageBranch, ImageWork, Places, finish_tile
from scanner.pipeline.light import Light, LightWork
from scanner.pipeline.quality import judged
from scanner.pipeline.replan import PlanSettled, Replanner, no_more, settled
from scanner.pipeline.search_keys import SearchConfig, SearchKeys, correction_hash
from scanner.pipeline.searching import CellSearch, FrameJob, Job, PixelJob, as_rgb8, libraries_here
from scanner.pipeline.second_reader import SecondReader
from scanner.pipeline.sheets import PAINTED_AHEAD
from scanner.session.field_reading import LookWork
from scanner.session.flat_choice import FlatChoice
from scanner.session.layering import Slide, begin_image, image_spec, opened, sheets
from scanner.session.light_report import light_used
from scanner.session.request import Search
from scanner.session.second_look import SecondLook
from scanner.session.storing import storing
from scanner.session.telling import Teller
from scanner.storage.facts import TileFinishedFact, tile_key
from scanner.storage.fused import FusedSpool
from scanner.storage.ledger import Ledger
from scanner.storage.ome_zarr import PyramidStore
from scanner.storage.reader import RunReader
from scanner.storage.run_folder import RunFolder, RunSettings
from scanner.storage.spool import Spool
from scanner.stream import Road

AHEAD = 4
ROWS_KEPT = 3  # a tile that a later row still needs is read from the spool in 2 ms
NICE = 5
WEIGHED_EVERY_S = 0.5
JUDGE, HAND_ON = "correct and judge", "hand on cells"

Items = Iterator[Judged | PlanSettled]


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything the reading half of a run works with. ``cells`` searches the tiles, None without a detector."""

    folder: RunFolder
    profile: Profile
    spool: Spool
    growable: bool
    search: Search
    cells: CellSearch | None
    tell: Callable[[Plan | None], None]
    teller: Teller


@dataclass(slots=True)
class Watch:
    """What is noticed on the way: when the last frame came, the most memory held, CPU seconds of each thread."""

    last_frame_s: float | None = None
    peak_bytes: int = 0
    weighed_s: float = -math.inf
    cpu_s: dict[str, float] = field(default_factory=dict)

    def passed(
        self, items: Iterable[Tile | EndOfPlan], road: Road, step: str = JUDGE
    ) -> Iterator[Tile | EndOfPlan]:
        """The same items, watched with the processes of their road; the thread that asks for them does ``step``."""
        for item in items:
            if isinstance(item, EndOfPlan):
                self.last_frame_s = item.last_frame_s
            self._weigh(road)
            yield item
            self.cpu_s[step] = time.thread_time()

    def _weigh(self, road: Road) -> None:
        """Twice a second, and only our own: to find children, every process of the machine would be asked."""
        if time.perf_counter() - self.weighed_s > WEIGHED_EVERY_S:
            self.peak_bytes = max(self.peak_bytes, resident_bytes(road.pids))
            self.weighed_s = time.perf_counter()


def read_slide(
    desk: Desk, begun: SlideBegun, plan: Plan, items: Iterable[Tile | EndOfPlan], road: Road, watch: Watch
) -> Reading:
    """All that the tiles of a slide say, when the last of them is read."""
    name = begun.slide.slide_id
    frame = mosaic_frame(desk.profile, plan)
    replanner = Replanner(desk.profile, begun.stage_to_slide.inverse(), desk.growable)
    desk.teller.planned(plan)

    def tell(following: Plan | None) -> None:
        if following is not None:
            desk.teller.planned(following)
        else:
            _book_captured(desk, name)
        desk.tell(following)

    flat = FlatChoice(desk.profile, desk.folder.ledger, name)
    second = _second_look(desk, begun, frame, flat, tell, road)
    stream = settled(
        _watched(second, _fused(desk, name, _judge(desk, name, watch.passed(items, road), flat))),
        replanner,
        plan,
        tell,
        second.plan if second is not None else no_more,
    )
    places, found = _branches(desk, name, _Sheet(frame, plan, flat, watch), stream, road, second)
    with RunReader.open(desk.folder.root) as reader:
        plans, counts = reader.plans(name), reader.counts(name)
    _finish_all(desk, name, places)
    again = second.read(watch.passed(items, road, HAND_ON), places.placed) if second is not None else None
    return Reading(
        begun=begun,
        frame=frame,
        plans=plans,
        counts=counts,
        places=places,
        found=found,
        package=desk.search.package,
        record=desk.search.record,
        growable=desk.growable,
        border_left=desk.growable and replanner.border_left([plan for plan in plans if plan.of_image]),
        again=again,
        blood=_blood(desk, name),
        second_reader=second_reader(desk.folder.settings, desk.profile),
    )


def _blood(desk: Desk, name: str) -> float | None:
    """From the level of the finished image on which a film of red cells is one colour."""
    store = PyramidStore.open(desk.folder.slide(name).image)
    um = [(store.spec.um_per_px or 1.0) * 2**n for n in range(len(store.sizes))]
    level = max((n for n in range(len(um)) if um[n] <= SEEN_AT_UM), default=0)
    w, h = store.sizes[level]
    pixels = store.picture(level, 0, 0, h, w)
    with Ledger.open(desk.folder.ledger) as ledger:
        return blood_share(pixels, um[level], light_used(ledger, name).background)


def second_reader(settings: RunSettings, profile: Profile) -> SecondReader:
    """The lot of a run: a replay draws as its run did."""
    return SecondReader(settings.salt or settings.run, profile.second_reading)


def _watched(second: SecondLook | None, items: Iterator[Judged | EndOfPlan]) -> Iterator[Judged | EndOfPlan]:
    """Nobody else holds the items: they end in the thread that asked for them, with its ledger."""
    return items if second is None else second.watched(items)


def _second_look(
    desk: Desk,
    begun: SlideBegun,
    frame: MosaicFrame,
    flat: FlatChoice,
    tell: Callable[[Plan | None], None],
    road: Road,
) -> SecondLook | None:
    """Where the run takes suspicious cells again."""
    package = desk.search.package
    if desk.profile.capture_cells.cells == 0 or desk.cells is None or package is None:
        return None
    work = LookWork(
        slide_id=begun.slide.slide_id,
        folder=desk.folder,
        profile=desk.profile,
        spool=desk.spool,
        search=desk.cells,
        package=package,
        frame=frame,
        slide_to_stage=begun.stage_to_slide.inverse(),
        flat=flat,
    )
    return SecondLook(work, tell, road)


def _book_captured(desk: Desk, name: str) -> None:
    """A session that goes on from here leaves the glass alone: its frames may all be gone by then."""
    with Ledger.open(desk.folder.ledger) as ledger:
        ledger.append(Kind.SLIDE_CAPTURED, name, "", {})


@dataclass(frozen=True, slots=True)
class _Sheet:
    """What the image branch of one slide starts from."""

    frame: MosaicFrame
    plan: Plan
    flat: FlatChoice
    watch: Watch


def _branches(
    desk: Desk, name: str, sheet: _Sheet, stream: Items, road: Road, second: SecondLook | None
) -> tuple[Places, Found | None]:
    if desk.cells is None or desk.search.package is None:
        (only,) = road.broadcast(stream, AHEAD, "judge", readers=1, nice=NICE)
        (places,) = road.gather(lambda: _draw(desk, name, sheet, only, road))
        return places, None
    keys = SearchKeys(desk.search.package.hash, partial(_search_config, desk, sheet, desk.cells.provider))
    heard = second.heard if second is not None else None
    jobs = _jobs(desk, name, sheet, desk.cells)
    work = CellWork(name, jobs, desk.cells, keys, desk.folder.ledger, heard)
    to_image, to_cells = road.broadcast(stream, AHEAD, "judge", nice=NICE)
    before_s = desk.cells.workers.cpu_s
    both = road.both(
        lambda: _draw(desk, name, sheet, to_image, road, keys), lambda: look_for_cells(to_cells, work, road)
    )
    sheet.watch.cpu_s["detect"] = desk.cells.workers.cpu_s - before_s
    return both


def _jobs(desk: Desk, name: str, sheet: _Sheet, cells: CellSearch) -> Callable[[Judged, str], Job]:
    """How the detector is told of a tile: its pixels, or where they lie and what makes them upright and even."""
    um_per_px, profile = sheet.frame.um_per_px, desk.profile.model_dump_json()

    def refer(judged: Judged, key: str) -> Job:
        tile, light = judged.tile, sheet.flat.fact.model_dump_json()
        path = desk.spool.path(name, tile.planned.tile, tile.plan, tile.attempt, tile.layer).resolve()
        return FrameJob(key, path, tile.content, profile, light, um_per_px, judged.nbytes)

    def show(judged: Judged, key: str) -> Job:
        if judged.pixels is None:
            raise ValueError(f"tile {judged.tile.planned.tile} has no pixels to search")
        return PixelJob(key, as_rgb8(judged.pixels), um_per_px)

    return refer if cells.by_reference else show


def _search_config(desk: Desk, sheet: _Sheet, provider: str) -> SearchConfig:
    return SearchConfig(
        um_per_px=sheet.frame.um_per_px,
        provider=provider,
        libraries=libraries_here(),
        correction=correction_hash(desk.profile, sheet.flat.fact),
    )


def _judge(
    desk: Desk, name: str, items: Iterable[Tile | EndOfPlan], flat: FlatChoice
) -> Iterator[Judged | EndOfPlan]:
    """Tiles without pixels were judged by an earlier session, and their facts say how."""
    with Ledger.open(desk.folder.ledger) as ledger:
        facts = (TileFinishedFact.from_body(event.body) for event in ledger.events(Kind.TILE_FINISHED, name))
        known = {tile_key(fact.tile, fact.plan): fact for fact in facts}
    for item in flat.settled(items):
        if isinstance(item, EndOfPlan) or item.frame is not None:
            yield item if isinstance(item, EndOfPlan) else judged(item, flat())
            continue
        fact = known.get(tile_key(item.planned.tile, item.plan))
        if fact is None:
            raise DamagedRun(
                f"slide {name}: the frame of tile {item.planned.tile} is gone before it was finished"
            )
        yield Judged(item, None, fact.quality, fact.sample_share, fact.sample_edges)


def _fused(desk: Desk, name: str, items: Iterator[Judged | EndOfPlan]) -> Iterator[Judged | EndOfPlan]:
    """Thick tiles fused, where the strategy asks for it."""
    if desk.profile.focus.strategy is not FocusStrategy.EDF:
        yield from items
        return
    with Ledger.open(desk.folder.ledger) as ledger:
        channel = focus_channel_of(desk.profile.focus.stain)
        yield from with_fused(
            items, FuseWork(name, desk.spool, FusedSpool(desk.folder.fused), ledger, channel)
        )


def _draw(
    desk: Desk, name: str, sheet: _Sheet, items: Items, road: Road, keys: SearchKeys | None = None
) -> Places:
    """The image branch in a thread of its own, with its own ledger."""
    frame, plan = sheet.frame, sheet.plan
    width = 1 + max(tile.col for tile in plan.tiles) - min(tile.col for tile in plan.tiles)
    frames = RecentFrames(desk.spool, name, sheet.flat, ROWS_KEPT * (width + 4))
    fused = FusedSpool(desk.folder.fused)
    with Ledger.open(desk.folder.ledger) as ledger:
        work = LightWork.of(desk.profile, name, ledger, frames)
        light = Light(work) if work else None
        gain = light.gain if light else None
        paths, focus = desk.folder.slide(name), desk.profile.focus
        stored, items = storing(desk.profile, sheet.flat, paths.image, items)
        made = Slide(name, paths, frame, focus, frames, fused, sheet.flat, stored, gain)
        store = begin_image(made)
        branch = ImageBranch(
            ImageWork(
                slide_id=name,
                frame=frame,
                store=store,
                frames=frames,
                ledger=ledger,
                spool=desk.spool,
                growable=desk.growable,
                retakes=desk.profile.acquisition.retakes,
                searched=lambda tile: keys is None or searched(ledger, name, keys, tile),
                sheets=sheets(made, store),
                fused=fused,
                light=light,
                ahead=partial(road.buffered, size=PAINTED_AHEAD, name="paint", nice=NICE),
            )
        )
        branch.begin(plan)
        for item in items:
            if isinstance(item, Judged):
                branch.add(item)
                continue
            branch.plan_settled(item)
            if item.following is None:
                break  # what else is captured is no part of the image, and the judge may still wait for it
        places = branch.finish()
        sheet.watch.cpu_s["place and draw"] = time.thread_time()
        return places


def open_image(path: Path, frame: MosaicFrame, name: str) -> PyramidStore:
    """The image of one plane of a slide, begun or gone on with."""
    return opened(path, image_spec(frame, name))


def _finish_all(desk: Desk, name: str, places: Places) -> None:
    """Both branches are over: no frame is needed any more."""
    with Ledger.open(desk.folder.ledger) as ledger:
        finished = {event.key for event in ledger.events(Kind.TILE_FINISHED, name)}
        for take in places.takes:
            if tile_key(take.tile.planned.tile, take.tile.plan) not in finished:
                finish_tile(ledger, desk.spool, name, take, FusedSpool(desk.folder.fused))


def resident_bytes(pids: Iterable[int]) -> int:
    """Memory that some processes hold together; one that has ended holds none."""
    total = 0
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            total += int(psutil.Process(pid).memory_info().rss)
    return total
