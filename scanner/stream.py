"""How do the steps of the road run side by side? The only place with threads, processes and queues.

A ``Road`` owns everything it starts: leaving its ``with`` block stops every thread and process, on every path. A full
queue makes the step before it wait, so memory is bounded by the queues' sizes. An error in a thread or a
process is raised where its results are read, as ``StepFailed`` from the original.
"""

import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from scanner.errors import RackscanError, StepFailed

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
B_contra = TypeVar("B_contra", contravariant=True)
C_co = TypeVar("C_co", covariant=True)

POLL_S = 0.05
JOIN_S = 20.0
RESTARTS = 9
"""A process that dies ten times over one job will not live with it: the job is at fault, or the machine."""


class Halted(Exception):
    """The road is closing; raised inside its threads to unwind them, never seen outside."""


class _End:
    """The last item of a queue: the source is exhausted, or failed with ``error``."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class _Channel(Generic[A]):
    """A bounded queue between two threads of a road."""

    def __init__(self, size: int, halt: threading.Event) -> None:
        self._queue: queue.Queue[A | _End] = queue.Queue(size)
        self._halt = halt

    def put(self, item: A | _End) -> None:
        while not self._halt.is_set():
            try:
                self._queue.put(item, timeout=POLL_S)
                return
            except queue.Full:
                continue
        raise Halted

    def within(self, seconds: float, most: int) -> list[A]:
        until, found = time.monotonic() + seconds, list[A]()
        while len(found) < most and (not self._queue.empty() or time.monotonic() < until):
            if self._halt.is_set():
                raise Halted
            with suppress(queue.Empty):
                item = self._queue.get(timeout=max(0.001, min(POLL_S, until - time.monotonic())))
                found += [] if isinstance(item, _End) else [item]
        return found

    def __iter__(self) -> Iterator[A]:
        while True:
            try:
                item = self._queue.get(timeout=POLL_S)
            except queue.Empty:
                if self._halt.is_set():
                    raise Halted from None
                continue
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item


class Mailbox(Generic[A]):
    """Hands one value at a time from a later step to an earlier one: how the next plan reaches the stage."""

    def __init__(self, road: "Road") -> None:
        self._channel: _Channel[A] = _Channel(0, road.halt)

    def put(self, value: A) -> None:
        """Leave a value; never waits."""
        self._channel.put(value)

    def take(self) -> A:
        """The next value, as soon as there is one."""
        return next(iter(self._channel))

    def within(self, seconds: float, most: int) -> list[A]:
        """What is left here before the time is over; at once where that is as many as ``most``."""
        return self._channel.within(seconds, most)


class Work(Protocol[B_contra, C_co]):
    """What a worker process does with one job."""

    def __call__(self, job: B_contra, /) -> C_co:
        """The answer; both must be picklable."""
        ...


class _Process(Protocol):
    @property
    def pid(self) -> int | None: ...

    def kill(self) -> None: ...


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

    @property
    def pid(self) -> int | None:
        """The process now at work."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Bring the process up now, so that the first job need not wait for it."""
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_work, args=(theirs, self._make, self._nice), name=self._name, daemon=True
        )
        self._process.start()
        theirs.close()

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
        _send(pipe, job)
        until = time.monotonic() + self._deadline_s
        while not pipe.poll(POLL_S):
            if halt.is_set():
                raise Halted
            if time.monotonic() > until:
                raise StepFailed(f"{self._name} gave no answer within {self._deadline_s:.0f} s")
        answer: _Answer[C] = _receive(pipe)
        self.cpu_s = answer.cpu_s
        if answer.failure is not None:
            raise StepFailed(f"{self._name}: {answer.failure}")
        return answer.result[0]


class _Answer(Generic[C]):
    """What comes back: (result,) or the failure in words, and the CPU seconds the process has used."""

    def __init__(self, result: tuple[C, ...], failure: str | None) -> None:
        self.result = result
        self.failure = failure
        self.cpu_s = time.process_time()


def _work(pipe: Connection, make: Callable[[], Work[B, C]], nice: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(nice)
    function: Work[B, C] | None = None
    while True:
        try:
            job: B = _receive(pipe)
        except EOFError:
            return
        try:
            function = function or make()
            answer = _Answer((function(job),), None)
        except Exception:  # noqa: BLE001  # told to the parent in words
            answer = _Answer((), traceback.format_exc())
        _send(pipe, answer)


def _send(pipe: Connection, value: object) -> None:
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    pipe.send_bytes(pickle.dumps((head, len(buffers))))
    for buffer in buffers:
        pipe.send_bytes(buffer.raw())


def _receive(pipe: Connection) -> Any:
    head, count = pickle.loads(pipe.recv_bytes())
    return pickle.loads(head, buffers=[pipe.recv_bytes() for _ in range(count)])


class Road:
    """The threads and processes of one run."""

    def __init__(self) -> None:
        self.halt = threading.Event()
        self._threads: list[threading.Thread] = []
        self._workers: list[_Process] = []

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
        return {os.getpid(), *(worker.pid for worker in self._workers if worker.pid is not None)}

    def keep(self, worker: Worker[B, C]) -> None:
        """Start a worker now, and end it with the road."""
        self._own(worker)
        worker.start()

    def buffered(self, source: Iterable[A], size: int, name: str, nice: int = 0) -> Iterator[A]:
        """Runs ``source`` in a thread, at most ``size`` items ahead of the reader."""
        channel: _Channel[A] = _Channel(size, self.halt)
        self._start(lambda: _pump(source, [channel]), name, nice)
        return iter(channel)

    def broadcast(
        self, source: Iterable[A], size: int, name: str, readers: int = 2, nice: int = 0
    ) -> list[Iterator[A]]:
        """Every item of ``source`` to every reader; the slower one rules."""
        channels: list[_Channel[A]] = [_Channel(size, self.halt) for _ in range(readers)]
        self._start(lambda: _pump(source, channels), name, nice)
        return [iter(channel) for channel in channels]

    def parallel(
        self, source: Iterable[A], job: Callable[[A], B | None], worker: Worker[B, C], ahead: int, name: str
    ) -> Iterator[tuple[A, C | None]]:
        """Every item with the worker process's answer to ``job(item)``, in order; None where the job is None."""
        self._own(worker)
        channel: _Channel[tuple[A, C | None]] = _Channel(ahead, self.halt)
        answered = _answered(source, job, worker, self.halt)
        self._start(lambda: _pump(answered, [channel]), name, 0)
        return iter(channel)

    def gather(self, *sinks: Callable[[], C]) -> list[C]:
        """Runs every sink in its own thread to its end; the first error stops the others and is raised."""
        results: _Channel[tuple[int, C]] = _Channel(len(sinks) + 1, self.halt)
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

    def _own(self, worker: _Process) -> None:
        if worker not in self._workers:
            self._workers.append(worker)

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
    source: Iterable[A], job: Callable[[A], B | None], worker: Worker[B, C], halt: threading.Event
) -> Iterator[tuple[A, C | None]]:
    for item in source:
        work = job(item)
        answer: C | None = None if work is None else worker.ask(work, halt)
        yield item, answer


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
