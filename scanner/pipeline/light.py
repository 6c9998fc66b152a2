"""With what is each tile multiplied when it is drawn, so that the lamp's flicker is gone and glass is white?

A fold in plan order beside the placement. What was measured of a tile is a fact, what it is multiplied with stands with
its place, and the background they refer to is decided once: with the first placed tiles.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from scanner.errors import DamagedRun
from scanner.model.events import Kind
from scanner.model.profile import Profile
from scanner.model.tile import Judged
from scanner.pipeline.frames import RecentFrames
from scanner.pipeline.glass import glass_level, neutral, tie, uppermost
from scanner.pipeline.registration import PairMeasurement
from scanner.storage.facts import tile_key
from scanner.storage.ledger import Ledger
from scanner.storage.light_facts import BackgroundFact, LightFact, Source

LAMP_SIGMA = 0.01
"""How far (ln) one exposure may lie from the lamp's level: what is not tied to glass is drawn back by it."""
GLASS_SIGMA = 0.003
SAME_COLOUR = 0.015
MOST = 0.06
LAMP_TILES = 15


@dataclass(frozen=True, slots=True)
class LightWork:
    """What the fold works with. ``white``: what glass is brought to, DN; ``given``: the profile's level of glass."""

    slide_id: str
    channels: int
    ledger: Ledger
    frames: RecentFrames
    white: float | None
    even: bool
    given: tuple[float, ...] | None = None

    @classmethod
    def of(cls, profile: Profile, slide_id: str, ledger: Ledger, frames: RecentFrames) -> "LightWork | None":
        """As the profile wants it; None where tiles are drawn as they are."""
        camera, look, given = profile.camera, profile.image, profile.measured.background_dn
        colour = camera.channels == 3 and camera.bits == 8
        white = look.background if colour else None
        even = look.even_exposures and not profile.focus.layered
        if profile.focus.stain.value.startswith("fluorescence") or (white is None and not even):
            return None
        return cls(slide_id, camera.channels, ledger, frames, white, even, given.value if given else None)


class Light:
    """The light of one slide's tiles: ``add`` and ``place`` each in the order of the scan."""

    def __init__(self, work: LightWork) -> None:
        self._work = work
        known = work.ledger.events(Kind.LIGHT, work.slide_id)
        self._known = {event.key: LightFact.from_body(event.body) for event in known}
        self._seen: dict[int, LightFact] = {}
        self._brighter: dict[int, float] = {}
        self._gains: dict[int, tuple[float, ...]] = {}
        self._lamp: deque[float] = deque(maxlen=LAMP_TILES)
        self._background: BackgroundFact | None = None

    def add(self, judged: Judged, pairs: Iterable[tuple[int, PairMeasurement]]) -> None:
        """Look at a tile and its overlaps with the neighbours that are still here: a fact, measured once.

        Raises:
            DamagedRun: it was not measured, and its pixels are gone.
        """
        tile, work = judged.tile, self._work
        key = tile_key(tile.planned.tile, tile.plan)
        if key not in self._known:
            event = work.ledger.append(Kind.LIGHT, work.slide_id, key, self._measured(judged, pairs).body())
            self._known[key] = LightFact.from_body(event.body)
        self._seen[tile.planned.tile] = self._known.pop(key)

    def place(self, number: int) -> tuple[float, ...]:
        """A tile has its final place: what each of its channels is multiplied with, from now on."""
        background = self._background or self._decided()
        self._background = background
        self._brighter[number] = self._how_bright(number, background) if self._work.even else 0.0
        level, white = background.level, background.white
        balance = [white / one for one in level] if level and white else [1.0] * self._work.channels
        evened = float(np.exp(-self._brighter[number]))
        self._gains[number] = tuple(round(one * evened, 6) for one in balance)
        return self._gains[number]

    def gain(self, number: int) -> tuple[float, ...] | None:
        """For drawing: see ``scanner.pipeline.mosaic.Gain``."""
        return self._gains.get(number)

    def _measured(self, judged: Judged, pairs: Iterable[tuple[int, PairMeasurement]]) -> LightFact:
        if judged.pixels is None:
            number = judged.tile.planned.tile
            raise DamagedRun(f"the light of tile {number} was never measured and it has no pixels")
        pixels, frames = judged.pixels, self._work.frames
        ties = [
            tie(frames(other), pixels, other, (pair.dx_px, pair.dy_px), pair.accepted)
            for other, pair in pairs
            if self._work.even and other in frames
        ]
        return LightFact(glass=glass_level(pixels), ties=tuple(one for one in ties if one is not None))

    def _decided(self) -> BackgroundFact:
        """What glass has on this slide, from the tiles seen so far; a fact that an earlier session may know."""
        fact = self._background_of([seen.glass for seen in self._seen.values() if seen.glass is not None])
        event = self._work.ledger.append(Kind.BACKGROUND, self._work.slide_id, "", fact.body())
        return BackgroundFact.from_body(event.body)

    def _background_of(self, found: Sequence[tuple[float, ...]]) -> BackgroundFact:
        white, given = self._work.white, self._work.given
        known = [one for one in found if (neutral(one) if given is None else _like(one, given) is not None)]
        levels = np.array(known)
        if len(levels):
            glass = uppermost(levels)
            level = tuple(float(one) for one in np.median(glass, axis=0))
            why = "" if white else "only colour images of 8 bits are brought to a fixed background"
            return BackgroundFact(source=Source.SCAN, level=level, white=white, tiles=len(glass), why=why)
        if given is not None:
            return BackgroundFact(source=Source.PROFILE, level=given, white=white)
        why = "no empty glass was seen in the first tiles, and the profile has no background_dn"
        return BackgroundFact(source=Source.NONE, why=why)

    def _how_bright(self, number: int, background: BackgroundFact) -> float:
        """Ln of a tile's light over the background: from its glass, its placed neighbours, and the lamp of late."""
        seen = self._seen[number]
        glass = _like(seen.glass, background.level) if seen.glass and background.level else None
        told = [(float(np.median(self._lamp)) if self._lamp else 0.0, LAMP_SIGMA)]
        if glass is not None:
            told.append((glass, GLASS_SIGMA))
            self._lamp.append(glass)
        told += [(self._brighter[t.other] + t.ratio, t.sigma) for t in seen.ties if t.other in self._brighter]
        if len(told) == 1:
            return 0.0 if not self._lamp else told[0][0]
        values, weights = (np.array(part) for part in zip(*((v, s**-2) for v, s in told), strict=True))
        return float(np.clip(np.sum(values * weights) / np.sum(weights), -MOST, MOST))


def _like(level: tuple[float, ...], background: tuple[float, ...]) -> float | None:
    """Ln of how much brighter ``level`` is than ``background``; None where it differs in colour, or by too much."""
    if len(level) != len(background):
        return None
    brighter = np.log(np.array(level) / np.array(background))
    mean = float(brighter.mean())
    return mean if abs(mean) < MOST and float(np.abs(brighter - mean).max()) < SAME_COLOUR else None
