"""In which order do slides come onto the stage, and what is done with one that will not be scanned?

A slide that cannot be loaded, has no sample or carries another slide's label is said so, and the rack goes on.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from scanner.acquisition.capture import Begun, Books, OnStage, begin_scan, capture
from scanner.acquisition.earlier import Decided, Earlier, affine_to_body
from scanner.acquisition.focus_places import unreachable
from scanner.acquisition.identity import Identity, IdentityState, identify, is_another
from scanner.acquisition.locate import Located, locate, plan_slide
from scanner.acquisition.reseat import reseat
from scanner.devices.rig import Rig
from scanner.errors import FocusRefused, LoaderFault
from scanner.model.events import Body, Kind
from scanner.model.geometry import Affine, Point, Rect
from scanner.model.plan import Plan
from scanner.model.profile import Profile
from scanner.model.progress import Phase
from scanner.model.report import Outcome
from scanner.model.slide import RackSlot, Slide
from scanner.model.tile import EndOfPlan, Tile
from scanner.storage.pictures import read_picture, write_picture
from scanner.storage.run_folder import RunFolder, slide_id
from scanner.storage.spool import Spool

log = logging.getLogger("scanner.rack")

OVERVIEW = "overview.png"
NOBODY = Identity(accession=None, state=IdentityState.NONE, reason="the slide was not seen")
Next = Callable[[], Plan | None]


@dataclass(frozen=True, slots=True)
class SlideBegun:
    """A slide on its way: either ``plan`` says what will be captured or ``decided`` why nothing will."""

    slide: Slide
    identity: Identity
    located: Located | None
    stage_to_slide: Affine
    plan: Plan | None
    decided: Decided | None


@dataclass(frozen=True, slots=True)
class SlideEnded:
    """The slide has left the stage; nothing more of it will come."""

    slide: Slide


Item = SlideBegun | Tile | EndOfPlan | SlideEnded


@dataclass(frozen=True, slots=True)
class Task:
    """What the control thread is to do, and with what."""

    rig: Rig
    books: Books
    folder: RunFolder
    region_um: Rect | None
    next_plan: Next
    phase: Callable[[Phase, int | None], None]


def capture_rack(task: Task, entries: tuple[RackSlot, ...]) -> Iterator[Item]:
    """Every slide of the rack in order, from loading to unloading; finished ones are passed over.

    Raises:
        DeviceFault, Stopped: the rig must be looked at; everything acknowledged is kept.
    """
    for entry in entries:
        slide = _slide_of(task, entry)
        earlier = Earlier.of(task.books.ledger, slide.slide_id)
        if not earlier.finished:
            yield from _one(task, entry, slide, earlier)
        elif not earlier.unloaded:
            _leave(task, slide)


def _one(task: Task, entry: RackSlot, slide: Slide, earlier: Earlier) -> Iterator[Item]:
    if earlier.decided or earlier.captured:
        begun = recalled(task.rig.profile, task.folder, slide, earlier)
        yield begun
        yield from replayed(earlier, task.books.spool, task.next_plan) if begun.plan else ()
        if not earlier.unloaded:
            _leave(task, slide)
        yield SlideEnded(slide)
        return
    begun, scan = _surveyed(task, _begin(task, entry, slide, earlier), earlier)
    _book(task, begun)
    yield begun
    if begun.plan is not None and scan is not None:
        on_stage = OnStage(begun.slide, begun.located, begun.stage_to_slide, begun.plan, earlier)
        yield from capture(scan, task.books, on_stage, task.next_plan)
    _leave(task, slide)
    yield SlideEnded(slide)


def _surveyed(task: Task, begun: SlideBegun, earlier: Earlier) -> tuple[SlideBegun, Begun | None]:
    """Where no height can be trusted, nothing is scanned and the slide says so."""
    if begun.plan is None:
        return begun, None
    on_stage = OnStage(begun.slide, begun.located, begun.stage_to_slide, begun.plan, earlier)
    task.phase(Phase.FOCUSING, None)
    try:
        return begun, begin_scan(task.rig, task.books, on_stage)
    except FocusRefused as refusal:
        return replace(begun, plan=None, decided=Decided(Outcome.RERUN, str(refusal))), None


def replayed(earlier: Earlier, spool: Spool, next_plan: Next) -> Iterator[Tile | EndOfPlan]:
    """Everything that was captured of a slide, plan by plan, as if it came from the stage."""
    for item in earlier.replayed(spool):
        yield item
        if isinstance(item, EndOfPlan):
            next_plan()


def recalled(profile: Profile, folder: RunFolder, slide: Slide, earlier: Earlier) -> SlideBegun:
    """A slide that needs the stage no more, from its facts."""
    identity = earlier.identity or NOBODY
    to_slide = earlier.stage_to_slide or profile.stage_to_slide(slide.slot)
    plan = earlier.plans[0] if earlier.plans and not earlier.decided else None
    named = slide.model_copy(update={"accession": identity.accession})
    located = kept_overview(profile, folder, slide)
    return SlideBegun(named, identity, located, to_slide, plan, earlier.decided)


def kept_overview(profile: Profile, folder: RunFolder, slide: Slide) -> Located | None:
    """What the overview picture of an earlier session shows; None where there is none."""
    path = folder.slide(slide.slide_id).folder / OVERVIEW
    spec = profile.devices.overview
    if spec is None or not path.is_file():
        return None
    return locate(read_picture(path), spec, slide.preparation)


def _slide_of(task: Task, entry: RackSlot) -> Slide:
    run = task.folder.settings.run
    return Slide(
        slot=entry.slot,
        slide_id=slide_id(entry.slot, run),
        preparation=entry.preparation,
        focus_points_um=entry.focus_points_um,
    )


def _begin(task: Task, entry: RackSlot, slide: Slide, earlier: Earlier) -> SlideBegun:
    """Load, look, plan; a slide that was begun before keeps its plan and is found again by three of its tiles."""
    to_slide = task.rig.profile.stage_to_slide(slide.slot)
    try:
        _load(task, slide, entry)
    except LoaderFault as fault:
        if task.rig.loader.loaded() is not None:
            raise
        log.warning("slot %d: %s", slide.slot, fault, extra={"slide_id": slide.slide_id})
        empty = task.rig.loader.occupied(slide.slot) is False
        outcome = Decided(Outcome.EMPTY, "the slot is empty") if empty else Decided(Outcome.RERUN, str(fault))
        return SlideBegun(slide, NOBODY, None, to_slide, None, outcome)
    located = _look(task, slide)
    identity = identify(located.label if located else None, entry.slide)
    if located is not None:
        to_slide = to_slide.shifted(Point(-located.seating_um.x, -located.seating_um.y))
        _keep_label(task, slide, located)
    named = slide.model_copy(update={"accession": identity.accession})
    seen = SlideBegun(named, identity, located, to_slide, None, None)
    if identity.state is IdentityState.CONFLICT:
        return replace(seen, decided=Decided(Outcome.IDENTITY_CONFLICT, identity.reason))
    if earlier.identity is not None and is_another(identity, earlier.identity):
        reason = "the label is not the one that this slide had before the stop: compare the glass"
        return replace(seen, decided=Decided(Outcome.IDENTITY_CONFLICT, reason))
    return _again(task, seen, earlier) if earlier.tiles else _planned(task, seen, earlier)


def _planned(task: Task, seen: SlideBegun, earlier: Earlier) -> SlideBegun:
    """The first plan; one that an earlier session saved never changes."""
    made = earlier.plans[0] if earlier.plans else None
    plan = made or plan_slide(seen.located, task.rig.profile, seen.slide, task.region_um)
    if plan is None:
        return replace(seen, decided=Decided(Outcome.EMPTY, "the overview shows no sample on the glass"))
    return _reachable(task, seen, plan)


def _reachable(task: Task, seen: SlideBegun, plan: Plan) -> SlideBegun:
    """The slide with its plan, unless some of it lies beyond the limits now that its seating is known."""
    to_stage, limits = seen.stage_to_slide.inverse(), task.rig.profile.limits
    problems = plan.problems(to_stage, limits) + unreachable(seen.slide.focus_points_um, to_stage, limits)
    if problems:
        return replace(seen, decided=Decided(Outcome.RERUN, "; ".join(map(str, problems))))
    return replace(seen, plan=plan)


def _again(task: Task, seen: SlideBegun, earlier: Earlier) -> SlideBegun:
    """A slide of which tiles were taken: the same glass, where it lies now, and the plan it had."""
    if task.rig.light is not None:
        task.rig.light.switch(True)
    edges = seen.stage_to_slide if seen.located is not None else None
    found = reseat(task.rig, earlier, task.books.spool, edges)
    if found is None:
        reason = "after the stop its kept fields were not found again on the glass: scan the slide anew"
        return replace(seen, decided=Decided(Outcome.RERUN, reason))
    same = found.recognised and seen.identity.accession is None
    identity = (earlier.identity if same else None) or seen.identity
    again = replace(
        seen,
        slide=seen.slide.model_copy(update={"accession": identity.accession}),
        identity=identity,
        stage_to_slide=found.to_slide,
        located=kept_overview(task.rig.profile, task.folder, seen.slide),
    )
    return _reachable(task, again, earlier.plans[0])


def _load(task: Task, slide: Slide, entry: RackSlot) -> None:
    log.info("loading slot %d", slide.slot, extra={"slide_id": slide.slide_id})
    task.phase(Phase.LOADING, slide.slot)
    retract(task.rig)
    body: Body = {"slot": slide.slot, "preparation": str(slide.preparation), "expected": entry.slide}
    task.books.ledger.append(Kind.SLIDE_LOADED, slide.slide_id, str(slide.slot), body)
    task.rig.loader.load(slide.slot)


def retract(rig: Rig) -> None:
    """The objective at its safe height."""
    if rig.z is not None and rig.profile.measured.z_sign is not None:
        rig.z.start_move(rig.profile.limits.z_safe_um).wait()


def _look(task: Task, slide: Slide) -> Located | None:
    """Label and sample from above; the first picture of a slide is kept, so that a resume sees the same sample."""
    spec = task.rig.profile.devices.overview
    if task.rig.overview is None or spec is None:
        return None
    task.phase(Phase.LOCATING, None)
    if task.rig.light is not None:
        task.rig.light.switch(True)
    picture = task.rig.overview.picture()
    path = task.folder.slide(slide.slide_id).folder / OVERVIEW
    if not path.is_file():
        write_picture(path, picture)
    return locate(picture, spec, slide.preparation)


def _keep_label(task: Task, slide: Slide, located: Located) -> None:
    path = task.folder.slide(slide.slide_id).label
    if not path.is_file():
        write_picture(path, located.label)


def _book(task: Task, begun: SlideBegun) -> None:
    """What was found out before the first tile."""
    ledger, name = task.books.ledger, begun.slide.slide_id
    identity: Body = begun.identity.model_dump(mode="json")
    ledger.append(Kind.IDENTITY, name, "", identity)
    if begun.decided is not None:
        fault: Body = {"outcome": str(begun.decided.outcome), "reason": begun.decided.reason}
        ledger.append(Kind.SLIDE_FAULT, name, "", fault)
        log.warning("slot %d: %s", begun.slide.slot, begun.decided.reason, extra={"slide_id": name})
        return
    ledger.append(Kind.SEATED, name, "", affine_to_body(begun.stage_to_slide))


def _leave(task: Task, slide: Slide) -> None:
    if task.rig.light is not None:
        task.rig.light.switch(False)
    retract(task.rig)
    task.rig.loader.unload()
    task.books.ledger.append(Kind.SLIDE_UNLOADED, slide.slide_id, "", {})
