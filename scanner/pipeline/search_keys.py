"""By which name is an answer of the detector known, so that it counts once, and for no other question?

The name is (tile, content, detector, configuration), in the ledger of a slide. The package's hash covers weights,
floors, calibration and the scale that it wants; everything else that decides what is found is ``SearchConfig``.
"""

from collections.abc import Callable, Iterable

from scanner.model.base import Value
from scanner.model.events import Body, Event
from scanner.model.profile import Profile
from scanner.model.tile import Tile
from scanner.storage.hashes import text_hash
from scanner.storage.light_facts import FlatFieldFact

READING = 1
"""Raise it with every change of normalisation, patches, resampling or merging that changes what is found in a tile."""
DIGITS = 32


class SearchConfig(Value):
    """What decides about an answer beside the raw pixels and the package.

    ``um_per_px`` is the scale the tile is brought from, ``provider`` the runtime, its version and its device,
    ``libraries`` those that resample and correct. ``correction`` is a hash of the profile and of what was decided about
    the slide's light, which make upright, even pixels of raw ones: more of the profile than is needed, never less.
    A card's model is not in it where torch chooses the device, nor a processor's kind.
    """

    reading: int = READING
    um_per_px: float
    provider: str
    libraries: str
    correction: str

    @property
    def hash(self) -> str:
        """SHA-256 of all of it."""
        return text_hash(self.model_dump_json())


def correction_hash(profile: Profile, light: FlatFieldFact) -> str:
    """SHA-256 of what makes upright, even pixels of raw ones."""
    return text_hash(profile.model_dump_json() + light.model_dump_json())


class SearchKeys:
    """The names of a slide's answers; ``config`` is asked for at the first, when the slide's light is decided."""

    def __init__(self, package_hash: str, config: Callable[[], SearchConfig]) -> None:
        self._package_hash = package_hash
        self._config = config
        self._config_hash: str | None = None

    def of(self, tile: Tile) -> str:
        """The name of a tile's answer."""
        if self._config_hash is None:
            self._config_hash = self._config().hash
        return f"{self.without_config(tile)}.{self._config_hash[:DIGITS]}"

    def without_config(self, tile: Tile) -> str:
        """The same without the configuration: all that runs of before wrote."""
        return f"{tile.planned.tile}.{tile.content[:DIGITS]}.{self._package_hash[:DIGITS]}"


class Answers:
    """What the ledger holds of a slide already."""

    def __init__(self, events: Iterable[Event], keys: SearchKeys) -> None:
        self._keys = keys
        self._exact = {event.key: event.body for event in events}
        self._any = {".".join(key.split(".")[:3]): body for key, body in self._exact.items()}

    def of(self, tile: Tile, pixels_here: bool) -> Body | None:
        """The answer that counts for a tile, None where it has to be searched.

        One of before configurations had names counts. One under another configuration, which may differ within
        1 px and 0.001 of score, counts only where the pixels are gone and nobody can look again.
        """
        bare = self._keys.without_config(tile)
        found = self._exact.get(self._keys.of(tile)) or self._exact.get(bare)
        return found if found is not None or pixels_here else self._any.get(bare)
