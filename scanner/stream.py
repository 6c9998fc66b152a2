"""How do the steps of the road run side by side? The only place with threads, processes and queues.

A ``Road`` owns everything it starts: leaving its ``with`` block stops every thread and process, on every path. A full
queue makes the step before it wait, so memory is bounded by the queues' sizes. An error in a thread or a
process is raised where its results are read, as ``StepFailed`` from the original.
"""

import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Generic, TypeVar

from scanner.answering import Answer, Credits, Pending, Waiting, Work, Workers, receive, send, serve, weight
from scanner.errors import RackscanError, StepFailed

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")

POLL_S = 0.05
JOIN_S = 20.0
QUEUE_BYTES = 64 * 2**20
"""What may wait in one queue: ten tiles of the default rig with their raw frames; one of 4096 × 2816 px."""
PLACE_BYTES = 24 * 2**20
"""What may be under way for each place that the workers of a step have: they read it into their memory."""
RESTARTS = 9
"""A process that dies ten times over one job will not live with it: the job is at fault, or the machine."""


class Halted(Exception):
    """The road is closing; raised inside its threads to unwind them, never seen outside."""


class _End:
    """The last item of a queue: the source is exhausted, or failed with ``error``."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


LATE = _End()


class _Channel(Generic[A]):
    """A queue between two threads of a road, bounded by credits."""

    def __init__(self, limit: Credits, halt: threading.Event) -> None:
        self._items: deque[A | _End] = deque()
        self._held_bytes = 0
        self._limit = limit
        self._changed = threading.Condition()
        self._halt = halt

    def put(self, item: A | _End) -> None:
        more = weight(item)
        with self._changed:
            while not self._halt.is_set():
                if self._limit.last(len(self._items), self._held_bytes, more):
                    self._items.append(item)
                    self._held_bytes += more
                    self._changed.notify_all()
                    return
                self._changed.wait(POLL_S)
        raise Halted

    def within(self, seconds: float, most: int) -> list[A]:
        until, found = time.monotonic() + seconds, list[A]()
        while len(found) < most:
            item = self._get(until)
            if item is LATE:
                break
            found += [] if isinstance(item, _End) else [item]
        return found

    def _get(self, until: float = math.inf) -> A | _End:
        """The next item; ``LATE`` where there is none by then."""
        with self._changed:
            while not self._items:
                if self._halt.is_set():
                    raise Halted
                if time.monotonic() >= until:
                    return LATE
                self._changed.wait(min(POLL_S, max(0.001, until - time.monotonic())))
            item = self._items.popleft()
            self._held_bytes -= weight(item)
            self._changed.notify_all()
        return item

    def __iter__(self) -> Iterator[A]:
        while True:
            item = self._get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item


class Mailbox(Generic[A]):
    """Hands one value at a time from a later step to an earlier one: how the next plan reaches the stage."""

    def __init__(self, road: "Road") -> None:
        self._channel: _Channel[A] = _Channel(Credits(sys.maxsize, sys.maxsize), road.halt)

    def put(self, value: A) -> None:
        """Leave a value; never waits."""
        self._channel.put(value)

    def take(self) -> A:
        """The next value, as soon as there is one."""
        return next(iter(self._channel))

    def within(self, seconds: float, most: int) -> list[A]:
        """What is left here before the time is over; at once where that is as many as ``most``."""
        return self._channel.within(seconds, most)


class Worker(Generic[B, C]):
    """One process of its own that answers jobs one by one; a killed one is replaced and asked again.

    ``make`` is a picklable factory that builds the work function inside the process. Arrays travel as raw bytes.
    """

    def __init__(
        self, make: Callable[[], Work[B, C]], name: str, nice: int = 10, deadline_s: float = 120.0
    ) -> None:
        self._make = make
        self._name = name
        self._nice = nice
        self._deadline_s = deadline_s
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self.cpu_s = 0.0
        self.room = 1

    @property
    def pids(self) -> set[int]:
        """The process now at work, if there is one."""
        return set() if self.pid is None else {self.pid}

    @property
    def pid(self) -> int | None:
        """The process now at work."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Bring the process up now, so that the first job need not wait for it."""
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=serve, args=(theirs, self._make, self._nice), name=self._name, daemon=True
        )
        self._process.start()
        theirs.close()

    def begin(self, job: B, halt: threading.Event) -> Waiting[C]:
        """The process works on one job at a time: on this one when its answer is asked for."""
        return Waiting(lambda: self.ask(job, halt))

    def ask(self, job: B, halt: threading.Event) -> C:
        """The answer to one job.

        Raises:
            StepFailed: the work raised, did not answer before the deadline, or died at every restart.
        """
        for _ in range(RESTARTS + 1):
            if self._process is None:
                self.start()
            try:
                return self._exchange(job, halt)
            except (EOFError, OSError):
                self.kill()
        raise StepFailed(f"{self._name} died {RESTARTS + 1} times on the same work; see its messages above")

    def kill(self) -> None:
        """End the process, at work or not."""
        if self._process is not None:
            self._process.kill()
            self._process.join(JOIN_S)
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None

    def _exchange(self, job: B, halt: threading.Event) -> C:
        pipe = self._pipe
        if pipe is None:
            raise EOFError
        send(pipe, job)
        until = time.monotonic() + self._deadline_s
        while not pipe.poll(POLL_S):
            if halt.is_set():
                raise Halted
            if time.monotonic() > until:
                raise StepFailed(f"{self._name} gave no answer within {self._deadline_s:.0f} s")
        answer: Answer[C] = receive(pipe)
        self.cpu_s = answer.cpu_s
        if answer.failure is not None:
            raise StepFailed(f"{self._name}: {answer.failure}")
        return answer.result[0]


class Road:
    """The threads and processes of one run."""

    def __init__(self, queue_bytes: int = QUEUE_BYTES) -> None:
        """``queue_bytes`` of pixels at most wait in each queue."""
        self.halt = threading.Event()
        self._queue_bytes = queue_bytes
        self._threads: list[threading.Thread] = []
        self._workers: list[Workers[Any, Any]] = []

    def __enter__(self) -> "Road":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.halt.set()
        for worker in self._workers:
            worker.kill()
        deadline = time.monotonic() + JOIN_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        stuck = [thread.name for thread in self._threads if thread.is_alive()]
        if stuck and error is None:
            raise StepFailed(f"these steps did not stop within {JOIN_S:.0f} s: {', '.join(stuck)}")

    @property
    def pids(self) -> set[int]:
        """This process and those of the workers."""
        return {os.getpid()}.union(*(workers.pids for workers in self._workers))

    def keep(self, workers: Workers[B, C]) -> None:
        """Start workers now, and end them with the road."""
        self._own(workers)
        workers.start()

    def buffered(self, source: Iterable[A], size: int, name: str, nice: int = 0) -> Iterator[A]:
        """Runs ``source`` in a thread, at most ``size`` items ahead of the reader."""
        channel: _Channel[A] = _Channel(self._credits(size), self.halt)
        self._start(lambda: _pump(source, [channel]), name, nice)
        return iter(channel)

    def broadcast(
        self, source: Iterable[A], size: int, name: str, readers: int = 2, nice: int = 0
    ) -> list[Iterator[A]]:
        """Every item of ``source`` to every reader; the slower one rules."""
        channels: list[_Channel[A]] = [_Channel(self._credits(size), self.halt) for _ in range(readers)]
        self._start(lambda: _pump(source, channels), name, nice)
        return [iter(channel) for channel in channels]

    def parallel(
        self, source: Iterable[tuple[A, B | None]], workers: Workers[B, C], ahead: int, name: str
    ) -> Iterator[tuple[A, C | None]]:
        """Every item with the answer to the job beside it, in order; None where there is no job.

        Jobs are handed out while the credits last: as many as the workers have room for, 24 MB of pixels for each.
        """
        self._own(workers)
        channel: _Channel[tuple[A, C | None]] = _Channel(self._credits(ahead), self.halt)
        answered = _answered(source, workers, self.halt)
        self._start(lambda: _pump(answered, [channel]), name, 0)
        return iter(channel)

    def gather(self, *sinks: Callable[[], C]) -> list[C]:
        """Runs every sink in its own thread to its end; the first error stops the others and is raised."""
        results: _Channel[tuple[int, C]] = _Channel(self._credits(len(sinks) + 1), self.halt)
        for number, sink in enumerate(sinks):
            self._start(lambda n=number, s=sink: _deliver(n, s, results), f"sink-{number}", 5)  # type: ignore[misc]  # a default binds the loop's value
        done: dict[int, C] = {}
        for number, result in results:
            done[number] = result
            if len(done) == len(sinks):
                break
        return [done[number] for number in range(len(sinks))]

    def both(self, first: Callable[[], A], second: Callable[[], B]) -> tuple[A, B]:
        """Two sinks of different results, as ``gather``."""
        one: list[A] = []
        other: list[B] = []
        self.gather(lambda: one.append(first()), lambda: other.append(second()))
        return one[0], other[0]

    def _credits(self, tiles: int) -> Credits:
        return Credits(tiles, self._queue_bytes)

    def _own(self, workers: Workers[Any, Any]) -> None:
        if workers not in self._workers:
            self._workers.append(workers)

    def _start(self, body: Callable[[], None], name: str, nice: int) -> None:
        def run() -> None:
            _lower_priority(nice)
            body()

        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()


def _pump(source: Iterable[A], channels: Sequence[_Channel[A]]) -> None:
    try:
        for item in source:
            for channel in channels:
                channel.put(item)
        end = _End()
    except Halted:
        return
    except BaseException as error:  # noqa: BLE001  # carried to the reader, whatever it is
        end = _End(_told(error))
    finally:
        _close(source)
    with suppress(Halted):
        for channel in channels:
            channel.put(end)


def _deliver(number: int, sink: Callable[[], C], results: _Channel[tuple[int, C]]) -> None:
    with suppress(Halted):
        try:
            result = sink()
        except Halted:
            raise
        except BaseException as error:  # noqa: BLE001  # carried to the reader, whatever it is
            results.put(_End(_told(error)))
        else:
            results.put((number, result))


def _answered(
    source: Iterable[tuple[A, B | None]], workers: Workers[B, C], halt: threading.Event
) -> Iterator[tuple[A, C | None]]:
    under_way: deque[tuple[A, int, Pending[C] | None]] = deque()
    held_bytes = 0

    def first() -> tuple[A, C | None]:
        nonlocal held_bytes
        item, size, pending = under_way.popleft()
        held_bytes -= size
        return item, None if pending is None else pending.result()

    for item, job in source:
        more = weight(job)
        while not Credits(workers.room, workers.room * PLACE_BYTES).last(len(under_way), held_bytes, more):
            yield first()
        under_way.append((item, more, None if job is None else workers.begin(job, halt)))
        held_bytes += more
        del item, job
        while under_way and (len(under_way) >= workers.room or _settled(under_way[0][2])):
            yield first()
    while under_way:
        yield first()


def _settled(pending: Pending[C] | None) -> bool:
    return pending is None or pending.done()


def _told(error: BaseException) -> BaseException:
    if isinstance(error, RackscanError | KeyboardInterrupt):
        return error
    told = StepFailed(f"{threading.current_thread().name}: {type(error).__name__}: {error}")
    told.__cause__ = error
    return told


def _close(source: object) -> None:
    close = getattr(source, "close", None)
    if close is not None:
        close()


@contextmanager
def terminations_interrupt() -> Iterator[None]:
    """In the main thread a termination signal is a ``KeyboardInterrupt``, like Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _lower_priority(nice: int) -> None:
    # Linux keeps a nice value a thread; elsewhere the whole process would be lowered, so it is left alone.
    if nice and sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
