"""How does a file appear whole or not at all, also when the process is killed in the middle?

By writing beside it under a name of our own and renaming. Nothing is synced to the platter: this holds against
``kill -9``, not against a power cut.
"""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from scanner.errors import RackscanError

TEMPORARY_SUFFIX = ".rackscan.tmp"


def is_temporary(path: Path) -> bool:
    """Is this a file that a killed writer of ours left behind?"""
    return TEMPORARY_SUFFIX in path.name


RESUME = "everything acknowledged before is kept; {mend}, then run `rackscan resume`"
SAME_COMMAND = "what was read before is kept; {mend}, then give the same command again"
AGAIN = "nothing was left behind; {mend}, then run the command again"


@contextmanager
def replacing(path: Path, then: str = RESUME) -> Iterator[Path]:
    """A name to write to; when the block ends well it becomes ``path``, else it is removed.

    ``then`` tells what a disk that refused means to whoever asked: ``RESUME``, ``AGAIN`` or ``SAME_COMMAND``.

    Raises:
        RackscanError: the disk is full, read-only or gone; ``path`` is as it was before.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    try:
        yield temporary
        os.replace(temporary, path)  # noqa: PTH105 - Path.replace would hide that this is the atomic call
    except OSError as error:
        raise disk_error(error, path, then) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path, then: str = RESUME) -> Iterator[Path]:
    """An empty folder to fill; when the block ends well it becomes ``path``, else it is removed.

    Between the old folder and the new one there is a moment without either: nothing may claim it meanwhile.

    Raises:
        RackscanError: the disk is full, read-only or gone.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)
    except OSError as error:
        raise disk_error(error, path, then) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_atomic(path: Path, data: bytes | str, then: str = RESUME) -> None:
    """Give ``path`` this content (text as UTF-8) in one step; ``then`` as for ``replacing``."""
    with replacing(path, then) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def write_whole(path: Path, content: memoryview) -> None:
    """A new file, its room asked for first: that halves the cost of a large one."""
    with path.open("wb") as stream:
        if hasattr(os, "posix_fallocate"):
            with suppress(OSError):  # it cannot be had everywhere; where there is no room, writing says so
                os.posix_fallocate(stream.fileno(), 0, len(content))
        stream.write(content)


def disk_error(error: OSError, path: Path, then: str = RESUME) -> RackscanError:
    """What a failed write means to the person who can free the disk."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        reason, mend = "the disk is full", "free space"
    elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        reason, mend = "the folder may not be written to", "make it writable"
    else:
        reason, mend = f"the disk failed ({error.strerror or error})", "check the disk"
    return RackscanError(f"{path}: {reason}; {then.format(mend=mend)}")
