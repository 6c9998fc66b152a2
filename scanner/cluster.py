"""How do workers of a Dask cluster answer the jobs of a step? By address, over TLS, by reference and never with pixels.

The one door to ``distributed``, opened only where an address is given. Rackscan opens no port: it is a client of a
scheduler. Whoever can speak to one can run any program on its workers, so a plain address is for this machine alone.
"""

import ipaddress
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import urlsplit

from scanner.errors import BadInput, RackscanError, StepFailed
from scanner.stream import POLL_S, Halted

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")


class Client(Protocol):
    """What of a ``distributed.Client`` is used here."""

    def submit(self, function: Callable[[B], C], job: B, *, key: str, retries: int) -> Any:
        """A ``Future``."""
        ...

    def run(self, question: Callable[..., A], *words: object) -> dict[str, A]:
        """On every worker."""
        ...

    def nthreads(self) -> dict[str, int]:
        """Of every worker."""
        ...

    def wait_for_workers(self, n_workers: int, timeout: float) -> None:
        """Until there are so many."""
        ...

    def close(self, timeout: float = ...) -> None:
        """Let go."""
        ...


FIELD = "--workers"
CONNECT_S = 20.0
DEADLINE_S = 300.0
COUNT_EVERY_S = 5.0
AGAIN = 2
"""How often a job whose reading failed is tried again; where its worker died the scheduler decides, three times."""
CERTIFICATES = (
    "name them in Dask's configuration: distributed.comm.tls.ca-file, distributed.comm.tls.client.cert and .key, "
    "or DASK_DISTRIBUTED__COMM__TLS__CA_FILE, …__CLIENT__CERT and …__CLIENT__KEY"
)


class Cluster(Generic[B, C]):
    """Workers by address. ``function`` and the jobs travel, small; what a job refers to is read by the workers."""

    cpu_s = 0.0

    def __init__(self, client: Client, function: Callable[[B], C], name: Callable[[B], str]) -> None:
        """Use ``connect`` for the client; ``name`` gives a job its key: the same job is worked on once."""
        self._client = client
        self._function = function
        self._name = name
        self._threads, self._counted_s = 0, -COUNT_EVERY_S

    @property
    def room(self) -> int:
        """Two jobs a thread, so that none waits for the next; workers come and go."""
        if time.monotonic() - self._counted_s > COUNT_EVERY_S:
            self._threads, self._counted_s = sum(self._client.nthreads().values()), time.monotonic()
        return max(1, 2 * self._threads)

    @property
    def pids(self) -> set[int]:
        """Theirs are not ours to count."""
        return set()

    def start(self) -> None:
        """They are at work."""

    def begin(self, job: B, halt: threading.Event) -> "Handed[C]":
        """Hand out a job; a worker that dies over it is replaced, and another takes it."""
        future = self._client.submit(self._function, job, key=self._name(job), retries=AGAIN)
        return Handed(future, halt, self._name(job))

    def kill(self) -> None:
        """Let go of the cluster; what was handed out and not answered is forgotten there."""
        self._client.close(timeout=CONNECT_S)


class Handed(Generic[C]):
    """A job that is with the cluster."""

    def __init__(self, future: Any, halt: threading.Event, name: str) -> None:
        self._future = future
        self._halt = halt
        self._name = name

    def done(self) -> bool:
        """Answered, or failed."""
        return bool(self._future.done())

    def result(self) -> C:
        """The answer.

        Raises:
            StepFailed: no worker answered in time, or the workers died over it.
            RackscanError: as the worker raised it.
        """
        until = time.monotonic() + DEADLINE_S
        while not self._future.done():
            if self._halt.is_set():
                self._future.cancel()
                raise Halted
            if time.monotonic() > until:
                raise StepFailed(f"the cluster gave no answer to {self._name} within {DEADLINE_S:.0f} s")
            time.sleep(POLL_S)
        try:
            answer: C = self._future.result()
        except RackscanError:
            raise
        except Exception as error:
            raise StepFailed(f"the cluster, over {self._name}: {type(error).__name__}: {error}") from error
        return answer


def is_address(workers: str) -> bool:
    """Does ``--workers`` name a scheduler?"""
    return "://" in workers


def encrypted(address: str) -> bool:
    """Is what travels to this scheduler encrypted? Only on the machine itself need it not be.

    Raises:
        BadInput: it is no address of a scheduler, or work would go over a network unprotected.
    """
    parts = urlsplit(address)
    try:
        whole = parts.scheme in {"tcp", "tls"} and bool(parts.hostname) and parts.port is not None
    except ValueError:
        whole = False
    if not whole:
        raise BadInput.one(f"{address} is no address of a scheduler", "give tls://HOST:PORT", field=FIELD)
    if parts.scheme == "tcp" and not _loopback(str(parts.hostname)):
        what = f"{address} is neither encrypted nor authenticated: whoever reaches it runs programs on its workers"
        raise BadInput.one(what, "give tls://HOST:PORT; tcp:// is for this machine alone", field=FIELD)
    return parts.scheme == "tls"


def connect(address: str) -> Client:
    """The scheduler at an address, with at least one worker.

    Raises:
        BadInput: ``distributed`` is not installed, the address is refused, certificates are missing, nobody answers, or
            there is no worker.
    """
    protected = encrypted(address)
    try:
        import distributed
    except ImportError as error:
        what = "a cluster needs Dask's `distributed`, which is not installed"
        raise BadInput.one(what, "pip install rackscan[cluster]", field=FIELD) from error
    security = _security(distributed.Security()) if protected else None
    options: dict[str, Any] = {"timeout": CONNECT_S, "set_as_default": False, "security": security}
    try:
        client: Client = distributed.Client(address, name="rackscan", **options)
    except (OSError, RuntimeError) as error:
        mend = "is it running, and do the certificates belong to it?"
        raise BadInput.one(f"no scheduler answers at {address}: {error}", mend, field=FIELD) from error
    try:
        client.wait_for_workers(1, timeout=CONNECT_S)
    except TimeoutError as error:
        client.close()
        raise BadInput.one(f"{address} has no workers", "start some: dask worker", field=FIELD) from error
    return client


def everywhere(client: Client, question: Callable[..., A], *words: object) -> dict[str, A]:
    """What every worker answers, by its address.

    Raises:
        BadInput: one cannot: its rackscan is missing or another.
    """
    try:
        return client.run(question, *words)
    except Exception as error:
        what = f"a worker of the cluster cannot answer: {type(error).__name__}: {error}"
        raise BadInput.one(what, "install the same rackscan on all of them", field=FIELD) from error


def _security(security: Any) -> Any:
    if not (security.tls_ca_file and security.tls_client_cert):
        raise BadInput.one("tls:// needs certificates of your own authority", CERTIFICATES, field=FIELD)
    security.require_encryption = True
    return security


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
