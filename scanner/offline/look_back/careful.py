"""How is an image read that may be damaged? Whatever its decoder does, all that comes of it is ``Unreadable``."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from scanner.errors import BadInput
from scanner.model.tile import Pixels
from scanner.offline.look_back.archive import Place
from scanner.storage.images import ZarrImage, open_image

T = TypeVar("T")
MOST_WORDS = 200


class Unreadable(Exception):
    """Why an image cannot be read; ``again`` where that may pass."""

    def __init__(self, why: str, again: bool = False) -> None:
        super().__init__(why)
        self.again = again


class CarefulImage:
    """A ``StoredImage`` that raises nothing but ``Unreadable``."""

    def __init__(self, place: Place) -> None:
        self._path = place.path
        self._image = tried(self._path, lambda: open_image(self._path))
        self.width_px, self.height_px = self._image.width_px, self._image.height_px
        self.um_per_px = self._image.um_per_px

    def read(self, x: int, y: int, w: int, h: int) -> Pixels:
        """See :class:`StoredImage`."""
        return tried(self._path, lambda: self._image.read(x, y, w, h))

    def close(self) -> None:
        """See :class:`StoredImage`."""
        self._image.close()

    @property
    def unfinished(self) -> bool:
        """Does it say of itself that its scan was not completed?"""
        return isinstance(self._image, ZarrImage) and not self._image.complete


def tried(path: Path, what: Callable[[], T]) -> T:
    """What a call on an image gives.

    Raises:
        Unreadable: whatever it raised, in words that do not name the file; again where the disk was to blame.
    """
    try:
        return what()
    except Exception as error:  # decoders raise what they like, and a damaged image must not end an archive
        cause = error if isinstance(error, OSError) else error.__cause__
        raise Unreadable(words_of(error, path), again=isinstance(cause, OSError)) from error


def words_of(error: Exception, path: Path) -> str:
    """What an error says of an image, without its name."""
    said = error.problems[0] if isinstance(error, BadInput) else None
    words = (
        f"{said.problem}: {said.mend}" if said else f"cannot be read: {str(error) or type(error).__name__}"
    )
    for name in (str(path.resolve()), str(path), path.resolve().name, path.name):
        words = words.replace(name, "the image")
    return words.splitlines()[0][:MOST_WORDS]
