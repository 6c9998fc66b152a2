"""Where do the encoded parts of a block wait for the others? In a file without a name, which no kill leaves behind.

Places in it are used over again, so that it is as large as what waits and never grows with the image.
"""

import errno
import tempfile
import weakref
from pathlib import Path


class Scratch:
    """Pieces of at most so many bytes, each kept until it is taken."""

    def __init__(self, folder: Path, most: int) -> None:
        """Raises OSError where the disk refuses."""
        self._most = most
        self._file = tempfile.TemporaryFile(buffering=0, dir=folder)  # noqa: SIM115 - it lives as long as this
        self._free: list[int] = []
        self._used = 0
        weakref.finalize(self, self._file.close)

    def put(self, piece: memoryview) -> int:
        """Where it is kept; raises OSError where the disk refuses."""
        if not self._free:
            self._free.append(self._used)
            self._used += 1
        self._file.seek(self._free[-1] * self._most)
        while piece:
            piece = piece[self._file.write(piece) :]
        return self._free.pop()

    def take(self, where: int, into: memoryview) -> None:
        """A piece of that length; its place is free again. Raises OSError where the disk refuses."""
        self._file.seek(where * self._most)
        if self._file.readinto(into) != len(into):
            raise OSError(errno.EIO, "a part that waited cannot be read")
        self._free.append(where)
