"""Which flat field corrects a slide: the profile's, or, where that is missing or old, one told by its own first tiles?

Decided once, before the first tile is judged, and a fact from then on: a resume and a replay correct alike. Where the
scan must tell, the first tiles wait for the decision.
"""

import logging
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from scanner.errors import DamagedRun
from scanner.model.events import Kind
from scanner.model.profile import Profile
from scanner.model.tile import EndOfPlan, Tile
from scanner.pipeline.flat_estimate import SURE_SIGMA, Estimate, coarse, estimate
from scanner.pipeline.flat_field import Correction
from scanner.storage.ledger import Ledger
from scanner.storage.light_facts import FlatFieldFact, Source

log = logging.getLogger("scanner.light")

MOST_TILES = 32
MOST_HELD_BYTES = 256 * 2**20


class FlatChoice:
    """The correction of one slide: chosen in the thread that judges, used by all others on tiles that it let pass."""

    def __init__(self, profile: Profile, ledger: Path, slide_id: str) -> None:
        self._profile, self._ledger, self._slide_id = profile, ledger, slide_id
        self._correction: Correction | None = None
        self._fact: FlatFieldFact | None = None

    @property
    def fact(self) -> FlatFieldFact:
        """What was decided.

        Raises:
            DamagedRun: no tile has passed yet.
        """
        if self._fact is None:
            raise self._too_early()
        return self._fact

    def __call__(self) -> Correction:
        """What every frame of the slide goes through.

        Raises:
            DamagedRun: no tile has passed yet.
        """
        if self._correction is None:
            raise self._too_early()
        return self._correction

    def _too_early(self) -> DamagedRun:
        return DamagedRun(f"slide {self._slide_id}: a tile was asked for before its light was decided")

    def settled(self, items: Iterable[Tile | EndOfPlan]) -> Iterator[Tile | EndOfPlan]:
        """The same items; the correction is chosen when the first of them comes out."""
        waiting: list[Tile | EndOfPlan] = []
        self._take(self._known() or self._fresh())
        for item in items:
            if self._correction is None:
                waiting.append(item)
                if self._goes_on(item, waiting):
                    continue
                self._take(self._decided(waiting))
                yield from waiting
                waiting = []
            else:
                yield item
        if self._correction is None:
            self._take(self._decided(waiting))
        yield from waiting

    def _goes_on(self, item: Tile | EndOfPlan, waiting: list[Tile | EndOfPlan]) -> bool:
        """Should further tiles be waited for?"""
        if isinstance(item, EndOfPlan) or item.frame is None:
            return False
        return len(waiting) < min(MOST_TILES, MOST_HELD_BYTES // item.frame.pixels.nbytes)

    def _known(self) -> FlatFieldFact | None:
        """What an earlier session decided, or the run that is replayed."""
        with Ledger.open(self._ledger) as ledger:
            event = ledger.latest(Kind.FLAT_FIELD, self._slide_id)
        return None if event is None else FlatFieldFact.from_body(event.body)

    def _fresh(self) -> FlatFieldFact | None:
        """The profile's, where it is in date; nothing where what glows has no glass to tell the light by."""
        field = self._profile.measured.flat_field
        if field is not None and not field.expired(datetime.now(UTC)):
            return self._booked(FlatFieldFact(source=Source.PROFILE))
        if self._profile.focus.stain.value.startswith("fluorescence"):
            doubt = "no flat field in date, and glowing samples do not show how even the light is"
            return self._booked(FlatFieldFact(source=Source.PROFILE if field else Source.NONE, doubt=doubt))
        return None

    def _decided(self, waiting: Iterable[Tile | EndOfPlan]) -> FlatFieldFact:
        frames = [item.frame.pixels for item in waiting if isinstance(item, Tile) and item.frame is not None]
        found = estimate([coarse(pixels) for pixels in frames])
        return self._booked(self._weighed(found, len(frames)))

    def _weighed(self, found: Estimate, tiles: int) -> FlatFieldFact:
        old = self._profile.measured.flat_field
        if old is None and found.field is None:
            doubt = f"there is no flat field in the profile, and this scan tells none ({found.reason}): shading stays"
            return FlatFieldFact(source=Source.NONE, doubt=doubt, tiles=tiles, sigma=found.sigma)
        if old is None:
            doubt = "there is no flat field in the profile: the light's fall-off was estimated from this scan"
            return _from_scan(found, tiles, doubt)
        was = f"the profile's flat field was valid until {old.valid_until:%Y-%m-%d}"
        if found.field is not None and found.sigma is not None and found.sigma <= SURE_SIGMA:
            doubt = f"{was}: the light's fall-off was estimated from this scan instead"
            return _from_scan(found, tiles, doubt)
        why = found.reason or "this scan tells it less surely"
        doubt = f"{was} and is used all the same ({why}): tiles may darken towards their edges"
        return FlatFieldFact(source=Source.PROFILE, tiles=tiles, sigma=found.sigma, doubt=doubt)

    def _booked(self, fact: FlatFieldFact) -> FlatFieldFact:
        with Ledger.open(self._ledger) as ledger:
            event = ledger.append(Kind.FLAT_FIELD, self._slide_id, "", fact.body())
        if fact.doubt:
            log.warning("%s; `rackscan profile measure` gives the profile a new one", fact.doubt)
        return FlatFieldFact.from_body(event.body)

    def _take(self, fact: FlatFieldFact | None) -> None:
        if fact is not None:
            self._fact = fact
            self._correction = Correction.decided(self._profile, fact)


def _from_scan(found: Estimate, tiles: int, doubt: str) -> FlatFieldFact:
    return FlatFieldFact(source=Source.SCAN, field=found.field, tiles=tiles, sigma=found.sigma, doubt=doubt)
