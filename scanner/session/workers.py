"""Where is a run's detector at work: in this process, in one of its own, or on a cluster by address?

The findings are the same. A cluster is asked before anything moves whether it can give them: the same package, runtime
and versions on every worker, and the run folder's disk under the same path.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from detection.detections import Detections
from detection.package import DetectorPackage
from scanner.cluster import FIELD, Client, Cluster, connect, everywhere, is_address
from scanner.errors import BadInput
from scanner.pipeline.searching import (
    CellSearch,
    Job,
    Means,
    RemoteSearch,
    in_own_process,
    in_process,
    libraries_here,
    means_of,
    rackscan_here,
    sees,
    stamp_of,
)
from scanner.session.request import IN_PROCESS, LOCAL, Prepared
from scanner.storage.atomic import TEMPORARY_SUFFIX


@contextmanager
def searching(prepared: Prepared, workers: str, near: Path) -> Iterator[Prepared]:
    """The same with those who search for it, until the block ends; ``workers`` and ``near`` as for ``searchers``.

    Raises:
        BadInput: there are no such workers; nothing was started.
    """
    package = prepared.search.package
    cells = None if package is None else searchers(package, workers, near)
    try:
        yield replace(prepared, cells=cells)
    finally:
        if cells is not None:
            cells.workers.kill()


def searchers(package: DetectorPackage, workers: str, near: Path, written: bool = True) -> CellSearch:
    """Who searches for a run.

    Args:
        package: the detector.
        workers: ``in-process``, ``local``, or the address of a scheduler.
        near: what the tiles lie in or below; it need not be there yet.
        written: tiles are still to be written there; False of an image that is only read.

    Raises:
        BadInput: there is no such way, or the cluster cannot be used, and why; nothing was started.
    """
    if workers == IN_PROCESS:
        return in_process(package.path)
    if workers == LOCAL:
        return in_own_process(package.path)
    if not is_address(workers):
        raise BadInput.one(
            f"{workers} is no way to work", f"give {IN_PROCESS}, {LOCAL} or tls://HOST:PORT", field=FIELD
        )
    return _of_cluster(package, workers, near.resolve(), written)


def _of_cluster(package: DetectorPackage, address: str, near: Path, written: bool) -> CellSearch:
    path = package.path.resolve()
    client = connect(address)
    try:
        means = _agreed(everywhere(client, means_of, path, package.hash), package)
        blind = _blind_to_new(client, near) if written else _blind_to(client, near)
        if blind:
            what = f"{len(blind)} workers do not see {near}, {blind[0]} first"
            mend = "use a disk that all of them mount under the same path, or --workers local"
            raise BadInput.one(what, mend, field=FIELD)
    except BaseException:
        client.close()
        raise
    cluster: Cluster[Job, Detections] = Cluster(client, RemoteSearch(path, means), lambda job: job.name)
    return CellSearch(cluster, means.provider, by_reference=True)


def _agreed(found: dict[str, Means], package: DetectorPackage) -> Means:
    """What all workers search with."""
    first = next(iter(found.values()))
    wanted = Means(package.hash, first.provider, libraries_here(), rackscan_here())
    unlike = {worker: words for worker, means in found.items() if (words := means.unlike(wanted))}
    if unlike:
        worker, words = next(iter(unlike.items()))
        what = f"{len(unlike)} of {len(found)} workers would find something else, {worker} first ({words})"
        raise BadInput.one(what, "give all of them the same rackscan, detector and versions", field=FIELD)
    return wanted


def _blind_to(client: Client, file: Path) -> list[str]:
    """Which workers do not see this very file by its path: no pixel travels through the queue."""
    seen = everywhere(client, sees, file, stamp_of(file))
    return [worker for worker, yes in seen.items() if not yes]


def _blind_to_new(client: Client, folder: Path) -> list[str]:
    """Which workers do not see what is written to a folder, or to where it will be."""
    home = next(each for each in (folder, *folder.parents) if each.is_dir())
    probe = home / f".probe.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
    try:
        probe.write_text(secrets.token_hex(secrets.randbelow(64)), encoding="utf-8")
        return _blind_to(client, probe)
    except OSError as error:
        raise BadInput.one(
            f"cannot be written to: {error}", "choose another folder", file=str(home)
        ) from error
    finally:
        probe.unlink(missing_ok=True)
