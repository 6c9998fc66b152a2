"""How do the kept tiles of a run come down the road once more, as if the stage had just given them?"""

import shutil
from collections.abc import Callable, Iterator

from scanner.acquisition.earlier import Earlier
from scanner.acquisition.rack import OVERVIEW, Item, SlideEnded, recalled, replayed
from scanner.errors import BadInput
from scanner.model.events import Kind
from scanner.model.plan import Plan
from scanner.model.profile import Profile
from scanner.model.slide import Preparation, Slide
from scanner.storage.ledger import Ledger
from scanner.storage.run_folder import RunFolder
from scanner.storage.spool import Spool

CAPTURED = frozenset(
    {
        Kind.SLIDE_LOADED,
        Kind.IDENTITY,
        Kind.SEATED,
        Kind.SLIDE_FAULT,
        Kind.FOCUS_POINT,
        Kind.FOCUS_MAP,
        Kind.PLAN,
        Kind.TILE,
        Kind.TILE_FAILED,
        Kind.PLAN_CAPTURED,
        Kind.CELLS_CHOSEN,
        Kind.SLIDE_UNLOADED,
        Kind.FLAT_FIELD,
    }
)
"""What the stage, or the day of the scan, had a part in; everything else is found out again."""


def check_replayable(source: RunFolder) -> None:
    """Raise where a run has no tiles to replay.

    Raises:
        BadInput: it was not run with ``--keep-tiles``.
    """
    if not source.settings.keep_tiles:
        mend = "only a run with --keep-tiles can be replayed"
        raise BadInput.one("this run kept no tiles", mend, file=str(source.root))


def replayed_rack(
    source: RunFolder, folder: RunFolder, profile: Profile, next_plan: Callable[[], Plan | None]
) -> Iterator[Item]:
    """Every slide of ``source`` in its order, what was captured of it copied into ``folder`` first."""
    spool = Spool(source.frames, keep=True)
    with Ledger.open(folder.ledger) as ledger:
        for slide in _copied(source, folder, ledger):
            earlier = Earlier.of(ledger, slide.slide_id)
            begun = recalled(profile, folder, slide, earlier)
            yield begun
            if begun.plan is not None:
                yield from replayed(earlier, spool, next_plan)
            yield SlideEnded(slide)


def _copied(source: RunFolder, folder: RunFolder, ledger: Ledger) -> list[Slide]:
    slides: dict[str, Slide] = {}
    with Ledger.read(source.ledger) as facts:
        for event in facts.events():
            if event.kind is Kind.SLIDE_LOADED:
                slides[event.slide_id] = Slide(
                    slot=int(event.key),
                    slide_id=event.slide_id,
                    preparation=Preparation(str(event.body["preparation"])),
                )
            if event.kind in CAPTURED:
                ledger.append(event.kind, event.slide_id, event.key, event.body)
    for slide_id in slides:
        for picture in (OVERVIEW, source.slide(slide_id).label.name):
            kept = source.slide(slide_id).folder / picture
            if kept.is_file():
                folder.slide(slide_id).folder.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(kept, folder.slide(slide_id).folder / picture)
    return list(slides.values())
