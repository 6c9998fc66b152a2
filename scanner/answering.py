"""Who answers the jobs of a step, how many may be under way, and how do job and answer travel?

Workers are all alike to the road that asks them: in this process, in one of their own, or on other machines.
"""

import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Generic, Protocol, TypeVar

from scanner.errors import RackscanError, StepFailed

B = TypeVar("B")
C = TypeVar("C")
B_contra = TypeVar("B_contra", contravariant=True)
C_co = TypeVar("C_co", covariant=True)


class Work(Protocol[B_contra, C_co]):
    """What a worker process does with one job."""

    def __call__(self, job: B_contra, /) -> C_co:
        """The answer; both must be picklable."""
        ...


class Pending(Protocol[C_co]):
    """A job that was handed out."""

    def done(self) -> bool:
        """Would ``result`` give an answer at once?"""
        ...

    def result(self) -> C_co:
        """The answer, as soon as there is one.

        Raises:
            StepFailed: there is none, and why.
        """
        ...


class Workers(Protocol[B_contra, C_co]):
    """Those who answer; ``room`` is how many jobs they want at once."""

    @property
    def room(self) -> int:
        """At least one."""
        ...

    @property
    def pids(self) -> set[int]:
        """Their processes on this machine, other than this one."""
        ...

    @property
    def cpu_s(self) -> float:
        """What they have used on this machine outside of this process."""
        ...

    def start(self) -> None:
        """Get ready now, so that the first job need not wait."""
        ...

    def begin(self, job: B_contra, halt: threading.Event) -> Pending[C_co]:
        """Hand out a job; ``halt`` says that nobody waits for it any longer."""
        ...

    def kill(self) -> None:
        """End what was started, at work or not."""
        ...


class Here(Generic[B, C]):
    """Answers in the thread that asks, by a function made at the first job."""

    room = 1
    cpu_s = 0.0

    def __init__(self, make: Callable[[], Work[B, C]], name: str) -> None:
        self._make = make
        self._name = name
        self._function: Work[B, C] | None = None

    @property
    def pids(self) -> set[int]:
        """None but this one."""
        return set()

    def start(self) -> None:
        """There is nothing to start."""

    def begin(self, job: B, halt: threading.Event) -> "Waiting[C]":
        """The answer is worked out when it is asked for."""
        return Waiting(lambda: self._answer(job))

    def kill(self) -> None:
        """There is nothing to end."""

    def _answer(self, job: B) -> C:
        try:
            self._function = self._function or self._make()
            return self._function(job)
        except RackscanError:
            raise
        except Exception as error:
            raise StepFailed(f"{self._name}: {type(error).__name__}: {error}") from error


class Waiting(Generic[C]):
    """An answer that is fetched when it is asked for."""

    def __init__(self, fetch: Callable[[], C]) -> None:
        self._fetch = fetch

    def done(self) -> bool:
        """Nobody knows."""
        return False

    def result(self) -> C:
        """Fetch it."""
        return self._fetch()


class Answer(Generic[C]):
    """What comes back: (result,) or the failure in words, and the CPU seconds the process has used."""

    def __init__(self, result: tuple[C, ...], failure: str | None) -> None:
        self.result = result
        self.failure = failure
        self.cpu_s = time.process_time()


def serve(pipe: Connection, make: Callable[[], Work[B, C]], nice: int) -> None:
    """The life of a worker process: it answers until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(nice)
    function: Work[B, C] | None = None
    while True:
        try:
            job: B = receive(pipe)
        except EOFError:
            return
        try:
            function = function or make()
            answer = Answer((function(job),), None)
        except Exception:  # noqa: BLE001  # told to the parent in words
            answer = Answer((), traceback.format_exc())
        send(pipe, answer)


def send(pipe: Connection, value: object) -> None:
    """A picklable value; its arrays as raw bytes beside it."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    pipe.send_bytes(pickle.dumps((head, len(buffers))))
    for buffer in buffers:
        pipe.send_bytes(buffer.raw())


def receive(pipe: Connection) -> Any:
    """What ``send`` sent.

    Raises:
        EOFError, OSError: there is nobody at the other end.
    """
    head, count = pickle.loads(pipe.recv_bytes())
    return pickle.loads(head, buffers=[pipe.recv_bytes() for _ in range(count)])


@dataclass(frozen=True, slots=True)
class Credits:
    """How much may wait, or be under way, at once; what is larger than all of it goes alone."""

    tiles: int
    size_bytes: int

    def last(self, tiles: int, size_bytes: int, more_bytes: int) -> bool:
        """Is there room for one more of ``more_bytes`` where so many tiles and bytes are already?"""
        return tiles == 0 or (tiles < self.tiles and size_bytes + more_bytes <= self.size_bytes)


def weight(item: object) -> int:
    """Bytes of the pixels that an item carries, as its ``nbytes`` says."""
    return int(getattr(item, "nbytes", 0))
